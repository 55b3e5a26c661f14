# SPDX-License-Identifier: MIT
"""What the DIMMs of a machine cost where they are, and what mends it: each as a sentence for the fact and the fix."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, Optional

from ..text import rate
from ..tower_document import Edac
from .bandwidth import CHANNEL_BYTES, channel_gb_s, channels_in_use, dimms_by_channel, running_speed
from .cpus import CpuMemory
from .document import Bandwidth, ChannelAdvice, Dimm, MemoryChannels, Severity, Socket
from .slot_names import numbered_through

# CPUs that work in one socket only: EPYCs with a P, Xeons with a U.
ALONE = re.compile(r"EPYC \w{4}PX?N?\b|(?:Gold|Silver|Bronze) \d{4}U\b", re.I)
ORDER: dict[Severity, int] = {"problem": 0, "advice": 1, "info": 2}


def channel_advice(
    found: MemoryChannels, memory: Optional[CpuMemory], previous: Optional[MemoryChannels], edac: Optional[Edac]
) -> list[ChannelAdvice]:
    """What to mend: problems first, and of these the most costly."""
    sockets, slots = found["sockets"] or [], found["dimms"] or []
    dimms = [dimm for dimm in slots if dimm["populated"]]
    channel = channel_gb_s(running_speed(dimms) or 0)
    advice: list[ChannelAdvice] = []
    for socket in sockets:
        if socket["populated"]:
            advice += _socket_advice(_Slots.of(socket, slots, found["rule"]), socket, channel)
        else:
            advice += _absent_cpu(socket, sockets, channel)
    advice += _unbalanced_sockets(sockets, channel)
    advice += _mixed(dimms)
    advice += _below_rated(dimms, memory, channels_in_use(found)[0])
    advice += _ccd_links(found["bandwidth"])
    advice += _single_rank(dimms)
    advice += _lost(slots, previous, channel)
    advice += _edac(dimms, edac)
    return sorted(advice, key=lambda entry: (ORDER[entry["severity"]], -entry["gb_s"]))


def _advice(severity: Severity, code: str, message: str, fix: str, cost: float = 0.0) -> ChannelAdvice:
    return {"severity": severity, "code": code, "message": message, "fix": fix, "gb_s": round(cost, 1)}


class _Slots(NamedTuple):
    """The slots of one socket by their channels, each in the order of its slots."""

    by_channel: dict[str, list[Dimm]]
    # Whether slots are numbered through: the channels left and right of a CPU then differ in which slot is the first.
    numbered: bool
    # All of the board's, by whose names those here are told apart.
    board: list[Dimm]

    @classmethod
    def of(cls, socket: Socket, board: list[Dimm], rule: Optional[str]) -> _Slots:
        by_channel = dimms_by_channel(socket, board)
        for mine in by_channel.values():
            mine.sort(key=lambda dimm: (dimm["slot"] or 0, dimm["locator"] or "", dimm["bank_locator"] or ""))
        return cls(by_channel, numbered_through(rule), board)

    def used(self) -> list[list[Dimm]]:
        """The DIMMs of each channel."""
        return [[dimm for dimm in mine if dimm["populated"]] for mine in self.by_channel.values()]

    def alone(self) -> list[tuple[Dimm, int]]:
        """DIMMs that have a channel of several slots for themselves, each with the place of its slot there.

        Boards disagree on which slot of a channel is the first, but not on it being the same one of all channels.
        """
        if self.numbered:
            return []
        return [
            (used[0], mine.index(used[0]))
            for mine, used in zip(self.by_channel.values(), self.used())
            if len(used) == 1 and len(mine) > 1
        ]

    def usual(self) -> int:
        """The place of the slot that most lone DIMMs are in."""
        places = [place for _dimm, place in self.alone()]
        return max(places, key=places.count, default=0)

    def name(self, dimm: Dimm) -> str:
        return _printed(dimm["locator"], dimm["bank_locator"], self.board)

    def target(self, channel: str) -> str:
        """The slot of a channel that a lone DIMM goes into here."""
        mine = self.by_channel[channel]
        if self.numbered:
            return " or ".join(map(self.name, mine))
        return self.name(mine[min(self.usual(), len(mine) - 1)])


def _printed(locator: Optional[str], bank: Optional[str], board: list[Dimm]) -> str:
    """A slot as it is printed; boards that call several slots the same tell them apart by the bank."""
    name = str(locator or bank)
    return f"{bank} {name}" if bank and sum(1 for other in board if other["locator"] == locator) > 1 else name


def _absent_cpu(socket: Socket, sockets: list[Socket], channel: float) -> Iterator[ChannelAdvice]:
    total = next((other["channels_total"] for other in sockets if other["channels_total"]), None)
    if not total:
        return
    fix = "Another CPU with its own DIMMs adds its bandwidth for models that are spread over all."
    if any(ALONE.search(other["cpu"] or "") for other in sockets):
        fix = "The CPU that is there works alone only: to use both sockets takes two others."
    message = f"The CPU of socket {socket['socket']} is absent; with it the board would have {total} more channels."
    yield _advice("info", "socket-empty", message, fix, total * channel)


def _socket_advice(slots: _Slots, socket: Socket, channel: float) -> Iterator[ChannelAdvice]:
    """DIMMs in the wrong slots, channels with more than others, and empty ones."""
    where = f"socket {socket['socket']}"
    usual = slots.usual()
    odd = [dimm for dimm, place in slots.alone() if place != usual]
    if odd:
        names = ", ".join(map(slots.name, odd))
        better = ", ".join(slots.target(str(dimm["channel"])) for dimm in odd)
        several, are, them = ("s", "are", "them") if len(odd) > 1 else ("", "is", "it")
        message = f"The DIMM{several} in {names} of {where} {are} in another slot of the channel than the others."
        yield _advice("advice", "wrong-slot", message, f"Move {them} to {better}.")
    each = sorted({len(used) for used in slots.used() if used})
    if len(each) > 1:
        yield _advice(
            "advice",
            "unbalanced-channels",
            f"The channels of {where} have {' and '.join(map(str, each))} DIMMs: "
            "what the fuller ones have more is spread over these alone.",
            "Give every channel as many DIMMs of the same size.",
        )
    if socket["empty_channels"]:
        yield _empty_channels(slots, where, socket["empty_channels"], channel)


def _empty_channels(slots: _Slots, where: str, empty: list[str], channel: float) -> ChannelAdvice:
    several, are = ("s", "are") if len(empty) > 1 else ("", "is")
    targets = ", ".join(map(slots.target, empty))
    crowded = [dimm for used in slots.used() for dimm in used[1:]]
    cost = len(empty) * channel
    fix = f"Put {'DIMMs' if several else 'a DIMM'} like the others into {targets}."
    if len(crowded) >= len(empty):
        spare = ", ".join(map(slots.name, crowded[: len(empty)]))
        fix = f"Move the DIMM{several} in {spare}, which share{'' if several else 's'} a channel, to {targets}."
    price = f", which costs {rate(cost)}." if cost else "."
    return _advice(
        "problem", "empty-channel", f"Channel{several} {', '.join(empty)} of {where} {are} empty{price}", fix, cost
    )


def _unbalanced_sockets(sockets: list[Socket], channel: float) -> Iterator[ChannelAdvice]:
    counts = [socket["channels_populated"] for socket in sockets if socket["populated"]]
    known = [count for count in counts if count is not None]
    if len(known) == len(counts) and len(set(known)) > 1:
        yield _advice(
            "problem",
            "unbalanced-sockets",
            f"The sockets have {' and '.join(map(str, known))} channels in use, "
            "and weights that are spread evenly wait for the least.",
            "Give every socket the same DIMMs in the same slots.",
            (max(known) - min(known)) * channel,
        )


def _mixed(dimms: list[Dimm]) -> Iterator[ChannelAdvice]:
    sizes = sorted({dimm["size_bytes"] for dimm in dimms if dimm["size_bytes"]})
    ranks = sorted({dimm["ranks"] for dimm in dimms if dimm["ranks"]})
    speeds = sorted({dimm["rated_mts"] for dimm in dimms if dimm["rated_mts"]})
    for code, what, values in (
        ("mixed-size", "sizes", [f"{size / 2**30:.0f} GiB" for size in sizes]),
        ("mixed-ranks", "ranks", [str(count) for count in ranks]),
        ("mixed-speed", "speeds", [str(speed) for speed in speeds]),
    ):
        if len(values) > 1:
            yield _advice(
                "advice",
                code,
                f"The DIMMs have different {what} ({', '.join(values)}): "
                "interleaving covers only what all channels have, and the slowest sets the pace.",
                "Use DIMMs of one kind.",
            )


def _below_rated(dimms: list[Dimm], memory: Optional[CpuMemory], channels: Optional[int]) -> Iterator[ChannelAdvice]:
    """DIMMs that run below what they are made for, and whether that is anybody's fault."""
    speeds = [(dimm["configured_mts"] or 0, dimm["rated_mts"] or 0) for dimm in dimms]
    # Makers round: a DIMM of 2666 may say 2667.
    slow = [(running, rated) for running, rated in speeds if running and rated and running < rated - 2]
    if not slow:
        return
    rated, running = max(rated for _running, rated in slow), min(running for running, _rated in slow)
    limit = memory.mts_1dpc if memory else None
    severity: Severity = "advice"
    fix = "The BIOS may limit it: set the memory speed to Auto or to its maximum."
    if memory and limit and limit <= running + 2:
        fix = f"{limit} MT/s is what {memory.name} is made for: nothing is lost."
        if limit < running - 2:
            fix = f"That is more than the {limit} MT/s that {memory.name} is made for: nothing is lost."
        severity, limit = "info", running
    elif channels and len(dimms) > channels:
        severity, fix = "info", "That is normal with two DIMMs a channel; one of twice the size in each is faster."
    loss = (channels or 0) * max(min(rated, limit or rated) - running, 0) * CHANNEL_BYTES / 1000
    message = f"{len(slow)} DIMM{'s' if len(slow) > 1 else ''} rated {rated} MT/s run at {running} MT/s."
    yield _advice(severity, "below-rated", message, fix, loss)


def _ccd_links(bandwidth: Bandwidth) -> Iterator[ChannelAdvice]:
    reachable, populated = bandwidth["reachable_gb_s"], bandwidth["populated_gb_s"]
    if bandwidth["limited_by"] == "ccd-links" and reachable and populated:
        yield _advice(
            "advice",
            "ccd-links",
            f"The links of the CPU's dies let about {rate(*reachable)} through (estimate), "
            f"of {rate(populated)} that the DIMMs give.",
            "Faster DIMMs will not help; a CPU with eight or more CCDs will.",
            max(populated - reachable[1], 0.0),
        )


def _single_rank(dimms: list[Dimm]) -> Iterator[ChannelAdvice]:
    if dimms and all(dimm["ranks"] == 1 for dimm in dimms):
        yield _advice(
            "info",
            "single-rank",
            "All DIMMs have one rank, which reaches a little less of the theoretical bandwidth than two.",
            "Nothing to do; for the next purchase, two ranks are the better ones.",
        )


def _lost(slots: list[Dimm], previous: Optional[MemoryChannels], channel: float) -> Iterator[ChannelAdvice]:
    """Fewer DIMMs than an earlier result has, which comes from a file and may be anything."""
    earlier = previous.get("dimms") if previous else None
    before = [dimm for dimm in earlier if isinstance(dimm, dict)] if isinstance(earlier, list) else []
    before = [dimm for dimm in before if dimm.get("populated") is True]
    here = [(dimm["locator"], dimm["bank_locator"]) for dimm in slots if dimm["populated"]]
    if len(before) <= len(here):
        return
    gone = [(dimm.get("locator"), dimm.get("bank_locator")) for dimm in before]
    gone = [names for names in gone if names not in here]
    names = ", ".join(_printed(locator, bank, slots) for locator, bank in gone)
    yield _advice(
        "problem",
        "dimm-lost",
        f"{len(here)} DIMMs are found, and last time there were {len(before)}: "
        f"{names or 'one'} {'are' if len(gone) > 1 else 'is'} missing.",
        "Reseat what is missing, and read the event log of the BMC for memory errors.",
        (len(before) - len(here)) * channel,
    )


def _edac(dimms: list[Dimm], edac: Optional[Edac]) -> Iterator[ChannelAdvice]:
    """Errors that were counted, and memory that SMBIOS lists and the memory controllers do not have.

    Only sums are compared: drivers count ranks, halves of DIMMs or whole ones, and name channels by their own order.
    """
    if not edac:
        return
    if edac["corrected"] + edac["uncorrected"]:
        yield _advice(
            "problem" if edac["uncorrected"] else "advice",
            "memory-errors",
            f"EDAC has counted {edac['corrected']} corrected and {edac['uncorrected']} uncorrected memory errors.",
            "Find the DIMM in /sys/devices/system/edac/mc/*/dimm*/dimm_ce_count or the BMC's event log; replace it.",
        )
    listed = sum(dimm["size_bytes"] or 0 for dimm in dimms)
    # Drivers leave out what is reserved for the firmware, never a twentieth.
    if edac["size_bytes"] and edac["size_bytes"] < 0.95 * listed:
        yield _advice(
            "problem",
            "edac-disagrees",
            f"The DIMMs have {listed / 2**30:.0f} GiB, the memory controllers use {edac['size_bytes'] / 2**30:.0f}.",
            "The firmware may have left out a DIMM that failed its training: read the BMC's event log.",
        )
