# SPDX-License-Identifier: MIT
"""The kept runs of a tower's benchmark as tables and small charts: what was measured when, and what became slower.

Lengths are SVG user units; every axis begins at zero.
"""

from __future__ import annotations

import math
from typing import Any, Optional, TypedDict

from ..benchmark.document import CELL, NAMES, Quantity, Run, name_of
from ..benchmark.history import changed_conditions, comparable, regressions, sentence
from ..text import moment, number

# A chart of one quantity; the plot lies between these edges, with the labels of the axes around it.
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 132, 40, 352, 10, 108
# Rows of a table; older runs are in the charts and in the JSON document.
SHOWN = 12


class QuantityRow(TypedDict):
    """A quantity of the last run in words, and ``before`` in the last one under the same conditions, if any."""

    title: str
    unit: str
    now: str
    before: Optional[str]
    change: Optional[str]
    slower: bool


class RunRow(TypedDict):
    """What happened in a run: what became ``slower``, in words, and a note of what changed."""

    started: str
    slower: list[str]
    note: str


class Point(TypedDict):
    """A median, and the ends of its samples."""

    x: float
    y: float
    low: float
    high: float
    slower: bool
    text: str


class Level(TypedDict):
    """A mark of the upright axis."""

    y: float
    text: str


class Mark(TypedDict):
    """A place between two runs where conditions changed."""

    x: float
    text: str


class Box(TypedDict):
    """The size of a chart, and the edges of its plot."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int


class Chart(TypedDict):
    """A quantity over all runs; ``line`` goes through its points, ``first`` and ``last`` are days."""

    name: str
    title: str
    unit: str
    points: list[Point]
    line: str
    ticks: list[Level]
    changes: list[Mark]
    box: Box
    first: str
    last: str


class Matrix(TypedDict):
    """GB/s of the cores of each node from the memory of each node, which are the columns."""

    columns: list[int]
    rows: list[tuple[int, list[str]]]


class History(TypedDict):
    """``quantities`` of the last run beside the run before under the same conditions, ``charts`` of all runs, ``rows``:
    the runs, newest first, with what happened in them, and their whole ``count``, ``matrix`` of the last run that read
    node by node, ``regressions`` of the last run, its ``conditions``, and what was ``skipped``, with the reason."""

    started: str
    quantities: list[QuantityRow]
    charts: list[Chart]
    rows: list[RunRow]
    count: int
    matrix: Optional[Matrix]
    regressions: list[str]
    conditions: list[tuple[str, str]]
    skipped: list[tuple[str, str]]


def history(runs: list[Run]) -> Optional[History]:
    """None where there is no run."""
    if not runs:
        return None
    *earlier, last = runs
    seen = {name for run in runs for name in run["results"] if not CELL.fullmatch(name)}
    names = [name for name in NAMES if name in seen] + sorted(seen - NAMES.keys())
    rows: list[RunRow] = []
    for index, run in enumerate(runs):
        fell, note = slower(run, runs[:index]), _note(run, runs[:index])
        rows.append({"started": moment(run["started"]), "slower": [name_of(name) for name in fell], "note": note})
    return {
        "started": moment(last["started"]),
        "quantities": [_quantity(name, last, earlier) for name in names if name in last["results"]],
        "charts": [_chart(name, runs) for name in names] if earlier else [],
        "rows": rows[::-1][:SHOWN],
        "count": len(runs),
        "matrix": _matrix(runs),
        "regressions": [sentence(fell) for fell in regressions(last, earlier)],
        "conditions": sorted((key.replace("_", " "), _text(value)) for key, value in last["conditions"].items()),
        "skipped": sorted((name_of(name), why) for name, why in (last.get("skipped") or {}).items()),
    }


def _quantity(name: str, run: Run, earlier: list[Run]) -> QuantityRow:
    now = run["results"][name]
    like = [old["results"][name] for old in earlier if comparable(run, old) and name in old["results"]]
    return {
        "title": name_of(name),
        "unit": now["unit"],
        "now": _value(now),
        "before": _value(like[-1]) if like else None,
        "change": f"{now['median'] / like[-1]['median'] - 1:+.1%}" if like else None,
        "slower": name in slower(run, earlier),
    }


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)


def _unit(runs: list[Run], name: str) -> str:
    return next(str(run["results"][name]["unit"]) for run in reversed(runs) if name in run["results"])


def _value(quantity: Quantity) -> str:
    """Median, and half the spread where there was more than one sample."""
    middle = number(quantity["median"])
    return f"{middle} ± {quantity['spread'] / 2:.1%}" if quantity["spread"] else middle


def slower(run: Run, before: list[Run]) -> list[str]:
    """The names of the quantities that fell since the last run under the same conditions."""
    return [fell["name"] for fell in regressions(run, before)]


def _note(run: Run, before: list[Run]) -> str:
    changed = changed_conditions(run, before[-1]) if before else []
    return f"changed: {', '.join(name.replace('_', ' ') for name in changed)}" if changed else ""


def nice(value: float) -> float:
    """The least of 1, 2, 2.5, 5 times a power of ten that is not below a value."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-9))


def _high(quantity: Quantity) -> float:
    """The largest sample, about: the stored history has their spread instead of them."""
    return float(quantity["median"] * (1 + quantity["spread"] / 2))


def _chart(name: str, runs: list[Run]) -> Chart:
    """A line through the medians, a stroke as long as the samples' spread, a mark where conditions changed."""
    measured = [(index, run) for index, run in enumerate(runs) if name in run["results"]]
    top = max(_high(run["results"][name]) for _index, run in measured)
    step = nice(top / 3)
    ceiling = step * math.ceil(top / step - 1e-9)

    def across(index: int) -> float:
        return round(LEFT + 8 + (RIGHT - LEFT - 16) * index / max(1, len(runs) - 1), 1)

    def up(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * value / ceiling, 1)

    points: list[Point] = []
    for index, run in measured:
        quantity = run["results"][name]
        fell = name in slower(run, runs[:index])
        points.append(
            {
                "x": across(index),
                "y": up(quantity["median"]),
                "low": up(2 * quantity["median"] - _high(quantity)),
                "high": up(_high(quantity)),
                "slower": fell,
                "text": f"{moment(run['started'])}: {number(quantity['median'])} {quantity['unit']}"
                + (", slower than before under the same conditions" if fell else ""),
            }
        )
    return {
        "name": name,
        "title": name_of(name),
        "unit": _unit(runs, name),
        "points": points,
        "line": " ".join(f"{point['x']},{point['y']}" for point in points),
        "ticks": [{"y": up(value), "text": number(value) if value else "0"} for value in _ticks(step, ceiling)],
        "changes": [
            {"x": round((across(index - 1) + across(index)) / 2, 1), "text": _note(run, runs[:index])}
            for index, run in enumerate(runs)
            if index and _note(run, runs[:index])
        ],
        "box": {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
        "first": str(runs[0]["started"])[:10],
        "last": str(runs[-1]["started"])[:10],
    }


def _ticks(step: float, ceiling: float) -> list[float]:
    return [step * number for number in range(round(ceiling / step) + 1)]


def _matrix(runs: list[Run]) -> Optional[Matrix]:
    """Of the last run that has one."""
    for run in reversed(runs):
        cells = {
            (int(found[1]), int(found[2])): quantity
            for name, quantity in run["results"].items()
            if (found := CELL.fullmatch(name))
        }
        if cells:
            reading, read = ({pair[side] for pair in cells} for side in (0, 1))
            values = {
                row: [number(cells[row, column]["median"]) if (row, column) in cells else "" for column in sorted(read)]
                for row in sorted(reading)
            }
            return {"columns": sorted(read), "rows": list(values.items())}
    return None
