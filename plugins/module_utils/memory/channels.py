# SPDX-License-Identifier: MIT
"""The memory channels of a machine: what ``memory_channels_info`` returns (document.py), put together.

The order of authority is: a naming rule that fits (locate.py), then bounds that hold whatever the naming (bounds.py),
and that sometimes leave one answer. An answer that is not sure is None with bounds: a wrong one is worse than none.
"""

from __future__ import annotations

import re
from typing import Optional

from ..tower import VIRTUAL
from ..tower_document import Edac
from .bandwidth import bandwidth_of, configured_speed, unknown_bandwidth
from .bounds import bounds_of_sockets
from .channel_advice import channel_advice
from .cpus import CpuMemory, cpu_memory, l3_domains_by_name
from .document import Dimm, MemoryChannels, Socket
from .listing import dram, listing_of
from .locate import NO_ANSWER, Answer, Location, locate
from .slot_names import Rule, place_of, rules_for
from .smbios import Machine, MemoryDevice, Processor

# What VMware calls all slots, also of guests that show the names of their host (SMBIOS.reflectHost).
GUEST_SLOT = re.compile(r"^RAM slot #")
# Guests of unknown makers list each of their CPUs as a socket; the largest machines have 32.
MOST_SOCKETS = 32
# Channels of 64 bits that are soldered to the board of one CPU: 16 on the widest (M3 Ultra).
MOST_SOLDERED = 16
NAMELESS_CPU = Processor(0, "", "", "", True, None, None, None)


def describe(
    machine: Machine,
    source: str,
    l3_domains: Optional[list[int]] = None,
    previous: Optional[MemoryChannels] = None,
    edac: Optional[Edac] = None,
    guest: bool = False,
) -> MemoryChannels:
    """``memory_channels`` of a machine.

    ``l3_domains`` counts L3 caches by socket, ``previous`` is an earlier result, which comes from a file and may be
    anything, ``edac`` what the drivers of the memory controllers count; ``guest`` is whether Linux says that it runs in
    a virtual machine, whose table may be that of a real board.
    """
    devices, rules = dram(machine), rules_for(machine)
    cpus = _in_order(machine.processors) or _cpus_by_names(machine, rules)
    virtual = _is_guest(machine, devices, cpus)
    filled = [cpu for cpu in cpus if cpu.populated]
    memory = None if virtual else _common_memory(filled, machine)
    sockets = [_socket(index, cpu, memory) for index, cpu in enumerate(cpus)]
    populated = [socket for socket in sockets if socket["populated"]]
    answer = NO_ANSWER
    if not virtual and _is_countable(machine, devices):
        answer = _count(machine, rules, cpus, memory, populated)
    _set_caches(populated, l3_domains, guest or virtual)
    dimms = [_dimm(device, answer.places.get(index)) for index, device in enumerate(devices)]
    found: MemoryChannels = {
        "source": source,
        "vendor": machine.vendor or machine.board_vendor or None,
        "board": machine.board or machine.product or None,
        "sockets": sockets,
        "dimms": dimms,
        "rule": answer.rule,
        "confidence": answer.confidence,
        "bandwidth": bandwidth_of(sockets, dimms, memory, filled[0] if filled else None, guest),
        "advice": [],
        "warnings": machine.warnings,
    }
    found["advice"] = channel_advice(found, memory, previous, edac)
    return found


def nothing(source: str, warning: str) -> MemoryChannels:
    """The same keys where there is no table."""
    return {
        "source": source,
        "vendor": None,
        "board": None,
        "sockets": None,
        "dimms": None,
        "rule": None,
        "confidence": "none",
        "bandwidth": unknown_bandwidth(),
        "advice": [],
        "warnings": [warning],
    }


def _in_order(cpus: list[Processor]) -> list[Processor]:
    """The CPUs by the numbers of their sockets, where these are all that their names differ in."""
    found = [re.fullmatch(r"([^0-9]*)([0-9]{1,3})([^0-9]*)", cpu.designation) for cpu in cpus]
    numbers = [int(match.group(2)) for match in found if match]
    if len(numbers) == len(cpus) and len({match.group(1, 3) for match in found if match}) == 1:
        return [cpus[index] for index in sorted(range(len(cpus)), key=lambda index: numbers[index])]
    return cpus


def _cpus_by_names(machine: Machine, rules: list[Rule]) -> list[Processor]:
    """The CPUs of a table that lists none, as some of ARM: as many as the names of all slots tell apart.

    Names that tell none are of one CPU only where the board's name says what it has.
    """
    known = _memory_of(NAMELESS_CPU, machine)
    listing = listing_of(machine, rules, [NAMELESS_CPU], known.channels if known else None)
    for rule in rules if listing.complete else []:
        places = [place_of(rule, device) for device in listing.devices]
        labels = {place.socket for place in places if place and rule.order == "own" and not place.node}
        if places and all(places) and labels and None not in labels:
            return [NAMELESS_CPU] * len(labels)
    return [NAMELESS_CPU] if known else []


def _set_caches(sockets: list[Socket], l3_domains: Optional[list[int]], guest: bool) -> None:
    """How many L3 caches each CPU has; of a guest, whose caches are its host's invention, by the CPU's name."""
    for index, socket in enumerate(sockets):
        if guest:
            socket["l3_domains"] = l3_domains_by_name(socket["cpu"] or "")
        elif l3_domains and len(l3_domains) == len(sockets):
            socket["l3_domains"] = l3_domains[index]


def _is_guest(machine: Machine, devices: list[MemoryDevice], cpus: list[Processor]) -> bool:
    """Whether what the table says of slots is made up."""
    return (
        bool(VIRTUAL.search(f"{machine.vendor} {machine.product}"))
        or len(cpus) > MOST_SOCKETS
        or any(GUEST_SLOT.search(device.locator) for device in devices)
    )


def _is_soldered(devices: list[MemoryDevice]) -> bool:
    """Whether the memory is chips on the board, which are no DIMMs, so that only their width says anything."""
    return bool(devices) and all(
        (device.type or "").startswith("LPDDR") or (device.data_width in (16, 32) and device.form_factor != "DIMM")
        for device in devices
    )


def _is_countable(machine: Machine, devices: list[MemoryDevice]) -> bool:
    """Whether it is known of every slot if there is a DIMM.

    A machine that runs has memory: where none is listed, the list is not complete. The HBM of a Xeon Max is enough.
    """
    listed = any(device.size_bytes for device in devices) or any(
        device.size_bytes and "HBM" in (device.type or "") for device in machine.devices
    )
    return listed and all(device.size_bytes is not None for device in devices)


def _memory_of(cpu: Processor, machine: Machine) -> Optional[CpuMemory]:
    """The memory of a CPU on its board.

    Firmware that lost the CPU's name may still name the board's chipset. Boards with the chipset TRX50 wire four
    channels of CPUs that have eight, too. What AmpereOne it is says its part number only.
    """
    board = f"{machine.product} {machine.board}"
    if not cpu.version and (cpu.family, cpu.model) == (6, 85) and re.search(r"\bX299\b", board):
        return cpu_memory("Core(TM) i7-7820X")
    if not cpu.version and re.search(r"\bAltra|ALTRA", f"{machine.vendor} {machine.board_vendor} {board}"):
        return cpu_memory("Ampere(R) Altra(R)")
    found = cpu_memory(
        f"{cpu.version} {cpu.part_number}" if "AmpereOne" in cpu.version else cpu.version, cpu.family, cpu.model
    )
    if found and "Threadripper" in found.name and re.search(r"\bTRX[45]0\b", board):
        return found._replace(channels=min(found.channels, 4))
    return found


def _common_memory(cpus: list[Processor], machine: Machine) -> Optional[CpuMemory]:
    """The memory of the first CPU; None where another has more or fewer channels, or one is unknown."""
    memories = [_memory_of(cpu, machine) for cpu in cpus]
    return memories[0] if len({memory.channels if memory else None for memory in memories}) == 1 else None


def _socket(index: int, cpu: Processor, memory: Optional[CpuMemory]) -> Socket:
    return {
        "socket": index,
        "populated": cpu.populated,
        "cpu": cpu.version or None,
        "channels_total": memory.channels if memory and cpu.populated else None,
        "channels_populated": None,
        "channels_bounds": None,
        "empty_channels": None,
        "l3_domains": None,
    }


def _count(
    machine: Machine,
    rules: list[Rule],
    cpus: list[Processor],
    memory: Optional[CpuMemory],
    sockets: list[Socket],
) -> Answer:
    """Fill in what is known of the channels of the sockets that have a CPU; what answered, and how sure it is."""
    listing = listing_of(machine, rules, cpus, memory.channels if memory else None)
    devices, channels = listing.devices, listing.channels
    present = [device for device in devices if device.size_bytes]
    if _is_soldered(present):
        for socket in sockets if len(sockets) == 1 else []:
            _count_width(socket, sum(device.data_width or 0 for device in present))
        # A width that is not the CPU's may be the firmware's mistake, and so may a first CPU that is absent.
        sure = any(socket["socket"] == 0 and socket["channels_populated"] == channels for socket in sockets)
        answer = Answer("width", "high" if sure else "low", {})
    else:
        server = memory is None or memory.server or "PowerEdge" in machine.product
        located = locate(rules, listing, server)
        if located.places:
            for socket in sockets:
                _count_located(socket, located, devices)
            return located
        bounds = bounds_of_sockets(rules, listing, undecided=located.rule is not None)
        for socket in sockets:
            _count_bounds(socket, bounds[socket["socket"]])
        answer = Answer("bounds", "high", {})
    known = bool(sockets) and all(socket["channels_populated"] is not None for socket in sockets)
    return answer if known else NO_ANSWER


def _count_located(socket: Socket, answer: Answer, devices: list[MemoryDevice]) -> None:
    """The channels of a socket by where a naming rule puts its devices."""
    mine = [(index, place.channel) for index, place in answer.places.items() if place.socket == socket["socket"]]
    used = {channel for index, channel in mine if devices[index].size_bytes}
    named = {channel for _index, channel in mine}
    socket["channels_populated"], socket["channels_bounds"] = len(used), [len(used)] * 2
    socket["empty_channels"] = sorted(named - used, key=lambda label: (len(label), label))
    # Channels of which no slot is listed: the board has none, or the firmware leaves empty ones out. Where it lists
    # some, a channel without any is one that the board does not wire.
    lists_empty = any(not devices[index].size_bytes for index in answer.places)
    if named == used and len(used) < (socket["channels_total"] or 0) and not lists_empty:
        socket["empty_channels"] = None


def _count_width(socket: Socket, width: int) -> None:
    """The channels of the only socket by the width of the memory that is soldered to the board."""
    count, total = width // 64, socket["channels_total"]
    if count and width % 64 == 0 and count <= (total or MOST_SOLDERED):
        socket["channels_populated"], socket["channels_bounds"] = count, [count] * 2
        socket["empty_channels"] = [] if count == total else None


def _count_bounds(socket: Socket, bounds: Optional[list[int]]) -> None:
    """The channels of a socket by their bounds."""
    socket["channels_bounds"] = bounds
    if bounds and bounds[0] == bounds[1]:
        socket["channels_populated"] = bounds[0]
        socket["empty_channels"] = [] if bounds[0] == socket["channels_total"] else None


def _dimm(device: MemoryDevice, place: Optional[Location]) -> Dimm:
    return {
        "handle": device.handle,
        "locator": device.locator or None,
        "bank_locator": device.bank or None,
        "socket": place.socket if place else None,
        "channel": place.channel if place else None,
        "slot": place.slot if place else None,
        "size_bytes": device.size_bytes,
        "type": device.type,
        "registered": device.registered,
        "rated_mts": device.rated_mts,
        "configured_mts": configured_speed(device),
        "ranks": device.ranks,
        "data_width": device.data_width,
        "manufacturer": device.manufacturer or None,
        "part_number": device.part_number or None,
        "populated": bool(device.size_bytes),
    }
