#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Hold the forecast against the runs of catalog/published_runs.yml, and print the table that docs/forecast.md has.

python3 -m tests.benchmarks.forecast_errors
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

REPO = Path(__file__).resolve().parents[2]
CATALOG = REPO / "catalog"
# What the forecast is meant to keep, by kind of model.
BOUNDS = {"dense": 0.15, "moe": 0.25}


def table() -> str:
    """Each run, measured and forecast in tokens a second, and then how many of the checked ones are within bounds."""
    from plugins.module_utils.forecast.published import error_table

    entries = error_table(yaml.safe_load((CATALOG / "published_runs.yml").read_text(encoding="utf-8"))["runs"])
    lines = ["| Set | Kind | Run | Measured | Forecast | Range | Error |", "|---|---|---|---|---|---|---|"]
    for entry in entries:
        outside = "" if entry["within"] else ", outside"
        lines.append(
            f"| {entry['set']} | {entry['kind']} | {entry['name']} | {entry['measured']:.2f} | {entry['expected']:.2f} "
            f"| {entry['low']:.2f} to {entry['high']:.2f}{outside} | {entry['error']:+.0%} |"
        )
    checked = [entry for entry in entries if entry["set"] == "checked"]
    lines.append("")
    for kind, bound in BOUNDS.items():
        errors = [abs(entry["error"]) for entry in checked if entry["kind"] == kind]
        close = sum(error <= bound for error in errors)
        lines.append(f"- Checked, {kind}: {close} of {len(errors)} within {bound:.0%}")
    lines.append(f"- Checked, all: {sum(entry['within'] for entry in checked)} of {len(checked)} within their range")
    return "\n".join(lines)


if __name__ == "__main__":
    if __package__:
        print(table())
    else:  # by its path, from where the modules of the clone are not found
        sys.exit(subprocess.call([sys.executable, "-m", "tests.benchmarks.forecast_errors"], cwd=REPO))
