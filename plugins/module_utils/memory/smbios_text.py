# SPDX-License-Identifier: MIT
"""Read what dmidecode printed of an SMBIOS table, whatever its release: the same records as of the table itself."""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

from .smbios import (
    FORM_FACTORS,
    LONGEST_STRING,
    MOST_OF_A_TYPE,
    PERSISTENT,
    TYPES,
    Machine,
    MemoryArray,
    MemoryDevice,
    Processor,
    SmbiosError,
    known,
    plausible,
    plausible_width,
)

# A machine of eight sockets prints 10,000 lines in 400 kB.
LARGEST_TEXT = 4 * 2**20
MOST_LINES = 200_000
_NO_TYPE = {"", "unknown", "other", "none", "not specified", "<out of spec>"}
_OTHER_USES = {"Video Memory", "Flash Memory", "Non-volatile RAM", "Cache Memory"}
_PROCESSORS = ("Central Processor", "Other", "Unknown", "<OUT OF SPEC>")


class Block(NamedTuple):
    """What is printed of one structure."""

    type: int
    handle: int
    fields: dict[str, str]

    def get(self, name: str) -> str:
        return self.fields.get(name, "")

    def string(self, name: str) -> str:
        """A field; empty where it only says that there is none."""
        return known(self.get(name))


def read_dmidecode(text: str) -> Machine:
    """The machine that the output of dmidecode describes.

    Raises SmbiosError where no structure is found.
    """
    warnings: list[str] = []
    blocks = _blocks(text, warnings)
    system, board = (next((block for block in blocks if block.type == kind), Block(kind, 0, {})) for kind in (1, 2))
    return Machine(
        system.string("Manufacturer"),
        system.string("Product Name"),
        board.string("Manufacturer"),
        board.string("Product Name"),
        [
            _processor(block)
            for block in blocks
            if block.type == 4 and block.fields.get("Type", "Central Processor") in _PROCESSORS
        ],
        [_array(block) for block in blocks if block.type == 16],
        [_device(block) for block in blocks if block.type == 17],
        warnings,
    )


def _blocks(text: str, warnings: list[str]) -> list[Block]:
    """The structures that are read, and no more of a type than any machine has."""
    blocks: list[Block] = []
    counts: dict[int, int] = {}
    fields: dict[str, str] = {}
    level: Optional[int] = None
    # Blank lines, of which there may be millions, cost nothing here.
    lines = re.finditer(r"[^\r\n]+", text[:LARGEST_TEXT])
    for number, found in enumerate(lines):
        if number >= MOST_LINES:
            break
        line = found.group()
        head = re.match(r"\s*Handle 0x([0-9A-Fa-f]{1,8}), DMI type ([0-9]{1,3})\b", line)
        if head:
            kind, fields, level = int(head.group(2)), {}, None
            counts[kind] = counts.get(kind, 0) + 1
            if kind in TYPES and counts[kind] <= MOST_OF_A_TYPE:
                blocks.append(Block(kind, int(head.group(1), 16), fields))
            continue
        key, separator, value = line.strip().partition(":")
        if not separator:
            continue
        # What is pasted may have lost its tabs; the first field of a structure says how far fields are indented,
        # and what is indented more belongs to a list.
        indent = len(line) - len(line.lstrip())
        level = indent if level is None else level
        if indent <= level:
            fields.setdefault(key.strip(), value.strip())
    if len(text) > LARGEST_TEXT or next(lines, None):
        warnings.append("The text is longer than dmidecode prints; the rest was left out.")
    for kind, count in sorted(counts.items()):
        if kind in TYPES and count > MOST_OF_A_TYPE:
            warnings.append(f"Of {count} structures of type {kind} the first {MOST_OF_A_TYPE} were read.")
    if not counts:
        raise SmbiosError("There is no 'Handle 0x…, DMI type …' in the text: save the whole output of dmidecode.")
    return blocks


def _size(text: str) -> Optional[int]:
    match = re.fullmatch(r"([0-9]{1,12}) ?([kKMGT]i?)?B?(?:ytes)?", text.strip())
    if match:
        power = {"K": 1, "M": 2, "G": 3, "T": 4}.get((match.group(2) or "").upper()[:1], 0)
        return int(match.group(1)) * int(1024**power)
    return 0 if text.strip().lower() in ("no module installed", "not installed") else None


def _number(text: str) -> Optional[int]:
    match = re.match(r"([0-9]{1,12})\b", text)
    return int(match.group(1)) or None if match else None


def _processor(block: Block) -> Processor:
    signature = re.search(r"Family ([0-9]{1,4}), Model ([0-9]{1,4}), Stepping ([0-9]{1,4})", block.get("Signature"))
    family, model, stepping = map(int, signature.groups()) if signature else (None, None, None)
    return Processor(
        block.handle,
        block.string("Socket Designation"),
        block.string("Manufacturer"),
        block.string("Version"),
        block.fields.get("Status", "Populated").startswith("Populated"),
        family,
        model,
        stepping,
        block.string("Part Number"),
    )


def _array(block: Block) -> MemoryArray:
    system = block.get("Use") not in _OTHER_USES and "CXL" not in block.get("Location")
    return MemoryArray(block.handle, system, _number(block.get("Number Of Devices")))


def _memory_type(kind: str, width: Optional[int], form_factor: str) -> Optional[str]:
    """The type of memory. Releases of dmidecode that are older than DDR5 print it, and LPDDR5, as out of range."""
    if kind == "<OUT OF SPEC>":
        if width in (16, 32) or form_factor in ("Chip", "Row Of Chips", "Die"):
            return "LPDDR5"
        return "DDR5"
    return None if kind.lower() in _NO_TYPE else kind[:LONGEST_STRING]


def _device(block: Block) -> MemoryDevice:
    kind = block.get("Type")
    array = re.match(r"0x([0-9A-Fa-f]{1,8})\b", block.get("Array Handle"))
    configured = block.fields.get("Configured Memory Speed", block.get("Configured Clock Speed"))
    detail = block.fields.get("Type Detail")
    width, form_factor = plausible_width(_number(block.get("Data Width"))), block.get("Form Factor")
    # Older releases of dmidecode leave out the name of it.
    technology = block.get("Memory Technology").replace("Intel persistent", "Intel Optane persistent")
    return MemoryDevice(
        block.handle,
        int(array.group(1), 16) if array else None,
        block.string("Locator"),
        block.string("Bank Locator"),
        _size(block.get("Size")),
        technology if technology in PERSISTENT.values() else _memory_type(kind, width, form_factor),
        None if detail is None else "Registered" in detail,
        plausible(_number(block.get("Speed"))),
        plausible(_number(configured)),
        _number(block.get("Rank")),
        width,
        form_factor if form_factor in FORM_FACTORS.values() else None,
        block.string("Manufacturer"),
        block.string("Part Number"),
    )
