# SPDX-License-Identifier: MIT
"""What the DIMMs cost where they are, and what mends it."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.memory.channels import describe
from plugins.module_utils.memory.smbios import read_table
from tests.boards.board import BOARD, table
from tests.boards.described import codes, described

RYZEN: dict[str, Any] = {
    "cpu": {"brand": "AMD Ryzen 9 7950X 16-Core Processor", "family": 25, "model": 97},
    "sockets": 1,
    "channels_per_socket": 2,
    "slots_per_channel": 2,
}


def test_the_most_costly_problem_comes_first() -> None:
    found = described(empty=["DIMM_P1_R0", "DIMM_P0_A0", "DIMM_P0_B0"])
    costs = [entry["gb_s"] for entry in found["advice"] if entry["severity"] == "problem"]
    assert costs == sorted(costs, reverse=True)
    assert found["advice"][0]["message"] == "Channels A, B of socket 0 are empty, which costs 76.8 GB/s."


def test_unbalanced_sockets_are_said() -> None:
    assert "unbalanced-sockets" in codes(described(empty=["DIMM_P1_R0"]))
    assert "unbalanced-sockets" not in codes(described())


def test_slow_dimms_are_advice_and_two_a_channel_are_not() -> None:
    slow = BOARD["dimm"] | {"rated_mts": 4800, "configured_mts": 4000}
    (entry,) = [entry for entry in described(dimm=slow)["advice"] if entry["code"] == "below-rated"]
    assert entry["severity"] == "advice"
    (entry,) = [entry for entry in described("supermicro", dimm=slow)["advice"] if entry["code"] == "below-rated"]
    assert entry["severity"] == "info"


def test_a_speed_that_is_the_cpus_is_no_loss() -> None:
    dimm = BOARD["dimm"] | {"rated_mts": 5600, "configured_mts": 4800}
    (entry,) = [entry for entry in described(dimm=dimm)["advice"] if entry["code"] == "below-rated"]
    assert (entry["severity"], entry["gb_s"]) == ("info", 0.0)
    assert "4800 MT/s is what EPYC 9004 (Genoa) is made for" in entry["fix"]


def test_what_runs_faster_than_the_cpu_is_made_for_is_no_loss() -> None:
    dimm = BOARD["dimm"] | {"rated_mts": 8800, "configured_mts": 8000}
    cpu = {"brand": "Intel(R) Xeon(R) 6787P", "family": 6, "model": 173}
    found = described("agesa", cpu=cpu, channels_per_socket=8, slots_per_channel=1, dimm=dimm)
    (entry,) = [entry for entry in found["advice"] if entry["code"] == "below-rated"]
    assert (entry["severity"], entry["gb_s"]) == ("info", 0.0)
    assert entry["fix"].startswith("That is more than the 6400 MT/s")


def test_empty_channels_without_a_speed_have_no_price() -> None:
    found = described(dimm=BOARD["dimm"] | {"rated_mts": 0, "configured_mts": 0}, empty=["DIMM_P1_R0"])
    (entry,) = [entry for entry in found["advice"] if entry["code"] == "empty-channel"]
    assert entry["message"] == "Channel R of socket 1 is empty."


def test_dimms_that_share_a_channel_are_told_where_to_go() -> None:
    found = described("agesa", **RYZEN, empty=["P0 CHANNEL B DIMM 0", "P0 CHANNEL B DIMM 1"])
    (entry,) = [entry for entry in found["advice"] if entry["code"] == "empty-channel"]
    assert entry["fix"] == "Move the DIMM in P0 CHANNEL A DIMM 1, which shares a channel, to P0 CHANNEL B DIMM 0."
    assert entry["gb_s"] == 38.4


def test_a_dimm_in_another_slot_than_the_others_is_told_where_to_go() -> None:
    empty = [f"P1-DIMM{letter}2" for letter in "ABCDEFG"] + ["P1-DIMMH1"]
    found = described("supermicro", empty=empty)
    (entry,) = [entry for entry in found["advice"] if entry["code"] == "wrong-slot"]
    assert "P1-DIMMH2" in entry["message"]
    assert entry["fix"] == "Move it to P1-DIMMH1."
    assert "wrong-slot" not in codes(described("supermicro"))


def test_channels_with_more_dimms_than_others_are_said() -> None:
    assert "unbalanced-channels" in codes(described("supermicro", empty=["P1-DIMMA2"]))
    assert "unbalanced-channels" not in codes(described("supermicro"))


def test_where_slots_are_numbered_through_either_slot_may_be_the_first() -> None:
    empty = [f"PROC 1 DIMM {number}" for number in (1, 2, 3, 5, 7, 10, 12, 14, 16)]
    found = described("hpe", empty=empty)
    assert "wrong-slot" not in codes(found)
    (entry,) = [entry for entry in found["advice"] if entry["code"] == "empty-channel"]
    assert entry["message"].startswith("Channel PROC 1 DIMM 1+2 of socket 0 is empty")
    assert entry["fix"].endswith("PROC 1 DIMM 1 or PROC 1 DIMM 2.")


@pytest.mark.parametrize(
    ("brand", "alone"),
    [
        ("AMD EPYC 9354 32-Core Processor", False),
        ("AMD EPYC 9354P 32-Core Processor", True),
        ("Intel(R) Xeon(R) Gold 6414U", True),
    ],
)
def test_a_cpu_that_works_alone_only_gets_no_second(brand: str, alone: bool) -> None:
    found = described(absent=[1], cpu=BOARD["cpu"] | {"brand": brand})
    (entry,) = [entry for entry in found["advice"] if entry["code"] == "socket-empty"]
    assert ("takes two others" in entry["fix"]) == alone


def test_a_dimm_that_is_gone_since_last_time_is_named() -> None:
    found = described(empty=["DIMM_P1_R0"], previous=described())
    (entry,) = [entry for entry in found["advice"] if entry["code"] == "dimm-lost"]
    assert "DIMM_P1_R0" in entry["message"]


def test_an_earlier_result_may_be_anything() -> None:
    results: list[dict[str, Any]] = [
        {},
        {"dimms": None},
        {"dimms": [None, 3, {}]},
        {"dimms": [{"populated": True}] * 99},
        {"dimms": [{"populated": True, "locator": [], "bank_locator": {}}] * 99},
    ]
    for result in results:
        described(previous=result)


def test_errors_and_missing_memory_of_the_controllers_are_said() -> None:
    machine = read_table(table(BOARD | {"empty": []}))
    whole = 24 * 16 * 2**30
    fine = describe(machine, "dmi-table", edac={"size_bytes": whole, "corrected": 0, "uncorrected": 0})
    assert not {"memory-errors", "edac-disagrees"} & set(codes(fine))
    bad = describe(machine, "dmi-table", edac={"size_bytes": whole - 16 * 2**30 * 2, "corrected": 7, "uncorrected": 0})
    messages = {entry["code"]: entry["message"] for entry in bad["advice"]}
    assert "7 corrected" in messages["memory-errors"]
    assert messages["edac-disagrees"] == "The DIMMs have 384 GiB, the memory controllers use 352."
