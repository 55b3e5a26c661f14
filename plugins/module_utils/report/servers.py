# SPDX-License-Identifier: MIT
"""All servers of a tower, where there are several: a row of each."""

from __future__ import annotations

from ..service.document import PlacementInfo
from ..text import clean, rate, size
from .document import Report
from .view import ServerRow


def held_text(placement: PlacementInfo) -> str:
    """How much each memory node holds."""
    return ", ".join(f"node {node} {size(count)}" for node, count in (placement["nodes"] or {}).items())


def servers(document: Report) -> list[ServerRow]:
    """All servers of the tower, where there are several."""
    service = document["service"]
    found = (service.get("servers") or []) if service else []
    return [
        {
            "name": clean(server["name"]),
            "model": clean(server["model"] or "unknown"),
            "url": clean(server["url"]),
            "speed": rate(speed, unit="tokens/s") if speed else "not told by the server",
            "memory": held_text(placed),
            "problem": clean(server["problem"] or ""),
        }
        for server in (found if len(found) > 1 else [])
        for speed, placed in [(server["completion"]["tokens_per_second"], server["placement"])]
    ]
