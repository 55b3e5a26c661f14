# SPDX-License-Identifier: MIT
"""What the page of a purchase's plan shows (roles/forecast/templates/plan.html)."""

from __future__ import annotations

from typing import TypedDict

from ..forecast.document import Answer, PlanDocument, PlannedModel, ThreadFigure
from ..forecast.roofline import sensitivity_text
from ..text import size
from .plan_text import HEADINGS, options_text, table_row


class MachineRow(TypedDict):
    """A machine that a model fits: the ``cells`` of its line by their headings, what ``helps``, and the ends of the bar
    of its speed in percent of the fastest."""

    title: str
    why: str | None
    remarks: list[str]
    cells: dict[str, str]
    helps: str
    start: float
    end: float


class ModelView(TypedDict):
    """A model, the machines that it fits, and the answers for those that it does not."""

    name: str
    said: str
    rows: list[MachineRow]
    others: list[Answer]


class PlanView(TypedDict):
    """``headings`` are those without a place of their own; ``options`` say what the forecast is of."""

    headings: list[str]
    models: list[ModelView]
    options: str
    figures: list[ThreadFigure]


def plan_view(document: PlanDocument) -> PlanView:
    """Of each model the machines that it fits, with a bar each, and those that it does not."""
    return {
        "headings": [heading for heading in HEADINGS if heading not in ("machine", "range", "tokens/s")],
        "models": [_model(model) for model in document["models"]],
        "options": options_text(document["options"]),
        "figures": document["thread_figures"],
    }


def _model(model: PlannedModel) -> ModelView:
    fitting = [(said, said["tokens_per_second"]) for said in model["answers"]]
    fastest = max((speed["high"] for _said, speed in fitting if speed), default=1.0)
    return {
        "name": model["name"],
        "said": f"{size(model['bytes'])}, of which a token reads {size(model['active_bytes'])}",
        "rows": [
            {
                "title": said["title"],
                "why": said["why"],
                "remarks": said["remarks"],
                "cells": dict(zip(HEADINGS, table_row(said))),
                "helps": sensitivity_text(said["sensitivity"]),
                "start": round(100 * speed["low"] / fastest, 2),
                "end": round(100 * speed["high"] / fastest, 2),
            }
            for said, speed in fitting
            if speed
        ],
        "others": [said for said in model["answers"] if not said["fits"]],
    }
