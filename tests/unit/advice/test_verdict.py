# SPDX-License-Identifier: MIT
"""What to do next on a tower, and in one sentence what stands in its way."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.advice.bios_rules import memory_advice
from plugins.module_utils.advice.document import Advice
from plugins.module_utils.advice.verdict import next_steps, verdict


def found(**changes: Any) -> Any:
    """A tower with everything that it needs."""
    parts = {"build": {"key": "k"}, "model": {"name": "m"}, "service": {"problem": None}, "benchmarks": [], "tower": {}}
    return parts | changes


def run(started: str, **medians: float) -> dict[str, Any]:
    results = {name: {"unit": "x", "median": value, "spread": 0.0} for name, value in medians.items()}
    return {"started": started, "conditions": {}, "results": results}


def test_a_tower_that_has_everything_has_nothing_to_do() -> None:
    assert next_steps(found(), [], []) == []


@pytest.mark.parametrize(
    ("changes", "unlocked", "code", "playbook"),
    [
        ({"build": None}, [], "no-build", "build"),
        ({"model": None}, [], "no-model", "models"),
        ({"service": None}, [], "no-service", "serve"),
        ({"service": {"problem": "any words"}}, [], "service-problem", "serve"),
        ({"benchmarks": [run("1", bench_decode=10.0), run("2", bench_decode=8.0)]}, [], "slower", "bench"),
        ({}, ["glm"], "unlocked", "lock"),
    ],
)
def test_what_the_project_can_do_is_a_command(changes: Any, unlocked: list[str], code: str, playbook: str) -> None:
    (entry,) = next_steps(found(**changes), [], unlocked)
    assert (entry["code"], entry["fix"], entry["command"]) == (
        code,
        f"ansible-playbook llamatower.tower.{playbook}",
        True,
    )


@pytest.mark.parametrize("fix", ["Put a DIMM there.", "ansible-playbook is what this sentence begins with."])
def test_what_hands_must_do_is_a_sentence_whatever_its_words(fix: str) -> None:
    hardware: Any = {"severity": "problem", "code": "empty-channel", "message": "m", "fix": fix, "gb_s": 38.4}
    (entry,) = next_steps(found(), [memory_advice(hardware)], [])
    assert (entry["fix"], entry["command"]) == (fix, False)
    assert entry.keys() == Advice.__required_keys__


@pytest.mark.parametrize(
    ("severities", "said"),
    [
        (["problem", "advice"], "first"),
        (["advice", "info"], "It serves, and one thing would make it better."),
        (["info"], "It serves, and nothing to mend was found."),
    ],
)
def test_one_sentence_says_what_stands_in_the_way(severities: list[str], said: str) -> None:
    entries: list[Any] = [{"severity": severity, "message": "first", "code": "any"} for severity in severities]
    assert verdict(found(), entries)["sentence"] == said
