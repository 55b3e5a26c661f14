# SPDX-License-Identifier: MIT
"""Whether a tower is fast and why not, in one sentence; and what to do next on it, what brings most first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from ..benchmark.document import Regression, name_of
from ..benchmark.history import regressions
from ..forecast.roofline import CLEARLY
from ..memory.document import Severity
from ..text import clean, moment, number, rate, whole
from .bandwidth_steps import BENCH_DECODE, READ_WHOLE, SERVICE_DECODE
from .bios_rules import SEVERITIES
from .document import Advice, Cause, Findings, Verdict
from .speed import CAUSE_OF, CODES, MODELED, Speeds

# What the project can do is a command, what hands must do a sentence: by the code of a cause that no rule speaks of.
FIXES = {
    "placement": "serve",
    "pages": "prepare",
    "threads": "tune",
    "distribute": "tune",
    "unexplained": "bench",
    "swap": "Turn swap off (swapoff -a), or choose a smaller model, and restart the service.",
    "load": "Stop what else runs there, or give it CPUs of its own (AllowedCPUs= of its unit): top shows it.",
    "limit": "Look after the cooling; in the BIOS set the power limits (cTDP, PPL, PL1) to the CPU's maximum.",
    "arithmetic": "More cores multiply more; of types, Q4_K and Q6_K take less arithmetic a byte than any IQ type.",
    "guest": "Use the machine itself, or give the guest the real CPU and memory nodes, and CPUs that nobody shares.",
}
# What makes a part that is missing.
PLAYBOOKS = {"build": "build", "model": "models", "service": "serve"}
# One act mends all of a group; the first that is there says how.
ACTS = (CODES["channels"], CODES["governor"][:3])
# What is wrong whatever it costs.
HEALTH = ("dimm-lost", "edac-disagrees")
# What the check says of a server that answers.
OF_MEMORY = ("placement", "pages", "swap")
LITTLE = "less than 2 % here"
# From here on nobody reads percent.
TEN_TIMES, HALF_PERCENT = 9.0, 0.005


def _entry(severity: Severity, code: str, message: str, fix: Optional[str], command: bool = False) -> Advice:
    return {
        "severity": severity,
        "code": code,
        "message": message,
        "fix": fix,
        "command": command,
        "gb_s": None,
        "gain": None,
        "worth": None,
        "where": None,
        "why": None,
        "source": None,
    }


def _do(severity: Severity, code: str, message: str, playbook: str) -> Advice:
    return _entry(severity, code, message, f"ansible-playbook llamatower.tower.{playbook}", True)


def _of_hardware(entry: Advice) -> Advice:
    """Advice of the memory or of a rule as the report keeps it, without what the setting is now."""
    return {
        "severity": entry["severity"],
        "code": entry["code"],
        "message": entry["message"],
        "fix": entry["fix"],
        "command": entry["command"],
        "gb_s": entry["gb_s"],
        "gain": entry["gain"],
        "worth": entry["worth"],
        "where": entry["where"],
        "why": entry["why"],
        "source": entry["source"],
    }


def next_steps(
    found: Findings,
    hardware: Sequence[Advice],
    unlocked: list[str],
    failure: Optional[str] = None,
    seen: Optional[Speeds] = None,
) -> list[Advice]:
    """What to do next: what keeps the tower from serving, what is wrong, and then what brings most.

    ``hardware`` is what advise() or memory_advice() says, ``unlocked`` are models that follow a branch or tag,
    ``failure`` is what the check of the service failed with, and ``seen`` how fast the tower is.
    """
    seen = seen or Speeds()
    first = _serving(found, failure, seen)
    entries = [_weighed(entry, seen) for entry in merged([_of_hardware(entry) for entry in hardware])]
    told = {CAUSE_OF.get(entry["code"]) for entry in entries}
    told.update(OF_MEMORY if any(entry["gain"] for entry in first) else ())
    entries += [_of_cause(cause) for cause in seen.causes if cause["code"] not in told]
    entries += _unexplained(seen)
    entries += _history(found)
    for name in unlocked:
        said = f"Model {name} follows a branch or tag: another tower may get another commit."
        entries.append(_do("info", "unlocked", said, "lock"))
    return first + sorted(entries, key=_order)


def _serving(found: Findings, failure: Optional[str], seen: Speeds) -> list[Advice]:
    """What keeps it from serving, or from serving as it should."""
    problem = (found["service"].get("problem") if found["service"] else None) or failure
    missing = {"build": found["build"], "model": found["model"], "service": found["service"] or problem}
    entries = [
        _do("problem", f"no-{part}", f"There is no {part} on this tower yet.", PLAYBOOKS[part])
        for part, there in missing.items()
        if not there
    ]
    if problem:
        # What it failed with says more than that there is none. Of a server that answers, it is where its memory lies.
        entry = _do("problem", "service-problem", problem, "serve")
        cause = next((each for each in seen.causes if each["code"] in OF_MEMORY), None)
        entries.append(_mending(entry, cause) if cause and found["service"] else entry)
    return entries


def _unexplained(seen: Speeds) -> list[Advice]:
    if not seen.unexplained or not seen.measured or not seen.expected:
        return []
    known, ends = seen.measured, (seen.expected["low"], seen.expected["high"])
    said = (
        f"It decodes {rate(known, unit='tokens/s')}, and {rate(*ends, unit='tokens/s')} are forecast for it as it is. "
        f"Nothing that was looked at explains that; {seen.reads}."
    )
    lack = seen.unexplained - 1
    return [_gained(_do("problem", "unexplained", said, "bench"), known * lack, lack, at_most=True)]


def fell(found: Findings) -> list[Regression]:
    """What the last benchmark found slower than the one before under the same conditions."""
    runs = found["benchmarks"]
    return regressions(runs[-1], runs[:-1]) if runs else []


def _history(found: Findings) -> list[Advice]:
    losses = fell(found)
    if not losses:
        return []
    each = [
        f"{name_of(one['name'])}: {number(one['before'])} to {rate(one['now'], unit=one['unit'])}, "
        f"{-100 * one['loss']:.0f} %"
        for one in losses
    ]
    said = f"Slower than in the benchmark before, under the same conditions: {'; '.join(each)}."
    entry = _do("advice", "slower", said, "bench")
    decode = next((one for one in losses if one["name"] in (SERVICE_DECODE, BENCH_DECODE)), None)
    if not decode:
        return [entry]
    lost = decode["before"] - decode["now"]
    return [_gained(entry, lost, lost / decode["now"])]


def _order(entry: Advice) -> tuple[int, float, int]:
    """What is wrong, then what brings most, then the rest by severity, and last what brings next to nothing."""
    severity = SEVERITIES.index(entry["severity"])
    if entry["gain"]:
        return 1, -entry["gain"], severity
    if entry["gain"] is None:
        return 0 if severity == 0 else 2 + severity, -(entry["gb_s"] or 0), severity
    return 0 if severity == 0 else 9, 0.0, severity


def merged(entries: Sequence[Advice]) -> list[Advice]:
    """The same, those that one act mends as one."""
    found = list(entries)
    for codes in ACTS:
        group = sorted((each for each in found if each["code"] in codes), key=lambda each: codes.index(each["code"]))
        if len(group) > 1:
            same = [each for each in group if each["code"] == group[0]["code"]]
            one: Advice = {
                **group[0],
                "severity": min((each["severity"] for each in group), key=SEVERITIES.index),
                "message": " ".join(each["message"] for each in group),
                "fix": " ".join(each["fix"] for each in same if each["fix"]) or None,
                "gb_s": sum(each["gb_s"] or 0 for each in same) or None,
            }
            one["worth"] = rate(one["gb_s"]) if one["gb_s"] else group[0]["worth"]
            found[found.index(group[0])] = one
            found = [each for each in found if each not in group]
    return found


def _gained(entry: Advice, gain: float, part: float, at_most: bool = False) -> Advice:
    """Advice with what it brings: ``+0.86 tokens/s (+70 %)``."""
    more = f"{100 * part:+.0f} %" if part < TEN_TIMES else f"{whole(1 + part)} times as fast"
    worth = f"{'up to ' if at_most else ''}+{rate(gain, unit='tokens/s')} ({more})"
    return {**entry, "gain": gain, "worth": worth}


def _mending(entry: Advice, cause: Cause) -> Advice:
    return _gained(entry, cause["gain"], cause["part"], cause["at_most"])


def _weighed(entry: Advice, seen: Speeds) -> Advice:
    """Advice with what it brings, where the forecast tells."""
    code = CAUSE_OF.get(entry["code"])
    cause = next((each for each in seen.causes if each["code"] == code), None)
    if cause:
        severity: Severity = "advice" if entry["severity"] == "info" else entry["severity"]
        return _mending({**entry, "severity": severity}, cause)
    fast = seen.measured and seen.expected and seen.measured >= seen.expected["expected"]
    if code and seen.expected and (code in MODELED or fast):
        severity = entry["severity"] if entry["code"] in HEALTH else "info"
        return {**entry, "severity": severity, "gain": 0.0, "worth": LITTLE}
    return entry


def _of_cause(cause: Cause) -> Advice:
    """A cause that no rule speaks of, as advice."""
    said, fix = cause["because"], FIXES.get(cause["code"])
    message = f"{said[:1].upper()}{said[1:]}."
    if fix and " " not in fix:
        return _mending(_do("advice", cause["code"], message, fix), cause)
    return _mending(_entry("advice", cause["code"], message, fix), cause)


def verdict(found: Findings, advice: Sequence[Advice], seen: Optional[Speeds] = None) -> Verdict:
    """Whether the tower is fast, and why not; ``advice`` is what :func:`next_steps` says."""
    seen = seen or Speeds()
    down = next((entry for entry in advice if _is_down(entry, found)), None)
    expected = seen.expected["expected"] if seen.expected else None
    speed = None if down else seen.measured
    held = speed or expected
    share = min(held / seen.allowed, 1.0) if held and seen.allowed else None
    # What is next to nothing is no reason, nor is anything where nothing is missing.
    missing = 1 / share - 1 if share else 0.0
    cause = next((each for each in seen.causes if min(each["part"], missing) >= CLEARLY), None)
    guest = bool(found["tower"].get("hypervisor"))
    sentence = _held(seen, speed, share, cause, guest) if share else "" if down else _unknown(advice, speed)
    losses = [one for one in fell(found) if one["name"] in (SERVICE_DECODE, BENCH_DECODE, READ_WHOLE)]
    lost = max(losses, key=lambda one: one["loss"], default=None)
    if lost and not down:
        since = moment(lost["since"])
        sentence += f" {name_of(lost['name']).capitalize()}: {100 * lost['loss']:.0f} % less than on {since}."
    reason = cause["code"] if cause else "unexplained" if seen.unexplained else None
    return {
        "state": "down" if down else "measured" if speed and share else "unknown",
        "sentence": " ".join(filter(None, (clean(down["message"]) if down else "", sentence))),
        "measured": seen.measured,
        "expected": expected,
        "allowed": seen.allowed,
        "share": share,
        "reason": reason or ("guest" if guest and not share else None),
        "loss": lost["loss"] if lost else None,
    }


def _is_down(entry: Advice, found: Findings) -> bool:
    """Whether this says that there is no server that answers."""
    missing = {f"no-{part}" for part in PLAYBOOKS}
    return entry["code"] in missing or (entry["code"] == "service-problem" and not found["service"])


def _held(seen: Speeds, speed: Optional[float], share: float, cause: Optional[Cause], guest: bool) -> str:
    """A speed, or the forecast of one, against what the memory allows."""
    if speed:
        said = f"{rate(speed, unit='tokens/s')}: "
    else:
        ends = seen.expected or {"low": 0.0, "high": 0.0}
        said = f"{rate(ends['low'], ends['high'], unit='tokens/s')} are forecast: "
    whose = "the memory that its host shows" if guest else "this tower's memory"
    said += f"{f'{100 * share:.0f} %' if share >= HALF_PERCENT else 'less than 1 %'} of what {whose} allows"
    said += f", because {cause['because']}" if cause else ""
    if seen.unexplained and speed:
        times = f"{number(seen.unexplained, 2)} times slower"
        said += (
            f"; it is {times} still, for no reason that shows"
            if cause
            else f", {times} than forecast and nothing shows why"
        )
    return clean(f"{said}.")


def _unknown(advice: Sequence[Advice], speed: Optional[float]) -> str:
    """Where speed or memory is not known, what stands in the way."""
    worst = next((entry for entry in advice if entry["severity"] == "problem"), None)
    advised = sum(1 for entry in advice if entry["severity"] == "advice")
    if worst:
        said = clean(worst["message"])
    elif advised:
        said = f"It serves, and {'one thing' if advised == 1 else f'{advised} things'} would make it better."
    else:
        said = "It serves, and nothing to mend was found."
    return f"{rate(speed, unit='tokens/s')}, and what the memory allows is not known. {said}" if speed else said
