# SPDX-License-Identifier: MIT
"""The picture of a board's memory: where sockets, dies, links, channels and slots are drawn.

Made from the report's document alone; the template lays it out as SVG. Lengths are SVG user units, and the picture
is as wide as a telephone, where one unit is one pixel.
"""

from __future__ import annotations

import re
from typing import Any, Optional, TypedDict

from ..advice.document import NamedTower
from ..memory.bandwidth import channel_gb_s, running_speed
from ..memory.cpus import GMI_GB_S, ccd_links
from ..memory.document import Dimm, Socket
from ..memory.drawing import short_name
from ..text import clean, rate
from ..tower import cpu_signature

WIDTH = 360
# A socket: DIMMs as bars on both sides of the CPU, like on the board, with the channel's name below.
CPU_WIDTH, CPU_HEIGHT, TITLE, LABELS, GAP = 104, 96, 18, 18, 22
SLOT_WIDTH, MARGIN = 9.0, 6


class Box(TypedDict):
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float


class Slot(Box):
    """A slot, which is ``populated``, ``empty`` like its channel, or ``spare`` in one that is in use."""

    state: str
    locator: str
    text: str


class Channel(TypedDict):
    """A channel by its short name, whose middle is at ``x``; without a name where it is unknown whose a slot is."""

    name: str
    empty: bool
    slots: list[Slot]
    x: float


class Link(TypedDict):
    """The line from a die to the one that has the memory controllers."""

    x1: float
    x2: float
    y: float


class Die(Box):
    """A die with cores, or an L3 cache, which has no link."""

    link: Optional[Link]


class Chips(TypedDict):
    """What is inside a CPU; ``link`` is what the link of each die lets through, in words."""

    io_die: Optional[Box]
    dies: list[Die]
    link: Optional[str]


class SocketPicture(Chips):
    """A socket; the names of its channels stand at ``label_y``, ``said`` is its channels in words, and ``facts`` the
    same with what they hold and give, which memory nodes that is, and what the links of its dies let through."""

    socket: int
    cpu: str
    populated: bool
    box: Box
    y: float
    channels: list[Channel]
    label_y: float
    said: str
    facts: str


class BoardPicture(TypedDict):
    """The whole board: all its sockets, the ``links`` between them as pairs of y at the ``middle``, whether its dies'
    links are what limits it, the board in words, and the ``states`` of slots and the ``link`` that its key explains."""

    width: int
    height: float
    sockets: list[SocketPicture]
    links: list[tuple[float, float]]
    middle: float
    limited: bool
    said: str
    states: list[str]
    link: Optional[str]


def natural(text: Any) -> list[Any]:
    """A key that puts P2 before P10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", str(text))]


def picture(document: NamedTower) -> Optional[BoardPicture]:
    """None where nothing is known of the memory."""
    found = document["memory_channels"]
    sockets = []
    for index, socket in enumerate((found["sockets"] if found else None) or []):
        dimms = [dimm for dimm in (found["dimms"] if found else None) or [] if dimm["socket"] == socket["socket"]]
        sockets.append(_socket(document, socket, dimms, MARGIN + index * (TITLE + CPU_HEIGHT + LABELS + GAP)))
    if not found or not sockets:
        return None
    return {
        "width": WIDTH,
        "height": sockets[-1]["y"] + CPU_HEIGHT + LABELS + MARGIN,
        "sockets": sockets,
        "links": [(one["y"] + CPU_HEIGHT, other["y"]) for one, other in zip(sockets, sockets[1:])],
        "middle": WIDTH / 2,
        "limited": bool(found["bandwidth"]) and found["bandwidth"]["limited_by"] == "ccd-links",
        "said": "; ".join(f"socket {socket['socket']}: {socket['said']}" for socket in sockets),
        "states": sorted({slot["state"] for socket in sockets for c in socket["channels"] for slot in c["slots"]}),
        "link": next((socket["link"] for socket in sockets if socket["link"]), None),
    }


def _socket(document: NamedTower, socket: Socket, dimms: list[Dimm], top: float) -> SocketPicture:
    y = top + TITLE
    channels = _channels(socket, dimms)
    half = (len(channels) + 1) // 2
    left, right = (WIDTH - CPU_WIDTH) / 2, (WIDTH + CPU_WIDTH) / 2
    _place(channels[:half], MARGIN, left - 2, y)
    _place(channels[half:], right + 2, WIDTH - MARGIN, y)
    chips = _chips(document, socket, y)
    return {
        "socket": socket["socket"],
        "cpu": clean(socket["cpu"] or "no CPU"),
        "populated": socket["populated"],
        "box": {"x": left, "y": y, "width": CPU_WIDTH, "height": CPU_HEIGHT},
        "y": y,
        "channels": channels,
        "label_y": y + CPU_HEIGHT + 13,
        "said": _said(socket),
        "facts": ", ".join([_said(socket), *_facts(document, socket, dimms, chips)]),
        **chips,
    }


def _facts(document: NamedTower, socket: Socket, dimms: list[Dimm], chips: Chips) -> list[str]:
    """What a socket's memory is, in words."""
    tower, memory = document["tower"], document["memory_channels"]
    held = sum(dimm["size_bytes"] or 0 for dimm in dimms if dimm["populated"])
    facts = [f"{held / 2**30:.0f} GiB"] if held else []
    # The slowest DIMM of all sets the pace of all.
    speed, used = running_speed((memory["dimms"] if memory else None) or []), socket["channels_populated"]
    facts += [rate(used * channel_gb_s(speed))] if speed and used else []
    each, sockets = tower["nodes_per_socket"] or 0, tower["sockets"] or 0
    # The kernel counts the nodes of a socket after those of the socket before; a guest's are its host's invention.
    if each and len(tower["nodes"]) == each * sockets and socket["socket"] < sockets and not tower.get("hypervisor"):
        names = [str(tower["nodes"][socket["socket"] * each + number]["node"]) for number in range(each)]
        facts.append(f"node{'s' if each > 1 else ''} {', '.join(names)}")
    count, many = len(chips["dies"]), len(chips["dies"]) > 1
    if count and chips["link"]:
        facts += [
            f"{count} die{'s' if many else ''} with cores",
            f"{chips['link']} through the link of {'each' if many else 'it'}",
        ]
    elif count:
        facts.append(f"{count} L3 cache{'s' if many else ''}")
    return facts


def _said(socket: Socket) -> str:
    total, used = socket["channels_total"], socket["channels_populated"]
    if not socket["populated"]:
        return "there is no CPU in it"
    if used is None:
        bounds = socket["channels_bounds"]
        return f"{bounds[0]} to {bounds[1]} channels in use" if bounds else "channels in use: unknown"
    return f"{used} of {total or 'an unknown number of'} channels in use"


def _slot(dimm: Optional[Dimm], state: str, locator: Optional[str]) -> Slot:
    name = clean(locator or "unnamed")
    if dimm is None or state != "populated":
        text = "empty" if state == "empty" else "free, its channel is in use"
    else:
        text = _content(dimm)
    return {"state": state, "locator": name, "text": f"{name}: {text}", "x": 0.0, "y": 0.0, "width": 0.0, "height": 0.0}


def _content(dimm: Dimm) -> str:
    speed = dimm["configured_mts"]
    kind = clean(" ".join(str(dimm[key]) for key in ("type", "manufacturer", "part_number") if dimm[key]))
    parts = [f"{(dimm['size_bytes'] or 0) / 2**30:.0f} GiB", kind, f"{speed} MT/s" if speed else ""]
    return ", ".join(part for part in parts if part)


def _channels(socket: Socket, dimms: list[Dimm]) -> list[Channel]:
    """The channels of a socket with their slots; those of one that cannot be known stand alone, without a name."""
    named: dict[str, list[Dimm]] = {}
    alone = []
    for dimm in dimms:
        if dimm["channel"] is None:
            alone.append(dimm)
        else:
            named.setdefault(dimm["channel"], []).append(dimm)
    for name in socket["empty_channels"] or []:
        named.setdefault(name, [])
    channels: list[Channel] = []
    for name in sorted(named, key=natural):
        members = sorted(named[name], key=lambda dimm: (dimm["slot"] or 0, natural(dimm["locator"])))
        empty = not any(dimm["populated"] for dimm in members)
        slots = [
            _slot(dimm, "populated" if dimm["populated"] else "empty" if empty else "spare", dimm["locator"])
            for dimm in members
        ]
        channels.append(
            {
                "name": clean(short_name(name)),
                "empty": empty,
                "slots": slots or [_slot(None, "empty", f"channel {name}")],
                "x": 0.0,
            }
        )
    for dimm in sorted(alone, key=lambda dimm: natural(dimm["locator"])):
        state = "populated" if dimm["populated"] else "spare"
        channels.append({"name": "", "empty": False, "slots": [_slot(dimm, state, dimm["locator"])], "x": 0.0})
    return channels


def _place(channels: list[Channel], left: float, right: float, top: float) -> None:
    """Give channels and slots their place between two edges, with a gap of half a slot between channels."""
    slots = sum(len(channel["slots"]) for channel in channels)
    steps = max(1.0, slots + 0.5 * len(channels))
    step = min((right - left) / steps, 2.4 * SLOT_WIDTH)
    width = round(min(SLOT_WIDTH, 0.7 * step), 1)
    position = (left + right - step * (slots + 0.5 * len(channels))) / 2 + step / 4
    for channel in channels:
        channel["x"] = round(position + step * len(channel["slots"]) / 2, 1)
        for slot in channel["slots"]:
            slot["x"], slot["y"] = round(position + step / 2 - width / 2, 1), top
            slot["width"], slot["height"] = width, CPU_HEIGHT
            position += step
        position += step / 2


def _chips(document: NamedTower, socket: Socket, top: float) -> Chips:
    """What is inside a CPU: its compute dies, each linked to the die that has the memory controllers.

    Only where the CPU is built so; of any other, the L3 caches.
    """
    cpu = document["tower"]["cpu"]
    domains = socket["l3_domains"] if socket["populated"] else None
    found = ccd_links(*cpu_signature(document["tower"]), socket["cpu"] or cpu.get("model") or "")
    if not domains:
        return {"io_die": None, "dies": [], "link": None}
    if not found:
        return {"io_die": None, "dies": _grid(domains, top), "link": None}
    generation, share = found
    count = -(-domains // share)
    center, width, height = WIDTH / 2, 26, 76
    rows = -(-count // 2)
    pitch = (CPU_HEIGHT - 8) / rows
    dies: list[Die] = []
    for index in range(count):
        on_left = index < rows
        y = top + 4 + pitch * ((index if on_left else index - rows) + 0.1)
        tall = round(min(18, pitch * 0.8), 1)
        y = round(y + (pitch * 0.8 - min(18, pitch * 0.8)) / 2, 1)
        x = center - CPU_WIDTH / 2 + 5 if on_left else center + CPU_WIDTH / 2 - 5 - 22
        inner, edge = (x + 22, center - width / 2) if on_left else (center + width / 2, x)
        link: Link = {"x1": inner, "x2": edge, "y": round(y + tall / 2, 1)}
        dies.append({"x": x, "y": y, "width": 22, "height": tall, "link": link})
    io_die: Box = {"x": center - width / 2, "y": top + (CPU_HEIGHT - height) / 2, "width": width, "height": height}
    return {"io_die": io_die, "dies": dies, "link": rate(*GMI_GB_S[generation])}


def _grid(count: int, top: float) -> list[Die]:
    across = next(number for number in range(1, count + 1) if number * number >= count)
    inner = CPU_HEIGHT - 20
    step = inner / across
    return [
        {
            "x": round(WIDTH / 2 - inner / 2 + step * (index % across) + step * 0.1, 1),
            "y": round(top + (CPU_HEIGHT - inner) / 2 + step * (index // across) + step * 0.1, 1),
            "width": round(step * 0.8, 1),
            "height": round(step * 0.8, 1),
            "link": None,
        }
        for index in range(count)
    ]
