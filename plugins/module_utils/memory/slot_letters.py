# SPDX-License-Identifier: MIT
"""Which socket a slot belongs to whose name has a channel and no CPU: by letters that go on, by nodes, by position.

A node may be a socket or a part of one, and letters may go on from CPU to CPU or start anew: an answer needs two of
letter, node and position of the record that agree, or one that proves itself.
"""

from __future__ import annotations

from typing import Optional

from .listing import Listing
from .slot_names import Place

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Some vendors leave out the letter that looks like a digit.
ALPHABETS = (LETTERS, LETTERS.replace("I", ""))


def by_length(labels: set[str]) -> list[str]:
    """Labels in the order that people count: 2 before 10, Z before AA."""
    return sorted(labels, key=lambda label: (len(label), label))


def sockets_by_letter(named: dict[int, Place], listing: Listing) -> Optional[dict[int, int]]:
    """The socket of each device whose name has a channel alone; None where it cannot be told."""
    letters = {str(place.channel) for place in named.values()}
    present = listing.present
    if len(listing.cpus) == 1 or (len(present) == 1 and (not listing.channels or len(letters) <= listing.channels)):
        return dict.fromkeys(named, present[0] if present else 0)
    return _letters_go_on(named, listing)


def sockets_by_node(named: dict[int, Place], listing: Listing) -> Optional[dict[int, int]]:
    """The socket of each device whose name has a node and a channel; None where it cannot be told."""
    nodes = by_length({str(place.socket) for place in named.values()})
    present = listing.present
    by_rank = {index: nodes.index(str(place.socket)) for index, place in named.items()}
    if len(present) <= 1:
        used = {by_rank[index] for index in named if listing.devices[index].size_bytes}
        if len(nodes) == len(listing.cpus) > 1 and used == set(present):
            return by_rank
        return dict.fromkeys(named, present[0] if present else 0)
    if whole_alphabet(named, listing):
        return _letters_go_on(named, listing)
    if not several_nodes_a_channel(named):
        sockets = _letters_go_on(named, listing)
        if sockets or _beyond_one_cpu(max(named.values(), key=_letter_of), listing):
            return sockets if sockets and _nodes_agree(named, sockets, listing) else None
    positions = {index: listing.position(index) for index in named}
    known = {index: socket for index, socket in positions.items() if socket is not None}
    if len(known) == len(named):
        return known if _nodes_agree(named, known, listing) else None
    # A node with more than half of a CPU's channels is no part of one.
    most = max(len({place.channel for place in named.values() if place.socket == node}) for node in nodes)
    proven = listing.channels and most * 2 > listing.channels and len(nodes) == len(listing.cpus)
    return by_rank if proven else None


def whole_alphabet(named: dict[int, Place], listing: Listing) -> bool:
    """Whether there is a letter for each channel of all CPUs, so that no letter is of two."""
    letters = {place.channel for place in named.values()}
    return len(letters) == (listing.channels or 0) * len(listing.cpus)


def several_nodes_a_channel(named: dict[int, Place]) -> bool:
    """Whether letters start anew on some node, so that a channel is told by both."""
    pairs = {(place.channel, place.socket) for place in named.values()}
    return len({channel for channel, _node in pairs}) < len(pairs)


def _letters_go_on(named: dict[int, Place], listing: Listing) -> Optional[dict[int, int]]:
    """The socket of each device where letters go on over all CPUs; None where they may not, or there is no telling."""
    channels, cpus = listing.channels, len(listing.cpus)
    letters = by_length({str(place.channel) for place in named.values()})
    if not channels:
        return None
    if whole_alphabet(named, listing):
        return {index: letters.index(str(place.channel)) // channels for index, place in named.items()}
    owners: set[tuple[int, ...]] = set()
    for alphabet in ALPHABETS:
        if all(letter in alphabet for letter in letters):
            owners.add(tuple(alphabet.index(letter) // channels for letter in letters))
    if len(owners) != 1:
        return None
    owner = dict(zip(letters, owners.pop()))
    sockets = {index: owner[str(place.channel)] for index, place in named.items()}
    positions = {index: listing.position(index) for index in named}
    if None in positions.values():
        # Letters that one CPU does not have prove that they go on; the count, that every CPU has all its channels.
        proven = _beyond_one_cpu(max(named.values(), key=_letter_of), listing) and listing.counted_evenly
        return sockets if proven and max(sockets.values()) < cpus else None
    return sockets if positions == sockets else None


def _letter_of(place: Place) -> tuple[int, str]:
    return len(str(place.channel)), str(place.channel)


def _beyond_one_cpu(last: Place, listing: Listing) -> bool:
    """Whether a CPU alone has no channel of that letter, in whatever alphabet."""
    return bool(listing.channels) and ALPHABETS[1].find(str(last.channel)) >= (listing.channels or 0)


def _nodes_agree(named: dict[int, Place], sockets: dict[int, int], listing: Listing) -> bool:
    """Whether each socket has as many nodes of its own, of as many channels each, counted from 0 or from 1."""
    nodes = {index: int(place.socket or 0) for index, place in named.items()}
    return any(
        all((node - base) // each == sockets[index] for index, node in nodes.items())
        for base in (0, 1)
        for each in range(1, (listing.channels or 4) + 1)
        if (listing.channels or 4) % each == 0
    )
