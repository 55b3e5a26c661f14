# SPDX-License-Identifier: MIT
"""Filters that judge towers by the rules in catalog/bios.yml; each is described in the file of its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import yaml
from ansible.errors import AnsibleFilterError

from ..module_utils.advice.bios_rules import advise
from ..module_utils.advice.document import BiosRule, BiosTable, NamedTower, OddTower, SettingAdvice
from ..module_utils.advice.fleet import fleet_differences
from ..module_utils.bios.plan import measured_problems
from ..module_utils.memory.document import MemoryChannels
from ..module_utils.report.advice_text import advice_text
from ..module_utils.tower_document import Tower

CATALOG = Path(__file__).resolve().parents[2] / "catalog/bios.yml"


def tower_advice(
    tower: Tower,
    channels: MemoryChannels | None = None,
    rules: list[BiosRule] | None = None,
    most: str = "info",
) -> list[SettingAdvice]:
    """The advice by the catalog's rules and the given ones, which replace those of the same code."""
    table: BiosTable = yaml.safe_load(CATALOG.read_text(encoding="utf-8"))
    own = {rule.get("code") for rule in rules or []}
    table["rules"] = [rule for rule in table["rules"] if rule["code"] not in own] + list(rules or [])
    try:
        return advise(tower, channels, table, most)
    except ValueError as error:
        raise AnsibleFilterError(f"numa_advice_rules: {error}") from error


def differences(documents: list[Any]) -> list[OddTower]:
    """The odd ones out, of documents or of lists of a host's name, its tower and its memory channels."""
    names = ("host", "tower", "memory_channels")
    rows = [row if isinstance(row, dict) else dict(zip(names, row)) for row in documents]
    return fleet_differences(cast(list[NamedTower], rows))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {
            "advice_text": advice_text,
            "bios_problems": measured_problems,
            "fleet_differences": differences,
            "tower_advice": tower_advice,
        }
