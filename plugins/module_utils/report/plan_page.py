# SPDX-License-Identifier: MIT
"""What the page of a purchase's plan shows (roles/forecast/templates/plan.html)."""

from __future__ import annotations

from typing import Optional, TypedDict

from ..forecast.document import Answer, PlanDocument, PlannedModel, ThreadFigure
from ..forecast.recommend import answer_of, rows
from ..forecast.roofline import sensitivity_text
from ..text import number, printable, size, whole
from .plan_chart import Scatter, scatter
from .plan_text import (
    COLUMNS,
    MOST_ROWS,
    cost_text,
    date_text,
    limit_text,
    money,
    named,
    of_one_machine,
    options_text,
    recommendation_text,
    slots_text,
    weights_text,
)


class Bar(TypedDict):
    """A speed: ``start`` and ``end`` are those of its range, in percent of the fastest that is shown."""

    name: str
    speed: str
    range: str
    start: float
    end: float


class MachineRow(Bar):
    """A machine that a model fits: the ``cells`` of its line by their headings, and what ``helps``."""

    title: str
    why: str | None
    remarks: list[str]
    cells: dict[str, str]
    helps: str


class Cell(TypedDict):
    """A model on a machine: tokens a second, or in a word why not; ``why`` in a sentence."""

    machine: str
    text: str
    why: str
    fits: bool


class MatrixRow(TypedDict):
    """A model on all machines; ``anchor`` is that of its section."""

    name: str
    anchor: str
    cells: list[Cell]


class ModelView(TypedDict):
    """A model, the machines that it fits, and the answers for those that it does not."""

    name: str
    anchor: str
    said: str
    best: str
    rows: list[MachineRow]
    others: list[Answer]
    scatter: Optional[Scatter]


class PlanView(TypedDict):
    """``recommended`` are sentences, the first the answer; ``bars`` and ``scatter`` are of what the terminal's table
    has, of ``subject``; ``headings`` those of the other tables; ``machines`` the columns of the matrix."""

    recommended: list[str]
    subject: str
    bars: list[Bar]
    scatter: Optional[Scatter]
    machines: list[str]
    matrix: list[MatrixRow]
    headings: list[str]
    models: list[ModelView]
    options: str
    prices: str
    figures: list[ThreadFigure]


# Headings of a model's table, and what each cell says, beside the name and the speed.
CELLS = {heading: cell for heading, cell in COLUMNS if heading not in ("fits", "tokens/s", "cost", "priced", "limit")}


def _cells(said: Answer, document: PlanDocument) -> dict[str, str]:
    found = {heading: cell(said, document) for heading, cell in CELLS.items()}
    return {
        "threads": whole(said["threads"]),
        "prompt tokens/s": found["prompt"],
        "8k prompt in": found["8k in"],
        "context": f"{said['context']:,}" if said["context"] is not None else "-",
        "cost": cost_text(said),
        "oldest price": date_text(said, document["date"]),
        "$ for a token/s": whole(said["cost_per_token_s"]),
        "W": found["W"],
        "1M tokens": money(said["energy_usd_per_million_tokens"]),
        "and the machine": money(said["usd_per_million_tokens"]),
        "limit": limit_text(said),
    }


def _bar(said: Answer, name: str, fastest: float) -> Bar:
    speed = said["tokens_per_second"] or {"low": 0.0, "expected": 0.0, "high": 0.0}
    return {
        "name": name,
        "speed": number(speed["expected"]),
        "range": f"{number(speed['low'])} to {number(speed['high'])}",
        "start": round(100 * speed["low"] / fastest, 2),
        "end": round(100 * speed["high"] / fastest, 2),
    }


def _fastest(answers: list[Answer]) -> float:
    return max((said["tokens_per_second"]["high"] for said in answers if said["tokens_per_second"]), default=1.0)


def _anchor(number: int) -> str:
    return f"model-{number}"


def _cell(said: Answer) -> Cell:
    speed, missing = said["tokens_per_second"], said["missing_bytes"]
    text = number(speed["expected"], 2) if speed else f"-{whole(missing / 1e9)}" if missing else "?"
    return {"machine": said["machine"], "text": text, "why": f"{said['why']}", "fits": said["fits"]}


def _matrix(document: PlanDocument) -> tuple[list[str], list[MatrixRow]]:
    """Columns in the order in which the machines come in the first model; they are the same in all."""
    first = document["models"][0]["answers"] if document["models"] else []
    machines = [said["machine"] for said in first]
    found: list[MatrixRow] = []
    for index, model in enumerate(document["models"], 1):
        cells = {said["machine"]: _cell(said) for said in model["answers"]}
        found.append(
            {"name": model["name"], "anchor": _anchor(index), "cells": [cells[machine] for machine in machines]}
        )
    return machines, found


def plan_view(document: PlanDocument) -> PlanView:
    """What is recommended, with its pictures; the matrix; and a section a model."""
    found, shown = answer_of(document), [said for said in rows(document)[:MOST_ROWS] if said["fits"]]
    by_model = of_one_machine(shown)
    names = [said["model"] if by_model else named(said) for said in shown]
    machines, matrix = _matrix(document)
    memory, fastest = document["memory"], _fastest(shown)
    return {
        "recommended": [text for text in map(printable, recommendation_text(document)) if text],
        "subject": (found[1]["machine"] if by_model else found[0]["name"]) if found else "",
        "bars": [_bar(said, name, fastest) for said, name in zip(shown, names)],
        "scatter": None if by_model else scatter(shown, names),
        "machines": machines,
        "matrix": matrix,
        "headings": list(_cells(document["models"][0]["answers"][0], document)) if machines else [],
        "models": [_model(model, index, document) for index, model in enumerate(document["models"], 1)],
        "options": options_text(document),
        "prices": f"Memory: {memory['source']}, {memory['date']}." if memory else "",
        "figures": document["thread_figures"],
    }


def _model(model: PlannedModel, index: int, document: PlanDocument) -> ModelView:
    fitting = [said for said in model["answers"] if said["fits"]]
    fastest, names = _fastest(fitting), [named(said) for said in fitting]
    best = fitting[0] if fitting else None
    first = f"First: {named(best)}, {_bar(best, '', 1)['speed']} tokens/s, {cost_text(best)}." if best else ""
    return {
        "name": model["name"],
        "anchor": _anchor(index),
        "said": f"{weights_text(model)}. {slots_text(document, model)}".strip(),
        "best": first or f"It fits none; {size(_least(model))} are missing at least.",
        "rows": [
            {
                **_bar(said, name, fastest),
                "title": said["title"],
                "why": said["why"],
                "remarks": said["remarks"],
                "cells": _cells(said, document),
                "helps": sensitivity_text(said["sensitivity"]),
            }
            for said, name in zip(fitting, names)
        ],
        "others": [said for said in model["answers"] if not said["fits"]],
        "scatter": scatter(fitting, names),
    }


def _least(model: PlannedModel) -> Optional[int]:
    return min((said["missing_bytes"] for said in model["answers"] if said["missing_bytes"]), default=None)
