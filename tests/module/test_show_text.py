# SPDX-License-Identifier: MIT
"""What playbooks show can be read by somebody who has none of our settings of Ansible."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PLAY = """\
- hosts: all
  connection: local
  gather_facts: false
  serial: 1
  tasks:
    - llamatower.tower.show_text:
        text: "{{ shown }}"
"""
TEXT = 'MEMORY     6.2 GB\n           -> Put a DIMM into A1, "left" of 100 %.'


@pytest.fixture
def shown(tmp_path: Path, repo: Path) -> Callable[..., str]:
    """What a run prints of the text on these hosts, in a place without our ansible.cfg."""

    def run(*hosts: str) -> str:
        (tmp_path / "play.yml").write_text(PLAY)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        environment |= {"ANSIBLE_COLLECTIONS_PATH": str(repo / ".collections"), "HOME": str(tmp_path), "SHOWN": TEXT}
        options = ["-e", "{'shown': \"{{ lookup('ansible.builtin.env', 'SHOWN') }}\"}", "--check"]
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", ",".join([*hosts, ""]), "play.yml", *options],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_lines_are_shown_as_they_are_without_our_ansible_cfg(shown: Callable[..., str]) -> None:
    assert f"] ***\n{TEXT}\n" in re.sub(r"\*{3,}", "***", shown("a"))


def test_lines_of_several_hosts_say_whose_they_are_even_one_after_the_other(shown: Callable[..., str]) -> None:
    printed = shown("a", "b")
    for host in ("a", "b"):
        assert f"\n{host}:\n{TEXT}\n" in printed, printed
