# SPDX-License-Identifier: MIT
"""What playbooks show can be read by somebody who has none of our settings of Ansible."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PLAY = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - llamatower.tower.show_text:
        text: "{{ shown }}"
"""
TEXT = 'MEMORY     6.2 GB\n           -> Put a DIMM into A1, "left" of 100 %.'


def test_lines_are_shown_as_they_are_without_our_ansible_cfg(tmp_path: Path, repo: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAY)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {"ANSIBLE_COLLECTIONS_PATH": str(repo / ".collections"), "HOME": str(tmp_path), "SHOWN": TEXT}
    options = ["-e", "{'shown': \"{{ lookup('ansible.builtin.env', 'SHOWN') }}\"}", "--check"]
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "play.yml", *options],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"\n{TEXT}\n" in done.stdout
