# SPDX-License-Identifier: MIT
"""Cost against speed: every machine that has both is a dot within the box, in its place."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.report.plan_chart import BOTTOM, LEFT, RIGHT, TOP, scatter

POSITIVE = st.floats(1e-3, 1e7)


def said(cost: float | None, speed: float | None) -> Any:
    speeds = None if speed is None else {"low": speed, "expected": speed, "high": speed}
    return {"cost_usd": cost, "tokens_per_second": speeds}


def drawn(points: list[tuple[Any, Any]]) -> Any:
    return scatter([said(*point) for point in points], [f"m{number}" for number in range(len(points))])


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=2, max_size=20))
def test_all_dots_and_lines_are_within_the_box_and_in_order(points: list[tuple[float, float]]) -> None:
    chart = drawn(points)
    dots = chart["dots"]
    assert len(dots) == len(points)
    assert all(LEFT <= dot["x"] <= RIGHT and TOP <= dot["y"] <= BOTTOM for dot in dots)
    assert all(LEFT <= tick["at"] <= RIGHT for tick in chart["across"])
    assert len(chart["across"]) >= 2 and len(chart["up"]) >= 2
    by_cost = [dot["x"] for _point, dot in sorted(zip(points, dots, strict=True), key=lambda pair: pair[0][0])]
    assert by_cost == sorted(by_cost)
    by_speed = [dot["y"] for _point, dot in sorted(zip(points, dots, strict=True), key=lambda pair: pair[0][1])]
    assert by_speed == sorted(by_speed, reverse=True)


def test_a_machine_without_a_price_keeps_its_number_but_has_no_dot() -> None:
    chart = drawn([(1000, 1), (None, 5), (2000, 2)])
    assert [dot["label"] for dot in chart["dots"]] == [1, 3]
    assert chart["said"] == "Dollars against tokens a second. m0: $1,000, 1.00 tokens/s; m2: $2,000, 2.00 tokens/s."


@pytest.mark.parametrize("points", [[], [(1000, 1)], [(None, 1), (1000, 1)]])
def test_one_dot_is_no_picture(points: list[tuple[Any, Any]]) -> None:
    assert drawn(points) is None


def test_labels_of_equal_machines_do_not_lie_on_each_other() -> None:
    heights = [dot["label_y"] for dot in drawn([(1000, 1)] * 4 + [(2000, 3)])["dots"][:4]]
    assert [later - earlier for earlier, later in itertools.pairwise(heights)] == [12, 12, 12]
