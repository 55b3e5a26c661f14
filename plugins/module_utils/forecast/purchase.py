# SPDX-License-Identifier: MIT
"""Which machine for which model: what fits, how fast it decodes, what limits it, and what that costs.

The plan has every answer; the table, the JSON and the page are renderings of it. Bytes, gigabytes (1e9) a second,
tokens a second, US dollars, watts, joules.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Optional

from ..memory.cpus import ccd_links, cpu_memory
from ..model.document import ModelEntry
from ..model.kv_cache import TYPES, kv_bytes, longest
from ..service.memory_budget import (
    DEFAULT_CHECKPOINTS,
    DEFAULT_RESERVE,
    Serving,
    entry_weighed,
    managed_bytes,
    memory_budget,
)
from ..service.numa_policy import POLICIES
from ..text import clean, rate, size
from .catalog import PlanError
from .cores import Range, core_of
from .document import (
    Answer,
    Change,
    CpuEntry,
    DiskEntry,
    GpuEntry,
    MachineEntry,
    Options,
    PlanDocument,
    Speed,
    ThreadFigure,
    TowerEntry,
)
from .roofline import ALONE, Machine, Model, Use, calibrated, fits_alone, forecast, machine_of, model_of

SCHEMA_VERSION = 1
# The part of a GPU's bandwidth that decoding reaches. Mac Studio M3 Ultra: 0.55 (Llama 3.1 405B), 0.69 (70B); RTX 4090:
# 0.83 (DeepSeek R1 14B), all from github.com/geerlingguy/ai-benchmarks.
GPU_SHARE = (0.55, 0.83)
# An M.2 drive read by a page fault at a time reaches less than its sequential rate: 236 MB/s were measured at worst,
# and 1,222 with large reads (llama.cpp issue 28223); the thread counts the full rate. From a half to all of it.
DISK_SHARE = (0.5, 1.0)
GPU_RESERVE = 2**30
ALONE_REMARK = "Its speed is that of one node alone, which holds the model: the NUMA policy bind."


class Fit(NamedTuple):
    """What a machine does with a model if it has the room; ``room`` is what the weights leave for the KV cache, None
    where that is no limit."""

    room: Optional[int]
    speed: Speed
    limited_by: str
    why: str
    watts: Optional[float]
    gpus: int = 1
    ideal: Optional[float] = None
    prefill: Optional[Range] = None
    sensitivity: tuple[Change, ...] = ()
    alone: bool = False


def options_of(raw: dict[str, Any]) -> Options:
    """What is asked, also from the command line, where numbers are text."""
    numbers: dict[str, Any] = {}
    for key, kind, needed in (
        ("context", int, "a whole number of tokens from 0 on, as 32768"),
        ("price_kwh", float, "dollars for a kilowatt-hour, a number from 0 on, as 0.30"),
    ):
        try:
            numbers[key] = kind(str(raw[key]))
            usable = math.isfinite(numbers[key]) and numbers[key] >= 0
        except (ValueError, OverflowError):
            usable = False
        if not usable:
            raise PlanError(f"plan_{key} is {repr(raw[key])[:80]}: it has to be {needed}.")
    for key, known in (("kv_type", tuple(TYPES)), ("policy", POLICIES)):
        if raw[key] not in known:
            raise PlanError(f"plan_{key} is {repr(raw[key])[:80]}: it has to be one of {', '.join(known)}.")
    return {
        "context": numbers["context"],
        "kv_type": raw["kv_type"],
        "policy": raw["policy"],
        "price_kwh": numbers["price_kwh"],
    }


def hardware(entry: CpuEntry | TowerEntry) -> Optional[tuple[Machine, float]]:
    """The machine of a CPU entry or a tower, and what its benchmarks say of the forecast; None where it is unknown."""
    if entry["kind"] == "tower":
        # The board that a guest shows is what its host makes up.
        described = None if entry["guest"] else machine_of(entry["memory_channels"], entry["cores"], entry["signature"])
        return calibrated(described, entry["runs"]) if described else None
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
        core=core_of(entry["cpu"]),
        node_bytes=managed_bytes(entry["memory_bytes"]) // entry["sockets"],
    )
    return machine, 1.0


def cost_of(entry: MachineEntry, count: int = 1) -> Optional[float]:
    """What the machine costs, or so many of its GPUs with what they are plugged into; None where a price is unknown."""
    if entry["kind"] == "tower":
        return None
    if entry["kind"] == "gpu":
        # What GPUs are plugged into costs more, but nothing is known of it: the sum is then a least one.
        return float(count * entry["price_usd"] + (entry["host"]["price_usd"] or 0)) if entry["price_usd"] else None
    prices = [part["price_usd"] for part in entry["parts"]]
    known = [price for price in prices if price is not None]
    return float(sum(known)) if prices and len(known) == len(prices) else None


def _remarks(entry: MachineEntry, cost: Optional[float]) -> list[str]:
    remarks = []
    if entry["kind"] == "cpu":
        told = entry["told"]["price_usd"] if entry.get("told") else None
        if told and cost and told != cost:
            remarks.append(f"Its source says {told:,} dollars, and its parts add up to {cost:,.0f}.")
        if not entry.get("dies") and ccd_links(None, None, entry["cpu"]):
            remarks.append(
                "How many dies its CPU has is not established: where their links are the limit, it is slower."
            )
    if entry["kind"] == "gpu" and entry["host"]["price_usd"] is None:
        remarks.append("What the GPUs are plugged into is not in the cost.")
    return remarks


def gpus_needed(entry: GpuEntry, needed: int) -> int:
    """GPUs that hold so many bytes, each with a reserve of its own."""
    each = float(entry["memory_bytes"] * entry["usable"] - GPU_RESERVE)
    return max(1, math.ceil(needed / each))


def _read_at(gb_s: float, shares: Range, read: int) -> Speed:
    low, high = (gb_s * 1e9 * share / read for share in shares)
    return {"low": low, "expected": (low + high) / 2, "high": high}


def _gpu(entry: GpuEntry, model: ModelEntry, cache: int) -> Fit:
    count = entry["count"] or gpus_needed(entry, model["bytes"] + cache)
    return Fit(
        room=count * int(entry["memory_bytes"] * entry["usable"] - GPU_RESERVE) - model["bytes"],
        speed=_read_at(entry["gb_s"], GPU_SHARE, model["active_bytes"] + cache),
        limited_by="gpu-memory",
        why=f"each of {count} reads its part in turn at up to {rate(entry['gb_s'])}"
        if count > 1
        else f"its memory is read at up to {rate(entry['gb_s'])}",
        watts=count * entry["watts"] + entry["host"]["watts"],
        gpus=count,
    )


def _disk(entry: DiskEntry, model: ModelEntry) -> Fit:
    return Fit(
        room=None,
        speed=_read_at(entry["gb_s"], DISK_SHARE, model["active_bytes"]),
        limited_by="disk",
        why=f"the weights are read from a disk of {rate(entry['gb_s'])}",
        watts=entry["watts"],
    )


def _cpu(entry: CpuEntry | TowerEntry, model: ModelEntry, weights: Model, use: Use) -> Optional[Fit]:
    known = hardware(entry)
    if known is None:
        return None
    machine, factor = known
    use = use if machine.sockets > 1 else use._replace(policy="none")
    said, alone = forecast(machine, weights, use, factor), False
    if machine.sockets > 1 and use.policy not in ALONE and fits_alone(machine, weights, use):
        # The tuner compares this with the policy that is asked for.
        bound = forecast(machine, weights, use._replace(policy="bind"), factor)
        alone = bound["tokens_per_second"]["expected"] > said["tokens_per_second"]["expected"]
        said = bound if alone else said
    # A catalog has the bytes of the modules; a tower says what its kernel has of them.
    memory = managed_bytes(entry["memory_bytes"]) if entry["kind"] == "cpu" else entry["memory_bytes"]
    # On one node alone there is that node's memory, and one server a node has the whole model on each.
    nodes = machine.sockets if use.policy in ("bind", "per_node") else 1
    return Fit(
        room=memory // nodes - DEFAULT_RESERVE - model["bytes"],
        speed=said["tokens_per_second"],
        limited_by=said["limited_by"],
        why=said["why"],
        watts=entry["watts"] if entry["kind"] == "cpu" else None,
        ideal=said["ideal"],
        prefill=said["prefill_tokens_per_second"],
        sensitivity=tuple(said["sensitivity"]),
        alone=alone,
    )


def _fit(entry: MachineEntry, model: ModelEntry, weights: Model, use: Use, cache: int) -> Optional[Fit]:
    if entry["kind"] == "gpu":
        return _gpu(entry, model, cache)
    if entry["kind"] == "disk":
        return _disk(entry, model)
    return _cpu(entry, model, weights, use)


def _beside(entry: MachineEntry, model: ModelEntry, context: int, kv_type: str) -> int:
    """Bytes that a context takes beside the weights: of GPUs the KV cache, of a tower the budget of its server."""
    if entry["kind"] in ("gpu", "disk"):
        return kv_bytes(model["kv"], context, kv_type)
    served = Serving(context, kv_type=kv_type, checkpoints=DEFAULT_CHECKPOINTS)
    return memory_budget(entry_weighed(model), served)["total"] - model["bytes"]


def _blank(entry: MachineEntry, model: ModelEntry) -> Answer:
    return {
        "model": clean(model["name"]),
        "machine": clean(entry["name"]),
        "title": clean(entry["title"]),
        "fits": False,
        "reason": None,
        "count": 1,
        "context": None,
        "tokens_per_second": None,
        "limited_by": None,
        "why": None,
        "ideal": None,
        "prefill_tokens_per_second": None,
        "sensitivity": [],
        "cost_usd": None,
        "cost_per_token_s": None,
        "watts": None,
        "joules_per_token": None,
        "energy_usd_per_million_tokens": None,
        "remarks": [],
    }


def answer(
    entry: MachineEntry,
    model: ModelEntry,
    context: int = 8192,
    kv_type: str = "f16",
    policy: str = "interleave",
    price_kwh: float = 0.30,
) -> Answer:
    """One machine for one model, at a context of at most what the model was made for."""
    context = min(context, model["context"] or context)
    cache = _beside(entry, model, context, kv_type)
    said, weights = _blank(entry, model), model_of(model)
    if weights is None:
        return {**said, "reason": "model", "why": "the header of the model does not tell what a token reads"}
    fit = _fit(entry, model, weights, Use(policy, None, context, kv_type), cache)
    if fit is None:
        if entry["kind"] == "tower" and entry["guest"]:
            why = "it is a virtual machine, and what its board shows is made up by its host"
            return {**said, "reason": "guest", "why": why}
        why = "how many of its memory channels are in use is unknown, or one of its CPUs has none"
        return {**said, "reason": "channels", "why": why}
    cost = cost_of(entry, fit.gpus)
    remarks = [*_remarks(entry, cost), *([ALONE_REMARK] if fit.alone else [])]
    said = {**said, "count": fit.gpus, "cost_usd": cost, "remarks": remarks}
    if fit.room is not None and fit.room < cache:
        needed = f"{size(model['bytes'])} of weights and {size(cache)} beside them for {context} tokens"
        return {**said, "reason": "memory", "why": f"{needed} are {size(cache - fit.room)} too much for it"}
    speed, most = fit.speed["expected"], model["context"] or context
    joules = fit.watts / speed if fit.watts else None
    return {
        **said,
        "fits": True,
        "context": most if fit.room is None else _longest(entry, model, fit.room, most, kv_type),
        "tokens_per_second": fit.speed,
        "limited_by": fit.limited_by,
        "why": clean(fit.why),
        "ideal": fit.ideal,
        "prefill_tokens_per_second": fit.prefill,
        "sensitivity": list(fit.sensitivity),
        "cost_per_token_s": cost / speed if cost else None,
        "watts": fit.watts,
        "joules_per_token": joules,
        # A kilowatt-hour is 3.6e6 joules.
        "energy_usd_per_million_tokens": joules / 3.6 * price_kwh if joules else None,
    }


def _longest(entry: MachineEntry, model: ModelEntry, room: int, most: int, kv_type: str) -> Optional[int]:
    """The longest context that fits into the room beside the weights; None where the model does not tell."""
    if not model["kv"]:
        return None
    return longest(lambda context: _beside(entry, model, context, kv_type), room, most)


def rank(answers: list[Answer]) -> list[Answer]:
    """The best first: what fits by its cost for a token a second, then what fits at unknown cost by its speed."""

    def key(said: Answer) -> tuple[bool, bool, float]:
        if not said["tokens_per_second"]:
            return True, True, 0.0
        cost = said["cost_per_token_s"]
        return False, cost is None, cost or -said["tokens_per_second"]["expected"]

    return sorted(answers, key=key)


def purchase_plan(
    models: list[ModelEntry],
    machines: list[MachineEntry],
    options: Options,
    figures: Optional[list[ThreadFigure]] = None,
) -> PlanDocument:
    """The whole document; ``figures`` is what :func:`thread_figures` makes."""
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
