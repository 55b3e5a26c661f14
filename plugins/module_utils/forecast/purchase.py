# SPDX-License-Identifier: MIT
"""Which machine for which model: what fits, how fast it decodes, what limits it, and what that costs.

The plan has every answer; the table, the JSON and the page are renderings of it. Bytes, gigabytes (1e9) a second,
tokens a second, US dollars, watts, joules.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Optional

from ..memory.cpus import ccd_links, cpu_memory
from ..model.document import ModelEntry
from ..model.kv_cache import kv_bytes, longest
from ..service.memory_budget import (
    DEFAULT_CHECKPOINTS,
    DEFAULT_RESERVE,
    Serving,
    entry_weighed,
    managed_bytes,
    memory_budget,
)
from ..text import clean, rate, size
from .cores import Range, core_of
from .document import (
    Answer,
    Change,
    CpuEntry,
    DiskEntry,
    GpuEntry,
    MachineEntry,
    MemoryPrice,
    Options,
    PlanDocument,
    PlannedModel,
    Speed,
    ThreadFigure,
    TowerEntry,
)
from .prices import cost_of, is_least, oldest, price_remarks, priced
from .recommend import recommendation
from .roofline import ALONE, Machine, Model, Use, calibrated, fits_alone, forecast, machine_of, model_of

SCHEMA_VERSION = 2
DEFAULTS: Options = {
    "context": 8192,
    "kv_type": "f16",
    "policy": "interleave",
    "price_kwh": 0.30,
    "users": 1,
    "years": 3.0,
    "budget": None,
}
YEAR = 365.25 * 86400
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
    threads: Optional[int] = None
    ideal: Optional[float] = None
    prefill: Optional[Range] = None
    sensitivity: tuple[Change, ...] = ()
    alone: bool = False


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


def _remarks(entry: MachineEntry, cost: Optional[float]) -> list[str]:
    remarks = price_remarks(entry, cost)
    if entry["kind"] == "cpu":
        told = entry["told"]["price_usd"] if entry.get("told") else None
        now = any("gb" in part for part in entry["parts"])
        if told and cost and told != cost and not now:
            remarks.append(f"Its source says {told:,} dollars, and its parts add up to {cost:,.0f}.")
        if not entry.get("dies") and ccd_links(None, None, entry["cpu"]):
            remarks.append(
                "How many dies its CPU has is not established: where their links are the limit, it is slower."
            )
    return remarks


def gpus_needed(entry: GpuEntry, needed: int) -> int:
    """GPUs that hold so many bytes, each with a reserve of its own."""
    each = float(entry["memory_bytes"] * entry["usable"] - GPU_RESERVE)
    return max(1, math.ceil(needed / each))


def _read_at(gb_s: float, shares: Range, read: int) -> Speed:
    low, high = (gb_s * 1e9 * share / read for share in shares)
    return {"low": low, "expected": (low + high) / 2, "high": high}


def _gpu(entry: GpuEntry, model: ModelEntry, cache: int) -> Fit:
    needed = gpus_needed(entry, model["bytes"] + cache)
    count = entry["count"] or min(needed, entry.get("most", needed))
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
        threads=said["threads"],
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


def beside(entry: Optional[MachineEntry], model: ModelEntry, context: int, options: Options, users: int) -> int:
    """Bytes that so many users with such a context take beside the weights: of GPUs and disks their KV caches, of a
    tower (None: any) the budget of its server, whose slots they are."""
    if entry is not None and entry["kind"] in ("gpu", "disk"):
        return users * kv_bytes(model["kv"], context, options["kv_type"])
    served = Serving(users * context, parallel=users, kv_type=options["kv_type"], checkpoints=DEFAULT_CHECKPOINTS)
    return memory_budget(entry_weighed(model), served)["total"] - model["bytes"]


def _context(model: ModelEntry, options: Options) -> int:
    return min(options["context"], model["context"] or options["context"])


def _blank(entry: MachineEntry, model: ModelEntry) -> Answer:
    return {
        "model": clean(model["name"]),
        "machine": clean(entry["name"]),
        "title": clean(entry["title"]),
        "fits": False,
        "reason": None,
        "missing_bytes": None,
        "count": 1,
        "context": None,
        "tokens_per_second": None,
        "threads": None,
        "limited_by": None,
        "why": None,
        "ideal": None,
        "prefill_tokens_per_second": None,
        "sensitivity": [],
        "cost_usd": None,
        "cost_least": is_least(entry),
        "cost_date": oldest(entry),
        "cost_per_token_s": None,
        "watts": None,
        "joules_per_token": None,
        "energy_usd_per_million_tokens": None,
        "usd_per_million_tokens": None,
        "remarks": [],
    }


def answer(entry: MachineEntry, model: ModelEntry, options: Options = DEFAULTS) -> Answer:
    """One machine for one model, at a context of at most what the model was made for."""
    context = _context(model, options)
    needed = beside(entry, model, context, options, options["users"])
    said, weights = _blank(entry, model), model_of(model)
    if weights is None:
        return {**said, "reason": "model", "why": "the header of the model does not tell what a token reads"}
    fit = _fit(entry, model, weights, Use(options["policy"], None, context, options["kv_type"]), needed)
    if fit is None:
        if entry["kind"] == "tower" and entry["guest"]:
            why = "it is a virtual machine, and what its board shows is made up by its host"
            return {**said, "reason": "guest", "why": why}
        why = "how many of its memory channels are in use is unknown, or one of its CPUs has none"
        return {**said, "reason": "channels", "why": why}
    cost = cost_of(entry, fit.gpus)
    remarks = [*_remarks(entry, cost), *([ALONE_REMARK] if fit.alone else [])]
    said = {**said, "count": fit.gpus, "cost_usd": cost, "remarks": remarks}
    if fit.room is not None and fit.room < needed:
        each = f"{context} tokens" if options["users"] == 1 else f"{options['users']} times {context} tokens"
        what = f"{size(model['bytes'])} of weights and {size(needed)} beside them for {each}"
        missing = needed - fit.room
        why = f"{what} are {size(missing)} too much for {fit.gpus if fit.gpus > 1 else 'it'}"
        return {**said, "reason": "memory", "missing_bytes": missing, "why": why}
    return _fitting(entry, model, options, fit, said)


def _fitting(entry: MachineEntry, model: ModelEntry, options: Options, fit: Fit, said: Answer) -> Answer:
    """The answer of a machine that has the room."""
    speed, most = fit.speed["expected"], model["context"] or options["context"]
    cost, joules = said["cost_usd"], fit.watts / speed if fit.watts else None
    # A kilowatt-hour is 3.6e6 joules.
    energy = joules / 3.6 * options["price_kwh"] if joules else None
    machine = cost * 1e6 / (options["years"] * YEAR * speed) if cost else None
    return {
        **said,
        "fits": True,
        "context": most if fit.room is None else _longest(entry, model, fit.room, most, options),
        "tokens_per_second": fit.speed,
        "threads": fit.threads,
        "limited_by": fit.limited_by,
        "why": clean(fit.why),
        "ideal": fit.ideal,
        "prefill_tokens_per_second": fit.prefill,
        "sensitivity": list(fit.sensitivity),
        "cost_per_token_s": cost / speed if cost else None,
        "watts": fit.watts,
        "joules_per_token": joules,
        "energy_usd_per_million_tokens": energy,
        "usd_per_million_tokens": None if energy is None or machine is None else energy + machine,
    }


def _longest(entry: MachineEntry, model: ModelEntry, room: int, most: int, options: Options) -> Optional[int]:
    """The longest context that fits into the room beside the weights; None where the model does not tell."""
    if not model["kv"]:
        return None
    return longest(lambda context: beside(entry, model, context, options, options["users"]), room, most)


def rank(answers: list[Answer], budget: Optional[float] = None) -> list[Answer]:
    """The best first: what fits by its cost for a token a second, then what costs at least so much, then what fits at
    unknown cost by its speed, then what does not, by what it lacks. With a budget first what fits into it, the fastest
    first."""

    def key(said: Answer) -> tuple[int, float]:
        speed, cost, each = said["tokens_per_second"], said["cost_usd"], said["cost_per_token_s"]
        if not speed:
            return 4, said["missing_bytes"] or float("inf")
        if each is None:
            return 3, -speed["expected"]
        if said["cost_least"]:
            return 2, each
        return (0, -speed["expected"]) if budget is not None and cost is not None and cost <= budget else (1, each)

    return sorted(answers, key=key)


def _planned(model: ModelEntry, machines: list[MachineEntry], options: Options) -> PlannedModel:
    context = _context(model, options)
    all_users, one = (beside(None, model, context, options, users) for users in (options["users"], 1))
    return {
        "name": clean(model["name"]),
        "bytes": model["bytes"],
        "active_bytes": model["active_bytes"],
        "parameters": model["parameters"],
        "beside_bytes": all_users,
        "beside_one_bytes": one,
        "answers": rank([answer(machine, model, options) for machine in machines], options["budget"]),
    }


def purchase_plan(
    models: list[ModelEntry],
    machines: list[MachineEntry],
    options: Options,
    memory: Optional[MemoryPrice] = None,
    today: str = "",
    figures: Optional[list[ThreadFigure]] = None,
) -> PlanDocument:
    """The whole document; ``figures`` is what :func:`thread_figures` makes."""
    boxes = [priced(machine, memory) for machine in machines]
    planned = [_planned(model, boxes, options) for model in models]
    return {
        "schema_version": SCHEMA_VERSION,
        "date": today,
        "options": options,
        "memory": memory,
        "recommendation": recommendation(planned, options["budget"]),
        "models": planned,
        "thread_figures": figures or [],
    }
