# SPDX-License-Identifier: MIT
"""What the rules read in the names of slots."""

from __future__ import annotations

from plugins.module_utils.memory.slot_names import RULES, place_of
from plugins.module_utils.memory.smbios import read_table
from tests.boards.board import structure


def test_every_rule_reads_its_own_example() -> None:
    for rule in RULES:
        locator, _, bank = rule.example.split(" … ")[0].partition("~")
        device = read_table(
            structure(17, 1, bytes(0x10 - 4) + b"\1\2", locator.strip(), bank.strip() or "Not Specified")
        ).devices[0]
        assert place_of(rule, device) or rule.name == "letter-many-numbers", rule.name
