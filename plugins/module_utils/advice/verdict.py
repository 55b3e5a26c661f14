# SPDX-License-Identifier: MIT
"""What to do next on a tower, and in one sentence what stands in its way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from ..benchmark.document import name_of
from ..benchmark.history import regressions
from ..memory.document import Severity
from ..text import clean
from .bios_rules import SEVERITIES
from .document import Advice, Findings


def _do(severity: Severity, code: str, message: str, playbook: str) -> Advice:
    return {
        "severity": severity,
        "code": code,
        "message": message,
        "fix": f"ansible-playbook llamatower.tower.{playbook}",
        "command": True,
        "gb_s": None,
        "worth": None,
        "where": None,
        "why": None,
        "source": None,
    }


def _of_hardware(entry: Advice) -> Advice:
    """Advice of the memory or of a rule as the report keeps it, without what the setting is now."""
    return {
        "severity": entry["severity"],
        "code": entry["code"],
        "message": entry["message"],
        "fix": entry["fix"],
        "command": entry["command"],
        "gb_s": entry["gb_s"],
        "worth": entry["worth"],
        "where": entry["where"],
        "why": entry["why"],
        "source": entry["source"],
    }


def next_steps(
    found: Findings, hardware: Sequence[Advice], unlocked: list[str], failure: Optional[str] = None
) -> list[Advice]:
    """What to do next, the most severe first and then what is worth most.

    ``hardware`` is what advise() or memory_advice() says, ``unlocked`` are models that follow a branch or tag, and
    ``failure`` is what the check of the service failed with.
    """
    missing = {"build": found["build"], "model": found["model"], "service": found["service"]}
    playbooks = {"build": "build", "model": "models", "service": "serve"}
    entries = [
        _do("problem", f"no-{part}", f"There is no {part} on this tower yet.", playbooks[part])
        for part, there in missing.items()
        if not there
    ]
    problem = (found["service"].get("problem") if found["service"] else None) or failure
    if problem:
        # What it failed with says more than that there is none.
        entries = [entry for entry in entries if entry["code"] != "no-service"]
        entries.append(_do("problem", "service-problem", problem, "serve"))
    runs = found["benchmarks"]
    fell = [name_of(one["name"]) for one in regressions(runs[-1], runs[:-1])] if runs else []
    if fell:
        said = f"Slower than in the benchmark before, under the same conditions: {'; '.join(fell)}."
        entries.append(_do("advice", "slower", said, "bench"))
    # Within a severity, what keeps a tower from serving at all comes first.
    entries += [_of_hardware(entry) for entry in sorted(hardware, key=lambda entry: -(entry["gb_s"] or 0))]
    for name in unlocked:
        said = f"Model {name} follows a branch or tag: another tower may get another commit."
        entries.append(_do("info", "unlocked", said, "lock"))
    return sorted(entries, key=lambda entry: SEVERITIES.index(entry["severity"]))


def verdict(advice: list[Advice]) -> str:
    """What stands in the way of a tower, in one sentence."""
    worst = next((entry for entry in advice if entry["severity"] == "problem"), None)
    if worst:
        return clean(worst["message"])
    advised = sum(1 for entry in advice if entry["severity"] == "advice")
    if advised:
        return f"It serves, and {'one thing' if advised == 1 else f'{advised} things'} would make it better."
    return "It serves, and nothing to mend was found."
