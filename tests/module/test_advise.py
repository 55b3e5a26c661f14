# SPDX-License-Identifier: MIT
"""playbooks/advise.yml over files of towers, and its filters with the rules of an inventory."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible.errors import AnsibleFilterError

from plugins.filter.advice import tower_advice
from plugins.module_utils.advice.document import BiosRule
from plugins.module_utils.tower import read_tower
from tests.boards.machine import ODD, USUAL, files, write
from tests.controller import play, recap

REPO = Path(__file__).resolve().parents[2]
RULE: BiosRule = {
    "code": "nodes-per-socket",
    "severity": "info",
    "when": ["nps > 1"],
    "message": "NPS{nps} is what we want.",
    "fix": "f",
    "why": "w",
    "source": "s",
}


def test_rules_of_an_inventory_replace_those_of_their_code(tmp_path: Path) -> None:
    tower = read_tower(write(tmp_path, files({"nodes": 4})))
    (found,) = (entry for entry in tower_advice(tower, None, [RULE]) if entry["code"] == "nodes-per-socket")
    assert (found["severity"], found["message"]) == ("info", "NPS4 is what we want.")
    with pytest.raises(AnsibleFilterError, match="numa_advice_rules: Rule 'nodes-per-socket': there is no fact knots"):
        tower_advice(tower, None, [{**RULE, "when": ["knots > 1", "nps > 1"]}])


class Advised(NamedTuple):
    """What advise.yml said, without a model, and the files of the towers before and after."""

    text: str
    before: dict[Path, int]
    after: dict[Path, int]

    def recap(self, tower: str) -> dict[str, int]:
        return recap(self.text, tower)


@pytest.fixture(scope="module")
def advised(tmp_path_factory: pytest.TempPathFactory) -> Advised:
    """Eight towers of which only files are left, the seventh an odd one; one that fails halfway; one that is away."""
    root, other = tmp_path_factory.mktemp("towers"), tmp_path_factory.mktemp("others")
    hosts: dict[str, Any] = {
        f"tower{n}": {"numa_advice_root": str(write(root / f"tower{n}", files(ODD if n == 7 else USUAL)))}
        for n in range(1, 9)
    }
    half = other / "python"
    half.write_text(
        f"""#!/bin/sh
cat > {other}/$$
! grep -q memory_channels_info {other}/$$ && exec {sys.executable} {other}/$$
"""
    )
    half.chmod(0o755)
    hosts["half"] = {
        "numa_advice_root": str(write(other / "half", files(USUAL))),
        "ansible_python_interpreter": str(half),
    }
    hosts["away"] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    local = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
    inventory = other / "hosts.json"
    inventory.write_text(json.dumps({"towers": {"hosts": hosts, "vars": local}}))

    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in [*root.rglob("*"), root]}

    before = times()
    done = play(inventory, "playbooks/advise.yml")
    return Advised(done.stdout + done.stderr, before, times())


def test_towers_that_could_not_be_read_do_not_hide_the_odd_one(advised: Advised) -> None:
    assert (advised.recap("half")["ok"], advised.recap("half")["failed"]) == (2, 1), advised.text
    assert advised.recap("away")["unreachable"] == 1, advised.text
    said = " ".join(advised.text.split())
    assert "tower7 differs from its seven siblings: NPS4, 10 of 12 channels." in said, advised.text


def test_each_is_advised_and_nothing_changes(advised: Advised) -> None:
    for tower in (*(f"tower{n}" for n in range(1, 9)), "localhost"):
        recap = advised.recap(tower)
        assert (recap["failed"], recap["unreachable"], recap["changed"]) == (0, 0, 0), advised.text
    assert advised.text.count("Set NUMA nodes per socket to NPS1") == 1, advised.text
    said = " ".join(advised.text.split())
    assert "where: AMD CBS > DF Common Options > Memory Addressing > NUMA nodes per socket" in said, advised.text
    assert advised.after == advised.before


def test_without_a_tower_it_says_what_the_inventory_lacks(tmp_path: Path) -> None:
    """As somebody does who has installed the collection and not written an inventory yet."""
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"all": {"hosts": {"localhost": {"ansible_connection": "local"}}}}))
    done = play(inventory, "playbooks/advise.yml")
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0, said
    assert "The inventory has no host in the group towers: add your machines to it" in said
