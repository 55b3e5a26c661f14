# SPDX-License-Identifier: MIT
"""The steps from what the sockets could read to what the service reads, and why each is lower than the one before.

Made from the report's document alone, for all its renderings. Bandwidths are gigabytes (1e9) a second, speeds tokens
a second; a token reads the active bytes of the model once, so one follows from the other.
"""

from __future__ import annotations

from typing import Any, Optional

from ..benchmark.document import Run
from ..text import number, size
from .benchmark_history import moment

# Quantities of a benchmark's run (benchmark.py): reads by all cores, and tokens by llama-bench.
READ_WHOLE, BENCH_DECODE, SERVICE_DECODE = "read_whole", "bench_decode", "service_steady"
BENCH = "ansible-playbook llamatower.tower.bench"
# How each figure came about; pages draw them differently.
KINDS = {"calculated": "calculated", "estimated": "estimated range", "measured": "measured"}
LIMITS = {"channels": "the memory channels limit it", "ccd-links": "the links of the CPU's dies limit it"}


def active_bytes(document: dict[str, Any]) -> Optional[int]:
    """Bytes that one token reads; None where there is no model, or where its header does not say."""
    return ((document["model"] or {}).get("gguf") or {}).get("active_bytes")


def runs_of_model(document: dict[str, Any]) -> list[Run]:
    """The runs of the benchmark with the model of this report; what another model did says nothing of it."""
    name = (document["model"] or {}).get("name")
    return [run for run in document["benchmarks"] if str(run["conditions"].get("model")).rsplit(" ", 1)[0] == name]


def latest(runs: list[Run], name: str) -> tuple[Optional[float], str]:
    """The median of a quantity in the last run of the benchmark that has it, and when that was."""
    for run in reversed(runs):
        if name in run["results"]:
            return float(run["results"][name]["median"]), f"in the benchmark of {moment(run['started'])}"
    return None, ""


def served_speed(document: dict[str, Any]) -> tuple[Optional[float], str]:
    """Tokens a second of the service, and where that is from: the last benchmark of this model if it was of this build,
    since one short answer tells less."""
    runs = runs_of_model(document)[-1:]
    if runs and (document["build"] or {}).get("key") == runs[0]["conditions"].get("build"):
        speed, when = latest(runs, SERVICE_DECODE)
        if speed:
            return speed, when
    completion = (document["service"] or {}).get("completion") or {}
    return completion.get("tokens_per_second"), "in one short answer"


def steps(document: dict[str, Any]) -> list[dict[str, Any]]:
    """All steps, in order: ``name``, ``kind``, ``low`` and ``high`` (GB/s), ``said``, ``tokens`` and ``why``.

    What was not measured has ``kind`` None, no figures, and in ``fix`` the command that measures it. Empty where
    nothing at all is known of the machine.
    """
    found = _ceilings(document) + _measured(document)
    if all(step["low"] is None for step in found):
        return []
    bytes_read = active_bytes(document)
    for step in found:
        step["said"] = _range(step["low"], step["high"], "GB/s")
        step["tokens"] = None
        if bytes_read and step["low"] is not None:
            low, high = (value * 1e9 / bytes_read for value in (step["low"], step["high"]))
            step["tokens"] = _range(low, high, "tokens/s")
    return found


def _range(low: Optional[float], high: Optional[float], unit: str) -> Optional[str]:
    """Three figures at most: ``50 GB/s``, ``1.2 to 1.6 tokens/s``."""
    if low is None or high is None:
        return None
    texts = [number(value) for value in (low, high)]
    return f"{' to '.join(dict.fromkeys(texts))} {unit}"


def _step(name: str, kind: Optional[str], values: Any, why: str, fix: Optional[str] = None) -> dict[str, Any]:
    low, high = values if isinstance(values, (list, tuple)) else (values, values)
    return {"name": name, "kind": kind, "low": low, "high": high, "why": why, "fix": fix}


def _ceilings(document: dict[str, Any]) -> list[dict[str, Any]]:
    """What is known without a measurement: the sockets, the DIMMs, and what is reachable of these."""
    memory = document["memory_channels"] or {}
    known = memory.get("bandwidth") or {}
    whole, populated, reachable = (known.get(key) for key in ("theoretical_gb_s", "populated_gb_s", "reachable_gb_s"))
    sockets = [socket for socket in memory.get("sockets") or [] if socket["populated"]]
    total = _sum([socket["channels_total"] for socket in sockets])
    used = _sum([socket["channels_populated"] for socket in sockets])
    found = []
    if whole:
        why = "every channel of the CPUs, at their highest speed"
        if total:
            cpus = f"{len(sockets)} CPU{'s' if len(sockets) > 1 else ''}"
            why = f"{total} channels of {cpus}, {whole / total:.1f} GB/s each"
        found.append(_step("Theoretical", "calculated", whole, why))
    if populated:
        why = "every channel has DIMMs, and they run at full speed"
        if whole and populated < 0.995 * whole:
            reasons = []
            if total and used is not None and used < total:
                reasons.append(f"{total - used} of {total} channels {'are' if total - used > 1 else 'is'} empty")
            if total and used and populated / used < 0.995 * whole / total:
                reasons.append(f"a channel gives {populated / used:.1f} GB/s with these DIMMs at their speed")
            why = f"{1 - populated / whole:.0%} less: {', and '.join(reasons) or 'channels are empty, or DIMMs slower'}"
        found.append(_step("Populated", "calculated", populated, why))
    if reachable:
        why = LIMITS.get(known.get("limited_by") or "", "what limits it is unknown")
        if populated:
            why = f"{1 - reachable[1] / populated:.0%} to {1 - reachable[0] / populated:.0%} less: {why}"
        source = known.get("reachable_source")
        found.append(_step("Reachable", "estimated", reachable, f"{why} ({source})" if source else why))
    return found


def _sum(counts: list[Any]) -> Optional[int]:
    return sum(counts) if counts and None not in counts else None


def _measured(document: dict[str, Any]) -> list[dict[str, Any]]:
    """What the tower really did: the read probe, llama-bench, and the service."""
    known = (document["memory_channels"] or {}).get("bandwidth") or {}
    bytes_read = active_bytes(document)
    read, read_when = latest(document["benchmarks"], READ_WHOLE)
    decode, decode_when = latest(runs_of_model(document), BENCH_DECODE)
    speed, when = served_speed(document)
    benched = decode * bytes_read / 1e9 if decode and bytes_read else None
    served = speed * bytes_read / 1e9 if speed and bytes_read else None
    found = []
    if read:
        why = f"all cores read all memory nodes, and do nothing else, {read_when}"
        if known.get("reachable_gb_s"):
            low, high = known["reachable_gb_s"]
            where = "within" if low <= read <= high else "above" if read > high else f"{1 - read / low:.0%} below"
            why += f"; {where} what is held for reachable"
        found.append(_step("Read", "measured", read, why))
    else:
        found.append(_step("Read", None, None, "not measured", BENCH))
    if benched:
        why = f"each token reads {size(bytes_read)}, {decode_when}"
        found.append(_step("llama-bench", "measured", benched, _less(why, benched, read, "the read probe")))
    else:
        found.append(_step("llama-bench", None, None, "not measured", BENCH))
    if served:
        why = f"each token reads {size(bytes_read)}, {when}"
        before = (benched, "llama-bench") if benched else (read, "the read probe")
        if not before[0] and known.get("reachable_gb_s"):
            before = known["reachable_gb_s"][0], "the least that is reachable"
        found.append(_step("Service", "measured", served, _less(why, served, *before)))
    else:
        why = "the model's header does not tell what a token reads" if speed else "no server answered"
        found.append(_step("Service", None, None, why, None if speed else "ansible-playbook llamatower.tower.serve"))
    return found


def _less(why: str, now: float, before: Optional[float], name: str) -> str:
    if not before:
        return why
    part = f"{now / before:.0%}" if now / before >= 0.01 else "Less than 1%"
    return f"{part} of {name}: {why}"
