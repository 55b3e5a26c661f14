# SPDX-License-Identifier: MIT
"""Which machine for which model: what fits, how fast it decodes, what limits it, and what that costs.

Made of catalog/models.yml, catalog/hardware.yml, models of the hub or of the disk as model_source_info describes them,
and towers as memory_channels_info and tower_info do. The document has every answer; the table, the JSON and the page
are renderings of it. Bytes, gigabytes (1e9) a second, tokens a second, US dollars, watts, joules.
"""

from __future__ import annotations

import math
from typing import Any, Optional

from ..benchmark.document import SCHEMA_VERSION as RUN_VERSION
from ..memory.cpus import ccd_links, cpu_memory
from ..model.kv_cache import context_that_fits, kv_bytes
from ..text import clean, number, printable, size, whole
from .catalog import PlanError
from .roofline import Machine, Model, Use, calibrated, forecast, machine_of, model_of, sensitivity_text

SCHEMA_VERSION = 1
# The part of a GPU's bandwidth that decoding reaches. Mac Studio M3 Ultra: 0.55 (Llama 3.1 405B), 0.69 (70B); RTX 4090:
# 0.83 (DeepSeek R1 14B), all from github.com/geerlingguy/ai-benchmarks.
GPU_SHARE = (0.55, 0.83)
# An M.2 drive read by a page fault at a time reaches less than its sequential rate: 236 MB/s were measured at worst,
# and 1,222 with large reads (llama.cpp issue 28223); the thread counts the full rate. From a half to all of it.
DISK_SHARE = (0.5, 1.0)
# Bytes that stay free for buffers and the system; llama_service_memory_reserve_bytes has the same default.
RESERVE = 4 * 2**30
GPU_RESERVE = 2**30
# Bits a weight of whole files of large models. Q6_K: 210 bytes for 256 weights; the mixtures as bartowski's files of
# Llama 3.1 70B have them (size x 8 / 70.55e9).
BITS = {
    "F16": 16.0,
    "Q8_0": 8.5,
    "Q6_K": 6.5625,
    "Q5_K_M": 5.66,
    "Q4_K_M": 4.82,
    "IQ4_XS": 4.29,
    "Q3_K_M": 3.88,
    "Q2_K": 2.99,
}


def choose(entries: list[dict[str, Any]], names: Any, what: str) -> list[dict[str, Any]]:
    """The entries of these names, in their order; all of them for an empty list. ``NAME:TYPE`` is another type of a
    model. One name, or several with commas between them, is what ``-e plan_models=NAME`` gives."""
    if not names:
        return entries
    names = [str(name).strip() for name in (names if isinstance(names, list) else str(names).split(","))]
    chosen = []
    for name in names:
        base, _colon, kind = name.partition(":") if what == "model" else (name, "", "")
        entry = next((entry for entry in entries if entry["name"] == base), None)
        if entry is None:
            known = ", ".join(str(entry["name"]) for entry in entries)
            raise PlanError(f"There is no {what} {base} in the catalog: name one of {known}.")
        chosen.append(quantized(entry, kind) if kind else entry)
    return chosen


def quantized(entry: dict[str, Any], kind: str) -> dict[str, Any]:
    """A model of the catalog in another type: its sizes follow the bits a weight.

    Rows that are no multiple of 256 fall back to a larger type in every type with blocks of 256 weights, so that from
    one of these to another the sizes keep their ratio: GLM-4.5-Air in Q4_K_M has 72 GB, and by the bits alone 64.
    """
    if kind not in BITS:
        raise PlanError(f"The type {kind} is not known: name one of {', '.join(BITS)}.")
    files = str(entry.get("files"))
    if "MXFP4" in files.upper():
        raise PlanError(f"{entry['name']} is only made in MXFP4, and no other type makes it smaller: leave {kind} out.")
    if "Q6_K" in files and kind not in ("F16", "Q8_0"):
        part = BITS[kind] / BITS["Q6_K"]
    else:
        part = BITS[kind] * entry["parameters"] / 8 / entry["bytes"]
    sizes = {key: round(entry[key] * part) for key in ("bytes", "active_bytes")}
    return {**entry, **sizes, "name": f"{entry['name']}:{kind}"}


def from_source(resolved: dict[str, Any]) -> dict[str, Any]:
    """A model that model_source_info resolved, like an entry of the catalog."""
    header = resolved["gguf"]
    return {
        "name": resolved["name"],
        "bytes": resolved["bytes"],
        "parameters": header["parameters"],
        "active_bytes": header["active_bytes"],
        "layers": header["block_count"],
        "experts": bool(header["expert_count"]),
        "context": header["context_length"],
        "kv": header["kv"],
    }


def from_tower(host: str, tower: dict[str, Any], memory_channels: dict[str, Any], runs: list[Any]) -> dict[str, Any]:
    """A tower of the inventory, like a machine of the catalog; ``runs`` are its benchmarks (benchmark.py)."""
    return {
        "name": host,
        "title": clean(f"{host}: {tower['cpu']['model'] or 'unknown CPU'}"),
        "kind": "tower",
        "cores": tower["cores"],
        "memory_bytes": tower["memory_bytes"],
        "memory_channels": memory_channels,
        "guest": bool(tower.get("hypervisor")),
        "runs": [run for run in runs if isinstance(run, dict) and run.get("schema_version") == RUN_VERSION],
        "watts": None,
        "parts": [],
    }


def hardware(entry: dict[str, Any]) -> Optional[tuple[Machine, float]]:
    """The machine of a CPU entry or a tower, and what its benchmarks say of the forecast; None where it is unknown."""
    if entry["kind"] == "tower":
        # The board that a guest shows is what its host makes up.
        machine = None if entry["guest"] else machine_of(entry["memory_channels"], entry["cores"])
        return calibrated(machine, entry["runs"]) if machine else None
    memory, links = cpu_memory(entry["cpu"]), ccd_links(None, None, entry["cpu"])
    most = entry["sockets"] * memory.channels if memory else entry["channels"]
    machine = Machine(
        sockets=entry["sockets"],
        channels=entry["channels"],
        most_channels=max(most, entry["channels"]),
        mts=entry["mts"],
        fastest_mts=max(entry["mts"], (memory and memory.mts_1dpc) or 0),
        cores=entry["cores"],
        dies=entry.get("dies"),
        generation=links[0] if links and entry.get("dies") else None,
    )
    return machine, 1.0


def _cost(entry: dict[str, Any], count: int) -> Optional[float]:
    if entry["kind"] == "gpu":
        # What GPUs are plugged into costs more, but nothing is known of it: the sum is then a least one.
        return float(count * entry["price_usd"] + (entry["host"]["price_usd"] or 0)) if entry["price_usd"] else None
    prices = [part["price_usd"] for part in entry["parts"]]
    return float(sum(prices)) if prices and None not in prices else None


def _remarks(entry: dict[str, Any], cost: Optional[float]) -> list[str]:
    remarks = []
    told = (entry.get("told") or {}).get("price_usd")
    if told and cost and told != cost:
        remarks.append(f"Its source says {told:,} dollars, and its parts add up to {cost:,.0f}.")
    if entry["kind"] == "gpu" and entry["host"]["price_usd"] is None:
        remarks.append("What the GPUs are plugged into is not in the cost.")
    if entry["kind"] == "cpu" and not entry.get("dies") and ccd_links(None, None, entry["cpu"]):
        remarks.append("How many dies its CPU has is not established: where their links are the limit, it is slower.")
    return remarks


def gpus_needed(entry: dict[str, Any], needed: int) -> int:
    """GPUs that hold so many bytes, each with a reserve of its own."""
    each = float(entry["memory_bytes"] * entry["usable"] - GPU_RESERVE)
    return max(1, math.ceil(needed / each))


def _gpu(entry: dict[str, Any], model: dict[str, Any], context: int, kv_type: str) -> dict[str, Any]:
    needed = model["bytes"] + kv_bytes(model["kv"], context, kv_type)
    count = entry["count"] or gpus_needed(entry, needed)
    room = count * int(entry["memory_bytes"] * entry["usable"] - GPU_RESERVE) - model["bytes"]
    read = model["active_bytes"] + kv_bytes(model["kv"], context, kv_type)
    low, high = (entry["gb_s"] * 1e9 * part / read for part in GPU_SHARE)
    return {
        "count": count,
        "room": room,
        "tokens_per_second": {"low": low, "expected": (low + high) / 2, "high": high},
        "limited_by": "gpu-memory",
        "why": f"each of {count} reads its part in turn at up to {entry['gb_s']} GB/s"
        if count > 1
        else f"its memory is read at up to {entry['gb_s']} GB/s",
        "watts": count * entry["watts"] + entry["host"]["watts"],
    }


def _disk(entry: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    low, high = (entry["gb_s"] * 1e9 * part / model["active_bytes"] for part in DISK_SHARE)
    return {
        "room": None,
        "tokens_per_second": {"low": low, "expected": (low + high) / 2, "high": high},
        "limited_by": "disk",
        "why": f"the weights are read from a disk of {entry['gb_s']} GB/s",
        "watts": entry["watts"],
    }


def _cpu(
    entry: dict[str, Any], model: dict[str, Any], weights: Model, context: int, kv_type: str, policy: str
) -> Optional[dict[str, Any]]:
    known = hardware(entry)
    if known is None:
        return None
    machine, factor = known
    use = Use(policy if machine.sockets > 1 else "none", None, context, kv_type)
    said = forecast(machine, weights, use, factor)
    # On one node alone there is that node's memory, and one server a node has the whole model on each.
    nodes = machine.sockets if use.policy in ("bind", "per_node") else 1
    return {
        **{key: said[key] for key in ("tokens_per_second", "limited_by", "why", "sensitivity", "ideal")},
        "prefill_tokens_per_second": said["prefill_tokens_per_second"],
        "room": entry["memory_bytes"] // nodes - RESERVE - model["bytes"],
        "watts": entry["watts"],
    }


def answer(
    entry: dict[str, Any],
    model: dict[str, Any],
    context: int = 8192,
    kv_type: str = "f16",
    policy: str = "interleave",
    price_kwh: float = 0.30,
) -> dict[str, Any]:
    """One machine for one model. Where it does not fit, ``tokens_per_second`` is None and ``why`` has the figures.

    ``context`` is at most what the model was made for.
    """
    context = min(context, model["context"] or context)
    blank: dict[str, Any] = {
        "model": clean(model["name"]),
        "machine": clean(entry["name"]),
        "title": clean(entry["title"]),
        "fits": False,
        "count": 1,
        **dict.fromkeys(
            ("context", "tokens_per_second", "limited_by", "why", "prefill_tokens_per_second", "cost_usd", "ideal")
        ),
        **dict.fromkeys(("cost_per_token_s", "watts", "joules_per_token", "energy_usd_per_million_tokens")),
        "sensitivity": [],
        "remarks": [],
    }
    weights = model_of(model)
    if weights is None:
        return blank | {"why": "the header of the model does not tell what a token reads"}
    if entry["kind"] == "gpu":
        found: Optional[dict[str, Any]] = _gpu(entry, model, context, kv_type)
    elif entry["kind"] == "disk":
        found = _disk(entry, model)
    else:
        found = _cpu(entry, model, weights, context, kv_type, policy)
    if found is None:
        if entry.get("guest"):
            return blank | {"why": "it is a virtual machine, and what its board shows is made up by its host"}
        return blank | {"why": "how many of its memory channels are in use is unknown, or one of its CPUs has none"}
    room = found.pop("room")
    cost = _cost(entry, found.get("count", 1))
    said = blank | {"cost_usd": cost, "count": found.get("count", 1), "remarks": _remarks(entry, cost)}
    needed = kv_bytes(model["kv"], context, kv_type)
    if room is not None and room < needed:
        short = size(needed - room)
        return said | {
            "why": f"{size(model['bytes'])} of weights and {size(needed)} of KV cache for {context} tokens "
            f"are {short} too much for it"
        }
    found["why"] = clean(found["why"])
    most = model["context"] or context
    speed = found["tokens_per_second"]["expected"]
    said |= found | {
        "fits": True,
        "context": most if room is None else context_that_fits(model["kv"], room, most, kv_type),
        "cost_per_token_s": cost / speed if cost else None,
    }
    if found["watts"]:
        joules = found["watts"] / speed
        said |= {"joules_per_token": joules, "energy_usd_per_million_tokens": joules / 3.6 * price_kwh}
    return said


def rank(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best first: what fits by its cost for a token a second, then what fits at unknown cost by its speed."""

    def key(said: dict[str, Any]) -> tuple[bool, bool, float]:
        if not said["fits"]:
            return True, True, 0.0
        speed = said["tokens_per_second"]["expected"]
        return False, said["cost_per_token_s"] is None, said["cost_per_token_s"] or -speed

    return sorted(answers, key=key)


def plan(
    models: list[dict[str, Any]],
    machines: list[dict[str, Any]],
    options: dict[str, Any],
    figures: Optional[list[dict[str, str]]] = None,
) -> dict[str, Any]:
    """The whole document. ``options`` has context, kv_type, policy and price_kwh, as :func:`answer` takes them;
    ``figures`` is what :func:`thread_figures` makes."""
    return {
        "schema_version": SCHEMA_VERSION,
        "options": options,
        "models": [
            {
                "name": clean(model["name"]),
                "bytes": model["bytes"],
                "active_bytes": model["active_bytes"],
                "answers": rank([answer(machine, model, **options) for machine in machines]),
            }
            for model in models
        ],
        "thread_figures": figures or [],
    }


# --- The figures that the thread gave -------------------------------------------------------------------------------


# The machines of the catalog that they are about.
THREAD = {
    "desktop-m2": "disk",
    "desktop-2ch": "cpu",
    "epyc-9124-1s": "cpu",
    "epyc-9124-2s": "cpu",
    "gpu-24gb": "gpu",
    "gpu-80gb": "gpu",
}


def thread_figures(models: list[dict[str, Any]], machines: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The calculation that the project began with, made again: ``what``, ``told``, ``found`` and what to ``say``.

    Of a catalog that lacks what it is made of, as one's own may, there are none.
    """
    named = {machine["name"]: machine for machine in machines}
    model = next((model for model in models if model["name"] == "llama-3.1-405b"), None)
    if model is None or not all(named.get(name, {}).get("kind") == kind for name, kind in THREAD.items()):
        return []
    if not all(named[name].get("told") or named[name].get("price_usd") for name in THREAD if "desktop" not in name):
        return []
    told = 6 / 8 * 400e9
    rows: list[dict[str, str]] = []

    def row(what: str, said: str, found: str, say: str = "") -> None:
        rows.append({"what": what, "told": said, "found": found, "say": say})

    row(
        "weights of a model of 400B at 6 bits",
        "300 GB",
        f"{told / 1e9:.0f} GB",
        f"Q6_K has {BITS['Q6_K']} bits, and Llama 3.1 405B has {model['parameters'] / 1e9:.1f}B weights: "
        f"{size(model['bytes'])}.",
    )
    disk = named["desktop-m2"]
    row("a token from an M.2 drive", "30 s", f"{told / disk['gb_s'] / 1e9:.0f} s", "At the drive's full rate.")
    desktop = named["desktop-2ch"]
    rate = desktop["channels"] * desktop["mts"] * 8 / 1000
    row(
        "a token from two channels",
        "80 GB/s, 4 s",
        f"{rate:.0f} GB/s, {told / rate / 1e9:.2f} s",
        f"The desktop's {desktop['memory_bytes'] / 2**30:.0f} GiB do not hold the model.",
    )
    for name, said in (("epyc-9124-1s", "480 GB/s"), ("epyc-9124-2s", "960 GB/s")):
        machine = named[name]
        row(
            f"bandwidth of {machine['channels']} channels",
            said,
            f"{machine['channels'] * machine['mts'] * 8 / 1000:.1f} GB/s",
            f"It counts 40 GB/s a channel; DDR5-{machine['mts']} has {machine['mts'] * 8 / 1000:.1f}.",
        )
    for name, said in (("gpu-24gb", "about 16, more than $30,000"), ("gpu-80gb", "4 to 5, more than $50,000")):
        gpu = named[name]
        least = math.ceil(told / (gpu["memory_bytes"] / 2**30 * 1e9))
        count = gpus_needed(gpu, model["bytes"] + kv_bytes(model["kv"], 8192))
        row(
            gpu["title"],
            said,
            f"{least} to {count}, ${least * gpu['price_usd']:,} to ${count * gpu['price_usd']:,}",
            f"{least} hold 300 GB and nothing else; {count} hold the real file and 8192 tokens.",
        )
    for name in ("epyc-9124-1s", "epyc-9124-2s"):
        machine = named[name]
        cost, price = _cost(machine, 1) or 0.0, machine["told"]["price_usd"]
        off = f"{abs(price - cost):,.0f} {'less' if cost < price else 'more'}"
        row(
            f"cost of {machine['title'].partition(':')[0]}",
            f"${price:,}",
            f"${cost:,.0f}",
            "" if price == cost else f"Its parts add up to ${off}.",
        )
    row(
        "384 GB of memory",
        "$2,100, at $300 to 400 for 64 GB",
        f"6 x 64 GB, ${6 * 300:,} to ${6 * 400:,}",
        "Six such modules fill six channels: 12 or 24 smaller ones are what the bandwidth needs.",
    )
    sample = answer(named["epyc-9124-2s"], model)
    speed = sample["tokens_per_second"]
    row(
        "speed of the sample build",
        "1 to 2 tokens/s",
        f"{speed['low']:.2f} to {speed['high']:.2f} tokens/s",
        f"Not the {sample['ideal']:.1f} that its channels would give: {sample['why']} ({sample['limited_by']}).",
    )
    return rows


# --- Text -------------------------------------------------------------------------------------------------------------


def _line(cells: list[str], widths: list[int]) -> str:
    first = cells[0].ljust(widths[0])
    return "  ".join([first, *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:]))]).rstrip()


HEADINGS = [
    "machine", "tokens/s", "range", "context", "$", "$ per token/s", "W", "J/token", "energy $ per 1M tokens", "limit"
]  # fmt: skip


def cells(said: dict[str, Any]) -> list[str]:
    """What one line of the table shows."""
    speed = said["tokens_per_second"]
    name = said["machine"] + (f" x{said['count']}" if said["count"] > 1 else "")
    if not said["fits"]:
        return [name, "-", "does not fit" if said["why"] and "too much" in said["why"] else "unknown", *["-"] * 7]
    return [
        name,
        number(speed["expected"]),
        f"{number(speed['low'])} - {number(speed['high'])}",
        f"{said['context']:,}" if said["context"] is not None else "-",
        whole(said["cost_usd"]),
        number(said["cost_per_token_s"]),
        whole(said["watts"]),
        number(said["joules_per_token"]),
        number(said["energy_usd_per_million_tokens"]),
        said["limited_by"],
    ]


def options_text(options: dict[str, Any]) -> str:
    """What the forecast is of."""
    return (
        f"One stream of tokens with {options['context']:,} tokens of context or as many as the model was made for, a "
        f"KV cache in {options['kv_type']}, the NUMA policy {options['policy']}, and {options['price_kwh']:g} dollars "
        "a kWh"
    )


def plan_text(document: dict[str, Any]) -> str:
    """The tables for a terminal: a model each, the best machine first, and what would help the best tower or build; or
    why it fits none of them; at the end what is to be said of the machines."""
    lines = [f"{options_text(document['options'])}.", ""]
    for model in document["models"]:
        lines.append(f"{model['name']}: {size(model['bytes'])}, {size(model['active_bytes'])} read a token")
        table = [HEADINGS, *(cells(said) for said in model["answers"])]
        widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS))]
        lines += [f"  {_line(row, widths)}" for row in table]
        for said in model["answers"]:
            if said["sensitivity"]:
                lines.append(f"  {said['machine']}: {said['why']}; {sensitivity_text(said['sensitivity'])}")
                break
        if not any(said["fits"] for said in model["answers"]):
            lines += [f"  {said['machine']}: {said['why']}" for said in model["answers"]]
        lines.append("")
    shown = [said for model in document["models"] for said in model["answers"] if said["fits"]]
    lines += dict.fromkeys(f"{said['machine']}: {remark}" for said in shown for remark in said["remarks"])
    return "\n".join(map(printable, lines)).rstrip()


def plan_view(document: dict[str, Any]) -> dict[str, Any]:
    """What the page shows: of each model the machines that it fits, with a bar each, and those that it does not."""
    models = []
    for model in document["models"]:
        fitting = [said for said in model["answers"] if said["fits"]]
        fastest = max((said["tokens_per_second"]["high"] for said in fitting), default=1.0)
        rows = [
            {
                **{key: said[key] for key in ("title", "why", "remarks")},
                "cells": dict(zip(HEADINGS, cells(said))),
                "helps": sensitivity_text(said["sensitivity"]),
                "from": round(100 * said["tokens_per_second"]["low"] / fastest, 2),
                "to": round(100 * said["tokens_per_second"]["high"] / fastest, 2),
            }
            for said in fitting
        ]
        models.append(
            {
                "name": model["name"],
                "said": f"{size(model['bytes'])}, of which a token reads {size(model['active_bytes'])}",
                "rows": rows,
                "others": [said for said in model["answers"] if not said["fits"]],
            }
        )
    return {
        "headings": [heading for heading in HEADINGS if heading not in ("machine", "range", "tokens/s")],
        "models": models,
        "options": options_text(document["options"]),
        "figures": document["thread_figures"],
    }
