# SPDX-License-Identifier: MIT
"""Cost against speed as a scatter. Both axes are logarithmic: machines differ a hundredfold in either."""

from __future__ import annotations

import math
from typing import Optional, TypedDict

from ..forecast.document import Answer
from ..text import number, whole
from .benchmark_history import Box
from .view import Tick

# A phone shows the box as large as it is here, so that its words stay legible.
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 260, 34, 344, 12, 220
APART = 12


class Dot(TypedDict):
    """A machine; ``label`` is its number in the list below the picture, and ``label_y`` where there is room for it."""

    x: float
    y: float
    label: int
    label_y: float
    text: str


class Scatter(TypedDict):
    """Dollars to the right, tokens a second upwards; ``said`` is the picture in words."""

    dots: list[Dot]
    across: list[Tick]
    up: list[Tick]
    box: Box
    said: str


def _steps(low: float, high: float) -> list[float]:
    """1, 2, 5 and their powers of ten around two numbers; of many, the powers alone."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    every = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    inner = [value for value in every if low < value < high]
    found = [max(value for value in every if value <= low), *inner, min(value for value in every if value >= high)]
    if len(found) > 6:
        kept = [value for value in found if math.log10(value) == round(math.log10(value))]
        found = sorted({found[0], *kept, found[-1]})
    return found if found[0] < found[-1] else [found[0], 2 * found[0]]


def scatter(answers: list[Answer], names: list[str]) -> Optional[Scatter]:
    """The machines that have a price and a speed; None where there are fewer than two."""
    points = [
        (said["cost_usd"], said["tokens_per_second"]["expected"], index, name)
        for index, (said, name) in enumerate(zip(answers, names), 1)
        if said["cost_usd"] and said["tokens_per_second"]
    ]
    if len(points) < 2:
        return None
    costs, speeds = (_steps(min(values), max(values)) for values in list(zip(*points))[:2])

    def place(value: float, ends: list[float], start: int, end: int) -> float:
        part = (math.log(value) - math.log(ends[0])) / (math.log(ends[-1]) - math.log(ends[0]))
        return round(start + (end - start) * part, 1)

    dots: list[Dot] = []
    for cost, speed, index, name in points:
        x, y = place(cost, costs, LEFT, RIGHT), place(speed, speeds, BOTTOM, TOP)
        # A label is right of its dot, and moves down where another is.
        label_y = y + 4
        while any(abs(dot["x"] - x) < 2 * APART and abs(dot["label_y"] - label_y) < APART for dot in dots):
            label_y += APART
        text = f"{name}: ${whole(cost)}, {number(speed)} tokens/s"
        dots.append({"x": x, "y": y, "label": index, "label_y": round(label_y, 1), "text": text})
    return {
        "dots": dots,
        "across": [{"at": place(value, costs, LEFT, RIGHT), "text": _short(value)} for value in costs],
        "up": [{"at": place(value, speeds, BOTTOM, TOP), "text": f"{value:g}"} for value in speeds],
        "box": {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
        "said": "Dollars against tokens a second. " + "; ".join(dot["text"] for dot in dots) + ".",
    }


def _short(usd: float) -> str:
    return f"${usd / 1000:g}k" if usd >= 1000 else f"${usd:g}"
