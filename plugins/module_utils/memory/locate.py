# SPDX-License-Identifier: MIT
"""Which memory device is in which channel of which socket.

A naming rule answers that fits every populated slot, that no slot contradicts and that agrees with the CPU. What
numbers mean is checked by the position of their records. An answer that is not sure is None: a wrong one is worse.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple, Optional

from .document import Confidence
from .listing import Listing
from .slot_letters import by_length, several_nodes_a_channel, sockets_by_letter, sockets_by_node, whole_alphabet
from .slot_names import MOST_SLOTS, NAMELESS, Place, Rule, means_so, place_of
from .slot_numbers import groups_by_number
from .smbios import Processor


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


def locate(rules: list[Rule], listing: Listing, server: bool) -> Answer:
    """By the first rule that fits. What numbers alone mean is known of servers only.

    Without an answer, its rule is the one that reads the names and cannot tell sockets or channels by them.
    """
    undecided: Optional[str] = None
    for rule in rules:
        named = _named(rule, listing) if server or rule.order not in ("channel", "slot") else None
        if not named or not means_so(rule, list(named.values()), listing.channels):
            continue
        # Where a rule reads a socket that it cannot rank, those that read none must not pass over it.
        if undecided and not rule.reads_socket and not whole_alphabet(named, listing):
            continue
        places = _by_channel(rule, named, listing) if rule.order == "own" else _by_number(rule, named, listing)
        if places is None:
            undecided = undecided or rule.name
        if places:
            places = _wired(rule, places, named, listing)
        if not places or _contradicts(places, listing):
            continue
        agrees = _agrees(places, listing.channels)
        if agrees is not None:
            return Answer(rule.name, "certain" if agrees and rule.order == "own" else "high", places)
    return NO_ANSWER._replace(rule=undecided)


def sockets_of(labels: list[str], populated: set[str], cpus: list[Processor]) -> Optional[dict[str, int]]:
    """Rank the socket labels of a board onto its CPUs, whether it counts from 0 or from 1."""
    ordered = by_length(set(labels))
    filled = [index for index, cpu in enumerate(cpus) if cpu.populated]
    if len(ordered) == len(cpus):
        return dict(zip(ordered, range(len(ordered))))
    if len(ordered) < len(cpus):
        # The slots of absent CPUs are not listed; otherwise nobody can tell whose slots are missing.
        return dict(zip(ordered, filled)) if len(ordered) == len(filled) else None
    if len(cpus) > 1:
        return None
    # Boards for one CPU list the slots of a second one that they do not have.
    used = [label for label in ordered if label in populated]
    return dict(zip(used, filled)) if len(used) <= len(filled) else None


def _named(rule: Rule, listing: Listing) -> Optional[dict[int, Place]]:
    """What a rule reads in the names of the devices; None where it does not fit one that has a name or a DIMM."""
    named: dict[int, Place] = {}
    for index, device in enumerate(listing.devices):
        place = place_of(rule, device)
        if place:
            named[index] = place
        elif device.size_bytes or not (NAMELESS.search(device.locator) or NAMELESS.search(device.bank)):
            return None
    # Two slots that would be the same one: what the rule takes for a channel is not all of its name.
    whole = [place for place in named.values() if place.slot is not None]
    return named if len(set(whole)) == len(whole) else None


def _by_channel(rule: Rule, named: dict[int, Place], listing: Listing) -> Optional[dict[int, Location]]:
    """Where devices are whose names have a channel of their own, and a socket, a node or neither."""
    sockets: Optional[dict[int, int]]
    if any(place.socket is None for place in named.values()):
        sockets = sockets_by_letter(named, listing)
    elif any(place.node for place in named.values()):
        sockets = sockets_by_node(named, listing)
        if sockets and several_nodes_a_channel(named):
            if not _starts_anew(named):
                return None
            named = {
                index: place._replace(channel=f"NODE {place.socket} {place.channel}") for index, place in named.items()
            }
    else:
        sockets = _labeled(named, listing)
    if sockets is None:
        return None
    places = {
        index: Location(sockets[index], str(place.channel), place.slot or 0)
        for index, place in named.items()
        if index in sockets
    }
    if rule.repeats and not (listing.all_of(named) and listing.shows_empty) and not _agrees(places, listing.channels):
        return None
    return places


def _starts_anew(named: dict[int, Place]) -> bool:
    """Whether each channel that several nodes have is one of its own on each, by a slot that all of these have."""
    slots: dict[tuple[Optional[str], Optional[int]], set[Optional[str]]] = {}
    for place in named.values():
        slots.setdefault((place.channel, place.slot), set()).add(place.socket)
    return any(len(mine) > 1 for mine in slots.values())


def _by_number(rule: Rule, named: dict[int, Place], listing: Listing) -> Optional[dict[int, Location]]:
    """Where devices are whose names have a socket and a number."""
    sockets = _labeled(named, listing)
    if sockets is None or (rule.guess and not listing.all_of(named)):
        return None
    numbers = {index: place.number or 0 for index, place in named.items()}
    result: dict[int, Location] = {}
    for socket in sorted(set(sockets.values())):
        groups = groups_by_number(rule, socket, sockets, numbers, listing)
        if groups is None:
            return None
        for group in groups:
            name = _joined([listing.devices[index].locator for index in group])
            result.update({index: Location(socket, name, slot) for slot, index in enumerate(group)})
    return result if not rule.guess or _fits_the_filled(result, numbers, listing) else None


def _labeled(named: dict[int, Place], listing: Listing) -> Optional[dict[int, int]]:
    """The socket of each device by its label; without those of a CPU that the board has no socket for."""
    used = {str(place.socket) for index, place in named.items() if listing.devices[index].size_bytes}
    sockets = sockets_of([str(place.socket) for place in named.values()], used, listing.cpus)
    if sockets is None:
        return None
    return {index: sockets[str(place.socket)] for index, place in named.items() if str(place.socket) in sockets}


def _fits_the_filled(places: dict[int, Location], numbers: dict[int, int], listing: Listing) -> bool:
    """Whether the slots that are filled are in no fewer channels than if neighbors in number shared one.

    People fill all channels first: where the other meaning gives more of them, the numbers may mean that.
    """
    filled = [index for index in places if listing.devices[index].size_bytes]
    each = -(-max(numbers.values()) // (listing.channels or 1))
    neighbors = {(places[index].socket, (numbers[index] - 1) // each) for index in filled}
    return len({places[index][:2] for index in filled}) >= len(neighbors)


def _joined(locators: list[str]) -> str:
    """A channel that has no name but those of its slots: PROC 1 DIMM 3+4."""
    prefix = re.sub(r"[0-9]+$", "", locators[0])
    return "+".join([locators[0], *(name[len(prefix) :] if name.startswith(prefix) else name for name in locators[1:])])


def _wired(rule: Rule, places: dict[int, Location], named: dict[int, Place], listing: Listing) -> dict[int, Location]:
    """Without the channels that a board for one CPU lists and does not have, where its DIMMs show which these are.

    Firmware for CPUs of eight channels lists all on boards for four, which wire every second one; firmware of boards
    for two CPUs those of the second one.
    """
    channels, names = listing.channels or 0, by_length({place.channel for place in places.values()})
    used = {names.index(places[index].channel) for index in places if listing.devices[index].size_bytes}
    if len(listing.cpus) != 1 or len(names) != 2 * channels or not used:
        return places
    if rule.phantoms:
        wired = names[min(used) % 2 :: 2] if len({number % 2 for number in used}) == 1 else names
    elif not rule.reads_socket or any(place.node for place in named.values()):
        wired = names[:channels] if max(used) < channels and None not in {p.slot for p in named.values()} else names
    else:
        return places
    return {index: place for index, place in places.items() if place.channel in wired}


def _contradicts(places: dict[int, Location], listing: Listing) -> bool:
    """Whether two slots have one name, a channel would have more slots than any board's, or an absent CPU has memory:
    what the rule takes for its label is a part of another CPU.
    """
    devices = listing.devices
    names = [(devices[index].locator, devices[index].bank) for index in places if devices[index].size_bytes]
    slots = Counter((place.socket, place.channel) for place in places.values())
    absent = {index for index, cpu in enumerate(listing.cpus) if not cpu.populated}
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
