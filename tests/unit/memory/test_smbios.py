# SPDX-License-Identifier: MIT
"""SMBIOS tables, whole, damaged and hostile."""

from __future__ import annotations

import contextlib
import struct
import time
import tracemalloc

import pytest

from plugins.module_utils.memory.channels import describe
from plugins.module_utils.memory.drawing import draw
from plugins.module_utils.memory.listing import dram
from plugins.module_utils.memory.smbios import SmbiosError, read_table
from plugins.module_utils.memory.smbios_text import read_dmidecode
from tests.boards.board import BOARD, structure, structures, table
from tests.boards.clock import counting
from tests.boards.mutations import MUTATIONS, mutations

TABLE = table(BOARD)
# What any table may take, in the time that this processor takes to count to a million (16 ms on an EPYC 7003): the
# slowest of those below took 2.3 of it. A limit in seconds tells how busy the machine is.
LIMIT = 5


def test_a_raw_table_gives_typed_records() -> None:
    machine = read_table(TABLE)
    assert (machine.vendor, machine.board) == ("Giga Computing", "MZ73-LM1-000")
    assert [(cpu.family, cpu.model, cpu.stepping, cpu.populated) for cpu in machine.processors] == [
        (25, 17, 1, True)
    ] * 2
    assert len(machine.devices) == 24
    first = machine.devices[0]
    assert (first.locator, first.bank, first.size_bytes, first.type) == ("DIMM_P0_A0", "BANK 0", 16 * 2**30, "DDR5")
    assert (first.rated_mts, first.configured_mts, first.ranks, first.registered) == (4800, 4800, 1, True)
    assert [device.locator for device in machine.devices if not device.size_bytes] == ["DIMM_P1_R0"]
    assert machine.warnings == []


def test_a_table_behind_an_entry_point_is_the_same() -> None:
    new = b"_SM3_" + bytes(7) + struct.pack("<IQ", len(TABLE), 32) + bytes(8) + TABLE
    old = b"_SM_" + bytes(18) + struct.pack("<HI", len(TABLE), 0x000F0000) + bytes(4) + TABLE
    assert read_table(new) == read_table(old) == read_table(TABLE)


@pytest.mark.parametrize("data", [b"", b"\0" * 65536, b"\x01\x03\0\0", b"no table"])
def test_what_is_no_table_is_one_clear_error(data: bytes) -> None:
    with pytest.raises(SmbiosError, match="SMBIOS"):
        read_table(data)


def test_a_truncated_table_gives_what_is_whole_and_a_warning() -> None:
    machine = read_table(TABLE[: len(TABLE) // 2])
    assert 0 < len(machine.devices) < 24
    assert machine.warnings


def test_a_string_index_past_the_end_is_empty() -> None:
    device = bytearray(structures(BOARD)[-1][1])
    device[0x10] = 200
    assert read_table(bytes(device)).devices[0].locator == ""


def test_a_short_structure_of_an_old_release_has_no_guesses() -> None:
    (device,) = read_table(structure(17, 1, bytes(0x15 - 4), "DIMM1")).devices
    assert (device.rated_mts, device.configured_mts, device.ranks, device.manufacturer) == (None, None, None, "")


def test_mutated_tables_end_in_records_or_the_modules_own_error() -> None:
    for data in mutations(seed=1):
        try:
            machine = read_table(data)
        except SmbiosError:
            continue
        found = describe(machine, "dmi-table")
        for socket in found["sockets"] or []:
            count, total = socket["channels_populated"], socket["channels_total"]
            assert count is None or total is None or count <= total, data.hex()


def test_a_table_of_smallest_structures_is_bounded() -> None:
    tracemalloc.start()
    machine = read_table(
        struct.pack("<BBH", 17, 4, 0) * 2 + b"\0\0" + (struct.pack("<BBH", 17, 4, 0) + b"\0\0") * 300_000
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(machine.devices) <= 20000
    assert peak < 64 * 2**20, f"{peak / 2**20:.0f} MiB"


def seconds(data: bytes) -> float:
    """Processor time that a table takes from bytes to drawing."""
    started = time.process_time()
    with contextlib.suppress(SmbiosError):
        draw(describe(read_table(data), "dmi-table"))
    return time.process_time() - started


def cost(data: bytes) -> float:
    """What a table takes beside counting to a million: the least of several, since any may have been disturbed."""
    return min(seconds(data) / counting() for _ in range(5))


def test_mutated_tables_of_boards_and_machines_take_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    worst, million = 0.0, counting()
    for data in mutations(seed=127):
        taken = seconds(data) / million
        if taken > worst:
            taken = cost(data)
        worst = max(worst, taken)
        assert taken < LIMIT, data.hex()
    with capsys.disabled():
        print(f"{MUTATIONS} mutated tables: the slowest took {worst:.1f} times counting to a million")


@pytest.mark.parametrize(
    "data",
    [
        bytes(65536),
        (struct.pack("<BBH", 17, 4, 0) + b"\0\0") * 300_000,
        (struct.pack("<BBH", 3, 4, 0) + b"\0\0") * 300_000,
        structure(17, 1, bytes(0x50), *["a"] * 60_000) * 15,
        table(BOARD | {"sockets": 32, "channels_per_socket": 16, "scheme": "agesa", "empty": []}),
        table(BOARD | {"sockets": 512, "channels_per_socket": 1, "scheme": "hpe", "empty": []}),
        structure(17, 1, bytes(0x10 - 4) + b"\1\2", "DIMM" + " " * 60_000 + "1", "P0" + " " * 60_000) * 15,
    ],
    ids=["zeros", "empty slots", "other structures", "strings", "many slots", "many CPUs", "long strings"],
)
def test_hostile_tables_take_no_time(data: bytes) -> None:
    assert cost(data) < LIMIT


def device(**words: bytes) -> bytes:
    """A memory device of 84 bytes whose bytes at the offsets that the names say are these: x12=b"…"."""
    fields = bytearray(84)
    fields[0x0C:0x0E], fields[0x12] = struct.pack("<H", 0x4000), 0x1A
    for name, value in words.items():
        offset = int(name[1:], 16)
        fields[offset : offset + len(value)] = value
    return structure(17, 1, bytes(fields[4:]))


def test_extended_sizes_are_believed_only_where_there_is_one() -> None:
    sizes = {0x00020000: 128 * 2**30, 0x80020000: 128 * 2**30, 0: None}
    for extended, size in sizes.items():
        (found,) = read_table(device(x0C=b"\xff\x7f", x1C=struct.pack("<I", extended))).devices
        assert found.size_bytes == size


def test_speeds_that_no_memory_has_are_unknown() -> None:
    (fast,) = read_table(device(x15=b"\xff\xff", x54=struct.pack("<I", 12800), x20=b"\xff\xff")).devices
    assert (fast.rated_mts, fast.configured_mts) == (12800, None)
    (absurd,) = read_table(device(x15=b"\xff\xff", x54=b"\xff" * 4, x20=b"\xfe\xff")).devices
    assert (absurd.rated_mts, absurd.configured_mts) == (None, None)


@pytest.mark.parametrize("technology", [4, 5, 6, 7])
def test_persistent_memory_is_told_by_its_technology_where_the_type_says_ddr4(technology: int) -> None:
    assert dram(read_table(device(x28=bytes([3])))) != []
    machine = read_table(device(x28=bytes([technology])))
    text = f"""Handle 0x0001, DMI type 17, 84 bytes
Memory Device
\tSize: 16 GB
\tType: DDR4
\tMemory Technology: {machine.devices[0].type}
"""
    assert dram(machine) == dram(read_dmidecode(text)) == []


def test_memory_on_a_cxl_card_is_on_no_channel_of_the_cpu() -> None:
    array = structure(16, 2, struct.pack("<BBBIHH", 0xA4, 3, 6, 0x80000000, 0xFFFE, 1))
    assert dram(read_table(array + device(x04=struct.pack("<H", 2)))) == []
    text = """Handle 0x0002, DMI type 16, 23 bytes
Physical Memory Array
\tLocation: CXL Add-on Card
\tUse: System Memory

Handle 0x0001, DMI type 17, 84 bytes
Memory Device
\tArray Handle: 0x0002
\tSize: 16 GB
\tType: DDR5
"""
    assert dram(read_dmidecode(text)) == []
