# SPDX-License-Identifier: MIT
"""Which slots share a channel, by their numbers: vendors count along the board, so the records have to agree."""

from __future__ import annotations

from typing import Optional

from .listing import Listing
from .slot_names import Rule


def groups_by_number(
    rule: Rule, socket: int, sockets: dict[int, int], numbers: dict[int, int], listing: Listing
) -> Optional[list[list[int]]]:
    """The slots of each channel of a socket, from the sockets and numbers of all that have a name; None where these do
    not tell it.
    """
    listed = [index for index in sockets if sockets[index] == socket]
    if not listing.channels:
        return None
    whole = listing.all_of(numbers) and (len(listed) >= listing.channels or listing.shows_empty)
    if rule.order == "slot":
        return _first_slots_first(listed, numbers, listing, whole)
    if not whole and not _full(sockets, numbers, listing):
        # Numbers of slots that are not all known mean nothing: DIMM 1 and 2 share a channel, or do not.
        return _by_place(listed, numbers, listing) if rule.order == "channel" else None
    mine = sorted(listed, key=lambda index: numbers[index])
    each = max(len(mine) // listing.channels, 1)
    if numbers[mine[-1]] - numbers[mine[0]] + 1 != len(mine):
        return _one_of_each_pair(mine, numbers, listing.channels)
    if len(mine) % listing.channels and len(mine) > listing.channels:
        return _some_with_two(listed, numbers, listing.channels)
    if rule.order == "channel":
        result = _groups(mine, each)
    else:
        result = list(_over_channels(mine, numbers, listing.channels).values())
    # Boards that number the slots of a channel one after the other list them so; where they do not, who knows.
    by_position = {frozenset(group) for group in _groups(listed, each)}
    return result if {frozenset(group) for group in result} == by_position else None


def _first_slots_first(
    listed: list[int], numbers: dict[int, int], listing: Listing, whole: bool
) -> Optional[list[list[int]]]:
    """Dell's numbers, which go over all channels before a second slot: a slot's own number tells its channel.

    Where not every channel has a second slot, first slots can be told as long as the others, whose channels cannot,
    add nothing.
    """
    channels = listing.channels or 1
    mine = sorted(listed, key=lambda index: numbers[index])
    highest = numbers[mine[-1]]
    if numbers[mine[0]] < 1:
        return None
    even = highest <= channels or (highest % channels == 0 if whole else listing.counted_evenly)
    if not even:
        first = [index for index in mine if numbers[index] <= channels]
        full = len(first) == channels and all(listing.devices[index].size_bytes for index in first)
        if not full and any(listing.devices[index].size_bytes for index in mine[len(first) :]):
            return None
        mine = first
    return list(_over_channels(mine, numbers, channels).values())


def _full(sockets: dict[int, int], numbers: dict[int, int], listing: Listing) -> bool:
    """Whether these are boards' numbers with a DIMM in every slot, of which firmware counts too many: as many on each
    socket and in each channel, at least two, without a gap and from the first one.
    """
    by_socket: dict[int, list[int]] = {}
    for index, socket in sockets.items():
        by_socket.setdefault(socket, []).append(numbers[index])
    each = len(numbers) // len(by_socket)
    return (
        not listing.shows_empty
        and each % (listing.channels or 1) == 0
        and each > (listing.channels or 1)
        and all(
            len(mine) == each and max(mine) - min(mine) + 1 == each and min(mine) % each == 1
            for mine in by_socket.values()
        )
    )


def _over_channels(mine: list[int], numbers: dict[int, int], channels: int) -> dict[int, list[int]]:
    by_channel: dict[int, list[int]] = {}
    for index in mine:
        by_channel.setdefault((numbers[index] - 1) % channels, []).append(index)
    return by_channel


def _by_place(listed: list[int], numbers: dict[int, int], listing: Listing) -> Optional[list[list[int]]]:
    """Where empty slots have a record and no name: numbers that are the places of their records, from CPU to CPU."""
    slots, rest = divmod(len(listing.devices), (listing.channels or 1) * len(listing.cpus))
    each = slots * (listing.channels or 1)
    if rest or len({listing.position(index) for index in listed}) != 1 or listing.position(listed[0]) is None:
        return None
    anew = all(numbers[index] == index % each + 1 for index in numbers)
    if not anew and not all(numbers[index] == index + 1 for index in numbers):
        return None
    by_channel: dict[int, list[int]] = {}
    for index in listed:
        by_channel.setdefault(index // slots, []).append(index)
    return list(by_channel.values())


def _one_of_each_pair(mine: list[int], numbers: dict[int, int], channels: int) -> Optional[list[list[int]]]:
    """Boards with one slot a channel and the numbers of those with two: 1, 3, 6 and 8 are in four channels."""
    pairs = {(numbers[index] - 1) // 2 for index in mine}
    return _groups(mine, 1) if len(mine) == len(pairs) == channels else None


def _some_with_two(listed: list[int], numbers: dict[int, int], channels: int) -> Optional[list[list[int]]]:
    """Boards that have a second slot on some channels: its number is higher than those of all first ones, and its
    record follows its channel's first one, as 3 7 5 1 4 8 6 2 do. In the order of the numbers nothing can be told.
    """
    lowest = min(numbers[index] for index in listed)
    groups: list[list[int]] = []
    steps = set()
    for index in listed:
        if numbers[index] - lowest < channels:
            groups.append([index])
        elif groups and len(groups[-1]) == 1:
            steps.add(numbers[index] - numbers[groups[-1][0]])
            groups[-1].append(index)
        else:
            return None
    in_order = [numbers[index] for index in listed] == sorted(numbers[index] for index in listed)
    return groups if len(groups) == channels and len(steps) == 1 and not in_order else None


def _groups(indexes: list[int], each: int) -> list[list[int]]:
    return [indexes[start : start + each] for start in range(0, len(indexes), each)]
