# SPDX-License-Identifier: MIT
"""How many channels are in use where the names of slots do not tell."""

from __future__ import annotations

from plugins.module_utils.memory.channels import describe
from plugins.module_utils.memory.smbios import read_table
from tests.boards.board import BOARD, structures, table
from tests.boards.described import counts, described


def test_names_that_tell_nothing_give_bounds() -> None:
    found = described("nameless", empty=["DIMM2", "DIMM4"])
    assert found["sockets"][0]["channels_populated"] is None
    assert found["sockets"][0]["channels_bounds"] == [1, 2]
    assert found["confidence"] == "none"


def test_a_full_board_is_certain_whatever_the_names() -> None:
    assert described("nameless")["sockets"][0]["channels_populated"] == 2


def test_slots_that_are_counted_and_not_listed_are_no_channels_of_their_own() -> None:
    """Firmware that lists only filled slots, whose names say nothing: six DIMMs may be three channels."""
    board = BOARD | {"scheme": "nameless", "sockets": 1, "slots_per_channel": 1, "empty": []}
    board |= {"cpu": {"brand": "AMD EPYC 7543 32-Core Processor", "family": 25, "model": 1}}
    assert counts(describe(read_table(table(board | {"channels_per_socket": 6})), "dmi-table")) == [6]
    records = structures(board | {"channels_per_socket": 16})
    listed = b"".join(data for _kind, data in records[: -16 + 6])
    (socket,) = describe(read_table(listed), "dmi-table")["sockets"] or []
    assert (socket["channels_populated"], socket["channels_bounds"]) == (None, [3, 6])
