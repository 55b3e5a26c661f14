# SPDX-License-Identifier: MIT
"""A check run of kernel_tuning: what it would change in the running kernel, by what tower_info said of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.controller import play, recap

REPO = Path(__file__).resolve().parents[2]
PLAY = """
- hosts: all
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: llamatower.tower.kernel_tuning
        tasks_from: configure.yml
"""
# By the name of the tower: the kind of container it is, and its swappiness.
TOWERS = {"differs": (None, 60), "same": (None, 10), "container": ("lxc", 60)}


def seen(container: str | None, swappiness: int) -> dict[str, Any]:
    return {
        "container": container,
        "sysctl": {"vm.swappiness": swappiness},
        "thp": {"enabled": "madvise", "defrag": "madvise"},
        "frequency": None,
        "disks": {"/var/lib/llama-models": {"device": None, "fs_uuid": None, "readahead_kb": None}},
    }


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("towers")
    hosts = {name: {"__kernel_tuning_before": {"tower": seen(*tower)}} for name, tower in TOWERS.items()}
    (directory / "hosts.json").write_text(
        json.dumps({"all": {"hosts": hosts, "vars": {"ansible_python_interpreter": sys.executable}}})
    )
    (directory / "play.yml").write_text(PLAY)
    nothing = json.dumps({"__kernel_tuning_files": []})
    done = play(directory / "hosts.json", directory / "play.yml", "--check", "-e", nothing)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("tower", TOWERS)
def test_a_check_run_tells_what_would_change_in_the_kernel(tower: str, said: str) -> None:
    told = tower == "differs"
    assert recap(said, tower)["changed"] == told, said
    assert said.count("vm.swappiness is 60, not 10") == 1, said
