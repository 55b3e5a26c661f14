# SPDX-License-Identifier: MIT
"""What memory moves, and at what speed DIMMs run."""

from __future__ import annotations

import pytest

from tests.boards.board import BOARD
from tests.boards.described import codes, described


def test_a_clock_printed_as_a_rate_is_doubled() -> None:
    found = described(dimm=BOARD["dimm"] | {"configured_mts": 2400})
    assert {dimm["configured_mts"] for dimm in found["dimms"]} == {4800}


@pytest.mark.parametrize(
    ("kind", "rated", "printed", "speed"),
    [
        ("DDR5", 5600, 2800, 5600),
        ("DDR5", 5600, 2400, 4800),
        ("DDR5", 2400, 2400, 4800),
        ("DDR5", 4800, 3600, 3600),
        ("DDR4", 3200, 1600, 3200),
        ("DDR4", 3200, 1200, 2400),
        ("DDR4", 2400, 1333, 1333),
        ("DDR3", 1333, 1066, 1066),
    ],
)
def test_a_clock_is_told_from_a_rate(kind: str, rated: int, printed: int, speed: int) -> None:
    """It is half of what the DIMM is made for, or less than any DIMM of its kind runs at."""
    dimm = BOARD["dimm"] | {"type": kind, "rated_mts": rated, "configured_mts": printed}
    assert {dimm["configured_mts"] for dimm in described(dimm=dimm)["dimms"]} == {speed}


def test_bandwidth_of_the_threads_build() -> None:
    found = described(cpu=BOARD["cpu"], l3_domains=[4, 4])
    assert found["bandwidth"] == {
        "theoretical_gb_s": 921.6,
        "populated_gb_s": 921.6,
        "reachable_gb_s": [399.2, 528.0],
        "reachable_source": "estimate: 8 dies, each as measured on other CPUs of zen4",
        "limited_by": "ccd-links",
    }
    assert "ccd-links" in codes(found)


def test_twelve_dies_are_limited_by_the_channels() -> None:
    found = described(l3_domains=[12, 12])
    assert found["bandwidth"]["limited_by"] == "channels"
    assert "ccd-links" not in codes(found)


def test_what_dies_let_through_is_unknown_without_their_number() -> None:
    bandwidth = described(cpu=BOARD["cpu"])["bandwidth"]
    assert (bandwidth["populated_gb_s"], bandwidth["reachable_gb_s"]) == (921.6, None)
    assert bandwidth["limited_by"] == "unknown"
