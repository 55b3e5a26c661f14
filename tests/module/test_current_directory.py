# SPDX-License-Identifier: MIT
"""What roles write on the controller lands where the user stands, whichever ansible.cfg is in use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
WHERE = {
    "report_dir": ("report", "reports"),
    "benchmark_copy_dir": ("benchmark", "reports/benchmarks"),
    "bios_record_dir": ("bios", "bios-records"),
}


@pytest.mark.parametrize("own", [True, False])
def test_reports_and_records_land_in_the_current_directory(own: bool, tmp_path: Path) -> None:
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars_files": [str(REPO / "roles" / role / "defaults/main.yml") for role, _name in WHERE.values()],
        "tasks": [{"ansible.builtin.debug": {"msg": "".join(f"<{{{{ {name} }}}}>" for name in WHERE)}}],
    }
    (tmp_path / "plays").mkdir()
    (tmp_path / "plays/play.yml").write_text(yaml.safe_dump([play]))
    (tmp_path / "plays/ansible.cfg").write_text("[defaults]\n")
    config = REPO / "ansible.cfg" if own else tmp_path / "plays/ansible.cfg"
    here = tmp_path / "here"
    here.mkdir()
    # Where nobody's shell has set it, PWD is of another directory, or there is none.
    environment = {name: value for name, value in os.environ.items() if name != "PWD"}
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "../plays/play.yml"],
        cwd=here,
        env=environment | {"ANSIBLE_CONFIG": str(config), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = "".join(done.stdout.split())
    for _role, name in WHERE.values():
        assert f"<{here}/{name}>" in said, done.stdout
