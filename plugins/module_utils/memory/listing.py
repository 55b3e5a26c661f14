# SPDX-License-Identifier: MIT
"""Which slots a table lists, and whether these are all of the board's: what is not listed cannot be counted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, Optional

from .slot_names import Rule, place_of
from .smbios import Machine, MemoryDevice, Processor

# Records that are memory, but not the DIMMs that a model lies in. A CPU's own HBM is not on its channels.
NOT_DRAM = re.compile(r"Flash|ROM|non-volatile|NVDIMM|persistent|HBM", re.I)
NOT_A_SLOT = re.compile(r"CXL|System ROM|BIOS|SPI", re.I)


class Listing(NamedTuple):
    """The slots of a board in the order of their records, its CPUs, and the channels of each, None where unknown.

    ``counted`` is how many slots the board has by the firmware's own count, 0 where it does not say.
    ``complete`` is whether every slot has a record: firmware that leaves out empty ones lists none, and counts more.
    """

    devices: list[MemoryDevice]
    cpus: list[Processor]
    channels: Optional[int]
    counted: int
    complete: bool

    @property
    def present(self) -> list[int]:
        """The sockets that have a CPU."""
        return [index for index, cpu in enumerate(self.cpus) if cpu.populated]

    @property
    def shows_empty(self) -> bool:
        return any(device.size_bytes == 0 for device in self.devices)

    @property
    def slots(self) -> Optional[int]:
        """How many slots the board has; None where some are not listed, nor counted."""
        if self.complete:
            return len(self.devices)
        return self.counted if self.counted > len(self.devices) else None

    @property
    def counted_evenly(self) -> bool:
        """Whether by the firmware's count every channel of every socket has as many slots."""
        return bool(self.counted and self.channels and self.counted % (self.channels * len(self.cpus)) == 0)

    def all_of(self, named: Mapping[int, object]) -> bool:
        """Whether these are all slots of the board, and each has a name."""
        return self.complete and len(named) == len(self.devices)

    def position(self, index: int) -> Optional[int]:
        """The socket of a record if records go from CPU to CPU; None where it cannot be told by that."""
        each, rest = divmod(len(self.devices), len(self.cpus) or 1)
        # With fewer slots than one CPU has channels, some are not listed after all.
        if rest or len(self.devices) < (self.channels or 1):
            return None
        if not self.complete or len(self.present) < len(self.cpus):
            return None
        return index // each


def dram(machine: Machine) -> list[MemoryDevice]:
    """The places for the memory of the system, whether there is a DIMM or not."""
    return [
        device
        for device in _of_the_system(machine)
        if not NOT_DRAM.search(device.type or "") and not NOT_A_SLOT.search(f"{device.locator} {device.bank}")
    ]


def listing_of(machine: Machine, rules: list[Rule], cpus: list[Processor], channels: Optional[int]) -> Listing:
    devices = dram(machine)
    counted = sum(array.devices or 0 for array in machine.arrays if array.system)
    complete = any(device.size_bytes == 0 for device in devices) or (
        0 < counted <= len(_of_the_system(machine)) and not _has_gaps(rules, devices)
    )
    return Listing(devices, cpus, channels, counted, complete)


def _has_gaps(rules: list[Rule], devices: list[MemoryDevice]) -> bool:
    """Whether the numbers of slots leave some out: firmware that lists only filled slots may count only these, too."""
    for rule in rules:
        by_socket: dict[str, list[int]] = {}
        for place in (place_of(rule, device) for device in devices if rule.order != "own"):
            if place and place.number is not None:
                by_socket.setdefault(str(place.socket), []).append(place.number)
        before = 0
        for label in sorted(by_socket):
            mine = by_socket[label]
            if max(mine) - min(mine) + 1 > len(mine) or (min(mine) > 1 and min(mine) != before + 1):
                return True
            before = max(mine)
    return False


def _of_the_system(machine: Machine) -> list[MemoryDevice]:
    others = {array.handle for array in machine.arrays if not array.system}
    return [device for device in machine.devices if device.array not in others]
