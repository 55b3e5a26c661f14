# SPDX-License-Identifier: MIT
"""Draw a board's memory as text: a line of sockets, a cell a channel, a mark a slot; at most 80 columns."""

from __future__ import annotations

from typing import Any

WIDTH = 80


def short_name(channel: str) -> str:
    """A channel's name short enough for a cell or a label: the first slot's, where it has none of its own."""
    name = channel.split("+", 1)[0].replace("Controller", "C").replace("-Channel", "")
    return (name if len(name) <= 8 else " ".join(name.split()[-2:]))[-8:]


def _mark(dimm: dict[str, Any]) -> str:
    """A DIMM by its size in GiB, an empty slot by dashes."""
    return f"{round(dimm['size_bytes'] / 2**30)}G" if dimm["populated"] else "--"


def draw(channels: dict[str, Any]) -> str:
    """The board of ``memory_channels``; empty channels stand in brackets. Empty text where nothing is known."""
    lines: list[str] = []
    for socket in channels["sockets"] or []:
        number, total = socket["channels_populated"], socket["channels_total"]
        title = f"socket {socket['socket']}  {socket['cpu'] or 'unknown CPU'}"
        if not socket["populated"]:
            lines.append(f"socket {socket['socket']}  no CPU")
            continue
        lines.append(title[:WIDTH])
        limits = socket["channels_bounds"]
        if number is None:
            between = f"between {limits[0]} and {limits[1]}" if limits else "an unknown number"
            lines.append(f"  {between} of {total or 'unknown'} channels populated; the slots' names do not tell")
            continue
        cells = []
        names = sorted(
            {dimm["channel"] for dimm in channels["dimms"] if dimm["socket"] == socket["socket"] and dimm["channel"]},
            key=lambda name: (len(name), name),
        )
        for name in names:
            slots = [
                dimm for dimm in channels["dimms"] if (dimm["socket"], dimm["channel"]) == (socket["socket"], name)
            ]
            marks = " ".join(_mark(dimm) for dimm in sorted(slots, key=lambda dimm: dimm["slot"] or 0))
            empty = not any(dimm["populated"] for dimm in slots)
            cells.append(f"{short_name(name)}:[{marks}]" if empty else f"{short_name(name)}: {marks} ")
        width = max((len(cell) for cell in cells), default=0) + 1
        each = max((WIDTH - 2) // width, 1)
        for start in range(0, len(cells), each):
            lines.append("  " + "".join(f"{cell:<{width}}" for cell in cells[start : start + each]).rstrip())
        lines.append(f"  {number} of {total or 'unknown'} channels populated")
    return "\n".join(line[:WIDTH] for line in lines)
