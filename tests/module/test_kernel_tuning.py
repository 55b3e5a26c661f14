# SPDX-License-Identifier: MIT
"""A check run of kernel_tuning: what it would change in the running kernel, by what tower_info said of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: llamatower.tower.kernel_tuning
        tasks_from: configure.yml
"""


@pytest.mark.parametrize(("container", "swappiness", "told"), [(None, 60, True), (None, 10, False), ("lxc", 60, False)])
def test_a_check_run_tells_what_would_change_in_the_kernel(
    container: str | None, swappiness: int, told: bool, tmp_path: Path
) -> None:
    seen = {
        "container": container,
        "sysctl": {"vm.swappiness": swappiness},
        "thp": {"enabled": "madvise", "defrag": "madvise"},
        "frequency": None,
        "disks": {"/var/lib/llama-models": {"device": None, "fs_uuid": None, "readahead_kb": None}},
    }
    (tmp_path / "play.yml").write_text(PLAY)
    variables = json.dumps({"__kernel_tuning_before": {"tower": seen}, "__kernel_tuning_files": []})
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "--check", str(tmp_path / "play.yml"), "-e", variables],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"ANSIBLE_NOCOLOR": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("vm.swappiness is 60, not 10" in done.stdout) == told
    assert f"changed={int(told)}" in done.stdout
