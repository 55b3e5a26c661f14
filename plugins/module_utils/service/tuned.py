# SPDX-License-Identifier: MIT
"""The settings that the tuner found fastest, as they are stored on the tower, and whether they are of this service."""

from __future__ import annotations

from typing import Any, Optional, cast

from ..tower_document import Tower
from .document import Hardware, Winner

# Raised when a key of tuning.json is renamed, removed or changes its meaning.
SCHEMA_VERSION = 1


def hardware_of(tower: Tower) -> Hardware:
    """What must be the same for a measurement to hold."""
    return {
        "cpu": tower["cpu"]["model"],
        "cores": tower["cores"],
        "threads_per_core": (tower["cpus"] or 0) // (tower["cores"] or 1),
        "nodes": len(tower["nodes"]),
    }


def stored_winner(document: Any, build: Optional[str], sha256: list[str], tower: Tower) -> Optional[Winner]:
    """The winner in what tuning.json holds, where it is of this build, this model and this hardware; else None.

    A new kernel or BIOS version does not make it void: that would change the service by itself, with the next update.
    """
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        return None
    if build is None or document.get("build") != build or (document.get("model") or {}).get("sha256") != sha256:
        return None
    conditions = document.get("conditions") or {}
    if any(conditions.get(name) != value for name, value in hardware_of(tower).items()):
        return None
    winner = document.get("winner")
    return cast(Winner, winner) if isinstance(winner, dict) else None
