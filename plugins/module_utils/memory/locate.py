# SPDX-License-Identifier: MIT
"""Which memory device is in which channel of which socket.

A naming rule answers that fits every populated slot, that no slot contradicts and that agrees with the CPU. What
numbers mean is checked by the position of their records. An answer that is not sure is None: a wrong one is worse.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, Optional

from .document import Confidence
from .slot_names import MOST_SLOTS, NAMELESS, Place, Rule, means_so, place_of, rules_for
from .smbios import Machine, MemoryDevice, Processor

# Records that are memory, but not the DIMMs that a model lies in. A CPU's own HBM is not on its channels.
NOT_DRAM = re.compile(r"Flash|ROM|non-volatile|NVDIMM|persistent|HBM", re.I)
NOT_A_SLOT = re.compile(r"CXL|System ROM|BIOS|SPI", re.I)


class Location(NamedTuple):
    """Where a device is: index of the socket, channel as the board names it, slot within the channel."""

    socket: int
    channel: str
    slot: int


class Answer(NamedTuple):
    """What answered, how sure it is, and where every device is, by its index; {} where only their number is known."""

    rule: Optional[str]
    confidence: Confidence
    places: dict[int, Location]


NO_ANSWER = Answer(None, "none", {})


def dram(machine: Machine) -> list[MemoryDevice]:
    """The places for the memory of the system, whether there is a DIMM or not."""
    others = {array.handle for array in machine.arrays if not array.system}
    return [
        device
        for device in machine.devices
        if device.array not in others
        and not NOT_DRAM.search(device.type or "")
        and not NOT_A_SLOT.search(f"{device.locator} {device.bank}")
    ]


def locate(
    machine: Machine,
    devices: list[MemoryDevice],
    cpus: list[Processor],
    channels: Optional[int],
    server: bool,
) -> Optional[Answer]:
    """The first rule that fits, or None. What numbers alone mean is known of servers only."""
    for rule in rules_for(machine):
        if rule.order in ("channel", "slot") and not server:
            continue
        places = _apply(rule, devices, cpus, channels)
        if not places or _contradicts(places, devices, cpus):
            continue
        agrees = _agrees(places, channels)
        if agrees is not None:
            return Answer(rule.name, "certain" if agrees and rule.order == "own" else "high", places)
    return None


def sockets_of(labels: list[str], populated: set[str], cpus: list[Processor], node: bool) -> Optional[dict[str, int]]:
    """Rank the socket labels of a board onto its CPUs, whether it counts from 0 or from 1."""
    ordered = _by_length(labels)
    filled = [index for index, cpu in enumerate(cpus) if cpu.populated]
    if len(ordered) == len(cpus):
        return dict(zip(ordered, range(len(ordered))))
    if len(ordered) < len(cpus):
        # The slots of absent CPUs are not listed; otherwise nobody can tell whose slots are missing.
        return dict(zip(ordered, filled)) if len(ordered) == len(filled) else None
    if node or len(cpus) > 1:
        return None
    # Boards for one CPU list the slots of a second one that they do not have.
    used = [label for label in ordered if label in populated]
    return dict(zip(used, filled)) if len(used) <= len(filled) else None


def _apply(
    rule: Rule, devices: list[MemoryDevice], cpus: list[Processor], channels: Optional[int]
) -> Optional[dict[int, Location]]:
    """Where a rule puts the devices, or None where it does not fit this machine."""
    named = _named(rule, devices)
    if not named or not means_so(rule, list(named.values()), channels):
        return None
    if rule.order == "own" and any(place.socket is None for place in named.values()):
        return _by_letters(named, cpus, channels)
    labels = {str(place.socket) for place in named.values()}
    used = {str(place.socket) for index, place in named.items() if devices[index].size_bytes}
    sockets = sockets_of(list(labels), used, cpus, any(place.node for place in named.values()))
    if sockets is None:
        return None
    result: dict[int, Location] = {}
    for label, socket in sockets.items():
        mine = [index for index, place in named.items() if str(place.socket) == label]
        if rule.order == "own":
            for index in mine:
                result[index] = Location(socket, str(named[index].channel), named[index].slot or 0)
            continue
        if not channels:
            return None
        groups = _numbered(rule, mine, {index: named[index].number or 0 for index in mine}, devices, channels)
        if groups is None:
            return None
        for group in groups:
            name = _joined([devices[index].locator for index in group])
            result.update({index: Location(socket, name, slot) for slot, index in enumerate(group)})
    return result


def _named(rule: Rule, devices: list[MemoryDevice]) -> Optional[dict[int, Place]]:
    """What a rule reads in the names of the devices; None where it does not fit one that has a name or a DIMM."""
    named: dict[int, Place] = {}
    for index, device in enumerate(devices):
        place = place_of(rule, device)
        if place:
            named[index] = place
        elif device.size_bytes or not (NAMELESS.search(device.locator) or NAMELESS.search(device.bank)):
            return None
    # Two slots that would be the same one: what the rule takes for a channel is not all of its name.
    whole = [place for place in named.values() if place.slot is not None]
    return named if len(set(whole)) == len(whole) else None


def _by_letters(
    named: dict[int, Place], cpus: list[Processor], channels: Optional[int]
) -> Optional[dict[int, Location]]:
    """Where devices are whose names have a channel and no socket: the letters may go on from CPU to CPU."""
    letters = _by_length({str(place.channel) for place in named.values()})
    filled = [index for index, cpu in enumerate(cpus) if cpu.populated]
    if len(cpus) == 1 or (channels is None and len(filled) == 1):
        owner = dict.fromkeys(letters, filled[0] if filled else 0)
    elif channels and len(letters) == channels * len(cpus):
        owner = {letter: position // channels for position, letter in enumerate(letters)}
    elif channels and len(filled) == 1 and len(letters) == channels:
        owner = dict.fromkeys(letters, filled[0])
    else:
        return None
    return {
        index: Location(owner[str(place.channel)], str(place.channel), place.slot or 0)
        for index, place in named.items()
    }


def _numbered(
    rule: Rule, listed: list[int], numbers: dict[int, int], devices: list[MemoryDevice], channels: int
) -> Optional[list[list[int]]]:
    """The slots of each channel of a socket, from their numbers; None where these do not tell it."""
    mine = sorted(listed, key=lambda index: numbers[index])
    lowest, highest = numbers[mine[0]], numbers[mine[-1]]
    each = max(len(mine) // channels, 1)
    if rule.order == "channel":
        if highest - lowest + 1 != len(mine) or (len(mine) % channels and len(mine) > channels):
            return None
        result = _groups(mine, each)
    else:
        # What is not listed leaves a gap, not another numbering. Where not every channel has a second slot, first slots
        # can be told as long as the others, whose channels cannot, add nothing.
        first = [index for index in mine if numbers[index] <= channels]
        if highest > channels and highest % channels:
            full = len(first) == channels and all(devices[index].size_bytes for index in first)
            if not full and any(devices[index].size_bytes for index in mine[len(first) :]):
                return None
            mine = first
        if not lowest:
            return None
        by_number: dict[int, list[int]] = {}
        for index in mine:
            by_number.setdefault((numbers[index] - 1) % channels, []).append(index)
        result = list(by_number.values())
    # Boards that number the slots of a channel one after the other list them so; where they do not, who knows.
    by_position = {frozenset(group) for group in _groups(listed, each)}
    return result if rule.order == "slot" or {frozenset(group) for group in result} == by_position else None


def _by_length(labels: Iterable[str]) -> list[str]:
    """Labels in the order that people count: 2 before 10, Z before AA."""
    return sorted(labels, key=lambda label: (len(label), label))


def _joined(locators: list[str]) -> str:
    """A channel that has no name but those of its slots: PROC 1 DIMM 3+4."""
    prefix = re.sub(r"[0-9]+$", "", locators[0])
    return "+".join([locators[0], *(name[len(prefix) :] if name.startswith(prefix) else name for name in locators[1:])])


def _groups(indexes: list[int], each: int) -> list[list[int]]:
    return [indexes[start : start + each] for start in range(0, len(indexes), each)]


def _contradicts(places: dict[int, Location], devices: list[MemoryDevice], cpus: list[Processor]) -> bool:
    """Whether two slots have one name, a channel would have more slots than any board's, or an absent CPU has memory:
    what the rule takes for its label is a part of another CPU.
    """
    names = [(devices[index].locator, devices[index].bank) for index in places if devices[index].size_bytes]
    slots = Counter((place.socket, place.channel) for place in places.values())
    absent = {index for index, cpu in enumerate(cpus) if not cpu.populated}
    return (
        len(set(names)) < len(names)
        or any(count > MOST_SLOTS for count in slots.values())
        or any(place.socket in absent and devices[index].size_bytes for index, place in places.items())
    )


def _agrees(places: dict[int, Location], channels: Optional[int]) -> Optional[bool]:
    """Whether a socket has the CPU's channels (True), fewer (False) or impossibly many (None)."""
    by_socket: dict[int, set[str]] = {}
    for place in places.values():
        by_socket.setdefault(place.socket, set()).add(place.channel)
    if channels is None:
        return False
    if any(len(names) > channels for names in by_socket.values()):
        return None
    return all(len(names) == channels for names in by_socket.values())
