# SPDX-License-Identifier: MIT
"""Which memory channel every DIMM is in, which channels are empty, and what that costs.

SMBIOS lists slots, not channels. What the vendor prints on the board - the locator and bank locator of a
slot - names the channel in one of a few dozen ways, which ``RULES`` lists. The order of authority is: a
naming rule that fits every populated slot, that no slot contradicts and that agrees with the CPU; then
bounds that hold whatever the naming, and that sometimes leave one answer. What numbers mean is checked by
the position of their records. An answer that is not sure is None with bounds: a wrong one is worse than none.
Bandwidths are GB/s (10^9 bytes), sizes bytes, speeds MT/s.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Optional

from ..tower import VIRTUAL
from ..tower_document import Edac
from .cpus import DRAM_EFFICIENCY, GMI_GB_S, CpuMemory, ccd_links, cpu_memory
from .smbios import Machine, MemoryDevice, Processor

# Bytes that a channel of 64 bits moves a transfer.
CHANNEL_BYTES = 8
# Records that are memory, but not the DIMMs that a model lies in. A CPU's own HBM is not on its channels.
NOT_DRAM = re.compile(r"Flash|ROM|non-volatile|NVDIMM|persistent|HBM", re.I)
NOT_A_SLOT = re.compile(r"CXL|System ROM|BIOS|SPI", re.I)
# What VMware calls all slots, also of guests that show the names of their host (SMBIOS.reflectHost).
GUEST_SLOT = re.compile(r"^RAM slot #")
# What firmware writes where it knows no name.
NAMELESS = re.compile(r"^\s*$|NO DIMM|Not Specified|^Unknown$|BAD INDEX", re.I)
# The slowest DIMMs that are made, MT/s (JESD79-4, JESD79-5; servers run DDR4 at 1333). What is slower is a clock.
SLOWEST = {"DDR4": 1333, "DDR5": 3200}
# No board has more slots on a channel than this.
MOST_SLOTS = 3
# CPUs that work in one socket only: EPYCs with a P, Xeons with a U.
ALONE = re.compile(r"EPYC \w{4}PX?N?\b|(?:Gold|Silver|Bronze) \d{4}U\b", re.I)
# Guests of unknown makers list each of their CPUs as a socket; the largest machines have 32.
MOST_SOCKETS = 32


class Rule(NamedTuple):
    """One way of naming slots. Patterns have the groups s (socket), c (channel), d (slot of a channel) and n (number);
    k instead of s is a node, which may be a socket or a part of one.

    ``order`` is what a number means: ``own`` where a name has a channel of its own; ``channel`` where the slots of a
    channel follow each other; ``slot`` where the first slots of all channels come first; ``listed`` where they do so
    and the records of a channel's slots follow each other, which has to be so for an answer.
    """

    name: str
    vendor: str
    locator: str
    bank: str
    order: str
    example: str
    trap: str


# The parts of names that say everything, however they are written: CPU0_C0D0, SOCKET 0 CHANNEL 0 DIMM 0, P1_CHA_DIMM1.
SOCKET = r"(?i:CPU|PROC|SOCKET|P)[-_ ]?(?P<s>\d)[-_ ]?"
NODE = r"(?:NODE|CPU) ?(?P<k>\d)[-_ ]?"
CHANNEL = r"(?i:CHANNEL|CH|C)[-_ ]?(?P<c>\d+|[A-X])[-_ ]?"
SLOT = r"(?i:DIMM|SLOT|D)[-_ ]?(?P<d>\d)"

# Tried from the top; the first that fits every populated slot, and that no slot of the machine contradicts, answers.
# fmt: off
RULES = tuple(Rule(*row) for row in (
    # name, vendor, locator, bank locator, order, example, trap
    ("dell-letter-number", r"Dell", r"^(?:DIMM[_ ]?)?(?P<s>[A-H])(?P<n>\d{1,2})$", r"", "slot",
     "A1 ~", "the letter is the socket, and numbers go over all channels before a channel's second slot"),
    ("letter-many-numbers", r"^\W*$", r"^(?P<s>[A-H])(?P<n>\d{1,2})$", r"^$", "slot",
     "A1 … A16 ~", "Dell's, where the vendor was left out; only with more numbers than a channel has slots"),
    ("dell-number-cpu", r"Dell", r"^DIMM(?P<n>\d+)_CPU(?P<s>\d)$", r"", "listed",
     "DIMM1_CPU1 ~", "not in the order of the numbers"),
    ("dell-number", r"Dell.*Precision", r"^DIMM(?P<n>\d+)$", r"^$", "listed",
     "DIMM1 ~", "not in the order of the numbers"),
    ("hpe-proc-number", r"", r"^P(?:ROC|roc)\s+(?P<s>\d+)\s+DIMM\s+(?P<n>\d+)[A-L]?$", r"", "channel",
     "PROC 1 DIMM 3 ~", "eight slots for six channels cannot be told apart"),
    ("fujitsu-digit-letter", r"Fujitsu", r"^DIMM[- ](?P<d>\d)(?P<c>[A-X])$", r"", "own",
     "DIMM-1A ~ NODE 1", "the digit is the slot; letters continue on CPU 2; the node is an index"),
    ("gigabyte-p-letter", r"", r"^DIMM_P(?P<s>\d)_(?P<c>[A-X])(?P<d>\d)$", r"", "own",
     "DIMM_P0_A0 ~ BANK 0", "letters continue on socket 2; boards for one CPU list slots of a second"),
    ("p-dimm-letter", r"", r"^P(?P<s>\d)[-_ ]?(?:DIMM)?_?(?P<c>[A-X])(?P<d>\d)$", r"", "own",
     "P1-DIMMA1 ~ P0_Node0_Channel0_Dimm0", "banks count CPUs from 0, and repeat channels"),
    ("p-ch-letter", r"", r"^P(?P<s>\d)_(?:D\d_)?(?:UMC|MC)\d+_(?:DIM_)?CH_(?P<c>[A-X])(?P<d>\d)$", r"", "own",
     "P0_UMC0_CH_A0 ~ P0 CHANNEL A", "controllers are not in the order of the letters"),
    ("p-digit-letter", r"", r"^P(?P<s>\d)[-_ ]?DIMM_?(?P<c>\d)(?P<d>[A-C])$", r"", "own",
     "P1-DIMM1A ~ BANK 0", "the digit is the channel, the letter the slot; not where there are two channels"),
    ("named-in-full", r"", rf"^{SOCKET}{CHANNEL}{SLOT}\b", r"", "own",
     "CPU0_C0D0 ~ NODE 0", ""),
    ("cpu-dimm-number", r"^(?!.*\bDell)", r"^CPU(?P<s>\d)[-_ ]?DIMM[_ ]?(?P<n>\d+)$", r"", "channel",
     "CPU0-DIMM1 ~ CPU0", "numbers continue on CPU 2 of some"),
    ("cpu-letter", r"", r"^CPU(?P<s>\d)[-_ .]?(?:MC\d_)?(?:DIMM)?[-_ ]?(?P<c>[A-X])(?P<d>\d)?$", r"", "own",
     "CPU0.A0 ~ BANK 0", "a node may be a quarter of a CPU"),
    ("cpu-controller-letter", r"", r"^CPU(?P<s>\d)[_ .]?(?P<c>MC\d_(?:DIMM)?[_ ]?[A-X])(?P<d>\d)?$", r"", "own",
     "CPU0_MC0_DIMM_A0 ~ NODE 0", "letters that start anew on each controller"),
    ("node-in-full", r"", rf"^{NODE}{CHANNEL}{SLOT}\b", r"", "own",
     "NODE 0 CHANNEL 0 DIMM 0 (A0) ~ NODE 0", ""),
    ("huawei-digits", r"", r"^DIMM(?P<s>\d)(?P<c>\d)(?P<d>\d)(?:\(\w\))?(?: J\d+)?$", r"^_?(?:Node|SOCKET)", "own",
     "DIMM000 J27 ~ SOCKET 0 CHANNEL 0 DIMM 0", ""),
    ("dimm-letter-board-cpu", r"", r"^DIMM (?P<c>[A-X])(?P<d>\d)$", r"CPU (?P<s>\d)$", "own",
     "DIMM A1 ~ Primary Main Board/CPU 0", "locators repeat on every CPU"),
    ("dimm-number-cpu", r"", r"^D(?:IMM|imm) (?P<n>\d+)$", r"^CPU (?P<s>\d)$", "channel",
     "DIMM 9 ~ CPU 1", "not in the order of the numbers"),
    ("dimm-letter-p", r"", r"^DIMM_?(?P<c>[A-X])(?P<d>\d)$", r"^_?P(?P<s>\d)_Node", "own",
     "DIMMA1 ~ P0_Node0_Channel0_Dimm0", "banks repeat channels on Sapphire Rapids"),
    ("agesa-channel", r"", r"", r"^(?:P(?P<s>\d) )?CHANNEL (?P<c>[A-P])(?: DIMM ?(?P<d>\d))?$", "own",
     "DIMM 0 ~ P0 CHANNEL A", "boards with one slot a channel say DIMM 0 or DIMM 1 of all; some leave out the P0"),
    ("p-node-channel", r"", r"", r"^P(?P<s>\d)_(?P<c>Node\d_Channel\w)_Dimm(?P<d>\d)$", "own",
     "CPU_DIMM ~ P0_Node0_Channel0_Dimm0", "the channel is a hexadecimal digit"),
    ("apple-slot", r"", r"^Slot \d+ \(Channel (?P<c>[A-P]) / DIMM (?P<d>\d)\)$", r"", "own",
     "Slot 8 (Channel D / DIMM 2) ~", ""),
    ("controller-channel", r"", r"^(?P<c>Controller\d-Channel[A-D])(?:-DIMM(?P<d>\d))?$", r"", "own",
     "Controller0-ChannelA-DIMM0 ~ BANK 0", "a channel is controller and letter"),
    ("controller-letter", r"", r"^(?P<c>Controller\d-DIMM[A-D])(?P<d>\d)$", r"", "own",
     "Controller0-DIMMA1 ~ BANK 0", "both controllers may have an A"),
    ("controller", r"", r"^(?P<c>Controller\d)-DIMM(?P<d>\d)$", r"", "own",
     "Controller0-DIMM0 ~ BANK 0", ""),
    ("coreboot", r"", r"^Channel-(?P<c>\d)-DIMM-(?P<d>\d)$", r"", "own",
     "Channel-0-DIMM-0 ~", "lists only what is filled, and may give all the same name"),
    ("channel-letter", r"", r"^Channel(?P<c>[A-P])(?:[-_ ]?D(?:IMM|imm)(?P<d>\d))?(?:_BOTTOM|_TOP)?$", r"", "own",
     "ChannelA-DIMM0 ~ BANK 0", "letters may continue on socket 2"),
    ("letter-of-node", r"", r"^(?:DIMM|DDR\d)?[_ ]?(?P<c>[A-X])(?P<d>\d)$", rf"^{NODE}$", "own",
     "DIMM_A1 ~ NODE 0", "letters may start anew on every CPU"),
    ("letter-node-socket", r"", r"^(?:DIMM|DDR\d)?[_ ]?(?P<c>[A-X])(?P<d>\d)$", r"", "own",
     "DIMM_A1 ~ NODE 0 CHANNEL 0 DIMM 0", "letters may continue on socket 2, and leave out the I"),
    ("bank-in-full", r"", r"", rf"^{SOCKET}{CHANNEL}{SLOT}$", "own",
     "J27 ~ SOCKET 0 CHANNEL 0 DIMM 0", ""),
    ("bank-node-in-full", r"", r"", rf"^{NODE}{CHANNEL}{SLOT}$", "own",
     "J27 ~ NODE 0 CHANNEL 0 DIMM 0", ""),
))
# fmt: on


class Place(NamedTuple):
    """Where a naming rule puts a device: labels as they are printed; ``number`` where only that is printed.

    Where ``node`` is true, what is printed of the socket is a node.
    """

    socket: Optional[str]
    channel: Optional[str]
    slot: Optional[int]
    number: Optional[int]
    node: bool


class Answer(NamedTuple):
    """Where every device is: by handle and position, socket index, channel label and slot."""

    rule: str
    confidence: str
    places: dict[int, tuple[int, str, int]]


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


def place_of(rule: Rule, device: MemoryDevice) -> Optional[Place]:
    """Where a rule puts a device, or None where the rule does not fit its names."""
    groups: dict[str, Optional[str]] = {}
    for pattern, text in ((rule.locator, device.locator), (rule.bank, device.bank)):
        match = re.search(pattern, text)
        if not match:
            return None
        groups.update({name: value for name, value in match.groupdict().items() if value is not None})
    slot, number, node = (groups.get(name) for name in "dnk")
    return Place(
        groups.get("s", node),
        groups.get("c"),
        int(slot, 36) if slot else None,
        int(number) if number else None,
        node is not None,
    )


def _rules_for(machine: Machine) -> list[Rule]:
    vendor = " ".join((machine.vendor, machine.board_vendor, machine.product))
    return [rule for rule in RULES if not rule.vendor or re.search(rule.vendor, vendor, re.I)]


def _means_so(rule: Rule, places: list[Place], channels: Optional[int]) -> bool:
    """Whether letters that nothing explains mean what a rule says.

    They are sockets only if they have more slots than a channel, and channels only if there are several: A0 to A3 are
    the four slots of two channels on some. Behind a digit they are the slots of a channel only on servers: boards of
    two channels have a pair of DIMM1A and DIMM1B.
    """
    if rule.name == "letter-many-numbers":
        return max(place.number or 0 for place in places) > MOST_SLOTS
    if rule.name == "p-digit-letter":
        return (channels or 0) > 2
    if rule.name == "letter-node-socket":
        return len(places) == 1 or channels == 1 or len({place.channel for place in places}) > 1
    return True


def _sockets_of(labels: list[str], populated: set[str], cpus: list[Processor], node: bool) -> Optional[dict[str, int]]:
    """Rank the socket labels of a board onto its CPUs, whether it counts from 0 or from 1."""
    ordered = sorted(labels, key=lambda label: (len(label), label))
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
) -> Optional[dict[int, tuple[int, str, int]]]:
    """Where a rule puts the devices (by index), or None where it does not fit this machine."""
    named: dict[int, Place] = {}
    for index, device in enumerate(devices):
        place = place_of(rule, device)
        if place:
            named[index] = place
        elif device.size_bytes or not (NAMELESS.search(device.locator) or NAMELESS.search(device.bank)):
            return None
    # Two slots that would be the same one: what the rule takes for a channel is not all of its name.
    whole = [place for place in named.values() if place.slot is not None]
    if not named or len(set(whole)) < len(whole) or not _means_so(rule, list(named.values()), channels):
        return None
    labels = {place.socket for place in named.values()}
    filled = [index for index, cpu in enumerate(cpus) if cpu.populated]
    result: dict[int, tuple[int, str, int]] = {}
    if None in labels and rule.order == "own":
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
    node = any(place.node for place in named.values())
    sockets = _sockets_of([str(label) for label in labels], used, cpus, node)
    if sockets is None:
        return None
    for label, socket in sockets.items():
        mine = [index for index, place in named.items() if str(place.socket) == label]
        if rule.order == "own":
            for index in mine:
                result[index] = (socket, str(named[index].channel), named[index].slot or 0)
            continue
        if not channels:
            return None
        groups = _numbered(rule, mine, {index: named[index].number or 0 for index in mine}, devices, channels)
        if groups is None:
            return None
        for group in groups:
            name = _joined([devices[index].locator for index in group])
            result.update({index: (socket, name, slot) for slot, index in enumerate(group)})
    return result


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


def _joined(locators: list[str]) -> str:
    """A channel that has no name but those of its slots: PROC 1 DIMM 3+4."""
    prefix = re.sub(r"[0-9]+$", "", locators[0])
    return "+".join([locators[0], *(name[len(prefix) :] if name.startswith(prefix) else name for name in locators[1:])])


def _groups(indexes: list[int], each: int) -> list[list[int]]:
    return [indexes[start : start + each] for start in range(0, len(indexes), each)]


def _contradicts(places: dict[int, tuple[int, str, int]], devices: list[MemoryDevice], cpus: list[Processor]) -> bool:
    """Whether two slots have one name, a channel would have more slots than any board's, or an absent CPU has memory:
    what the rule takes for its label is a part of another CPU.
    """
    names = [(devices[index].locator, devices[index].bank) for index in places if devices[index].size_bytes]
    slots: dict[tuple[int, str], list[int]] = {}
    for socket, channel, slot in places.values():
        slots.setdefault((socket, channel), []).append(slot)
    absent = {index for index, cpu in enumerate(cpus) if not cpu.populated}
    return (
        len(set(names)) < len(names)
        or any(len(found) > MOST_SLOTS for found in slots.values())
        or any(place[0] in absent and devices[index].size_bytes for index, place in places.items())
    )


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
    machine: Machine,
    devices: list[MemoryDevice],
    cpus: list[Processor],
    channels: Optional[int],
    server: bool,
) -> Optional[Answer]:
    """The first rule that fits, or None. What numbers alone mean is known of servers only."""
    for rule in _rules_for(machine):
        if rule.order in ("channel", "slot") and not server:
            continue
        places = _apply(rule, devices, cpus, channels)
        if not places or _contradicts(places, devices, cpus):
            continue
        agrees = _agrees(places, channels)
        if agrees is not None:
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
    if configured and ((rated and abs(rated / 2 - configured) <= 2) or configured < SLOWEST.get(device.type or "", 0)):
        return configured * 2
    return configured or None


def _slots(machine: Machine, devices: list[MemoryDevice], channels: Optional[int]) -> int:
    """How many slots the board has: some firmware lists only those that are filled, and counts or numbers all.

    Not on boards of two channels, where the count is often that of another model, and larger.
    """
    counted = sum(array.devices or 0 for array in machine.arrays if array.system)
    numbered = [rule for rule in _rules_for(machine) if rule.order != "own"]
    found = [place_of(rule, device) for rule in numbered for device in devices]
    highest = max((place.number or 0 for place in found if place), default=0)
    return max(counted, highest, len(devices)) if channels and channels > 2 else len(devices)


def _owners(machine: Machine, devices: list[MemoryDevice], cpus: list[Processor]) -> Optional[list[int]]:
    """The socket of each device, by the first rule that names sockets and fits all, whatever it says of channels."""
    for rule in _rules_for(machine):
        places = [place_of(rule, device) for device in devices] if "(?P<s>" in rule.locator + rule.bank else []
        if not places or not all(places) or not _means_so(rule, [place for place in places if place], None):
            continue
        labels = [str(place.socket) for place in places if place]
        sockets = _sockets_of(sorted(set(labels)), set(), cpus, False)
        if sockets and set(labels) <= sockets.keys():
            return [sockets[label] for label in labels]
    return None


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
        return bounds(count, slots, channels)
    if slots == count and count >= channels * len(cpus) and count % len(cpus) == 0:
        return [channels, channels]
    if sum(1 for cpu in cpus if cpu.populated) == 1:
        # All DIMMs are this CPU's.
        return [min(-(-count // MOST_SLOTS), channels), min(count, channels)]
    if owners:
        mine = [device for device, owner in zip(devices, owners) if owner == index]
        # Slots that are counted and not listed may all be this socket's.
        return bounds(sum(1 for device in mine if device.size_bytes), len(mine) + slots - len(devices), channels)
    return [0, min(channels, count)]


def _is_soldered(devices: list[MemoryDevice]) -> bool:
    """Whether the memory is chips on the board, which are no DIMMs, so that only their width says anything."""
    return bool(devices) and all(
        (device.type or "").startswith("LPDDR") or (device.data_width in (16, 32) and device.form_factor != "DIMM")
        for device in devices
    )


def _in_order(cpus: list[Processor]) -> list[Processor]:
    """The CPUs by the numbers of their sockets, where these are all that their names differ in."""
    found = [re.fullmatch(r"([^0-9]*)([0-9]{1,3})([^0-9]*)", cpu.designation) for cpu in cpus]
    numbers = [int(match.group(2)) for match in found if match]
    if len(numbers) == len(cpus) and len({match.group(1, 3) for match in found if match}) == 1:
        return [cpus[index] for index in sorted(range(len(cpus)), key=lambda index: numbers[index])]
    return cpus


def describe(
    machine: Machine,
    source: str,
    l3_domains: Optional[list[int]] = None,
    previous: Optional[dict[str, Any]] = None,
    edac: Optional[Edac] = None,
) -> dict[str, Any]:
    """``memory_channels`` of a machine.

    ``l3_domains`` counts L3 caches by socket, ``previous`` is an earlier result, ``edac`` what the drivers of
    the memory controllers count.
    """
    devices, cpus = dram(machine), _in_order(machine.processors)
    virtual = bool(VIRTUAL.search(f"{machine.vendor} {machine.product}")) or len(cpus) > MOST_SOCKETS
    virtual = virtual or any(GUEST_SLOT.search(device.locator) for device in devices)
    filled = [cpu for cpu in cpus if cpu.populated]
    memories = [None if virtual else _memory_of(cpu, machine) for cpu in filled]
    memory = memories[0] if memories else None
    if not memory or {entry.channels if entry else None for entry in memories} != {memory.channels}:
        memory = None
    channels = memory.channels if memory else None
    present = [device for device in devices if device.size_bytes]
    soldered = _is_soldered(present)
    # Where it is not known whether there is a DIMM, or what is listed is made up, nothing can be counted. A machine
    # that runs has memory: where none is listed, the list is not complete. The HBM of a Xeon Max is enough.
    listed = present or [device for device in machine.devices if device.size_bytes and "HBM" in (device.type or "")]
    countable = bool(listed) and not virtual and all(device.size_bytes is not None for device in devices)
    answer: Optional[Answer] = None
    if countable and not soldered:
        server = memory is None or memory.server or "PowerEdge" in machine.product
        answer = locate(machine, devices, cpus, channels, server)
    owners = None if answer or soldered else _owners(machine, devices, cpus)
    sockets = [_socket(index, cpu, channels) for index, cpu in enumerate(cpus)]
    populated = [socket for socket in sockets if socket["populated"]]
    slots = _slots(machine, devices, channels)
    for socket in populated if countable else []:
        _count(socket, devices, cpus, channels, answer, owners, slots)
    if l3_domains and len(l3_domains) == len(populated):
        for socket, count in zip(populated, l3_domains):
            socket["l3_domains"] = count
    rule, confidence = None, "none"
    if answer:
        rule, confidence = answer.rule, answer.confidence
    elif filled and all(socket["channels_populated"] is not None for socket in populated):
        # A width that is not the CPU's may be the firmware's mistake.
        rule = "width" if soldered else "bounds"
        confidence = "low" if soldered and sockets[0]["channels_populated"] != channels else "high"
    result: dict[str, Any] = {
        "source": source,
        "vendor": machine.vendor or machine.board_vendor or None,
        "board": machine.board or machine.product or None,
        "sockets": sockets,
        "dimms": [_dimm(index, device, answer) for index, device in enumerate(devices)],
        "rule": rule,
        "confidence": confidence,
        "bandwidth": _no_bandwidth(),
        "advice": [],
        "warnings": machine.warnings,
    }
    result["bandwidth"] = _bandwidth(result, memory, filled)
    result["advice"] = _advice(result, memory, previous, edac)
    return result


def _no_bandwidth() -> dict[str, Any]:
    keys = ("theoretical_gb_s", "populated_gb_s", "reachable_gb_s", "reachable_source")
    return dict.fromkeys(keys) | {"limited_by": "unknown"}


def nothing(source: str, warning: str) -> dict[str, Any]:
    """The same keys where there is no table."""
    return {
        "source": source,
        **dict.fromkeys(("vendor", "board", "sockets", "dimms", "rule")),
        "confidence": "none",
        "bandwidth": _no_bandwidth(),
        "advice": [],
        "warnings": [warning],
    }


def _memory_of(cpu: Processor, machine: Machine) -> Optional[CpuMemory]:
    """The memory of a CPU; firmware that lost the CPU's name may still name the board's chipset."""
    if (
        not cpu.version
        and (cpu.family, cpu.model) == (6, 85)
        and re.search(r"\bX299\b", machine.board or machine.product)
    ):
        return cpu_memory("Core(TM) i7-7820X")
    return cpu_memory(cpu.version, cpu.family, cpu.model)


def _socket(index: int, cpu: Processor, channels: Optional[int]) -> dict[str, Any]:
    return {
        "socket": index,
        "populated": cpu.populated,
        "cpu": cpu.version or None,
        "channels_total": channels if cpu.populated else None,
        "channels_populated": None,
        "channels_bounds": None,
        "empty_channels": None,
        "l3_domains": None,
    }


def _count(
    entry: dict[str, Any],
    devices: list[MemoryDevice],
    cpus: list[Processor],
    channels: Optional[int],
    answer: Optional[Answer],
    owners: Optional[list[int]],
    slots: int,
) -> None:
    """Fill in what is known of the channels of a socket."""
    present = [device for device in devices if device.size_bytes]
    if answer:
        mine = [(number, place) for number, place in answer.places.items() if place[0] == entry["socket"]]
        used = {place[1] for number, place in mine if devices[number].size_bytes}
        named = {place[1] for _number, place in mine}
        entry.update(channels_populated=len(used), channels_bounds=[len(used)] * 2)
        entry["empty_channels"] = sorted(named - used, key=lambda label: (len(label), label))
        if channels and named == used and len(used) < channels and not _wires_fewer(answer, devices):
            # Channels of which no slot is listed: the board has none, or the firmware leaves empty ones out.
            entry["empty_channels"] = None
    elif _is_soldered(present):
        width = sum(device.data_width or 0 for device in present)
        count = width // 64
        if sum(1 for cpu in cpus if cpu.populated) == 1 and count and width % 64 == 0 and count <= (channels or count):
            entry.update(channels_populated=count, channels_bounds=[count] * 2)
            entry["empty_channels"] = [] if count == channels else None
    else:
        limits = entry["channels_bounds"] = _bounds_of_socket(entry["socket"], devices, cpus, channels, owners, slots)
        if limits and limits[0] == limits[1]:
            entry.update(channels_populated=limits[0], empty_channels=[] if limits[0] == channels else None)


def _wires_fewer(answer: Answer, devices: list[MemoryDevice]) -> bool:
    """Whether the board lists empty slots, so that a channel without any is one that it does not wire."""
    return any(not devices[index].size_bytes for index in answer.places)


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
    fastest = max((memory and memory.mts_1dpc) or 0, speed or 0)
    if memory and fastest:
        theoretical = round(len(sockets) * memory.channels * fastest * CHANNEL_BYTES / 1000, 1)
    counts = [socket["channels_populated"] for socket in sockets]
    if speed and counts and None not in counts:
        populated = round(sum(counts) * speed * CHANNEL_BYTES / 1000, 1)
    result = _no_bandwidth() | {"theoretical_gb_s": theoretical, "populated_gb_s": populated}
    links = ccd_links(filled[0].family, filled[0].model, filled[0].version) if filled else None
    domains = [socket["l3_domains"] for socket in sockets]
    # Without the number of dies nobody can say what their links let through.
    if populated and not (links and None in domains):
        low, high = (populated * part for part in DRAM_EFFICIENCY)
        result["limited_by"] = "channels"
        result["reachable_source"] = "estimate: what memory controllers reach of the channels in use"
        if links:
            generation, share = links
            dies = sum(-(-count // share) for count in domains)
            link_low, link_high = (dies * part for part in GMI_GB_S[generation])
            if link_low < low:
                result["limited_by"] = "ccd-links"
                result["reachable_source"] = f"estimate: {dies} dies, each as measured on other CPUs of {generation}"
            low, high = min(low, link_low), min(high, link_high)
        result["reachable_gb_s"] = [round(low, 1), round(high, 1)]
    return result


def _advice(
    result: dict[str, Any],
    memory: Optional[CpuMemory],
    previous: Optional[dict[str, Any]],
    edac: Optional[Edac],
) -> list[dict[str, Any]]:
    """What to mend: problems first, and of these the most costly."""
    found: list[dict[str, Any]] = []

    def say(severity: str, code: str, cost: float, message: str, fix: str) -> None:
        entry = {"severity": severity, "code": code, "message": message, "fix": fix, "gb_s": round(cost, 1)}
        found.append(entry)

    dimms = [dimm for dimm in result["dimms"] if dimm["populated"]]
    speeds = [dimm["configured_mts"] or dimm["rated_mts"] for dimm in dimms]
    speed = min((value for value in speeds if value), default=0)
    channel_gb_s = speed * CHANNEL_BYTES / 1000
    for socket in result["sockets"]:
        _advise_socket(result, socket, channel_gb_s, say)
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
    _advise_speed(dimms, memory, sum(counts) if counts and None not in counts else None, say)
    bandwidth = result["bandwidth"]
    if bandwidth["limited_by"] == "ccd-links":
        low, high = bandwidth["reachable_gb_s"]
        say(
            "advice",
            "ccd-links",
            max(bandwidth["populated_gb_s"] - high, 0.0),
            f"The links of the CPU's dies let about {low:.0f} to {high:.0f} GB/s through (estimate), "
            f"of {bandwidth['populated_gb_s']:.0f} that the DIMMs give.",
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
    _advise_lost(result["dimms"], previous, channel_gb_s, say)
    _advise_edac(dimms, edac, say)
    order = {"problem": 0, "advice": 1, "info": 2}
    return sorted(found, key=lambda entry: (order[entry["severity"]], -entry["gb_s"]))


def _advise_socket(result: dict[str, Any], socket: dict[str, Any], channel_gb_s: float, say: Any) -> None:
    """Empty channels, DIMMs in the wrong slots, and an absent CPU."""
    where = f"socket {socket['socket']}"
    if not socket["populated"]:
        total = next((other["channels_total"] for other in result["sockets"] if other["channels_total"]), None)
        if total:
            fix = "Another CPU with its own DIMMs adds its bandwidth for models that are spread over all."
            if any(ALONE.search(other["cpu"] or "") for other in result["sockets"]):
                fix = "The CPU that is there works alone only: to use both sockets takes two others."
            say(
                "info",
                "socket-empty",
                total * channel_gb_s,
                f"The CPU of {where} is absent; with it the board would have {total} more channels.",
                fix,
            )
        return
    slots: dict[str, list[dict[str, Any]]] = {}
    for dimm in result["dimms"]:
        if dimm["socket"] == socket["socket"] and dimm["channel"] is not None:
            slots.setdefault(dimm["channel"], []).append(dimm)
    used = {channel: [dimm for dimm in mine if dimm["populated"]] for channel, mine in slots.items()}
    # Boards disagree on which slot of a channel is the first, but not on it being the same one of all channels; only
    # where slots are numbered through do the channels left and right of a CPU differ.
    numbered = any(rule.name == result["rule"] and rule.order != "own" for rule in RULES)
    alone = {
        channel: _position(mine, used[channel][0])
        for channel, mine in slots.items()
        if len(used[channel]) == 1 and len(mine) > 1 and not numbered
    }
    usual = max(alone.values(), key=list(alone.values()).count, default=0)
    odd = [used[channel][0] for channel, slot in alone.items() if slot != usual]

    def target(channel: str) -> str:
        """The slot of a channel that a lone DIMM goes into here."""
        if numbered:
            return " or ".join(_slot_name(dimm, result["dimms"]) for dimm in _sorted(slots[channel]))
        return _slot_name(_sorted(slots[channel])[min(usual, len(slots[channel]) - 1)], result["dimms"])

    if odd:
        names = ", ".join(_slot_name(dimm, result["dimms"]) for dimm in odd)
        better = ", ".join(target(dimm["channel"]) for dimm in odd)
        say(
            "advice",
            "wrong-slot",
            0.0,
            f"The DIMM{'s' if len(odd) > 1 else ''} in {names} of {where} "
            f"{'are' if len(odd) > 1 else 'is'} in another slot of the channel than the others.",
            f"Move {'them' if len(odd) > 1 else 'it'} to {better}.",
        )
    each = sorted({len(mine) for mine in used.values() if mine})
    if len(each) > 1:
        say(
            "advice",
            "unbalanced-channels",
            0.0,
            f"The channels of {where} have {' and '.join(map(str, each))} DIMMs: "
            "what the fuller ones have more is spread over these alone.",
            "Give every channel as many DIMMs of the same size.",
        )
    empty = socket["empty_channels"] or []
    if not empty:
        return
    several, is_are = ("s", "are") if len(empty) > 1 else ("", "is")
    targets = ", ".join(map(target, empty))
    crowded = [dimm for mine in used.values() for dimm in _sorted(mine)[1:]]
    cost = len(empty) * channel_gb_s
    fix = f"Put {'DIMMs' if several else 'a DIMM'} like the others into {targets}."
    if len(crowded) >= len(empty):
        spare = ", ".join(_slot_name(dimm, result["dimms"]) for dimm in crowded[: len(empty)])
        fix = f"Move the DIMM{several} in {spare}, which share{'' if several else 's'} a channel, to {targets}."
    say(
        "problem",
        "empty-channel",
        cost,
        f"Channel{several} {', '.join(empty)} of {where} {is_are} empty"
        + (f", which costs {cost:.1f} GB/s." if cost else "."),
        fix,
    )


def _sorted(slots: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(slots, key=lambda dimm: (dimm["slot"] or 0, dimm["locator"] or "", dimm["bank_locator"] or ""))


def _position(slots: list[dict[str, Any]], dimm: dict[str, Any]) -> int:
    return _sorted(slots).index(dimm)


def _slot_name(dimm: dict[str, Any], dimms: list[dict[str, Any]]) -> str:
    """A slot as it is printed; boards that call several slots the same tell them apart by the bank."""
    name = str(dimm["locator"] or dimm["bank_locator"])
    if sum(1 for other in dimms if other["locator"] == dimm["locator"]) > 1 and dimm["bank_locator"]:
        return f"{dimm['bank_locator']} {name}"
    return name


def _advise_speed(dimms: list[dict[str, Any]], memory: Optional[CpuMemory], channels: Optional[int], say: Any) -> None:
    """DIMMs that run below what they are made for, and whether that is anybody's fault."""
    slow = [dimm for dimm in dimms if (dimm["configured_mts"] or 0) and dimm["rated_mts"]]
    slow = [dimm for dimm in slow if dimm["configured_mts"] < dimm["rated_mts"] - 2]
    if not slow:
        return
    rated, running = max(dimm["rated_mts"] for dimm in slow), min(dimm["configured_mts"] for dimm in slow)
    limit = memory.mts_1dpc if memory else None
    severity, fix = "advice", "The BIOS may limit it: set the memory speed to Auto or to its maximum."
    # Makers round: a DIMM of 2666 may say 2667.
    if memory and limit and limit <= running + 2:
        fix = f"{limit} MT/s is what {memory.name} is made for: nothing is lost."
        if limit < running - 2:
            fix = f"That is more than the {limit} MT/s that {memory.name} is made for: nothing is lost."
        severity, limit = "info", running
    elif channels and len(dimms) > channels:
        severity, fix = "info", "That is normal with two DIMMs a channel; one of twice the size in each is faster."
    loss = (channels or 0) * max(min(rated, limit or rated) - running, 0) * CHANNEL_BYTES / 1000
    message = f"{len(slow)} DIMM{'s' if len(slow) > 1 else ''} rated {rated} MT/s run at {running} MT/s."
    say(severity, "below-rated", loss, message, fix)


def _advise_lost(
    dimms: list[dict[str, Any]], previous: Optional[dict[str, Any]], channel_gb_s: float, say: Any
) -> None:
    """Fewer DIMMs than an earlier result has, which comes from a file and may be anything."""
    earlier = (previous or {}).get("dimms")
    before = [dimm for dimm in earlier if isinstance(dimm, dict)] if isinstance(earlier, list) else []
    before = [dimm for dimm in before if dimm.get("populated") is True]
    here = {(dimm["locator"], dimm["bank_locator"]) for dimm in dimms if dimm["populated"]}
    count = sum(1 for dimm in dimms if dimm["populated"])
    if len(before) <= count:
        return
    gone = [dimm for dimm in before if (dimm.get("locator"), dimm.get("bank_locator")) not in here]
    names = ", ".join(_slot_name({"bank_locator": None, "locator": None} | dimm, dimms) for dimm in gone)
    say(
        "problem",
        "dimm-lost",
        (len(before) - count) * channel_gb_s,
        f"{count} DIMMs are found, and last time there were {len(before)}: "
        f"{names or 'one'} {'are' if len(gone) > 1 else 'is'} missing.",
        "Reseat what is missing, and read the event log of the BMC for memory errors.",
    )


def _advise_edac(dimms: list[dict[str, Any]], edac: Optional[Edac], say: Any) -> None:
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
