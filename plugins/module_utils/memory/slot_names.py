# SPDX-License-Identifier: MIT
"""How vendors name slots: what DIMM_P0_A0 says of its socket, its channel and its place in the channel.

SMBIOS lists slots, not channels. What the vendor prints on the board - the locator and bank locator of a slot - names
the channel in one of a few dozen ways, which ``RULES`` lists.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

from .smbios import Machine, MemoryDevice

# No board has more slots on a channel than this.
MOST_SLOTS = 3
# What firmware writes where it knows no name.
NAMELESS = re.compile(r"^\s*$|NO DIMM|Not Specified|^Unknown$|BAD INDEX", re.I)


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

    @property
    def reads_socket(self) -> bool:
        return bool(re.search(r"\(\?P<[sk]>", self.locator + self.bank))

    @property
    def repeats(self) -> bool:
        """Whether some firmware gives two channels one name, which only a list of all slots shows."""
        return self.name == "p-node-channel"

    @property
    def phantoms(self) -> bool:
        """Whether some firmware lists channels that the board does not wire."""
        return self.name == "agesa-channel"

    @property
    def guess(self) -> bool:
        """Whether the meaning is another vendor's, so that the slots that are filled have to fit it."""
        return self.name == "letter-many-numbers"


# The parts of names that say everything, however they are written: CPU0_C0D0, SOCKET 0 CHANNEL 0 DIMM 0, P1_CHA_DIMM1.
SOCKET = r"(?i:CPU|PROC|SOCKET|P)[-_ ]?(?P<s>\d)[-_ ]?"
NODE = r"_?(?i:NODE|CPU) ?(?P<k>\d)[-_ ]?"
CHANNEL = r"(?i:CHANNEL|CH|C)[-_ ]?(?P<c>\d+|[A-X])[-_ ]?"
SLOT = r"(?i:DIMM|SLOT|D)[-_ ]?(?P<d>\d)"

# Tried from the top; the first that fits every populated slot, and that no slot of the machine contradicts, answers.
# fmt: off
RULES = tuple(Rule(*row) for row in (
    # name, vendor, locator, bank locator, order, example, trap
    ("dell-letter-number", r"Dell", r"^(?:DIMM[_ ]?)?(?P<s>[A-H])(?P<n>\d{1,2})$", r"", "slot",
     "A1 ~", "the letter is the socket, and numbers go over all channels before a channel's second slot"),
    ("letter-many-numbers", r"^(?!.*\bDell)", r"^(?P<s>[A-H])(?P<n>\d{1,2})$", r"^$", "slot",
     "A1 … A16 ~", "Dell's under another name; only with more numbers than a channel has slots"),
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
    ("cpu-letter", r"", r"^CPU(?P<s>\d)[-_ .]?(?:DIMM)?[-_ ]?(?P<c>[A-X])(?P<d>\d)?$", r"", "own",
     "CPU0.A0 ~ BANK 0", "a node may be a quarter of a CPU"),
    ("cpu-controller-letter", r"", r"^CPU(?P<s>\d)[_ .]?(?P<c>MC\d_(?:DIMM)?[_ ]?[A-X])(?P<d>\d)?$", r"", "own",
     "CPU0_MC0_DIMM_A0 ~ NODE 0", "letters may start anew on each controller"),
    ("cpu-letter-bank", r"", r"", r"^CPU(?P<s>\d)[-_ .](?P<c>[A-X])(?P<d>\d)$", "own",
     "DIMM_5 ~ CPU1_A1", "locators repeat on every CPU"),
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
    ("letter-node-socket", r"", r"^(?!J\d)(?:DIMM|DDR\d)?[_ ]?(?P<c>[A-X])(?P<d>\d)$",
     r"^(?!.*(?i:SOCKET|CPU|PROC))(?!NODE ?\d$)", "own",
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


def rules_for(machine: Machine) -> list[Rule]:
    vendor = " ".join((machine.vendor, machine.board_vendor, machine.product))
    return [rule for rule in RULES if not rule.vendor or re.search(rule.vendor, vendor, re.I)]


def means_so(rule: Rule, places: list[Place], channels: Optional[int]) -> bool:
    """Whether letters that nothing explains mean what a rule says.

    They are sockets only if they have more slots than a channel, and channels only if there are several: A0 to A3 are
    the four slots of two channels on some. Behind a digit they are the slots of a channel only on servers: boards of
    two channels have a pair of DIMM1A and DIMM1B.
    """
    if rule.name == "letter-many-numbers":
        return max(place.number or 0 for place in places) > MOST_SLOTS and (channels or 3) > 2
    if rule.name == "p-digit-letter":
        return (channels or 0) > 2
    if rule.name == "letter-node-socket":
        return len(places) == 1 or channels == 1 or len({place.channel for place in places}) > 1
    return True


def numbered_through(name: Optional[str]) -> bool:
    """Whether the rule of this name tells channels by the numbers of their slots."""
    return any(rule.name == name and rule.order != "own" for rule in RULES)
