# SPDX-License-Identifier: MIT
"""How fast a machine decodes a model: the bytes that a token reads over the bandwidth, and what a token costs besides.

    seconds a token = reading and arithmetic + layers x waiting
    reading         = (active bytes + KV cache at that context) / (reach x share)

``reach`` is the lowest of three ceilings: what the memory controllers reach of the DIMMs' bandwidth, what the links
of the CPU's dies let through, and what the links between the sockets do under the memory policy. What the cores can
multiply, and how long they wait for each other, is in cores.py. Every constant is a range with its source; a forecast
is therefore one, too, and its middle is computed from the middles. ``SHARE`` was fitted on a part of
catalog/published_runs.yml, and all is checked on the rest: docs/forecast.md.

:func:`machine_of` makes a :class:`Machine` of what memory_channels_info returns, :func:`model_of` a :class:`Model` of
what gguf_info returns or of an entry of catalog/models.yml, and :func:`forecast` tells how fast, why not faster, and
what would help. Bandwidths are gigabytes (1e9) a second, speeds tokens a second, times seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..benchmark.document import Run
from ..benchmark.history import latest
from ..benchmark.search import thread_counts
from ..memory.cpus import DRAM_EFFICIENCY, GMI_GB_S, SOCKET_LINK_GB_S, ccd_links, cpu_memory, dies_of
from ..memory.document import MemoryChannels
from ..model.document import KvGeometry
from ..model.kv_cache import kv_bytes
from ..service.memory_budget import DEFAULT_RESERVE
from ..text import rate
from .cores import OVERLAP, Range, arithmetic_gb_s, core_of, line_seconds, waiting
from .document import Ceiling, Change, Forecast, Speed

# Policies of one node's cores.
ALONE = ("bind", "per_node")
ONE_NODE = "one node alone (the NUMA policy bind)"
# The part of the reachable bandwidth at which weights are read, dense models and mixtures of experts: threads do not
# end their parts of a matrix together, and begin before the prefetchers are up to speed. An expert's matrices are small
# (7168 x 2048 in DeepSeek R1). Fitted: 0.90, 0.71.
SHARE: dict[str, Range] = {"dense": (0.82, 0.98), "moe": (0.58, 0.84)}
# Threads of a machine whose number of cores is not known, and the type that is taken where that decides on threads.
USUAL_THREADS, USUAL_TYPE = 64, "Q4_K"
# Fewer threads have to be faster by so much.
CLEARLY = 0.05
# Arithmetic of a core while it reads a prompt, in 1e9 operations a second, two for every active weight. DeepSeek R1 on
# an EPYC 7773X: 51 (ik_llama.cpp discussion 223), on a Xeon 6980P: 53 (discussion 201); Llama 3.1 8B on a Ryzen 7950X:
# 83 to 148 by type (discussion 164).
PREFILL_GFLOPS: Range = (40.0, 110.0)
# Sensitivity: what is compared with a larger type. Q4_K_M of a large model has about 4.85 bits a weight
# (Llama 3.1 70B: 42.52 GB of 70.6e9 weights, 4.82); of Q6_K it keeps 4.85 / 6.56 of the bytes. It has 5.4 where rows
# are no multiple of 256 (GLM-4.5-Air: 72 GB of 106.9e9): what has no more than that may be Q4_K_M already.
SMALLER_BITS, SMALLER_NAME, MAYBE_SMALLER = 4.85, "Q4_K_M", 5.45
# The dies that an EPYC needs before its links carry what twelve channels give (EPYC 9354P: DRAMHiT, as in cpu_memory).
ENOUGH_DIES = 8
# A change that is worth less is not told.
LEAST_GAIN = 0.02


class Machine(NamedTuple):
    """What limits the memory of a machine.

    ``channels`` are those in use that count: weights are spread evenly over the sockets and wait for the poorest, so
    that is as many of each as the poorest has. ``dies`` and ``cores`` are of all sockets together; None is unknown, or
    no limit. ``read_gb_s`` is what was measured, and takes the place of every estimate. ``core`` is one of cores.CORES,
    and the generation where that is None; ``node_bytes`` the memory of the smallest socket.
    """

    sockets: int
    channels: int
    most_channels: int
    mts: int
    fastest_mts: int
    cores: Optional[int] = None
    dies: Optional[int] = None
    generation: Optional[str] = None
    empty: tuple[str, ...] = ()
    read_gb_s: Optional[Range] = None
    source: Optional[str] = None
    core: Optional[str] = None
    node_bytes: Optional[int] = None

    @property
    def populated_gb_s(self) -> float:
        return self.channels * self.mts * 8 / 1000


class Model(NamedTuple):
    """What a token costs: ``kind`` is dense or moe, ``kv`` the geometry of the cache as kv_cache has it, ``type`` that
    of most weights."""

    kind: str
    bytes: int
    active_bytes: int
    layers: int
    parameters: Optional[int] = None
    active_parameters: Optional[int] = None
    kv: Optional[KvGeometry] = None
    type: Optional[str] = None


class Use(NamedTuple):
    """How the machine decodes: ``policy`` is one of numa_policy.POLICIES; ``threads`` None are as many as are fastest;
    ``context`` tokens of KV cache of the type ``kv_type`` are read for each token, too."""

    policy: str = "interleave"
    threads: Optional[int] = None
    context: int = 0
    kv_type: str = "f16"


INTERLEAVED = Use()


def machine_of(
    memory_channels: MemoryChannels,
    cores: Optional[int] = None,
    signature: tuple[Optional[int], Optional[int]] = (None, None),
) -> Optional[Machine]:
    """The machine that memory_channels_info described; None where its bandwidth is unknown, or a CPU has no DIMMs.

    ``cores`` are the physical ones that decode, of all sockets together, ``signature`` family and model of the CPUs
    (tower_info), so that a CPU whose brand says nothing is the same one here as there.
    """
    sockets = [socket for socket in memory_channels.get("sockets") or [] if socket["populated"]]
    speeds = [
        dimm["configured_mts"] or dimm["rated_mts"] for dimm in memory_channels.get("dimms") or [] if dimm["populated"]
    ]
    used = [socket["channels_populated"] or 0 for socket in sockets]
    known = [speed for speed in speeds if speed]
    # A CPU without DIMMs reads all from another, through links that no ceiling here is of.
    if not sockets or not known or 0 in used:
        return None
    brand = str(sockets[0]["cpu"] or "")
    memory, links = cpu_memory(brand, *signature), ccd_links(*signature, brand)
    totals = [socket["channels_total"] or count for socket, count in zip(sockets, used)]
    return Machine(
        sockets=len(sockets),
        channels=len(sockets) * min(used),
        most_channels=sum(totals),
        mts=min(known),
        fastest_mts=max(min(known), (memory and memory.mts_1dpc) or 0),
        cores=cores,
        dies=dies_of(links, [socket["l3_domains"] for socket in sockets]),
        generation=links[0] if links else None,
        empty=tuple(name for socket in sockets for name in socket["empty_channels"] or []),
        core=core_of(brand, signature),
        node_bytes=_smallest(memory_channels),
    )


def _smallest(memory_channels: MemoryChannels) -> Optional[int]:
    """The memory of the socket that has least; None where it is not known which DIMM is whose."""
    held: dict[Optional[int], int] = {}
    for dimm in memory_channels.get("dimms") or []:
        if dimm["populated"]:
            held[dimm.get("socket")] = held.get(dimm.get("socket"), 0) + (dimm.get("size_bytes") or 0)
    return min(held.values()) or None if None not in held else None


def _type_of(files: str) -> Optional[str]:
    """The type that the files of a model are named after: Q4_K_M of ``*-Q4_K_M/*.gguf``."""
    found = re.search(r"(?:IQ|Q|BF|F|MXFP)\d\w*", files, re.I)
    return found.group().upper() if found else None


def model_of(described: Mapping[str, Any]) -> Optional[Model]:
    """A model from gguf_info's summary or from an entry of catalog/models.yml; None where either lacks the figures."""
    active, layers = described.get("active_bytes"), described.get("block_count") or described.get("layers")
    total = described.get("bytes") or sum((described.get("bytes_by_type") or {}).values())
    if not active or not layers or not total:
        return None
    parameters, mixture = described.get("parameters"), bool(described.get("expert_count") or described.get("experts"))
    active_parameters = described.get("active_parameters")
    if parameters and not active_parameters:
        active_parameters = round(parameters * active / total)
    return Model(
        "moe" if mixture else "dense",
        total,
        active,
        layers,
        parameters,
        active_parameters,
        described.get("kv"),
        described.get("quantization") or _type_of(str(described.get("files") or "")),
    )


def ceilings(machine: Machine, policy: str = "interleave") -> list[Ceiling]:
    """What each part of the machine lets through under one of numa_policy.POLICIES."""
    one_node, one_socket = policy in (*ALONE, "none"), policy in ALONE
    memory, cores = (1 / machine.sockets if alone else 1.0 for alone in (one_node, one_socket))
    populated = machine.populated_gb_s * memory
    found: list[Ceiling] = []
    if machine.read_gb_s:
        low, high = (value * memory for value in machine.read_gb_s)
        return [{"name": "measured", "low": low, "high": high, "why": machine.source or "measured on this machine"}]
    low, high = (populated * share for share in DRAM_EFFICIENCY)
    why = f"memory controllers reach {DRAM_EFFICIENCY[0]:.0%} to {DRAM_EFFICIENCY[1]:.0%} of {rate(populated)}"
    found.append({"name": "channels", "low": low, "high": high, "why": why})
    if machine.dies and machine.generation:
        low, high = (machine.dies * cores * link for link in GMI_GB_S[machine.generation])
        zen, each = machine.generation.replace("zen", "Zen "), rate(*GMI_GB_S[machine.generation])
        why = f"{machine.dies * cores:.0f} dies of {zen} read {each} each"
        found.append({"name": "ccd-links", "low": low, "high": high, "why": why})
    links = SOCKET_LINK_GB_S.get(machine.generation or "")
    if links and machine.sockets == 2 and policy in ("interleave", "weighted", "none"):
        # Interleaved, a quarter of all reads goes each way between two sockets; without a policy half of them go one.
        factor = 4.0 if policy != "none" else 2.0
        why = "half of all reads cross the links between the sockets"
        found.append({"name": "socket-links", "low": links[0] * factor, "high": links[1] * factor, "why": why})
    return found


def reach(machine: Machine, policy: str = "interleave") -> tuple[Range, str, str]:
    """The bandwidth that is left, low and high; the ceiling that sets its middle; and why."""
    found = ceilings(machine, policy)
    lowest = min(found, key=lambda ceiling: ceiling["low"] + ceiling["high"])
    return (
        (min(ceiling["low"] for ceiling in found), min(ceiling["high"] for ceiling in found)),
        lowest["name"],
        lowest["why"],
    )


def _middle(pair: Range) -> float:
    return (pair[0] + pair[1]) / 2


def _used(machine: Machine, policy: str) -> Machine:
    """The part of the machine whose cores decode: of those policies that keep to one node, a socket."""
    if machine.sockets == 1 or policy not in ALONE:
        return machine
    cores, dies = (count and count // machine.sockets for count in (machine.cores, machine.dies))
    return machine._replace(sockets=1, cores=cores, dies=dies)


def _seconds(
    machine: Machine, model: Model, use: Use, threads: int, slowly: bool = False
) -> tuple[list[float], list[float]]:
    """Seconds of a token at the slow end, in the middle and at the fast end: reading and multiplying, and waiting.
    ``slowly``: the middle multiplies as the slow end."""
    read = (model.active_bytes + kv_bytes(model.kv, use.context, use.kv_type)) / 1e9
    reached, share, used = reach(machine, use.policy)[0], SHARE[model.kind], _used(machine, use.policy)
    core = used.core or used.generation
    ends = [pair[0] * pair[1] for pair in zip(reached, share)]
    busy = [read / gb_s for gb_s in (ends[0], _middle(reached) * _middle(share), ends[1])]
    multiplied = arithmetic_gb_s(core, model.type, min(threads, used.cores or threads))
    if multiplied:
        pace = (multiplied[0], multiplied[0] if slowly else _middle(multiplied), multiplied[1])
        busy = [(time**OVERLAP + (read / gb_s) ** OVERLAP) ** (1 / OVERLAP) for time, gb_s in zip(busy, pace)]
    wait = waiting(model.kind, threads, line_seconds(core, threads, used.cores, used.dies, used.sockets))
    return busy, [model.layers * each for each in (wait[1], _middle(wait), wait[0])]


def fits_alone(machine: Machine, model: Model, use: Use) -> bool:
    """Whether one socket has the memory for the model: with no reads and no barriers between two it may be faster."""
    needed = model.bytes + kv_bytes(model.kv, use.context, use.kv_type) + DEFAULT_RESERVE
    return machine.node_bytes is not None and needed <= machine.node_bytes


def threads_of(machine: Machine, model: Model, use: Use = INTERLEAVED) -> int:
    """As many threads as are asked for, else of the tuner's candidates the most that are as fast as any.

    What is uncertain about the arithmetic of a core speaks for more of them; where nothing is known of it, it is one
    thread for each core, as the engine takes them.
    """
    used = _used(machine, use.policy)
    core = used.core or used.generation
    if use.threads or not used.cores or not arithmetic_gb_s(core, USUAL_TYPE, 1):
        return use.threads or used.cores or USUAL_THREADS
    known = model if arithmetic_gb_s(core, model.type, 1) else model._replace(type=USUAL_TYPE)
    times = {}
    for count in thread_counts(used.cores, used.cores)[0]:
        busy, wait = _seconds(machine, known, use, count, slowly=True)
        times[count] = busy[1] + wait[1]
    return max(count for count, time in times.items() if time <= min(times.values()) * (1 + CLEARLY))


def speed(machine: Machine, model: Model, use: Use = INTERLEAVED, factor: float = 1.0) -> Speed:
    """Tokens a second; ``factor`` as :func:`forecast` has it."""
    slow, middle, fast = map(sum, zip(*_seconds(machine, model, use, threads_of(machine, model, use))))
    return {"low": factor / slow, "expected": factor / middle, "high": factor / fast}


def _arithmetic(machine: Machine, model: Model, use: Use, threads: int) -> list[Ceiling]:
    used = _used(machine, use.policy)
    count = min(threads, used.cores or threads)
    found = arithmetic_gb_s(used.core or used.generation, model.type, count)
    if not found:
        return []
    why = f"{count} of its cores multiply {rate(*(gb_s / count for gb_s in found))} of {model.type} each"
    return [{"name": "arithmetic", "low": found[0], "high": found[1], "why": why}]


def forecast(machine: Machine, model: Model, use: Use = INTERLEAVED, factor: float = 1.0) -> Forecast:
    """How fast the machine decodes the model, and what would make it faster. ``factor`` is how much faster this machine
    was measured to be (:func:`calibrated`)."""
    threads = threads_of(machine, model, use)
    said = speed(machine, model, use._replace(threads=threads), factor)
    (low, high), name, why = reach(machine, use.policy)
    multiplied = _arithmetic(machine, model, use, threads)
    if multiplied and multiplied[0]["low"] + multiplied[0]["high"] < low + high:
        name, why = multiplied[0]["name"], multiplied[0]["why"]
    fixed = _seconds(machine, model, use, threads)[1][1]
    return {
        "tokens_per_second": said,
        "gb_s": {"low": low, "high": high},
        "limited_by": name,
        "why": why,
        "ceilings": [*ceilings(machine, use.policy), *multiplied],
        "seconds": {"reading": 1 / said["expected"] - fixed / factor, "fixed": fixed / factor},
        "threads": threads,
        "ideal": machine.populated_gb_s * 1e9 / model.active_bytes,
        "sensitivity": [
            {**change, "tokens_per_second": said["expected"] * (1 + change["gain"])}
            for change in sensitivity(machine, model, use)
        ],
        "prefill_tokens_per_second": prefill(machine, model),
    }


def sensitivity(machine: Machine, model: Model, use: Use = INTERLEAVED) -> list[Change]:
    """What each change alone would bring, the most useful first; without those that bring next to nothing."""
    changes: list[tuple[str, str, Machine, Model, Use, bool]] = []
    per_socket = machine.dies // machine.sockets if machine.dies else None
    if machine.channels < machine.most_channels:
        names = " and ".join([", ".join(machine.empty[:-1]), machine.empty[-1]] if machine.empty[1:] else machine.empty)
        what = f"filling {names or 'every channel'}"
        filled = machine._replace(channels=machine.most_channels, empty=(), read_gb_s=None)
        changes.append(("channels", what, filled, model, use, False))
    if machine.mts < machine.fastest_mts:
        faster = machine._replace(mts=machine.fastest_mts, read_gb_s=None)
        changes.append(("faster-dimms", f"DIMMs of {machine.fastest_mts} MT/s", faster, model, use, False))
    if per_socket and per_socket < ENOUGH_DIES:
        cores = machine.cores and machine.cores * ENOUGH_DIES // per_socket
        larger = machine._replace(dies=ENOUGH_DIES * machine.sockets, cores=cores, read_gb_s=None)
        changes.append(("dies", f"CPUs with {ENOUGH_DIES} CCDs", larger, model, use, False))
    if machine.sockets > 1 and use.policy != "distribute":
        distributed = use._replace(policy="distribute")
        plain = machine._replace(read_gb_s=None)
        changes.append(("distribute", "the NUMA policy distribute", plain, model, distributed, False))
    if machine.sockets > 1 and use.policy not in ALONE and fits_alone(machine, model, use):
        changes.append(("one-node", ONE_NODE, machine, model, use._replace(policy="bind"), False))
    if model.parameters and model.bytes * 8 / model.parameters > MAYBE_SMALLER:
        part = SMALLER_BITS * model.parameters / 8 / model.bytes
        active = round(model.active_bytes * part)
        smaller = model._replace(bytes=round(model.bytes * part), active_bytes=active, type=SMALLER_NAME)
        changes.append(("smaller-type", SMALLER_NAME, machine, smaller, use, True))
    # Against the estimate without a measurement, where the changed machine is not the one that was measured.
    found: list[Change] = []
    for key, what, other, weights, other_use, quality in changes:
        base = machine if other.read_gb_s == machine.read_gb_s else machine._replace(read_gb_s=None)
        before = speed(base, model, use)["expected"]
        after = speed(other, weights, other_use)["expected"]
        gain = after / before - 1
        if gain >= LEAST_GAIN:
            found.append(Change(code=key, change=what, tokens_per_second=after, gain=gain, costs_quality=quality))
    return sorted(found, key=lambda change: -change["gain"])


def sensitivity_text(changes: Iterable[Change]) -> str:
    """``filling K and L: +9 %; CPUs with 8 CCDs: +70 %; Q4_K_M: +36 %, at a quality cost``."""
    return "; ".join(
        f"{change['change']}: {change['gain'] * 100:+.0f} %{', at a quality cost' if change['costs_quality'] else ''}"
        for change in changes
    )


def prefill(machine: Machine, model: Model) -> Optional[Range]:
    """Tokens of a prompt read a second: arithmetic, not bandwidth; a rough range, or None without cores or weights."""
    if not machine.cores or not model.active_parameters:
        return None
    low, high = (machine.cores * each * 1e9 / (2 * model.active_parameters) for each in PREFILL_GFLOPS)
    return low, high


def calibrated(
    machine: Machine,
    runs: Sequence[Run],
    model: Optional[Model] = None,
    use: Use = INTERLEAVED,
) -> tuple[Machine, float]:
    """The machine as its own benchmarks show it, and how much faster than its forecast it decoded ``model``.

    ``runs`` are as benchmark/document.py has them, oldest first. ``read_whole`` of the last run that has it replaces
    the estimate of the bandwidth, plus and minus its spread; ``bench_decode`` (tokens a second, llama-bench with
    ``model``) gives the factor for :func:`forecast`, which is 1.0 where there is none.
    """
    measured = latest(runs, "read_whole")
    if measured:
        whole, started = measured
        middle, half = whole["median"], whole["spread"] / 2
        when = f"read by all cores in the benchmark of {started}"
        machine = machine._replace(read_gb_s=(middle * (1 - half), middle * (1 + half)), source=when)
    decode = latest(runs, "bench_decode")
    if not decode or not model:
        return machine, 1.0
    return machine, decode[0]["median"] / speed(machine, model, use)["expected"]
