# SPDX-License-Identifier: MIT
"""Write the SMBIOS records of a mainboard from a short description.

A description is what the virtual tower's profiles have under ``board``::

    vendor: Giga Computing
    product: MZ73-LM1-000
    scheme: gigabyte-p-letter          # how slots are named: one of SCHEMES, or a function like them
    sockets: 2
    channels_per_socket: 12
    slots_per_channel: 1
    cpu: {brand: AMD EPYC 9124 16-Core Processor, family: 25, model: 17, stepping: 1}
    dimm: {size_gib: 32, type: DDR5, rated_mts: 4800, configured_mts: 4800, ranks: 1, manufacturer: …, part_number: …}
    empty: [DIMM_P1_R0]                # slots without a DIMM, by locator, or by bank and locator
    absent: [1]                        # sockets without a CPU (default: none)
    counted: 32                        # slots by the firmware's count (default: those that are listed)

Offsets are those of DMTF DSP0134 3.7.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

# A board with one empty channel.
BOARD: dict[str, Any] = {
    "vendor": "Giga Computing",
    "product": "MZ73-LM1-000",
    "scheme": "gigabyte-p-letter",
    "sockets": 2,
    "channels_per_socket": 12,
    "slots_per_channel": 1,
    "cpu": {"brand": "AMD EPYC 9124 16-Core Processor", "family": 25, "model": 17, "stepping": 1},
    "dimm": {
        "size_gib": 16,
        "type": "DDR5",
        "rated_mts": 4800,
        "configured_mts": 4800,
        "ranks": 1,
        "manufacturer": "Samsung",
    },
    "empty": ["DIMM_P1_R0"],
}
MEMORY_TYPES = {"DDR3": 0x18, "DDR4": 0x1A, "DDR5": 0x22, "LPDDR5": 0x23, "HBM2": 0x21, "Flash": 0x0B}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# Socket, channel and slot, each from 0, and the channels of a socket -> locator and bank locator.
Scheme = Callable[[int, int, int, int], "tuple[str, str]"]
SCHEMES: dict[str, Scheme] = {
    "gigabyte-p-letter": lambda s, c, d, n: (f"DIMM_P{s}_{LETTERS[s * n + c]}{d}", f"BANK {d}"),
    "supermicro": lambda s, c, d, n: (f"P{s + 1}-DIMM{LETTERS[c]}{d + 1}", f"P{s}_Node0_Channel{c:X}_Dimm{d}"),
    "agesa": lambda s, c, d, n: (f"DIMM {d}", f"P{s} CHANNEL {LETTERS[c]}"),
    "dell": lambda s, c, d, n: (f"{LETTERS[s]}{d * n + c + 1}", "Not Specified"),
    "hpe": lambda s, c, d, n: (f"PROC {s + 1} DIMM {c * 2 + d + 1}", "Not Specified"),
    "lenovo": lambda s, c, d, n: (f"DIMM {s * n * 2 + c * 2 + d + 1}", f"CPU {s + 1}"),
    "tyan": lambda s, c, d, n: (f"P{s}_UMC{c}_CH_{LETTERS[c]}{d}", f"P{s} CHANNEL {LETTERS[c]}"),
    "intel-client": lambda s, c, d, n: (f"Channel{LETTERS[c]}-DIMM{d}", f"BANK {c * 2 + d}"),
    "nameless": lambda s, c, d, n: (f"DIMM{c * 2 + d + 1}", "Not Specified"),
}


def structure(kind: int, handle: int, fields: bytes, *strings: str) -> bytes:
    """One structure: header, fields, strings, double NUL."""
    assert all(strings), "an empty string would end the set"
    texts = b"".join(text.encode() + b"\0" for text in strings)
    return struct.pack("<BBH", kind, 4 + len(fields), handle) + fields + (texts or b"\0") + b"\0"


def signature(cpu: dict[str, Any]) -> int:
    """CPUID leaf 1 of a family, model and stepping."""
    family, model = cpu["family"], cpu["model"]
    return (
        (max(family - 15, 0) << 20)
        | ((model >> 4) << 16)
        | (min(family, 15) << 8)
        | ((model & 15) << 4)
        | cpu.get("stepping", 0)
    )


def _processor(number: int, board: dict[str, Any]) -> bytes:
    present = number not in board.get("absent", [])
    cpu = board["cpu"]
    status = 0x41 if present else 0x00
    identity = struct.pack("<II", signature(cpu), 0) if present else bytes(8)
    # designation, type, family (0xFE: see the second one), manufacturer, id, version, voltage, clocks, status, upgrade
    fields = (
        struct.pack("<BBBB", 1, 3, 0x6B, 2) + identity + struct.pack("<BBHHHBB", 3, 0x8A, 100, 4000, 3000, status, 1)
    )
    fields += bytes(0x2A - 4 - len(fields))
    brand = cpu["brand"] if present else "Not Specified"
    return structure(4, 0x0400 + number, fields, f"CPU{number}", cpu.get("manufacturer", brand.split()[0]), brand)


def _memory_device(handle: int, locator: str, bank: str, dimm: dict[str, Any] | None) -> bytes:
    entry = dimm or {}
    size = int(entry.get("size_gib", 0)) * 1024
    word, extended = (0x7FFF, size) if size >= 0x7FFF else (size, 0)
    rated, configured = int(entry.get("rated_mts", 0)), int(entry.get("configured_mts", 0))
    width = int(entry.get("data_width", 64)) if dimm else 0xFFFF
    kind = MEMORY_TYPES[entry["type"]] if dimm else 0x02
    detail = 0x2080 if entry.get("registered", True) and dimm else 0x0080
    # array, error handle, total width, data width, size, form factor DIMM, set, locator, bank, type, detail
    fields = struct.pack("<HHHHHBBBBBH", 0x1000, 0xFFFE, width, width, word, 9, 0, 1, 2, kind, detail)
    fields += struct.pack(
        "<HBBBBBIH", rated, 3, 0, 0, 4 if dimm else 0, int(entry.get("ranks", 0)), extended, configured
    )
    fields += bytes(0x28 - 4 - len(fields))
    names = [str(entry.get("manufacturer", "NO DIMM")), str(entry.get("part_number", "Unknown"))]
    return structure(17, handle, fields, locator, bank, *(names if dimm else names[:1]))


def structures(board: dict[str, Any]) -> list[tuple[int, bytes]]:
    """The records of types 1, 2, 4, 16 and 17, as (type, bytes with strings)."""
    sockets, channels, slots = board["sockets"], board["channels_per_socket"], board["slots_per_channel"]
    vendor, product = board["vendor"], board["product"]
    system = struct.pack("<BBBB", 1, 2, 0, 0) + bytes(range(1, 17)) + struct.pack("<BBB", 6, 0, 0)
    found = [
        (1, structure(1, 0x0100, system, vendor, product)),
        (2, structure(2, 0x0200, struct.pack("<BBBBBBBHBB", 1, 2, 0, 0, 0, 9, 0, 0x0300, 10, 0), vendor, product)),
    ]
    found += [(4, _processor(number, board)) for number in range(sockets)]
    count = board.get("counted", sockets * channels * slots)
    found.append((16, structure(16, 0x1000, struct.pack("<BBBIHH", 3, 3, 6, 0x80000000, 0xFFFE, count) + bytes(8))))
    name = board["scheme"] if callable(board["scheme"]) else SCHEMES[board["scheme"]]
    left = set(board.get("empty", []))
    handle = 0x1100
    for socket in range(sockets):
        for channel in range(channels):
            for slot in range(slots):
                locator, bank = name(socket, channel, slot, channels)
                empty = {locator, f"{bank} {locator}"} & left
                left -= empty
                dimm = None if empty or socket in board.get("absent", []) else board["dimm"]
                found.append((17, _memory_device(handle, locator, bank, dimm)))
                handle += 1
    if left:
        raise ValueError(
            f"The board has no slot {', '.join(sorted(left))}; the first one is {name(0, 0, 0, channels)[0]}."
        )
    return found


def table(board: dict[str, Any]) -> bytes:
    """The whole raw table, as /sys/firmware/dmi/tables/DMI has it."""
    return b"".join(data for _kind, data in structures(board)) + structure(127, 0x7F00, b"")
