# SPDX-License-Identifier: MIT
"""What the page of a purchase's plan shows (roles/forecast/templates/plan.html)."""

from __future__ import annotations

from typing import Any

from ..forecast.document import PlanDocument, PlannedModel
from ..forecast.roofline import sensitivity_text
from ..text import size
from .plan_text import HEADINGS, cells, options_text


def plan_view(document: PlanDocument) -> dict[str, Any]:
    """Of each model the machines that it fits, with a bar each, and those that it does not."""
    return {
        "headings": [heading for heading in HEADINGS if heading not in ("machine", "range", "tokens/s")],
        "models": [_model(model) for model in document["models"]],
        "options": options_text(document["options"]),
        "figures": document["thread_figures"],
    }


def _model(model: PlannedModel) -> dict[str, Any]:
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
                "cells": dict(zip(HEADINGS, cells(said))),
                "helps": sensitivity_text(said["sensitivity"]),
                "from": round(100 * speed["low"] / fastest, 2),
                "to": round(100 * speed["high"] / fastest, 2),
            }
            for said, speed in fitting
            if speed
        ],
        "others": [said for said in model["answers"] if not said["fits"]],
    }
