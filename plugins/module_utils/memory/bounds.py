# SPDX-License-Identifier: MIT
"""How many channels DIMMs can populate, whatever their slots are called; sometimes that leaves one answer."""

from __future__ import annotations

from typing import Optional

from .locate import sockets_of
from .slot_names import MOST_SLOTS, means_so, place_of, rules_for
from .smbios import Machine, MemoryDevice, Processor


def bounds_of_sockets(
    machine: Machine, devices: list[MemoryDevice], cpus: list[Processor], channels: Optional[int]
) -> list[Optional[list[int]]]:
    """The least and the most channels in use of each CPU; None where it is unknown how many it has."""
    owners = _owners(machine, devices, cpus)
    slots = _slots(machine, devices, channels)
    return [_bounds_of_socket(index, devices, cpus, channels, owners, slots) for index in range(len(cpus))]


def _bounds(dimms: int, slots: int, channels: Optional[int]) -> Optional[list[int]]:
    """The least and the most channels that DIMMs in so many slots can populate; None where the CPU is unknown."""
    if channels is None:
        return None
    most = min(dimms, channels)
    if slots <= channels:
        return [most, most]
    if dimms == slots:
        return [channels, channels]
    per_channel = -(-slots // channels)
    return [min(-(-dimms // per_channel), most), most]


def _bounds_of_socket(
    index: int,
    devices: list[MemoryDevice],
    cpus: list[Processor],
    channels: Optional[int],
    owners: Optional[list[int]],
    slots: int,
) -> Optional[list[int]]:
    """Bounds for a socket whose slots' channels are not named, on a board of so many slots."""
    count = sum(1 for device in devices if device.size_bytes)
    if len(cpus) == 1 or channels is None:
        return _bounds(count, slots, channels)
    if slots == count and count >= channels * len(cpus) and count % len(cpus) == 0:
        return [channels, channels]
    if sum(1 for cpu in cpus if cpu.populated) == 1:
        # All DIMMs are this CPU's.
        return [min(-(-count // MOST_SLOTS), channels), min(count, channels)]
    if owners:
        mine = [device for device, owner in zip(devices, owners) if owner == index]
        # Slots that are counted and not listed may all be this socket's.
        return _bounds(sum(1 for device in mine if device.size_bytes), len(mine) + slots - len(devices), channels)
    return [0, min(channels, count)]


def _slots(machine: Machine, devices: list[MemoryDevice], channels: Optional[int]) -> int:
    """How many slots the board has: some firmware lists only those that are filled, and counts or numbers all.

    Not on boards of two channels, where the count is often that of another model, and larger.
    """
    counted = sum(array.devices or 0 for array in machine.arrays if array.system)
    numbered = [rule for rule in rules_for(machine) if rule.order != "own"]
    found = [place_of(rule, device) for rule in numbered for device in devices]
    highest = max((place.number or 0 for place in found if place), default=0)
    return max(counted, highest, len(devices)) if channels and channels > 2 else len(devices)


def _owners(machine: Machine, devices: list[MemoryDevice], cpus: list[Processor]) -> Optional[list[int]]:
    """The socket of each device, by the first rule that names sockets and fits all, whatever it says of channels."""
    for rule in rules_for(machine):
        places = [place_of(rule, device) for device in devices] if "(?P<s>" in rule.locator + rule.bank else []
        if not places or not all(places) or not means_so(rule, [place for place in places if place], None):
            continue
        labels = [str(place.socket) for place in places if place]
        sockets = sockets_of(sorted(set(labels)), set(), cpus, False)
        if sockets and set(labels) <= sockets.keys():
            return [sockets[label] for label in labels]
    return None
