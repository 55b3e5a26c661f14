# SPDX-License-Identifier: MIT
"""playbooks/advise.yml over files of towers, and its filters with the rules of an inventory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from plugins.filter.advice import tower_advice
from plugins.module_utils.tower import read_tower
from tests.boards.machine import DEFAULTS, files, write

REPO = Path(__file__).resolve().parents[2]
BOARD = DEFAULTS["board"] | {"sockets": 1}
USUAL = {"board": BOARD, "cores": 8, "l3": 2}
ODD = USUAL | {"board": BOARD | {"empty": ["DIMM_P0_K0", "DIMM_P0_L0"]}, "nodes": 4}
RULE: dict[str, Any] = {
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
        tower_advice(tower, None, [RULE | {"when": ["knots > 1", "nps > 1"]}])


def saved(directory: Path, number: int, machine: dict[str, Any]) -> dict[str, Any]:
    """Variables of a tower of which only files are left."""
    return {"numa_advice_root": str(write(directory / f"tower{number}", files(machine)))}


def advise(inventory: Path, hosts: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """advise.yml, without a model."""
    local = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
    inventory.write_text(json.dumps({"towers": {"hosts": hosts, "vars": local}}))
    return subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), "playbooks/advise.yml"],
        cwd=REPO,
        env=os.environ | {"ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_towers_that_could_not_be_read_do_not_hide_the_odd_one(tmp_path: Path) -> None:
    hosts = {f"tower{n}": saved(tmp_path, n, ODD if n == 3 else USUAL) for n in (1, 2, 3)}
    # One that fails halfway, and one that does not answer.
    half = tmp_path / "python"
    half.write_text(
        f"""#!/bin/sh
cat > {tmp_path}/$$
! grep -q memory_channels_info {tmp_path}/$$ && exec {sys.executable} {tmp_path}/$$
"""
    )
    half.chmod(0o755)
    hosts["tower4"] = saved(tmp_path, 4, USUAL) | {"ansible_python_interpreter": str(half)}
    hosts["tower5"] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    done = advise(tmp_path / "hosts.json", hosts)
    assert "tower3 differs from its two siblings" in " ".join(done.stdout.split()), done.stdout + done.stderr
    assert "tower4                     : ok=2    changed=0    unreachable=0    failed=1" in done.stdout


def test_the_playbook_advises_each_names_the_odd_one_and_changes_nothing(tmp_path: Path) -> None:
    hosts = {f"tower{n}": saved(tmp_path, n, ODD if n == 7 else USUAL) for n in range(1, 9)}
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    inventory = tmp_path / "hosts.json"
    done = advise(inventory, hosts)
    assert done.returncode == 0, done.stdout + done.stderr
    recap = done.stdout.split("PLAY RECAP")[1]
    assert recap.count("changed=0") == len(recap.strip().splitlines()) - 1, recap
    assert done.stdout.count("Set NUMA nodes per socket to NPS1") == 1
    said = " ".join(done.stdout.split())
    assert "where: AMD CBS > DF Common Options > Memory Addressing > NUMA nodes per socket" in said
    assert "tower7 differs from its seven siblings: NPS4, 10 of 12 channels." in said
    before[inventory] = inventory.stat().st_mtime_ns
    before[tmp_path] = tmp_path.stat().st_mtime_ns
    assert {path: path.stat().st_mtime_ns for path in [*tmp_path.rglob("*"), tmp_path]} == before
