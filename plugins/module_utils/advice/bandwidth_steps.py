# SPDX-License-Identifier: MIT
"""The steps from what the sockets could read to what the service reads, and why each is lower than the one before.

Made from the report's document alone, for all its renderings. Bandwidths are gigabytes (1e9) a second, speeds tokens
a second; a token reads the active bytes of the model once, so one follows from the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from ..benchmark.document import Run
from ..benchmark.history import latest
from ..memory.bandwidth import channels_in_use
from ..service.document import PlacementInfo
from ..text import moment, rate, size
from .document import BandwidthStep, Findings

# Quantities of a benchmark's run (benchmark/document.py): reads by all cores, and tokens by llama-bench.
READ_WHOLE, BENCH_DECODE, SERVICE_DECODE = "read_whole", "bench_decode", "service_steady"
BENCH = "ansible-playbook llamatower.tower.bench"
# The steps by their codes, in order.
NAMES = {
    "theoretical": "Theoretical",
    "populated": "Populated",
    "reachable": "Reachable",
    "read": "Read",
    "bench": "llama-bench",
    "service": "Service",
}
# How each figure came about; pages draw them differently.
KINDS = {"calculated": "calculated", "estimated": "estimated range", "measured": "measured"}
LIMITS = {"channels": "the memory channels limit it", "ccd-links": "the links of the CPU's dies limit it"}


def active_bytes(document: Findings) -> Optional[int]:
    """Bytes that one token reads; None where there is no model, or where its header does not say."""
    header = document["model"].get("gguf") if document["model"] else None
    return header.get("active_bytes") if header else None


def runs_of_model(document: Findings) -> list[Run]:
    """The runs of the benchmark with the model of this report; what another model did says nothing of it."""
    name = document["model"].get("name") if document["model"] else None
    return [run for run in document["benchmarks"] if str(run["conditions"].get("model")).rsplit(" ", 1)[0] == name]


def _last_median(runs: list[Run], name: str) -> tuple[Optional[float], str]:
    """The median of a quantity in the last run of the benchmark that has it, and when that was."""
    found = latest(runs, name)
    return (float(found[0]["median"]), f"in the benchmark of {moment(found[1])}") if found else (None, "")


def served_speed(document: Findings) -> tuple[Optional[float], str]:
    """Tokens a second of the service, and where that is from: the last benchmark of this model if it was of this build,
    since one short answer tells less."""
    runs, build = runs_of_model(document)[-1:], document["build"]
    if runs and (build.get("key") if build else None) == runs[0]["conditions"].get("build"):
        speed, when = _last_median(runs, SERVICE_DECODE)
        if speed:
            return speed, when
    completion = document["service"].get("completion") if document["service"] else None
    return completion.get("tokens_per_second") if completion else None, "in one short answer"


def served_placement(document: Findings) -> Optional[PlacementInfo]:
    """Where the memory of the service lies; None where none runs."""
    return document["service"].get("placement") if document["service"] else None


def steps(document: Findings) -> list[BandwidthStep]:
    """All steps, in order. Empty where nothing at all is known of the machine."""
    found = _ceilings(document) + _measured(document)
    if all(step["low"] is None for step in found):
        return []
    bytes_read = active_bytes(document)
    for step in found:
        low, high = step["low"], step["high"]
        if low is None or high is None:
            continue
        step["said"] = rate(low, high)
        if bytes_read:
            step["tokens"] = rate(low * 1e9 / bytes_read, high * 1e9 / bytes_read, unit="tokens/s")
    return found


def _step(
    code: str, kind: Optional[str], ends: Sequence[Optional[float]], why: str, fix: Optional[str] = None
) -> BandwidthStep:
    low, high = ends
    return {
        "code": code,
        "name": NAMES[code],
        "kind": kind,
        "low": low,
        "high": high,
        "said": None,
        "tokens": None,
        "why": why,
        "fix": fix,
    }


def _unmeasured(code: str, why: str, fix: Optional[str]) -> BandwidthStep:
    return _step(code, None, (None, None), why, fix)


def _ceilings(document: Findings) -> list[BandwidthStep]:
    """What is known without a measurement: the sockets, the DIMMs, and what is reachable of these."""
    memory = document["memory_channels"]
    known = memory["bandwidth"] if memory else None
    if not memory or not known:
        return []
    whole, populated, reachable = known["theoretical_gb_s"], known["populated_gb_s"], known["reachable_gb_s"]
    sockets = sum(1 for socket in memory["sockets"] or [] if socket["populated"])
    used, total = channels_in_use(memory)
    found = []
    if whole:
        why = "every channel of the CPUs, at their highest speed"
        if total:
            cpus = f"{sockets} CPU{'s' if sockets > 1 else ''}"
            why = f"{total} channels of {cpus}, {rate(whole / total)} each"
        found.append(_step("theoretical", "calculated", (whole, whole), why))
    if populated:
        found.append(_step("populated", "calculated", (populated, populated), _lost(whole, populated, used, total)))
    if reachable:
        why = LIMITS.get(known["limited_by"] or "", "what limits it is unknown")
        if populated:
            why = f"{1 - reachable[1] / populated:.0%} to {1 - reachable[0] / populated:.0%} less: {why}"
        source = known.get("reachable_source")
        found.append(_step("reachable", "estimated", reachable, f"{why} ({source})" if source else why))
    return found


def _lost(whole: Optional[float], populated: float, used: Optional[int], total: Optional[int]) -> str:
    """What the DIMMs that are there cost, against a board that is full of the fastest."""
    if not whole or populated >= 0.995 * whole:
        return "every channel has DIMMs, and they run at full speed"
    reasons = []
    if total and used is not None and used < total:
        reasons.append(f"{total - used} of {total} channels {'are' if total - used > 1 else 'is'} empty")
    if total and used and populated / used < 0.995 * whole / total:
        reasons.append(f"a channel gives {rate(populated / used)} with these DIMMs at their speed")
    return f"{1 - populated / whole:.0%} less: {', and '.join(reasons) or 'channels are empty, or DIMMs slower'}"


def _measured(document: Findings) -> list[BandwidthStep]:
    """What the tower really did: the read probe, llama-bench, and the service."""
    memory, bytes_read = document["memory_channels"], active_bytes(document)
    reachable = memory["bandwidth"]["reachable_gb_s"] if memory and memory["bandwidth"] else None
    read, read_when = _last_median(document["benchmarks"], READ_WHOLE)
    decode, decode_when = _last_median(runs_of_model(document), BENCH_DECODE)
    speed, when = served_speed(document)
    benched = decode * bytes_read / 1e9 if decode and bytes_read else None
    served = speed * bytes_read / 1e9 if speed and bytes_read else None
    found = [_unmeasured("read", "not measured", BENCH), _unmeasured("bench", "not measured", BENCH)]
    if read:
        why = f"all cores read all memory nodes, and do nothing else, {read_when}"
        if reachable:
            low, high = reachable
            where = "within" if low <= read <= high else "above" if read > high else f"{1 - read / low:.0%} below"
            why += f"; {where} what is held for reachable"
        found[0] = _step("read", "measured", (read, read), why)
    if benched:
        why = f"each token reads {size(bytes_read)}, {decode_when}"
        found[1] = _step("bench", "measured", (benched, benched), _less(why, benched, read, "the read probe"))
    if served:
        why = f"each token reads {size(bytes_read)}, {when}"
        before = (benched, "llama-bench") if benched else (read, "the read probe")
        if not before[0] and reachable:
            before = reachable[0], "the least that is reachable"
        return [*found, _step("service", "measured", (served, served), _less(why, served, *before))]
    if speed:
        return [*found, _unmeasured("service", "the model's header does not tell what a token reads", None)]
    return [*found, _unmeasured("service", "no server answered", "ansible-playbook llamatower.tower.serve")]


def _less(why: str, now: float, before: Optional[float], name: str) -> str:
    if not before:
        return why
    part = f"{now / before:.0%}" if now / before >= 0.01 else "Less than 1%"
    return f"{part} of {name}: {why}"


def explanation(step: BandwidthStep) -> str:
    """Why a step is as high as it is, or how it would be measured."""
    return f"{step['why']}: {step['fix']}" if step["fix"] else step["why"]
