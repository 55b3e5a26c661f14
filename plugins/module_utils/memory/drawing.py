# SPDX-License-Identifier: MIT
"""Draw a board's memory as text: a line of sockets, a cell a channel, a mark a slot; at most 80 columns."""

from __future__ import annotations

from ..text import WIDTH
from .bandwidth import dimms_by_channel
from .document import Dimm, MemoryChannels, Socket


def short_name(channel: str) -> str:
    """A channel's name short enough for a cell or a label: the first slot's, where it has none of its own."""
    name = channel.split("+", 1)[0].replace("Controller", "C").replace("-Channel", "")
    return (name if len(name) <= 8 else " ".join(name.split()[-2:]))[-8:]


def draw(channels: MemoryChannels) -> str:
    """The board of ``memory_channels``; empty channels stand in brackets. Empty text where nothing is known."""
    lines: list[str] = []
    for socket in channels["sockets"] or []:
        lines += _socket(socket, channels["dimms"] or [])
    return "\n".join(line[:WIDTH] for line in lines)


def _socket(socket: Socket, dimms: list[Dimm]) -> list[str]:
    number, total = socket["channels_populated"], socket["channels_total"] or "unknown"
    if not socket["populated"]:
        return [f"socket {socket['socket']}  no CPU"]
    title = f"socket {socket['socket']}  {socket['cpu'] or 'unknown CPU'}"
    if number is None:
        limits = socket["channels_bounds"]
        between = f"between {limits[0]} and {limits[1]}" if limits else "an unknown number"
        return [title, f"  {between} of {total} channels populated; the slots' names do not tell"]
    by_channel = dimms_by_channel(socket, dimms)
    cells = [_cell(name, by_channel[name]) for name in sorted(by_channel, key=lambda name: (len(name), name))]
    width = max((len(cell) for cell in cells), default=0) + 1
    each = max((WIDTH - 2) // width, 1)
    rows = (cells[start : start + each] for start in range(0, len(cells), each))
    return [
        title,
        *("  " + "".join(f"{cell:<{width}}" for cell in row).rstrip() for row in rows),
        f"  {number} of {total} channels populated",
    ]


def _cell(channel: str, slots: list[Dimm]) -> str:
    """A channel and its slots: a DIMM by its size in GiB, an empty slot by dashes."""
    marks = " ".join(
        f"{round((dimm['size_bytes'] or 0) / 2**30)}G" if dimm["populated"] else "--"
        for dimm in sorted(slots, key=lambda dimm: dimm["slot"] or 0)
    )
    if any(dimm["populated"] for dimm in slots):
        return f"{short_name(channel)}: {marks} "
    return f"{short_name(channel)}:[{marks}]"
