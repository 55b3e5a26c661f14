# SPDX-License-Identifier: MIT
"""Advice as text: narrow whatever the names, whole, and what cannot be seen in one list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.advice.bios_rules import advise
from plugins.module_utils.advice.document import SettingAdvice
from plugins.module_utils.memory.channels import describe
from plugins.module_utils.memory.smbios import read_table
from plugins.module_utils.report.advice_text import advice_text
from plugins.module_utils.tower import l3_domains, read_tower
from tests.boards.machine import files, write

TABLE: Any = yaml.safe_load((Path(__file__).resolve().parents[3] / "catalog/bios.yml").read_text())
UNSEEN = "Linux cannot see these; check them in the BIOS of"


def entry(**changes: Any) -> Any:
    """Advice of which everything is known."""
    keys = SettingAdvice.__required_keys__ - {"severity", "gb_s", "visible", "command"}
    known: dict[str, Any] = {"severity": "info", "gb_s": None, "visible": True, "command": False}
    return known | {key: f"the {key}" for key in keys} | changes


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """A tower of two sockets of four nodes each, and its memory."""
    root = write(
        tmp_path_factory.mktemp("machine"), files({"nodes": 4, "command_line": "root=/dev/sda1 mitigations=off quiet"})
    )
    table = read_table((root / "sys/firmware/dmi/tables/DMI").read_bytes())
    return read_tower(root), describe(table, "dmi-table", l3_domains(root / "sys"))


def test_what_cannot_be_seen_is_one_list_under_one_sentence(machine: tuple[Any, Any]) -> None:
    text = advice_text(advise(*machine, TABLE), "tower7")
    assert text.count(f"{UNSEEN} tower7:") == 1
    assert "current: NPS4" in text
    assert "recommended: NPS1" in text


def test_the_text_begins_with_what_linux_shows_and_what_not(machine: tuple[Any, Any]) -> None:
    text = advice_text(advise(*machine, TABLE), "tower7", *machine)
    said = " ".join(text.split())
    seen = said[said.index("SEEN ") : said.index("NOT SEEN ")]
    for fact in (
        "sockets 2", "nodes per socket 4", "distances 10, 12, 32", "l3 per socket 4", "smt on", "boost on",
        "frequency driver acpi-cpufreq", "governor performance", "iommu on", "x2apic yes", "numa option none",
        "command line mitigations=off;", "configured mts 4800",
    ):  # fmt: skip
        assert fact in seen, text
    assert "NOT SEEN hwp; epp; fabric mhz ADVICE" in said, text


@pytest.mark.parametrize(
    "host", ["tower7", "tower7.rack-12.a-very-long-name-of-a-place." + "sub." * 12 + "example", "x" * 300]
)
@pytest.mark.parametrize("word", ["", "W" * 200])
def test_the_text_stays_narrow_and_says_everything_however_long_names_are(
    machine: tuple[Any, Any], host: str, word: str
) -> None:
    found = advise(*machine, TABLE)
    long = {key: f"{key} {word}" for key in ("message", "fix", "current", "recommended", "where", "why", "source")}
    found += [entry(**long), entry(**long, visible=False)]
    text = advice_text(found, host, *machine)
    assert max(map(len, text.splitlines())) <= 80, text
    whole = "".join(text.split())
    assert "".join(f"{UNSEEN} {host}:".split()) in whole, text
    for each in found:
        told = [each["recommended"], each["where"], each["why"], each["source"]]
        if each["visible"]:
            told += [each["message"], each["fix"], each["current"], each["worth"]]
        assert [said for said in told if said and "".join(said.split()) not in whole] == [], text


@pytest.mark.parametrize("current", [None, "not visible from Linux", "seen"])
def test_what_is_visible_is_no_matter_of_words(current: str | None) -> None:
    assert UNSEEN in advice_text([entry(visible=False, current=current)], "tower7")
    assert UNSEEN not in advice_text([entry(visible=True, current=current)], "tower7")


def test_a_machine_without_advice_is_told_so() -> None:
    assert "Nothing to mend was found." in advice_text([], "desktop")
    assert "Nothing to mend was found." in advice_text([entry(visible=False)], "desktop")


def test_control_characters_do_not_reach_the_terminal() -> None:
    text = advice_text([entry(message="\x1b[2J", why="\u202e"), entry(visible=False, where="\x1b[2J")], "a\x1b]0;b")
    assert [character for character in text if not character.isprintable() and character != "\n"] == []
