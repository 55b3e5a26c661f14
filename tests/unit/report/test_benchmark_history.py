# SPDX-License-Identifier: MIT
"""The history of a tower's benchmarks: tables, charts, and what became slower."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.benchmark.results import quantity as quantity_of
from plugins.module_utils.report.benchmark_history import BOTTOM, TOP, History, history, nice


def run(started: str, results: dict[str, list[float]], conditions: str = "a") -> Any:
    quantities = {name: quantity_of(samples, "GB/s") for name, samples in results.items()}
    # As the stored history is handed out.
    for result in quantities.values():
        del result["samples"]
    return {"started": started, "conditions": {"kernel": conditions}, "results": quantities, "skipped": {}}


def shown(*runs: Any) -> History:
    found = history(list(runs))
    assert found
    return found


FAST = run("2026-01-01T04:00:00Z", {"read_whole": [480.0, 490.0]})
SLOW = run("2026-01-08T04:00:00Z", {"read_whole": [400.0, 402.0]})
OTHER = run("2026-01-08T04:00:00Z", {"read_whole": [400.0, 402.0]}, "b")


def test_the_last_run_stands_beside_the_one_before() -> None:
    found = shown(FAST, SLOW)
    assert [row["started"] for row in found["rows"]] == ["2026-01-08 04:00", "2026-01-01 04:00"]
    (quantity,) = found["quantities"]
    assert (quantity["title"], quantity["now"], quantity["before"], quantity["change"]) == (
        "memory, all cores over all nodes",
        "401 ± 0.2%",
        "485 ± 1.0%",
        "-17.3%",
    )


def test_what_became_slower_is_named() -> None:
    found = shown(FAST, SLOW)
    assert found["rows"][0]["slower"] == ["memory, all cores over all nodes"]
    assert "read_whole fell by 17%" in found["regressions"][0]
    assert [point["slower"] for point in found["charts"][0]["points"]] == [False, True]


def test_other_conditions_are_a_mark_and_no_regression() -> None:
    found = shown(FAST, OTHER)
    assert found["regressions"] == []
    assert found["quantities"][0]["before"] is None
    assert found["rows"][0]["note"] == "changed: kernel"
    assert [change["text"] for change in found["charts"][0]["changes"]] == ["changed: kernel"]


def test_the_axis_begins_at_zero_and_holds_all_points() -> None:
    (chart,) = shown(FAST, SLOW)["charts"]
    assert chart["ticks"][0] == {"y": BOTTOM, "text": "0"}
    assert all(TOP <= point["high"] <= point["y"] <= point["low"] <= BOTTOM for point in chart["points"])
    assert chart["points"][0]["y"] < chart["points"][1]["y"]


def test_one_run_is_a_table_without_a_chart() -> None:
    found = shown(FAST)
    assert found["charts"] == []
    assert len(found["rows"]) == 1


def test_a_quantity_that_a_run_lacks_leaves_a_gap() -> None:
    found = shown(FAST, run("2026-01-02T04:00:00Z", {"hash": [2.0]}), SLOW)
    read, hashed = found["charts"]
    assert len(read["points"]) == 2
    assert len(hashed["points"]) == 1
    assert [quantity["title"] for quantity in found["quantities"]] == ["memory, all cores over all nodes"]


def test_who_reads_what_is_a_matrix_of_the_last_run_that_measured_it() -> None:
    cells = {f"read_node{a}_node{b}": [100.0 * (1 + (a == b))] for a in (0, 1) for b in (0, 1)}
    found = shown(run("2026-01-01T04:00:00Z", cells), SLOW)
    assert found["matrix"] == {"columns": [0, 1], "rows": [(0, ["200", "100"]), (1, ["100", "200"])]}


def test_nothing_measured_is_no_history() -> None:
    assert history([]) is None


@pytest.mark.parametrize(("value", "step"), [(0.7, 1), (1.2, 2), (230.4, 250), (3, 5), (10, 10), (0.013, 0.02)])
def test_axes_have_round_steps(value: float, step: float) -> None:
    assert nice(value) == pytest.approx(step)
