# SPDX-License-Identifier: MIT
"""Read SMBIOS: the raw table of /sys/firmware/dmi/tables/DMI, as typed records.

What dmidecode printed of a table becomes the same records (smbios_text.py). Firmware is careless, so nothing in a
table is believed: a structure that is cut off, a string that is not there, a length that makes no sense end in a
warning and a None. Offsets are those of the System Management BIOS Reference Specification (DMTF DSP0134) 3.7.
Sizes are bytes, speeds MT/s, widths bits.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Optional

# The largest machines have a few thousand structures in 100 kB, and 400 slots; virtual ones list hundreds of CPUs.
LARGEST_TABLE = 2 * 2**20
MOST_STRUCTURES = 10000
MOST_OF_A_TYPE = 512
MOST_STRINGS = 64
LONGEST_STRING = 128
# What dmidecode prints for each byte of a string.
PRINTABLE = bytes(byte if 32 <= byte < 127 else ord(".") for byte in range(256))
MOST_WARNINGS = 50
# The structures that are read: system, board, CPU socket, memory array, memory device.
TYPES = (1, 2, 4, 16, 17)

# Memory Device - Type (7.18.2).
MEMORY_TYPES = {
    0x12: "DDR",
    0x13: "DDR2",
    0x14: "DDR2 FB-DIMM",
    0x18: "DDR3",
    0x1A: "DDR4",
    0x1B: "LPDDR",
    0x1C: "LPDDR2",
    0x1D: "LPDDR3",
    0x1E: "LPDDR4",
    0x1F: "Logical non-volatile device",
    0x20: "HBM",
    0x21: "HBM2",
    0x22: "DDR5",
    0x23: "LPDDR5",
    0x24: "HBM3",
    0x0F: "SDRAM",
    0x0D: "RDRAM",
    0x07: "DRAM",
    0x09: "RAM",
    0x0A: "ROM",
    0x0B: "Flash",
    0x0C: "EEPROM",
}
# Memory Device - Memory Technology (7.18.6) of modules in DIMM slots whose memory is not the system's. Some firmware
# calls their type DDR4.
PERSISTENT = {0x04: "NVDIMM-N", 0x05: "NVDIMM-F", 0x06: "NVDIMM-P", 0x07: "Intel Optane persistent memory"}
# Memory Device - Form Factor (7.18.1): those that tell a DIMM from what is soldered.
FORM_FACTORS = {0x05: "Chip", 0x09: "DIMM", 0x0B: "Row Of Chips", 0x0D: "SODIMM", 0x10: "Die"}
# The widest package of soldered memory that is made is 512 bits; stacks of HBM have 1024.
WIDEST = 1024
# More than any memory moves (HBM3 9600, MRDIMM 12800), MT/s.
FASTEST = 30000


class SmbiosError(Exception):
    """There is no SMBIOS table in the data; the text is one sentence."""


class Structure(NamedTuple):
    """One structure of the raw table."""

    type: int
    handle: int
    data: bytes
    strings: list[str]

    def byte(self, offset: int) -> Optional[int]:
        return self.data[offset] if offset < len(self.data) else None

    def word(self, offset: int) -> Optional[int]:
        return struct.unpack_from("<H", self.data, offset)[0] if offset + 2 <= len(self.data) else None

    def dword(self, offset: int) -> Optional[int]:
        return struct.unpack_from("<I", self.data, offset)[0] if offset + 4 <= len(self.data) else None

    def string(self, offset: int) -> str:
        """The string that the byte at an offset numbers; empty where it numbers none."""
        number = self.byte(offset) or 0
        return self.strings[number - 1] if 0 < number <= len(self.strings) else ""


class Processor(NamedTuple):
    """A CPU socket (type 4)."""

    handle: int
    designation: str
    manufacturer: str
    version: str
    populated: bool
    family: Optional[int]
    model: Optional[int]
    stepping: Optional[int]
    part_number: str = ""


class MemoryArray(NamedTuple):
    """A group of memory devices (type 16); ``system`` is whether it is the machine's memory."""

    handle: int
    system: bool
    devices: Optional[int]


class MemoryDevice(NamedTuple):
    """A DIMM or its empty slot (type 17)."""

    handle: int
    array: Optional[int]
    locator: str
    bank: str
    size_bytes: Optional[int]
    type: Optional[str]
    registered: Optional[bool]
    rated_mts: Optional[int]
    configured_mts: Optional[int]
    ranks: Optional[int]
    data_width: Optional[int]
    form_factor: Optional[str]
    manufacturer: str
    part_number: str


class Machine(NamedTuple):
    """What a table says about the machine."""

    vendor: str
    product: str
    board_vendor: str
    board: str
    processors: list[Processor]
    arrays: list[MemoryArray]
    devices: list[MemoryDevice]
    warnings: list[str]


def parse_table(data: bytes) -> tuple[list[Structure], list[str]]:
    """The structures of a raw table, with or without its entry point, and what was wrong with it.

    Raises SmbiosError where there is nothing that could be a table.
    """
    if len(data) > LARGEST_TABLE:
        raise SmbiosError(f"{len(data)} bytes are too many for an SMBIOS table.")
    table = _without_entry_point(data)
    structures: list[Structure] = []
    warnings: list[str] = []
    offset = 0
    while offset + 4 <= len(table) and len(structures) < MOST_STRUCTURES:
        kind, length, handle = struct.unpack_from("<BBH", table, offset)
        if length < 4:
            if any(table[offset:]):
                warnings.append(f"The structure at byte {offset} has a length of {length}; the rest was left out.")
            break
        if offset + length > len(table):
            warnings.append(f"The structure at byte {offset} is cut off; it was left out.")
            break
        end = table.find(b"\0\0", offset + length)
        if end < 0:
            warnings.append(f"The strings of the structure at byte {offset} do not end.")
            end = len(table)
        # A structure without strings ends in two NULs as well; find() sees those as an empty set.
        raw = table[offset + length : end]
        strings = [_string(text) for text in raw.split(b"\0", MOST_STRINGS)] if raw and kind in TYPES else []
        structures.append(Structure(kind, handle, table[offset : offset + length], strings))
        offset = end + 2
        if kind == 127:
            break
    if not structures:
        raise SmbiosError("There is no SMBIOS structure in the data.")
    if structures[-1].type != 127 and not warnings:
        warnings.append("The table has no end mark: it may be cut off.")
    return structures, warnings[:MOST_WARNINGS]


def _string(raw: bytes) -> str:
    """A string as dmidecode prints it, so that a table and its text read the same."""
    return known(raw[:LONGEST_STRING].translate(PRINTABLE).decode("ascii"))


def known(text: str) -> str:
    """A string; empty where it only says that there is none."""
    text = text.strip()[:LONGEST_STRING]
    return "" if text.lower() in ("not specified", "<bad index>") else text


def _without_entry_point(data: bytes) -> bytes:
    """The table of a file that begins with an entry point, as dmidecode --dump-bin writes it."""
    if data.startswith(b"_SM3_") and len(data) >= 24:
        length, start = struct.unpack_from("<I", data, 12)[0], struct.unpack_from("<Q", data, 16)[0]
    elif data.startswith(b"_SM_") and len(data) >= 31:
        length, start = struct.unpack_from("<HI", data, 22)
    else:
        return data
    if not 0 < start < len(data):
        # A copied entry point still has the physical address; files put the table at the next 32 bytes.
        start = 32
    return data[start : start + length]


def _cpu_signature(structure: Structure) -> tuple[Optional[int], Optional[int], Optional[int]]:
    """Family, model and stepping of CPUID leaf 1, as /proc/cpuinfo shows them; not for CPUs without CPUID."""
    signature = structure.dword(8)
    if not signature or (structure.byte(6) in (0xFE,) and (structure.word(0x28) or 0) in range(0x100, 0x120)):
        return None, None, None
    family, model = (signature >> 8) & 15, (signature >> 4) & 15
    if family in (6, 15):
        model |= (signature >> 12) & 0xF0
    if family == 15:
        family += (signature >> 20) & 0xFF
    return family, model, signature & 15


def _processor(structure: Structure) -> Processor:
    family, model, stepping = _cpu_signature(structure)
    return Processor(
        structure.handle,
        structure.string(4),
        structure.string(7),
        structure.string(0x10),
        bool((structure.byte(0x18) or 0) & 0x40),
        family,
        model,
        stepping,
        structure.string(0x22),
    )


def plausible(speed: Optional[int]) -> Optional[int]:
    """A speed, or None where it is none."""
    return speed if speed and speed <= FASTEST else None


def plausible_width(bits: Optional[int]) -> Optional[int]:
    """A data width, or None where it is none."""
    return bits if bits and bits <= WIDEST else None


def _device(structure: Structure) -> MemoryDevice:
    size: Optional[int] = structure.word(0x0C)
    if size == 0xFFFF:
        size = None
    elif size == 0x7FFF and structure.dword(0x1C) is not None:
        size = ((structure.dword(0x1C) or 0) & 0x7FFFFFFF) * 2**20 or None
    elif size is not None:
        size = (size & 0x7FFF) * 2**10 if size & 0x8000 else size * 2**20
    ranks = (structure.byte(0x1B) or 0) & 15
    detail = structure.word(0x13)

    def speed(word: int, extended: int) -> Optional[int]:
        value = structure.word(word)
        if value == 0xFFFF:
            value = structure.dword(extended)
        return plausible(value)

    return MemoryDevice(
        structure.handle,
        structure.word(4),
        structure.string(0x10),
        structure.string(0x11),
        size,
        PERSISTENT.get(structure.byte(0x28) or 0) or MEMORY_TYPES.get(structure.byte(0x12) or 0),
        None if detail is None else bool(detail & 0x2000),
        speed(0x15, 0x54),
        speed(0x20, 0x58),
        ranks or None,
        plausible_width(structure.word(0x0A)),
        FORM_FACTORS.get(structure.byte(0x0E) or 0),
        structure.string(0x17),
        structure.string(0x1A),
    )


def _bounded(structures: list[Structure], warnings: list[str]) -> list[Structure]:
    """The structures that are read, and no more of a type than any machine has."""
    counts = dict.fromkeys(TYPES, 0)
    kept = []
    for structure in structures:
        if structure.type in counts:
            counts[structure.type] += 1
            if counts[structure.type] <= MOST_OF_A_TYPE:
                kept.append(structure)
    for kind, count in counts.items():
        if count > MOST_OF_A_TYPE:
            warnings.append(f"Of {count} structures of type {kind} the first {MOST_OF_A_TYPE} were read.")
    return kept


def read_table(data: bytes) -> Machine:
    """The machine that a raw table describes."""
    structures, warnings = parse_table(data)
    first: dict[int, Structure] = {}
    for structure in structures:
        first.setdefault(structure.type, structure)
    structures = _bounded(structures, warnings)
    system, board = first.get(1), first.get(2)
    return Machine(
        system.string(4) if system else "",
        system.string(5) if system else "",
        board.string(4) if board else "",
        board.string(5) if board else "",
        [
            _processor(structure)
            for structure in structures
            if structure.type == 4 and structure.byte(5) in (None, 1, 2, 3)
        ],
        [
            # Video, flash, non-volatile and cache memory, and what is on a CXL card; firmware that says nothing means
            # the system's.
            MemoryArray(
                structure.handle,
                structure.byte(5) not in (4, 5, 6, 7) and structure.byte(4) != 0xA4,
                structure.word(0x0D),
            )
            for structure in structures
            if structure.type == 16
        ],
        [_device(structure) for structure in structures if structure.type == 17],
        warnings,
    )
