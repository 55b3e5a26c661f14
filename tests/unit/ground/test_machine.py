# SPDX-License-Identifier: MIT
"""Whether what Linux and a BMC show is one machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugins.module_utils.machine import Machine, compared, machine_of, machine_text

UUID = "4c4c4544-0042-4310-8031-b8c04f4e4b32"
OTHER = "30373237-3132-5a43-3330-333230344351"


def machine(uuid: str | None = None, *serials: str) -> Machine:
    return {"uuid": uuid, "serials": list(serials)}


@pytest.mark.parametrize(
    "uuid",
    [
        UUID,
        UUID.upper(),
        UUID.replace("-", ""),
        f"{{{UUID}}}",
        f"urn:uuid:{UUID}",
        "44454c4c-4200-1043-8031-b8c04f4e4b32",  # the first three fields with the low byte first
        "324b4e4f-c0b8-3180-1043-4200" + "44454c4c",  # all of it the other way around, and a dash missing
    ],
)
def test_a_uuid_is_one_in_whatever_order_and_spelling(uuid: str) -> None:
    assert compared(machine(UUID, "A1000"), machine(uuid, "B2000")) == "same"
    assert compared(machine(uuid), machine(UUID)) == "same"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (machine(UUID), machine(OTHER), "other"),
        (machine(UUID, "A1000"), machine(OTHER, "B2000"), "other"),
        (machine(UUID, "A1000"), machine(OTHER, "A1000"), "unknown"),
        (machine(None, "A1000", "C3000"), machine(OTHER, "a1000 "), "same"),
        (machine(None, "A1000"), machine(None, "B2000"), "other"),
        (machine(None, "A1000"), machine(UUID), "unknown"),
        (machine(), machine(), "unknown"),
        (machine(), machine(UUID, "A1000"), "unknown"),
    ],
)
def test_uuids_decide_and_serial_numbers_where_there_is_none(one: Machine, other: Machine, expected: str) -> None:
    assert compared(one, other) == compared(other, one) == expected


@pytest.mark.parametrize(
    "sample",
    [
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "03000200-0400-0500-0006-000700080009",
        "00020003-0004-0005-0006-000700080009",
        "Not Settable",
        "",
    ],
)
def test_a_uuid_that_many_boards_have_is_none(sample: str) -> None:
    assert compared(machine(sample), machine(sample)) == "unknown"
    assert compared(machine(sample, "A1000"), machine(UUID, "A1000")) == "same"


@pytest.mark.parametrize(
    "sample",
    ["To be filled by O.E.M.", "Default string", "System Serial Number", "0123456789", "123456789", "Not Specified",
     "None", "N/A", "0", "..........", "XXXXXXXX", "empty", "O.E.M.", "To Be Filled By O.E.M."],
)  # fmt: skip
def test_a_serial_number_that_many_boards_have_is_none(sample: str) -> None:
    assert compared(machine(None, sample), machine(None, sample)) == "unknown"


def test_linux_shows_them_to_root_only(tmp_path: Path) -> None:
    assert machine_of(tmp_path) == machine()
    dmi = tmp_path / "sys/class/dmi/id"
    dmi.mkdir(parents=True)
    for name, value in {"product_uuid": UUID, "product_serial": "A1000", "board_serial": ""}.items():
        (dmi / name).write_text(f"{value}\n")
    assert machine_of(tmp_path) == machine(UUID, "A1000")


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (machine(UUID, "A1", "B2"), f"UUID {UUID} and serial number A1, B2"),
        (machine(None, "A1"), "serial number A1"),
        (machine(), "without UUID and serial number"),
    ],
)
def test_a_machine_in_a_sentence(one: Machine, text: str) -> None:
    assert machine_text(one) == text
