# SPDX-License-Identifier: MIT
"""Take DIMMs out of a board whose full listing is known, as a person and as careless firmware would.

What is left in a channel must be found again, or nothing: an answer that differs from the full listing is wrong.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from plugins.module_utils.memory.channels import describe
from plugins.module_utils.memory.document import MemoryChannels
from plugins.module_utils.memory.listing import dram
from plugins.module_utils.memory.smbios import Machine, MemoryDevice

# How firmware lists an empty slot: by its names, without its bank, without any, not at all, and not even in its count.
# Names that tell nothing are then those of a full board, which no table tells from it.
STYLES = ("named", "no bank", "nameless", "unlisted", "uncounted")
# Where a device is: the socket, and its channel whatever the name.
Truth = dict[int, tuple[int, object]]


class Board(NamedTuple):
    """A machine with a DIMM in every slot, and where the slots are, by their handles."""

    name: str
    machine: Machine
    truth: Truth


def full_board(name: str, machine: Machine) -> Board | None:
    """A machine with a DIMM in every slot that it lists, where its full listing tells the channel of each."""
    devices = dram(machine)
    present = [device for device in devices if device.size_bytes]
    if not present or len({device.handle for device in devices}) < len(devices):
        return None
    absent = {index for index, cpu in enumerate(machine.processors) if not cpu.populated}
    like = present[0]
    filled = {
        device.handle: like._replace(handle=device.handle, array=device.array, locator=device.locator, bank=device.bank)
        for device in devices
        if not device.size_bytes
    }
    full = machine._replace(devices=[filled.get(device.handle, device) for device in machine.devices])
    found = describe(machine if absent else full, "dump")
    places = {dimm["handle"]: dimm for dimm in found["dimms"] or []}
    if absent:
        # Slots of a CPU that is not there stay empty.
        full = machine._replace(
            devices=[
                filled[device.handle]
                if device.handle in filled and places[device.handle]["socket"] not in (None, *absent)
                else device
                for device in machine.devices
            ]
        )
    truth: Truth = {
        handle: (dimm["socket"], dimm["channel"]) for handle, dimm in places.items() if dimm["socket"] is not None
    }
    return Board(name, full, truth) if set(truth) >= {d.handle for d in dram(full) if d.size_bytes} else None


def populations(board: Board, chance: random.Random, count: int) -> Iterator[set[int]]:
    """Handles of the slots that stay filled: some at random, one slot of each channel, few channels, one socket."""
    slots = [device.handle for device in dram(board.machine) if device.size_bytes]
    for number in range(count):
        kind = number % 5
        share = chance.choice((0.1, 0.25, 0.5, 0.75, 0.9))
        channels = sorted({board.truth[handle] for handle in slots}, key=str)
        kept = set(chance.sample(channels, max(1, round(share * len(channels)))))
        sockets = sorted({socket for socket, _channel in channels})
        if kind == 0:
            left = {handle for handle in slots if chance.random() < share}
        elif kind == 1:
            left = {handle for handle in slots if board.truth[handle] in kept}
        elif kind == 2:
            left = {chance.choice([h for h in slots if board.truth[h] == channel]) for channel in sorted(kept, key=str)}
        elif kind == 3:
            socket = chance.choice(sockets)
            left = {handle for handle in slots if board.truth[handle][0] == socket and chance.random() < share}
        else:
            left = set(chance.sample(slots, min(len(slots), chance.randint(1, 4))))
        yield left or {chance.choice(slots)}


def depopulated(board: Board, left: set[int], style: str) -> Machine:
    """The machine with DIMMs in these slots alone."""
    slots = {device.handle for device in dram(board.machine)}
    devices = []
    for device in board.machine.devices:
        if device.handle not in slots or device.handle in left:
            devices.append(device)
        elif style not in ("unlisted", "uncounted"):
            devices.append(_emptied(device, style))
    machine = board.machine._replace(devices=devices)
    if style == "uncounted":
        machine = machine._replace(
            arrays=[
                array._replace(devices=sum(1 for device in devices if device.array == array.handle))
                for array in machine.arrays
            ]
        )
    return machine


def _emptied(device: MemoryDevice, style: str) -> MemoryDevice:
    empty = device._replace(
        size_bytes=0, type=None, rated_mts=None, configured_mts=None, ranks=None, data_width=None, manufacturer=""
    )
    if style in ("no bank", "nameless"):
        empty = empty._replace(bank="NO DIMM")
    return empty._replace(locator="NO DIMM") if style == "nameless" else empty


def expected(board: Board, left: set[int], found: MemoryChannels) -> list[int]:
    """Channels in use of each socket."""
    used = {board.truth[handle] for handle in left}
    return [sum(1 for place in used if place[0] == socket["socket"]) for socket in found["sockets"] or []]


def verdict(board: Board, left: set[int], found: MemoryChannels) -> str:
    """right, null, wrong, or bounds where these leave out what is right."""
    result = "right"
    for socket, count in zip(found["sockets"] or [], expected(board, left, found), strict=True):
        low, high = socket["channels_bounds"] or (0, 99)
        if socket["channels_populated"] not in (None, count):
            return "wrong"
        if socket["populated"] and not low <= count <= high:
            return "bounds"
        if socket["populated"] and socket["channels_populated"] is None:
            result = "null"
    return result
