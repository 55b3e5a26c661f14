# SPDX-License-Identifier: MIT
"""The odd ones of a fleet, from what towers show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.advice.fleet import fleet_differences
from plugins.module_utils.memory.channels import describe
from plugins.module_utils.memory.smbios import read_table
from plugins.module_utils.tower import l3_domains, read_tower
from tests.boards.machine import ODD, ONE_SOCKET, USUAL, files, write


def document(root: Path, host: str, machine: dict[str, Any]) -> Any:
    write(root / host, files(machine))
    table = (root / host / "sys/firmware/dmi/tables/DMI").read_bytes()
    channels = describe(read_table(table), "dmi-table", l3_domains(root / host / "sys"))
    return {"host": host, "tower": read_tower(root / host), "memory_channels": channels}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    root = tmp_path_factory.mktemp("fleet")
    return [document(root, f"tower{n}", ODD if n == 7 else USUAL) for n in range(1, 9)]


def test_the_odd_one_is_named_with_what_it_has_and_what_is_usual(fleet: list[Any]) -> None:
    (found,) = fleet_differences(fleet)
    assert found["message"] == (
        "tower7 differs from its seven siblings: NPS4, 10 of 12 channels. Usual: NPS1, 12 of 12 channels."
    )
    assert found["host"] == "tower7"
    assert found["siblings"] == 7
    assert found["differences"] == [
        {"what": "nodes", "here": "NPS4", "usual": "NPS1"},
        {"what": "channels", "here": "10 of 12 channels", "usual": "12 of 12 channels"},
    ]


def test_towers_that_are_alike_are_not_mentioned(fleet: list[Any]) -> None:
    assert fleet_differences([one for one in fleet if one["host"] != "tower7"]) == []
    assert fleet_differences([]) == []
    assert fleet_differences(fleet[6:7]) == []


def test_of_two_that_differ_neither_is_usual(fleet: list[Any]) -> None:
    assert [found["message"] for found in fleet_differences(fleet[6:8])] == [
        "tower7 differs from its sibling: NPS4, 10 of 12 channels.",
        "tower8 differs from its sibling: NPS1, 12 of 12 channels.",
    ]


def test_another_kind_of_machine_is_no_sibling(fleet: list[Any], tmp_path: Path) -> None:
    other = document(tmp_path, "other", ODD | {"board": ONE_SOCKET | {"product": "MZ33-AR0-000"}})
    assert [found["host"] for found in fleet_differences([*fleet, other])] == ["tower7"]


def test_what_a_tower_does_not_show_is_no_difference(fleet: list[Any]) -> None:
    blind = fleet[0] | {"host": "blind", "memory_channels": None}
    blind["tower"] = blind["tower"] | {"nodes_per_socket": None, "frequency": None, "l3": None, "command_line": None}
    assert [found["host"] for found in fleet_differences([*fleet, blind])] == ["tower7"]


def test_a_tower_without_numa_is_not_said_to_be_nps0(tmp_path: Path) -> None:
    """What its BIOS is set to cannot be seen, and acpi=off is no numa=off."""
    both = {"cores": 8, "l3": 2}
    without = both | {"nodes": 0, "command_line": "acpi=off"}
    fleet = [document(tmp_path, f"tower{n}", without if n == 3 else both) for n in range(1, 4)]
    assert [found["message"] for found in fleet_differences(fleet)] == [
        "tower3 differs from its two siblings: one node for all sockets, NUMA turned off by the command line. "
        "Usual: NPS1, NUMA left as it is by the command line."
    ]


@given(st.permutations(range(8)))
def test_the_order_of_the_towers_does_not_matter(fleet: list[Any], order: list[int]) -> None:
    assert fleet_differences([fleet[index] for index in order]) == fleet_differences(fleet)
