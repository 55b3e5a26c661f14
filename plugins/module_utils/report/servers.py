# SPDX-License-Identifier: MIT
"""All servers of a tower, where there are several: a row of each."""

from __future__ import annotations

from ..text import clean, rate, size
from .document import Report
from .view import ServerRow


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
            "memory": ", ".join(f"node {node} {size(count)}" for node, count in (placed["nodes"] or {}).items()),
            "problem": clean(server["problem"] or ""),
        }
        for server in (found if len(found) > 1 else [])
        for speed, placed in [(server["completion"]["tokens_per_second"], server["placement"])]
    ]
