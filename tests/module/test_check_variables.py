# SPDX-License-Identifier: MIT
"""The check_variables action, through ansible-playbook and the roles' real argument specs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from plugins.module_utils.advice.preflight import HANDED_ON

ROOT = Path(__file__).resolve().parents[2]
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - llamatower.tower.check_variables:
        roles_path: ROOT/roles
"""


def check(tmp_path: Path, variables: dict[str, object]) -> subprocess.CompletedProcess[str]:
    play = tmp_path / "play.yml"
    play.write_text(PLAY.replace("ROOT", str(ROOT)))
    command = [sys.executable, "-m", "ansible", "playbook", str(play), "-e", json.dumps(variables)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | {"ANSIBLE_NOCOLOR": "1"}
    )


def test_right_variables_pass(tmp_path: Path) -> None:
    done = check(tmp_path, {"llama_service_port": 8081, "llama_service_metrics": True})
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_roles_hand_on_is_passed_over(tmp_path: Path) -> None:
    # Two playbooks in one command: facts of the first are still there in the second.
    roles = (ROOT / "roles").glob("*/tasks/*.yml")
    facts = {
        name
        for path in roles
        for task in yaml.safe_load(path.read_text())
        for name in task.get("ansible.builtin.set_fact", {})
        if not name.startswith("__")
    }
    assert facts == HANDED_ON
    done = check(tmp_path, dict.fromkeys(facts, "something"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"llama_service_metrics": "false"}, "llama_service_metrics is the text 'false', not a boolean"),
        ({"llama_service_prot": 1}, "did you mean llama_service_port?"),
        ({"llama_service_port": "http"}, "llama_service_port"),
        ({"hugepages_mode": "huge"}, "value of hugepages_mode must be one of: thp, hugetlb, none"),
        ({"llama_service_host": "{{ nowhere }}"}, "llama_service_host cannot be worked out"),
    ],
)
def test_a_wrong_variable_fails_with_its_sentence(tmp_path: Path, variables: dict[str, object], sentence: str) -> None:
    done = check(tmp_path, variables)
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr
