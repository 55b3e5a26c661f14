# SPDX-License-Identifier: MIT
"""Whether models fit the disk and the memory, and which of the catalog would."""

from __future__ import annotations

from ..text import size
from .document import ModelEntry, PlanEntry
from .kv_cache import kv_bytes


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


def models_that_fit(catalog: list[ModelEntry], memory_bytes: int, reserve_bytes: int) -> list[ModelEntry]:
    """The models of the catalog that fit with 8192 tokens of context, the largest first."""
    fitting = [
        model for model in catalog if model["bytes"] + kv_bytes(model["kv"], 8192) + reserve_bytes <= memory_bytes
    ]
    return sorted(fitting, key=lambda model: -int(model["bytes"]))


def suggestion(catalog: list[ModelEntry], memory_bytes: int, reserve_bytes: int, most: int = 3) -> str:
    """What to say where no model is declared: a few that fit, and the lines to paste."""
    fitting = models_that_fit(catalog, memory_bytes, reserve_bytes)[:most]
    if not fitting:
        smallest = min(model["bytes"] for model in catalog)
        return (
            f"No model is declared, and none of the catalog fits {size(memory_bytes)} of memory (the smallest has "
            f"{size(smallest)}): declare one of your own in model_store_models."
        )
    lines = ["No model is declared; nothing was touched. These fit this machine:", ""]
    for model in fitting:
        lines.append(
            f"  {model['name']:<24} {size(model['bytes']):>9} of {size(memory_bytes)}, "
            f"{size(model['active_bytes'])} read a token"
        )
    lines += ["", "Paste the lines of one into group_vars/towers.yml beside the inventory, and run this again:"]
    for model in fitting:
        lines += ["", "model_store_models:", f"  - name: {model['name']}", f"    repo: {model['repo']}"]
        lines += ["    revision: main", f'    files: "{model["files"]}"']
    return "\n".join(lines)
