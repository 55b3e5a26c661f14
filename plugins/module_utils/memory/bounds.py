# SPDX-License-Identifier: MIT
"""How many channels DIMMs can populate, whatever their slots are called; sometimes that leaves one answer."""

from __future__ import annotations

import re
from typing import Optional

from .listing import Listing
from .locate import sockets_of
from .slot_names import MOST_SLOTS, Rule, means_so, place_of


def bounds_of_sockets(rules: list[Rule], listing: Listing, undecided: bool) -> list[Optional[list[int]]]:
    """The least and the most channels in use of each CPU; None where it is unknown how many it has.

    ``undecided`` is whether the names of slots say more than could be told: no list is then taken for a full board.
    """
    if undecided and not listing.shows_empty:
        listing = listing._replace(complete=False)
    owners, one_letter = _owners(rules, listing), _one_letter(listing)
    return [_bounds_of_socket(index, listing, owners, one_letter) for index in range(len(listing.cpus))]


def _bounds(dimms: int, slots: Optional[int], channels: int) -> list[int]:
    """The least and the most channels that DIMMs in so many slots can populate; None where there may be any number."""
    most = min(dimms, channels)
    if slots is None:
        return [min(-(-dimms // MOST_SLOTS), most), most]
    if slots <= channels:
        return [most, most]
    if dimms == slots:
        return [channels, channels]
    return [min(-(-dimms // min(-(-slots // channels), MOST_SLOTS)), most), most]


def _bounds_of_socket(
    index: int, listing: Listing, owners: Optional[list[int]], one_letter: bool
) -> Optional[list[int]]:
    """Bounds for a socket whose slots' channels are not named."""
    channels, cpus = listing.channels, len(listing.cpus)
    filled = [device for device in listing.devices if device.size_bytes]
    count, slots = len(filled), listing.slots
    if channels is None:
        return None
    if one_letter:
        return _bounds(count, None, channels) if cpus == 1 else [0, min(channels, count)]
    if listing.complete and slots == count and count >= channels * cpus and count % cpus == 0:
        return [channels, channels]
    if len(listing.present) == 1:
        # All DIMMs are this CPU's, and so may all slots be.
        return _bounds(count, slots, channels)
    if owners:
        mine = [device for device, owner in zip(listing.devices, owners) if owner == index]
        # Slots that are counted and not listed may all be this socket's.
        room = len(mine) + slots - len(listing.devices) if slots else None
        return _bounds(sum(1 for device in mine if device.size_bytes), room, channels)
    return [0, min(channels, count)]


def _one_letter(listing: Listing) -> bool:
    """Whether DIMMs may share a channel by their names, as A1 and A2 do, and no empty slot shows another one."""
    names = [re.search(r"([A-H])[-_ ]?[0-9]$", device.locator) for device in listing.devices]
    return (
        len(names) > 1
        and not listing.shows_empty
        and len({name.group(1) for name in names if name}) == 1
        and None not in names
    )


def _owners(rules: list[Rule], listing: Listing) -> Optional[list[int]]:
    """The socket of each device, by the first rule that names sockets and fits all, whatever it says of channels."""
    for rule in rules:
        if "(?P<s>" not in rule.locator + rule.bank:
            continue
        places = []
        for device in listing.devices:
            place = place_of(rule, device)
            if not place:
                break
            places.append(place)
        if not places or len(places) < len(listing.devices) or not means_so(rule, places, None):
            continue
        labels = [str(place.socket) for place in places]
        sockets = sockets_of(labels, set(), listing.cpus)
        if sockets and set(labels) <= sockets.keys():
            return [sockets[label] for label in labels]
    return None
