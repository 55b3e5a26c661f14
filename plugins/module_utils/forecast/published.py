# SPDX-License-Identifier: MIT
"""The forecast held against runs that others published: catalog/published_runs.yml."""

from __future__ import annotations

from .document import ForecastError, PublishedRun
from .roofline import Machine, Model, Use, speed


def error_table(runs: list[PublishedRun]) -> list[ForecastError]:
    """The runs of published_runs.yml against their forecasts."""
    table: list[ForecastError] = []
    for run in runs:
        machine, model = Machine(**run["machine"]), Model(**run["model"])
        # Who does not tell the threads has those that the engine takes by itself: one for each core.
        threads = run.get("threads") or machine.cores
        use = Use(run.get("policy", "interleave"), threads, run.get("context", 0), run.get("kv_type", "f16"))
        said, measured = speed(machine, model, use), run["tokens_per_second"]
        error: ForecastError = {
            "name": run["name"],
            "set": run["set"],
            "source": run["source"],
            "kind": model.kind,
            "measured": measured,
            **said,
            "error": said["expected"] / measured - 1,
            "within": said["low"] <= measured <= said["high"],
        }
        table.append(error)
    return table
