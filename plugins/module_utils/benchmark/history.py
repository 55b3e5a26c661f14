# SPDX-License-Identifier: MIT
"""What is kept of a tower's measurements: the runs, what became slower from one to the next, and the tuner's result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Optional, cast

from ..files import make_directory, read_document, write_json
from ..service.deployment import Deployment
from ..service.numa_policy import weights
from ..service.tuned import read_tuned
from ..text import number, rate
from .document import CELL, SCHEMA_VERSION, Evidence, Quantity, Regression, Run, Summary, Tuning
from .results import model_label

# Runs that are kept for one tower: a year of weekly ones.
KEPT_RUNS = 52
# Less than this is no regression, however steady the samples were: repeated runs on an idle machine differ by so much.
LEAST_LOSS = 0.03


def comparable(run: Run, other: Run) -> bool:
    """Whether two runs were made under the same conditions."""
    return bool(run["conditions"] == other["conditions"])


def run_before(run: Run, earlier: list[Run]) -> Optional[Run]:
    """The last of earlier runs that a run can be compared with."""
    return next((old for old in reversed(earlier) if comparable(run, old)), None)


def latest(runs: Sequence[Run], name: str) -> Optional[tuple[Quantity, str]]:
    """A quantity in the last run that has it, and when that run started."""
    return next(((run["results"][name], run["started"]) for run in reversed(runs) if name in run["results"]), None)


def speed_of(runs: Sequence[Run], deployment: Deployment) -> Optional[tuple[Quantity, str]]:
    """What the service decoded in the last run that measured this engine and model, and when; None where none did."""
    model = deployment["model"]
    label = model_label(model["name"], model["sha256"])
    return latest(
        [
            run
            for run in runs
            if (run["conditions"]["build"], run["conditions"]["model"]) == (deployment["engine"]["key"], label)
        ],
        "service_steady",
    )


def changed_conditions(run: Run, other: Run) -> list[str]:
    """The names of the conditions that differ."""
    now, then = dict(run["conditions"]), dict(other["conditions"])
    return sorted(name for name in {*now, *then} if now.get(name) != then.get(name))


def regressions(run: Run, earlier: list[Run]) -> list[Regression]:
    """The results that fell, by more than the spread, since the last run under the same conditions."""
    before = run_before(run, earlier)
    found: list[Regression] = []
    if before is None:
        return found
    for name in sorted(run["results"].keys() & before["results"].keys()):
        then, now = before["results"][name], run["results"][name]
        loss = 1 - now["median"] / then["median"]
        if loss > max(LEAST_LOSS, (now["spread"] + then["spread"]) / 2):
            fell: Regression = {
                "name": name,
                "since": before["started"],
                "before": then["median"],
                "now": now["median"],
                "unit": now["unit"],
                "loss": loss,
            }
            found.append(fell)
    return found


def sentence(fell: Regression) -> str:
    """A regression in words."""
    return (
        f"{fell['name']} fell by {fell['loss']:.0%} since {fell['since']}, from "
        f"{number(fell['before'])} to {rate(fell['now'], unit=fell['unit'])}, under the same conditions."
    )


def read_history(directory: str) -> list[Run]:
    """The kept runs, oldest first; a file that is no run of this schema is passed over."""
    found = [read_document(str(path), SCHEMA_VERSION) for path in sorted(Path(directory).glob("*.json"))]
    return [cast(Run, run) for run in found if run and "results" in run]


def node_weights(runs: list[Run], nodes: list[int]) -> dict[int, int]:
    """Weights of weighted interleave for these memory nodes, {} where no run, oldest first, has read just these.

    What counts of a node is its bandwidth for the cores that read it fastest: the links that the others come over are
    shared by all policies that use every node.
    """
    for run in reversed(runs):
        rates: dict[int, float] = {}
        for name, result in run["results"].items():
            cell = CELL.fullmatch(name)
            if cell:
                rates[int(cell[2])] = max(rates.get(int(cell[2]), 0.0), result["median"])
        # One of another setting of the BIOS (NPS, SNC) had other nodes by the same numbers.
        if set(rates) == set(nodes) and len(nodes) > 1:
            return weights(rates)
    return {}


def trimmed(run: Run) -> Run:
    """A run without the samples of its results."""
    results: dict[str, Quantity] = {
        name: {"unit": result["unit"], "median": result["median"], "spread": result["spread"]}
        for name, result in run["results"].items()
    }
    return {**run, "results": results}


def history_summary(runs: list[Run]) -> Optional[Summary]:
    """What is told of a history, oldest first; None where it is empty."""
    if not runs:
        return None
    *before, latest = runs
    return {
        "latest": latest,
        "history": [trimmed(run) for run in runs],
        "regressions": [sentence(fell) for fell in regressions(latest, before)],
        "changed_conditions": changed_conditions(latest, before[-1]) if before else [],
    }


def keep_run(directory: str, run: Run, kept: int = KEPT_RUNS) -> str:
    """Add a run to the history, drop the oldest beyond ``kept``, and return its path."""
    make_directory(directory)
    path = os.path.join(directory, f"{run['started'].replace(':', '')}.json")
    write_json(path, run)
    for old in sorted(Path(directory).glob("*.json"))[:-kept]:
        old.unlink()
    return path


def read_tuning(path: str) -> Optional[Tuning]:
    """All that tuning-INSTANCE.json holds; None where :func:`service.tuned.read_tuned` finds none."""
    return cast(Optional[Tuning], read_tuned(path))


def without_measurements(document: Tuning) -> Tuning:
    """The stored document without the list of all measurements."""
    evidence: Evidence = {**document["evidence"]}
    evidence.pop("measurements", None)
    return {**document, "evidence": evidence}
