# SPDX-License-Identifier: MIT
"""How fast a tower decodes, what its memory would allow, and what lies between the two, each with its figure.

What the memory allows is the forecast of a machine whose memory alone limits it: every channel full at the speed of its
DIMMs, and neither links nor cores in the way. What lies between is of two kinds. Of some causes the forecast itself
tells what mending each alone brings; others only show, and explain what the tower is slower than its forecast, as far
as they can.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple, Optional

from ..benchmark.history import latest
from ..forecast.cores import Range
from ..forecast.document import Forecast, Speed
from ..forecast.roofline import (
    ALONE,
    LEAST_GAIN,
    Machine,
    Model,
    Use,
    ceilings,
    forecast,
    machine_of,
    model_of,
    reach,
    sensitivity,
    speed,
    threads_of,
)
from ..memory.bandwidth import channels_in_use
from ..service.placement import HUGE_SHARE
from ..text import number, rate, size
from ..tower import cpu_signature
from ..tower_document import Tower
from .bandwidth_steps import READ_WHOLE, runs_of_model, served_placement, served_speed
from .document import Advice, Cause, Findings

# A tower is slower than its forecast where it has less than this of it: middles of forecasts are off by so much.
CLOSE = 0.9
# How many times slower what only shows can make a tower: small pages 1.17 to 1.19 times on a Xeon 6980P and not at all
# on a Ryzen (ik_llama.cpp discussion 278), NPS4 2.1 times on a Threadripper PRO 9995WX (catalog/bios.yml); governors,
# heat and limits of power leave about half of the highest clock, which is an estimate.
PAGES, NODES, CLOCKS = 1.19, 2.1, 2.0
# What rules and the memory's own advice find, by the cause that it is of. The forecast has figures of the first three.
CODES = {
    "channels": ("dimm-lost", "edac-disagrees", "empty-channel", "unbalanced-sockets"),
    "dies": ("ccd-links",),
    "memory-speed": ("below-rated",),
    "governor": ("governor", "governor-without-preference", "energy-preference", "boost-off"),
    "nodes": (
        "nodes-per-socket",
        "nodes-per-socket-or-l3",
        "l3-as-numa",
        "sub-numa-clusters",
        "numa-off",
        "numa-fake",
        "empty-node",
    ),
    "guest": ("guest",),
}
MODELED = ("channels", "dies", "memory-speed")
CAUSE_OF = {code: cause for cause, codes in CODES.items() for code in codes}


class Asked(NamedTuple):
    """What the forecast of a tower is made from: the machine as it is built, its model, and how it decodes."""

    machine: Machine
    model: Model
    use: Use


class Speeds(NamedTuple):
    """``measured`` tokens a second and ``when``; the ``expected`` ones of the tower as it is, and those that its memory
    ``allowed``; all causes, the most costly first; how many times slower it is than all that explains; and whether
    that is so of its memory, as a clause."""

    measured: Optional[float] = None
    when: str = ""
    expected: Optional[Speed] = None
    allowed: Optional[float] = None
    causes: Sequence[Cause] = ()
    unexplained: Optional[float] = None
    reads: str = ""


def asked(found: Findings) -> Optional[Asked]:
    """None where the memory or the model is not known. Of a guest it is what is known of the real CPU and of the DIMMs
    that its host shows."""
    memory, tower, model = found["memory_channels"], found["tower"], found["model"]
    machine = machine_of(memory, decoding_cores(tower), cpu_signature(tower)) if memory else None
    weights = model_of({**(model.get("gguf") or {}), "bytes": model.get("bytes")}) if model else None
    return Asked(machine, weights, Use(_policy(found))) if machine and weights else None


def decoding_cores(tower: Tower) -> Optional[int]:
    """Cores that decode. How many a guest was given says nothing of the CPU, whose name may."""
    told = re.search(r"(\d+)-Core", tower["cpu"]["model"] or "")
    if tower.get("hypervisor"):
        return int(told[1]) * (tower["sockets"] or 1) if told else None
    return tower.get("cores")


def _policy(found: Findings) -> str:
    """The policy of the service's memory by the name that roofline.py has for it; interleave where none runs.

    Where the kernel has none, threads read what they touched first, and :func:`_uneven` sees how that went.
    """
    placed = served_placement(found)
    name = next(iter((placed.get("policies") if placed else None) or {}), "interleave")
    return next((policy for policy in ("weighted", "interleave", "bind") if name.startswith(policy)), "distribute")


def _threads(found: Findings) -> Optional[int]:
    """The threads that the service decodes with; None where nobody says."""
    servers = (found["service"].get("servers") or []) if found["service"] else []
    if servers and servers[0].get("threads"):
        return servers[0].get("threads")
    settings = [run["conditions"].get("settings") or {} for run in runs_of_model(found)[-1:]]
    told = settings[0].get("LLAMA_ARG_THREADS", "") if settings else ""
    return int(told) if told.isdigit() else None


def _uneven(found: Findings, policy: str) -> float:
    """How many times its even share the fullest memory node holds, for which all threads wait."""
    service = found["service"]
    placed = served_placement(found)
    held = list(((placed["nodes"] if placed else None) or {}).values())
    nodes = max(len((service.get("nodes") if service else None) or []), len(held))
    if policy in (*ALONE, "weighted") or nodes < 2 or not sum(held):
        return 1.0
    return max(held) * nodes / sum(held)


def _slower(machine: Machine, policy: str, uneven: float) -> float:
    """How many times longer reads take: of the fullest node, and of what crosses the sockets to it."""

    def reached(times: float) -> float:
        return min(
            (each["low"] + each["high"]) / (1.0 if each["name"] == "ccd-links" else times)
            for each in ceilings(machine._replace(read_gb_s=None), policy)
        )

    return reached(1.0) / reached(uneven)


def _known(machine: Machine, found: Findings) -> Machine:
    """The machine as the read probe found it, where that reached what is held for reachable; what it lacks of that has
    a cause, and is none of its limits."""
    probe = latest(found["benchmarks"], READ_WHOLE)
    least = min(each["low"] for each in ceilings(machine, "distribute"))
    if not probe or probe[0]["median"] < least:
        return machine
    read, half = probe[0]["median"], probe[0]["spread"] / 2
    ends: Range = (read * (1 - half), read * (1 + half))
    return machine._replace(read_gb_s=ends, source=f"read by all cores in the benchmark of {probe[1]}")


def _dimm_speed(machine: Machine, found: Findings) -> int:
    """MT/s that the slowest DIMM is made for, and the CPU takes."""
    dimms = (found["memory_channels"] or {"dimms": None})["dimms"] or []
    rated = [dimm["rated_mts"] for dimm in dimms if dimm["populated"] and dimm["rated_mts"]]
    return max(machine.mts, min([*rated, machine.fastest_mts]))


def _memory_alone(machine: Machine, mts: int) -> Machine:
    """The same machine, whose memory alone limits it."""
    return machine._replace(
        channels=machine.most_channels,
        mts=mts,
        core=machine.core or machine.generation,
        generation=None,
        dies=None,
        empty=(),
        read_gb_s=None,
    )


def speeds(found: Findings, hardware: Sequence[Advice] = ()) -> Speeds:
    """All of it; ``hardware`` is what rules and the memory's own advice say of the tower."""
    measured, when = served_speed(found)
    question = asked(found)
    if not question:
        return Speeds(measured, when)
    machine, model, use = question
    known, threads = _known(machine, found), _threads(found)
    own = forecast(known, model, use._replace(threads=threads))
    expected = _delayed(own, _slower(machine, use.policy, _uneven(found, use.policy)))
    gains, allowed = _modeled(found, Asked(known, model, use), own, expected)
    now = measured or expected["expected"]
    causes = [_cause(code, now, gain, False) for code, gain in gains.items() if gain >= LEAST_GAIN]
    lack = expected["expected"] / measured if measured else 1.0
    shown = _shown(found, {entry["code"] for entry in hardware}) if lack > 1 / CLOSE else {}
    causes += [_cause(code, now, min(lack, most) - 1, True) for code, most in shown.items()]
    for cause in causes:
        cause["because"] = _because(cause["code"], found, Asked(known, model, use._replace(threads=threads)), own)
    explained = math.prod(shown.values())
    below = measured is not None and expected["low"] > measured * explained
    return Speeds(
        measured,
        when,
        expected,
        allowed,
        sorted(causes, key=lambda cause: -cause["gain"]),
        lack / explained if below else None,
        _reads(found, machine),
    )


def _modeled(found: Findings, question: Asked, own: Forecast, expected: Speed) -> tuple[dict[str, float], float]:
    """What mending each cause alone brings, as a part of the speed, by the forecast; and what the memory allows.

    Machines are compared with the same threads: of those that are about as fast the forecast takes the most, which are
    other ones for another machine.
    """
    known, model, use = question
    mts, plain = _dimm_speed(known, found), known._replace(read_gb_s=None)
    same = use._replace(threads=threads_of(known, model, use))
    fastest = forecast(known, model, same)
    best, told = fastest["tokens_per_second"]["expected"], own["tokens_per_second"]["expected"]
    changes = {change["code"]: change["gain"] for change in sensitivity(known, model, use)}
    gains = {code: changes.get(code, 0.0) for code in ("channels", "dies", "distribute")}
    faster, as_is = (speed(each, model, same)["expected"] for each in (plain._replace(mts=mts), plain))
    gains["memory-speed"] = faster / as_is - 1
    gains["placement"] = told / expected["expected"] - 1
    # A guest may have been given fewer CPUs than the forecast of the real one takes threads.
    gains["threads"] = best / told - 1 if (same.threads or 0) <= (found["tower"].get("cpus") or math.inf) else 0.0
    free = model._replace(type=None)
    if fastest["limited_by"] == "arithmetic":
        gains["arithmetic"] = speed(known, free, same)["expected"] / best - 1
    whole = use if use.policy in ALONE else use._replace(policy="interleave")
    return gains, max(best, speed(_memory_alone(known, mts), free, whole)["expected"])


def _reads(found: Findings, machine: Machine) -> str:
    """Whether it is the memory itself that is slow, as a clause."""
    probe = latest(found["benchmarks"], READ_WHOLE)
    if not probe:
        return "a benchmark tells whether it is the memory itself that is slow"
    (low, high), read = reach(machine, "distribute")[0], probe[0]["median"]
    if read < low:
        return (
            f"the memory itself is slow: all cores read {rate(read)}, of {rate(low, high)} that are held for reachable"
        )
    return f"it is not the memory itself, of which all cores read {rate(read)}"


def _delayed(own: Forecast, slower: float) -> Speed:
    """The forecast where reads take so many times longer."""
    seconds, said = own["seconds"], own["tokens_per_second"]
    part = (seconds["reading"] + seconds["fixed"]) / (seconds["reading"] * slower + seconds["fixed"])
    return {"low": said["low"] * part, "expected": said["expected"] * part, "high": said["high"] * part}


def _cause(code: str, now: float, part: float, at_most: bool) -> Cause:
    return {"code": code, "gain": now * part, "part": part, "at_most": at_most, "because": ""}


def _shown(found: Findings, codes: Collection[str]) -> dict[str, float]:
    """What shows on the tower and can make it slower, and how many times at most."""
    tower, placed = found["tower"], served_placement(found)
    causes: dict[str, float] = {}
    if tower.get("hypervisor"):
        causes["guest"] = math.inf
    if placed and placed.get("swapped_bytes"):
        causes["swap"] = math.inf
    strain = tower.get("strain")
    if strain and strain["cpu_wait"] and strain["cpu_wait"] < 1:
        causes["load"] = 1 / (1 - strain["cpu_wait"])
    if strain and (strain["hot"] or _capped(tower)):
        causes["limit"] = CLOCKS
    causes.update(
        {cause: most for cause, most in (("governor", CLOCKS), ("nodes", NODES)) if {*CODES[cause]} & {*codes}}
    )
    if placed and placed["bytes"] and (placed["huge_bytes"] or 0) < HUGE_SHARE * placed["bytes"]:
        causes["pages"] = PAGES
    return {cause: most for cause, most in causes.items() if most - 1 >= LEAST_GAIN}


def _capped(tower: Tower) -> bool:
    """Whether the CPUs may not take the power that they are made for."""
    strain = tower.get("strain")
    watts, most = (strain["watts"], strain["most_watts"]) if strain else (None, None)
    return watts is not None and most is not None and watts < 0.95 * most


def _because(code: str, found: Findings, question: Asked, own: Forecast) -> str:
    """A cause as a clause that follows a "because"."""
    machine, tower = question.machine, found["tower"]
    built = {each["name"]: each for each in ceilings(machine._replace(read_gb_s=None), "distribute")}
    if code == "dies":
        links = built["ccd-links"]
        return (
            f"the links of its CPUs' dies let {rate(links['low'], links['high'])} through, of "
            f"{rate(machine.populated_gb_s)} that the DIMMs give"
        )
    if code == "channels":
        used, total = channels_in_use(found["memory_channels"])
        lack = (total or machine.most_channels) - (used or machine.channels)
        return f"{lack} of {total or machine.most_channels} memory channels {'are' if lack > 1 else 'is'} empty"
    if code == "arithmetic":
        return next(each["why"] for each in own["ceilings"] if each["name"] == "arithmetic")
    if code == "limit":
        return _limit(tower)
    placed = served_placement(found)
    total = (placed["bytes"] if placed else None) or 1
    fullest = max(((placed["nodes"] if placed else None) or {}).values(), default=0)
    clocks, waited = tower.get("frequency"), (tower.get("strain") or {"cpu_wait": None})["cpu_wait"] or 0.0
    huge, swapped = (placed["huge_bytes"], placed["swapped_bytes"]) if placed else (0, 0)
    mts, best, part = _dimm_speed(machine, found), threads_of(machine, question.model), round(100 * (huge or 0) / total)
    said = {
        "memory-speed": f"its DIMMs run at {machine.mts} MT/s and are made for {mts}",
        "distribute": "half of all reads cross the links between its sockets",
        "placement": f"the fullest memory node holds {100 * fullest / total:.0f} % of the weights",
        "threads": f"{question.use.threads} threads decode, and {best} would be faster",
        "swap": f"{size(swapped or 0)} of the weights are swapped out",
        "pages": f"{f'only {part} %' if part else 'nothing'} of its memory is in huge pages",
        "load": f"something else runs there, and its threads waited for a CPU in {100 * waited:.0f} % of the time",
        "governor": f"its clocks are not set for speed (governor {clocks['governor'] if clocks else 'unknown'})",
        "nodes": "the firmware or the kernel divides its memory otherwise than in sockets",
        "guest": "it is a virtual machine",
    }
    return said[code]


def _limit(tower: Tower) -> str:
    strain = tower.get("strain")
    if strain and _capped(tower):
        return f"its CPUs may take {number(strain['watts'])} of {number(strain['most_watts'])} W each"
    return f"its CPUs were slowed down by heat {strain['hot'] if strain else 0} times since they were started"
