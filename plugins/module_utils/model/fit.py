# SPDX-License-Identifier: MIT
"""Whether declared models fit the disk, and which of them is served."""

from __future__ import annotations

from ..text import size
from .document import PlanEntry


def disk_problem(plan: list[PlanEntry], directory: str, free_bytes: int, reserve_bytes: int) -> str | None:
    """One sentence where the missing models do not fit the disk, else None."""
    missing = sum(model["missing_bytes"] for model in plan)
    if not missing or missing + reserve_bytes <= free_bytes:
        return None
    return (
        f"The disk of {directory} has {size(free_bytes)} free, and {size(missing)} of models and a reserve "
        f"of {size(reserve_bytes)} are to go there: make room, or set model_store_dir to a larger disk."
    )


def named(plan: list[PlanEntry], name: str | None) -> PlanEntry | None:
    """The model of that name, None where it is not declared."""
    return next((model for model in plan if model["name"] == name), None)


def undeclared_problem(plan: list[PlanEntry], name: str | None) -> str | None:
    """One sentence where no model of that name is declared, else None."""
    if named(plan, name):
        return None
    declared = ", ".join(entry["name"] for entry in plan) or "none"
    return f"llama_service_model is {name}, and model_store_models declares {declared}: name one of those."
