# SPDX-License-Identifier: MIT
"""Which memory channel every DIMM is in, which channels are empty, and what that costs.

SMBIOS lists slots, not channels. What the vendor prints on the board - the locator and bank locator of a
slot - names the channel in one of a few dozen ways, which ``RULES`` lists. The order of authority is: a
naming rule that fits every populated slot and agrees with the CPU; then the position of slots whose
number is a multiple of the CPU's channels; then bounds that hold whatever the naming. An answer that is
not sure is None with bounds: a wrong answer is worse than none.
Bandwidths are GB/s (10^9 bytes), sizes bytes, speeds MT/s.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Optional

from .cpu_memory import DRAM_EFFICIENCY, GMI_GB_S, CpuMemory, ccd_links, cpu_memory
from .smbios import Machine, MemoryDevice, Processor

# Bytes that a channel of 64 bits moves a transfer.
CHANNEL_BYTES = 8
# Records that are memory, but not the memory that a model lies in.
NOT_DRAM = {"Flash", "ROM", "EEPROM", "Logical non-volatile device"}
# What firmware writes where it knows no name.
NAMELESS = re.compile(r"^\s*$|NO DIMM|Not Specified|^Unknown$|BAD INDEX", re.I)


class Rule(NamedTuple):
    """One way of naming slots. Patterns have the groups s (socket), c (channel), d (slot of a channel) and n (number).

    ``order`` is what a number means: ``own`` where a name has a channel of its own; ``channel`` where the slots of a
    channel follow each other; ``slot`` where the first slots of all channels come first.
    """

    name: str
    vendor: str
    locator: str
    bank: str
    order: str
    example: str
    trap: str


# Tried from the top; the first that fits every populated slot answers.
RULES = (
    Rule(
        "dell-letter-number",
        r"Dell",
        r"^(?:DIMM[_ ]?)?(?P<s>[A-H])(?P<n>\d{1,2})$",
        r"",
        "slot",
        "A1 ~",
        "the letter is the socket",
    ),
    # Firmware of servers made for others leaves the vendor out; no channel has more than three slots.
    Rule(
        "letter-many-numbers",
        r"",
        r"^(?P<s>[A-H])(?P<n>\d{1,2})$",
        r"^$",
        "slot",
        "A1 … A16 ~",
        "only with numbers above 3",
    ),
    Rule("dell-number-cpu", r"Dell", r"^DIMM(?P<n>\d+)_CPU(?P<s>\d)$", r"", "channel", "DIMM1_CPU1 ~", ""),
    Rule(
        "hpe-proc-number",
        r"",
        r"^P(?:ROC|roc)\s+(?P<s>\d+)\s+DIMM\s+(?P<n>\d+)[A-L]?$",
        r"",
        "channel",
        "PROC 1 DIMM 3 ~",
        "",
    ),
    Rule(
        "fujitsu-digit-letter",
        r"Fujitsu",
        r"^DIMM[- ](?P<d>\d)(?P<c>[A-X])$",
        r"",
        "own",
        "DIMM-1A ~ NODE 1",
        "digit = slot; letters continue on CPU 2",
    ),
    Rule(
        "gigabyte-p-letter",
        r"",
        r"^DIMM_P(?P<s>\d)_(?P<c>[A-X])(?P<d>\d)$",
        r"",
        "own",
        "DIMM_P0_A0 ~ BANK 0",
        "letters continue on socket 2",
    ),
    Rule(
        "p-dimm-letter",
        r"",
        r"^P(?P<s>\d)[-_ ]?DIMM_?(?P<c>[A-X])(?P<d>\d)$",
        r"",
        "own",
        "P1-DIMMA1 ~ P0_Node0_Channel0_Dimm0",
        "bank nodes repeat channels",
    ),
    Rule(
        "p-ch-letter",
        r"",
        r"^P(?P<s>\d)_(?:D\d_)?(?:UMC|MC)\d_(?:DIM_)?CH_(?P<c>[A-X])(?P<d>\d)$",
        r"",
        "own",
        "P0_UMC0_CH_A0 ~ P0 CHANNEL A",
        "",
    ),
    Rule("cpu-c-d", r"", r"^CPU(?P<s>\d)_C(?P<c>\d)D(?P<d>\d)$", r"", "own", "CPU0_C0D0 ~ NODE 0", ""),
    Rule("cpu-dimm-number", r"", r"^CPU(?P<s>\d)[-_ ]?DIMM[_ ]?(?P<n>\d+)$", r"", "channel", "CPU0-DIMM1 ~ CPU0", ""),
    Rule(
        "cpu-letter",
        r"",
        r"^CPU(?P<s>\d)[_ .]?(?:MC\d_)?(?:DIMM)?[_ ]?(?P<c>[A-X])(?P<d>\d)?$",
        r"",
        "own",
        "CPU0.A0 ~ BANK 0",
        "NODE may be a quadrant",
    ),
    Rule(
        "node-channel-dimm",
        r"",
        r"^NODE (?P<s>\d) CHANNEL (?P<c>\d+) DIMM (?P<d>\d)",
        r"",
        "own",
        "NODE 0 CHANNEL 0 DIMM 0 (C0A0) ~ NODE 0",
        "",
    ),
    Rule(
        "huawei-digits",
        r"",
        r"^DIMM(?P<s>\d)(?P<c>\d)(?P<d>\d)(?: J\d+)?$",
        r"^_?(?:Node|SOCKET)",
        "own",
        "DIMM000 J27 ~ SOCKET 0 CHANNEL 0 DIMM 0",
        "",
    ),
    Rule(
        "dimm-letter-board-cpu",
        r"",
        r"^DIMM (?P<c>[A-Z])(?P<d>\d)$",
        r"CPU (?P<s>\d)$",
        "own",
        "DIMM A1 ~ Primary Main Board/CPU 0",
        "",
    ),
    Rule(
        "dimm-number-cpu",
        r"",
        r"^D(?:IMM|imm) (?P<n>\d+)$",
        r"^CPU (?P<s>\d)$",
        "channel",
        "DIMM 9 ~ CPU 1",
        "not in the order of the numbers",
    ),
    Rule(
        "agesa-channel",
        r"",
        r"",
        r"^P(?P<s>\d) CHANNEL (?P<c>[A-P])$",
        "own",
        "DIMM 0 ~ P0 CHANNEL A",
        "boards with one slot say DIMM 0 or DIMM 1",
    ),
    Rule(
        "p-node-channel",
        r"",
        r"",
        r"^P(?P<s>\d)_(?P<c>Node\d_Channel\w)_Dimm(?P<d>\d)$",
        "own",
        "DIMMA1 ~ P0_Node0_Channel0_Dimm0",
        "",
    ),
    Rule(
        "controller-channel",
        r"",
        r"^(?P<c>Controller\d-Channel[A-D])(?:-DIMM(?P<d>\d))?$",
        r"",
        "own",
        "Controller0-ChannelA-DIMM0 ~ BANK 0",
        "",
    ),
    Rule(
        "controller-letter",
        r"",
        r"^Controller\d-DIMM(?P<c>[A-D])(?P<d>\d)$",
        r"",
        "own",
        "Controller0-DIMMA1 ~ BANK 0",
        "",
    ),
    Rule("controller", r"", r"^(?P<c>Controller\d)-DIMM(?P<d>\d)$", r"", "own", "Controller0-DIMM0 ~ BANK 0", ""),
    Rule(
        "channel-letter",
        r"",
        r"^Channel(?P<c>[A-P])(?:[-_ ]?DIMM(?P<d>\d))?(?:_BOTTOM|_TOP)?$",
        r"",
        "own",
        "ChannelA-DIMM0 ~ BANK 0",
        "letters may continue on socket 2",
    ),
    Rule(
        "letter-node-socket",
        r"",
        r"^(?:DIMM|DDR\d)?[_ ]?(?P<c>[A-X])(?P<d>\d)$",
        r"",
        "own",
        "DIMM_A1 ~ NODE 0 CHANNEL 0 DIMM 0",
        "letters may continue on socket 2",
    ),
)


class Place(NamedTuple):
    """Where a naming rule puts a device: labels as they are printed; ``number`` where only that is printed."""

    socket: Optional[str]
    channel: Optional[str]
    slot: Optional[int]
    number: Optional[int]


class Answer(NamedTuple):
    """Where every device is: by handle and position, socket index, channel label and slot."""

    rule: str
    confidence: str
    places: dict[int, tuple[int, str, int]]


def is_dram(device: MemoryDevice, machine: Machine) -> bool:
    """Whether a record is a place for the memory of the system."""
    array = next((array for array in machine.arrays if array.handle == device.array), None)
    return device.type not in NOT_DRAM and (array is None or array.system)


def place_of(rule: Rule, device: MemoryDevice) -> Optional[Place]:
    """Where a rule puts a device, or None where the rule does not fit its names."""
    groups: dict[str, Optional[str]] = {}
    for pattern, text in ((rule.locator, device.locator), (rule.bank, device.bank)):
        match = re.search(pattern, text)
        if not match:
            return None
        groups.update({name: value for name, value in match.groupdict().items() if value is not None})
    slot, number = groups.get("d"), groups.get("n")
    return Place(groups.get("s"), groups.get("c"), int(slot) if slot else None, int(number) if number else None)


def _sockets_of(labels: list[str], populated: set[str], cpus: list[Processor]) -> Optional[dict[str, int]]:
    """Rank the socket labels of a board onto its CPUs, whether it counts from 0 or from 1."""
    ordered = sorted(labels, key=lambda label: (len(label), label))
    filled = [index for index, cpu in enumerate(cpus) if cpu.populated]
    if len(ordered) == len(cpus):
        return dict(zip(ordered, range(len(ordered))))
    if len(ordered) < len(cpus):
        # The slots of absent CPUs are not listed; otherwise nobody can tell whose slots are missing.
        return dict(zip(ordered, filled)) if len(ordered) == len(filled) else None
    used = [label for label in ordered if label in populated]
    return dict(zip(used, filled)) if len(used) <= len(filled) else None


def _apply(
    rule: Rule, devices: list[MemoryDevice], cpus: list[Processor], channels: Optional[int]
) -> Optional[dict[int, tuple[int, str, int]]]:
    """Where a rule puts the devices (by index), or None where it does not fit this machine."""
    named: dict[int, Place] = {}
    for index, device in enumerate(devices):
        place = place_of(rule, device)
        if place:
            named[index] = place
        elif device.size_bytes or not (NAMELESS.search(device.locator) or NAMELESS.search(device.bank)):
            return None
    if not named or (rule.name == "letter-many-numbers" and max(place.number or 0 for place in named.values()) <= 3):
        return None
    labels = {place.socket for place in named.values()}
    filled = [index for index, cpu in enumerate(cpus) if cpu.populated]
    result: dict[int, tuple[int, str, int]] = {}
    if None in labels:
        letters = sorted({str(place.channel) for place in named.values()}, key=lambda label: (len(label), label))
        if len(cpus) == 1 or (channels is None and len(filled) == 1):
            owner = dict.fromkeys(letters, filled[0] if filled else 0)
        elif channels and len(letters) == channels * len(cpus):
            owner = {letter: position // channels for position, letter in enumerate(letters)}
        elif channels and len(filled) == 1 and len(letters) == channels:
            owner = dict.fromkeys(letters, filled[0])
        else:
            return None
        for index, place in named.items():
            result[index] = (owner[str(place.channel)], str(place.channel), place.slot or 0)
        return result
    used = {str(place.socket) for index, place in named.items() if devices[index].size_bytes}
    sockets = _sockets_of([str(label) for label in labels], used, cpus)
    if sockets is None:
        return None
    for label, socket in sockets.items():
        mine = [index for index, place in named.items() if place.socket == label]
        if rule.order == "own":
            for index in mine:
                result[index] = (socket, str(named[index].channel), named[index].slot or 0)
            continue
        if not channels or (len(mine) % channels and len(mine) > channels):
            return None
        mine.sort(key=lambda index: named[index].number or 0)
        each = max(len(mine) // channels, 1)
        groups = [mine[start : start + each] for start in range(0, len(mine), each)]
        if rule.order == "slot":
            groups = [mine[start::channels] for start in range(min(channels, len(mine)))]
        for group in groups:
            name = "+".join(devices[index].locator for index in group)
            result.update({index: (socket, name, slot) for slot, index in enumerate(group)})
    return result


def _agrees(places: dict[int, tuple[int, str, int]], channels: Optional[int]) -> Optional[bool]:
    """Whether a socket has the CPU's channels (True), fewer (False) or impossibly many (None)."""
    by_socket: dict[int, set[str]] = {}
    for socket, channel, _slot in places.values():
        by_socket.setdefault(socket, set()).add(channel)
    if channels is None:
        return False
    if any(len(names) > channels for names in by_socket.values()):
        return None
    return all(len(names) == channels for names in by_socket.values())


def locate(
    machine: Machine, devices: list[MemoryDevice], cpus: list[Processor], channels: Optional[int]
) -> Optional[Answer]:
    """The first rule that fits, or None."""
    vendor = " ".join((machine.vendor, machine.board_vendor, machine.product))
    for rule in RULES:
        if rule.vendor and not re.search(rule.vendor, vendor, re.I):
            continue
        places = _apply(rule, devices, cpus, channels)
        agrees = _agrees(places, channels) if places else None
        if places and agrees is not None:
            sure = "certain" if agrees and rule.order == "own" else "high"
            return Answer(rule.name, sure, places)
    return None


def bounds(dimms: int, slots: int, channels: Optional[int]) -> Optional[list[int]]:
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


def configured_speed(device: MemoryDevice) -> Optional[int]:
    """The speed a DIMM runs at, None where it is not printed; a clock printed instead of the rate is doubled."""
    configured, rated = device.configured_mts, device.rated_mts
    if configured and rated and abs(rated / 2 - configured) <= 2:
        return configured * 2
    return configured or None


def _bounds_of_socket(
    index: int, devices: list[MemoryDevice], cpus: list[Processor], channels: Optional[int]
) -> Optional[list[int]]:
    """Bounds for a socket whose slots' channels are not named."""
    count = sum(1 for device in devices if device.size_bytes)
    if len(cpus) == 1 or channels is None:
        return bounds(count, len(devices), channels)
    if len(devices) == count and count >= channels * len(cpus) and count % len(cpus) == 0:
        return [channels, channels]
    if sum(1 for cpu in cpus if cpu.populated) == 1:
        # All DIMMs are this CPU's. No board has more than three slots a channel.
        return [min(-(-count // 3), channels), min(count, channels)]
    for rule in RULES:
        places = (
            [(device, place_of(rule, device)) for device in devices] if "(?P<s>" in rule.locator + rule.bank else []
        )
        mapped = _sockets_of(sorted({str(place.socket) for _device, place in places if place}), set(), cpus)
        if places and mapped and all(place for _device, place in places):
            mine = [device for device, place in places if place and mapped.get(str(place.socket)) == index]
            return bounds(sum(1 for device in mine if device.size_bytes), len(mine), channels)
    return [0, min(channels, count)]


def _is_soldered(devices: list[MemoryDevice]) -> bool:
    return bool(devices) and all((device.type or "").startswith("LPDDR") for device in devices)


def describe(
    machine: Machine,
    source: str,
    l3_domains: Optional[list[int]] = None,
    previous: Optional[dict[str, Any]] = None,
    edac: Optional[dict[str, int]] = None,
) -> dict[str, Any]:
    """``memory_channels`` of a machine; ``l3_domains`` are L3 caches by socket, ``previous`` an earlier result.

    ``edac`` is what the drivers of the memory controllers count, where there are such drivers.
    """
    devices = [device for device in machine.devices if is_dram(device, machine)]
    cpus = machine.processors
    filled = [cpu for cpu in cpus if cpu.populated]
    memories = [cpu_memory(cpu.version, cpu.family, cpu.model) for cpu in filled]
    memory = (
        memories[0]
        if memories and all(memories) and len({entry.channels for entry in memories if entry}) == 1
        else None
    )
    channels = memory.channels if memory else None
    present = [device for device in devices if device.size_bytes]
    answer = None if _is_soldered(present) else locate(machine, devices, cpus, channels)
    sockets = []
    for index, cpu in enumerate(cpus):
        sockets.append(_socket(index, cpu, devices, cpus, channels, answer))
        if l3_domains and cpu.populated and len(l3_domains) == len(filled):
            sockets[-1]["l3_domains"] = l3_domains[filled.index(cpu)]
    rule, confidence = (answer.rule, answer.confidence) if answer else ("bounds", "none")
    if not answer and any(socket["channels_populated"] is not None for socket in sockets if socket["populated"]):
        rule, confidence = ("width", "high") if _is_soldered(present) else ("bounds", "high")
    result: dict[str, Any] = {
        "source": source,
        "vendor": machine.vendor or machine.board_vendor or None,
        "board": machine.board or machine.product or None,
        "sockets": sockets,
        "dimms": [_dimm(index, device, answer) for index, device in enumerate(devices)],
        "rule": rule if confidence != "none" else None,
        "confidence": confidence,
        "bandwidth": {
            "theoretical_gb_s": None,
            "populated_gb_s": None,
            "reachable_gb_s": None,
            "limited_by": "unknown",
        },
        "advice": [],
        "warnings": machine.warnings,
    }
    result["bandwidth"] = _bandwidth(result, memory, filled)
    result["advice"] = _advice(result, memory, previous, edac)
    return result


def nothing(source: str, warning: str) -> dict[str, Any]:
    """The same keys where there is no table."""
    return {
        "source": source,
        **dict.fromkeys(("vendor", "board", "sockets", "dimms", "rule")),
        "confidence": "none",
        "bandwidth": {
            "theoretical_gb_s": None,
            "populated_gb_s": None,
            "reachable_gb_s": None,
            "limited_by": "unknown",
        },
        "advice": [],
        "warnings": [warning],
    }


def _socket(
    index: int,
    cpu: Processor,
    devices: list[MemoryDevice],
    cpus: list[Processor],
    channels: Optional[int],
    answer: Optional[Answer],
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "socket": index,
        "populated": cpu.populated,
        "cpu": cpu.version or None,
        "channels_total": channels if cpu.populated else None,
        "channels_populated": None,
        "channels_bounds": None,
        "empty_channels": None,
        "l3_domains": None,
    }
    if not cpu.populated:
        return entry
    present = [device for device in devices if device.size_bytes]
    if answer:
        mine = [(number, place) for number, place in answer.places.items() if place[0] == index]
        used = {place[1] for number, place in mine if devices[number].size_bytes}
        named = {place[1] for _number, place in mine}
        count = len(used)
        entry.update(channels_populated=count, channels_bounds=[count, count])
        entry["empty_channels"] = sorted(named - used, key=lambda label: (len(label), label))
        if channels and count < channels and not named - used:
            # Channels that the board does not list: wired to no slot, or left out by the firmware.
            entry["empty_channels"] = [] if len(named) < channels and len(named) == count else None
    elif _is_soldered(present) and sum(1 for other in cpus if other.populated) == 1:
        width = sum(device.data_width or 0 for device in present)
        if width % 64 == 0 and width and (channels is None or width // 64 <= channels):
            entry.update(channels_populated=width // 64, channels_bounds=[width // 64] * 2)
            entry["empty_channels"] = [] if width // 64 == channels else None
    else:
        limits = entry["channels_bounds"] = _bounds_of_socket(index, devices, cpus, channels)
        if limits and limits[0] == limits[1]:
            entry.update(channels_populated=limits[0], empty_channels=[] if limits[0] == channels else None)
    return entry


def _dimm(index: int, device: MemoryDevice, answer: Optional[Answer]) -> dict[str, Any]:
    socket, channel, slot = answer.places.get(index, (None, None, None)) if answer else (None, None, None)
    return {
        "handle": device.handle,
        "locator": device.locator or None,
        "bank_locator": device.bank or None,
        "socket": socket,
        "channel": channel,
        "slot": slot,
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


def _bandwidth(result: dict[str, Any], memory: Optional[CpuMemory], filled: list[Processor]) -> dict[str, Any]:
    sockets = [socket for socket in result["sockets"] if socket["populated"]]
    dimms = [dimm for dimm in result["dimms"] if dimm["populated"]]
    speeds = [dimm["configured_mts"] or dimm["rated_mts"] for dimm in dimms]
    speed = min((value for value in speeds if value), default=None)
    theoretical = populated = None
    if memory and speed:
        theoretical = round(len(sockets) * memory.channels * max(memory.mts_1dpc or 0, speed) * CHANNEL_BYTES / 1000, 1)
    counts = [socket["channels_populated"] for socket in sockets]
    if speed and counts and None not in counts:
        populated = round(sum(counts) * speed * CHANNEL_BYTES / 1000, 1)
    reachable, limit = None, "unknown"
    links = ccd_links(filled[0].family, filled[0].model, filled[0].version) if filled else None
    if populated:
        low, high = (populated * part for part in DRAM_EFFICIENCY)
        limit = "channels"
        domains = [socket["l3_domains"] for socket in sockets]
        if links and None not in domains:
            generation, share = links
            chips = sum(-(-count // share) for count in domains)
            link_low, link_high = (chips * part for part in GMI_GB_S[generation])
            if link_low < low:
                limit = "ccd-links"
            low, high = min(low, link_low), min(high, link_high)
        elif links:
            limit = "unknown"
        reachable = [round(low, 1), round(high, 1)]
    return {
        "theoretical_gb_s": theoretical,
        "populated_gb_s": populated,
        "reachable_gb_s": reachable,
        "limited_by": limit,
    }


def _advice(
    result: dict[str, Any],
    memory: Optional[CpuMemory],
    previous: Optional[dict[str, Any]],
    edac: Optional[dict[str, int]],
) -> list[dict[str, Any]]:
    """What to mend, the most costly first."""
    found: list[tuple[float, dict[str, Any]]] = []

    def say(severity: str, code: str, cost: float, message: str, fix: str) -> None:
        found.append(
            (cost, {"severity": severity, "code": code, "message": message, "fix": fix, "gb_s": round(cost, 1)})
        )

    dimms = [dimm for dimm in result["dimms"] if dimm["populated"]]
    speed = min((dimm["configured_mts"] or dimm["rated_mts"] or 0 for dimm in dimms), default=0)
    channel_gb_s = speed * CHANNEL_BYTES / 1000
    for socket in result["sockets"]:
        where = f"socket {socket['socket']}"
        if not socket["populated"]:
            # Its slots, where the board lists them, cost nothing that a CPU could use.
            if any(other["populated"] and other["channels_total"] for other in result["sockets"]):
                total = next(other["channels_total"] for other in result["sockets"] if other["populated"])
                say(
                    "info",
                    "socket-empty",
                    0.0,
                    f"The CPU of {where} is absent; with it the board would have {total} more channels.",
                    "A second CPU with its own DIMMs doubles the bandwidth of models that are spread over both.",
                )
            continue
        empty = socket["empty_channels"] or []
        if empty:
            slots = [_first_slot(result["dimms"], socket["socket"], channel) for channel in empty]
            cost = len(empty) * channel_gb_s
            say(
                "problem",
                "empty-channel",
                cost,
                f"Channel{'s' if len(empty) > 1 else ''} {', '.join(empty)} of {where} "
                f"{'are' if len(empty) > 1 else 'is'} empty, which costs {cost:.1f} GB/s.",
                f"Put {'DIMMs' if len(empty) > 1 else 'a DIMM'} like the others into {', '.join(slots)}.",
            )
    counts = [socket["channels_populated"] for socket in result["sockets"] if socket["populated"]]
    if len(counts) > 1 and None not in counts and len(set(counts)) > 1:
        say(
            "problem",
            "unbalanced-sockets",
            (max(counts) - min(counts)) * channel_gb_s,
            f"The sockets have {' and '.join(map(str, counts))} channels in use, "
            "and weights that are spread evenly wait for the least.",
            "Give every socket the same DIMMs in the same slots.",
        )
    _advise_mixed(dimms, say)
    slow = [
        dimm
        for dimm in dimms
        if dimm["configured_mts"] and dimm["rated_mts"] and dimm["configured_mts"] < dimm["rated_mts"] - 2
    ]
    if slow:
        loss = sum((dimm["rated_mts"] - dimm["configured_mts"]) * CHANNEL_BYTES / 1000 for dimm in slow)
        rated, running = slow[0]["rated_mts"], slow[0]["configured_mts"]
        doubled = len(dimms) > sum(count or 0 for count in counts) > 0
        capped = memory is not None and memory.mts_1dpc is not None and memory.mts_1dpc <= running
        severity, why = "advice", "the BIOS may limit it: set the memory speed to Auto or to its maximum."
        if capped:
            severity, why = (
                "info",
                f"that is the most that {memory.name if memory else 'this CPU'} runs, so nothing is lost.",
            )
            loss = 0.0
        elif doubled:
            severity, why = (
                "info",
                "which is normal with two DIMMs a channel: one DIMM a channel of twice the size is faster.",
            )
        say(
            severity,
            "below-rated",
            loss,
            f"{len(slow)} DIMMs rated {rated} MT/s run at {running} MT/s.",
            why[0].upper() + why[1:],
        )
    bandwidth = result["bandwidth"]
    if bandwidth["limited_by"] == "ccd-links":
        say(
            "advice",
            "ccd-links",
            max(bandwidth["populated_gb_s"] - bandwidth["reachable_gb_s"][1], 0.0),
            "The links of the CPU's dies let about "
            f"{bandwidth['reachable_gb_s'][0]:.0f} to {bandwidth['reachable_gb_s'][1]:.0f} GB/s "
            f"through (estimate), of {bandwidth['populated_gb_s']:.0f} that the DIMMs give.",
            "Faster DIMMs will not help; a CPU with eight or more CCDs will.",
        )
    if dimms and all(dimm["ranks"] == 1 for dimm in dimms):
        say(
            "info",
            "single-rank",
            0.0,
            "All DIMMs have one rank, which reaches a little less of the theoretical bandwidth than two.",
            "Nothing to do; for the next purchase, two ranks are the better ones.",
        )
    before = sum(1 for dimm in (previous or {}).get("dimms") or [] if dimm["populated"])
    if before > len(dimms):
        here = {dimm["locator"] for dimm in dimms}
        gone = [
            dimm["locator"] for dimm in (previous or {})["dimms"] if dimm["populated"] and dimm["locator"] not in here
        ]
        say(
            "problem",
            "dimm-lost",
            (before - len(dimms)) * channel_gb_s,
            f"{len(dimms)} DIMMs are found, and last time there were {before}: "
            f"{', '.join(map(str, gone)) or 'one'} is missing.",
            "Reseat it, and read the event log of the BMC for memory errors.",
        )
    _advise_edac(dimms, edac, say)
    order = {"problem": 0, "advice": 1, "info": 2}
    return [entry for _cost, entry in sorted(found, key=lambda item: (order[item[1]["severity"]], -item[0]))]


def _first_slot(dimms: list[dict[str, Any]], socket: int, channel: str) -> str:
    """The name of the slot that a channel's first DIMM goes into."""
    slots = [dimm for dimm in dimms if (dimm["socket"], dimm["channel"]) == (socket, channel)]
    return str(min(slots, key=lambda dimm: dimm["slot"] or 0)["locator"])


def _advise_edac(dimms: list[dict[str, Any]], edac: Optional[dict[str, int]], say: Any) -> None:
    """Errors that were counted, and memory that SMBIOS lists and the memory controllers do not have.

    Only sums are compared: drivers count ranks, halves of DIMMs or whole ones, and name channels by their own order.
    """
    if not edac:
        return
    errors = edac["corrected"] + edac["uncorrected"]
    if errors:
        say(
            "problem" if edac["uncorrected"] else "advice",
            "memory-errors",
            0.0,
            f"EDAC has counted {edac['corrected']} corrected and {edac['uncorrected']} uncorrected memory errors.",
            "Find the DIMM in /sys/devices/system/edac/mc/*/dimm*/dimm_ce_count or the BMC's event log; replace it.",
        )
    listed = sum(dimm["size_bytes"] for dimm in dimms)
    # Drivers leave out what is reserved for the firmware, never a twentieth.
    if edac["size_bytes"] and edac["size_bytes"] < 0.95 * listed:
        say(
            "problem",
            "edac-disagrees",
            0.0,
            f"The DIMMs have {listed / 2**30:.0f} GiB, the memory controllers use {edac['size_bytes'] / 2**30:.0f}.",
            "The firmware may have left out a DIMM that failed its training: read the BMC's event log.",
        )


def _advise_mixed(dimms: list[dict[str, Any]], say: Any) -> None:
    for key, code, what in (
        ("size_bytes", "mixed-size", "sizes"),
        ("ranks", "mixed-ranks", "ranks"),
        ("rated_mts", "mixed-speed", "speeds"),
    ):
        values = sorted({dimm[key] for dimm in dimms if dimm[key]})
        if len(values) > 1:
            shown = (
                [f"{value / 2**30:.0f} GiB" for value in values]
                if key == "size_bytes"
                else [str(value) for value in values]
            )
            say(
                "advice",
                code,
                0.0,
                f"The DIMMs have different {what} ({', '.join(shown)}): "
                "interleaving covers only what all channels have, and the slowest sets the pace.",
                "Use DIMMs of one kind.",
            )
