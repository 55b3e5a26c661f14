# SPDX-License-Identifier: MIT
"""A check run of llama_build where the builder is off: one tower has its release, another has none."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

from plugins.module_utils.build.key import SCHEMA_VERSION, cmake_options
from tests.controller import play

REPO = Path(__file__).resolve().parents[2]
SOURCE = {"type": "git", "url": "https://example.com/llama.cpp", "tag": "b1", "commit": "0" * 40}
KEY = "0123456789abcdef"
STEPS = """
- hosts: towers
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: llamatower.tower.llama_build
    - ansible.builtin.debug:
        msg: "{{ __llama_build_wanted.key }} present {{ __llama_build_present }}"
"""


def release(root: Path) -> None:
    """A whole release, as it lies on a tower."""
    directory = root / "releases" / KEY
    (directory / "bin").mkdir(parents=True)
    (directory / "bin/llama-server").write_bytes(b"binary")
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "key": KEY,
        "source": SOURCE,
        "cpu": "native",
        "options": cmake_options("native", {}),
        "compiler": "c++ 12.2.0",
        "cpu_features": [],
        "llama_version": None,
        "binaries": {"llama-server": hashlib.sha256(b"binary").hexdigest()},
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))
    (root / "current").symlink_to(f"releases/{KEY}")


def test_a_builder_that_is_off_costs_only_the_tower_that_needs_it(tmp_path: Path) -> None:
    release(tmp_path / "has")
    hosts = {name: {"llama_build_root": str(tmp_path / name)} for name in ("has", "lacks")}
    everyone = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "llama_build_source": SOURCE,
        "llama_build_builder": "builder",
        "llama_build_work_dir": str(tmp_path / "work"),
    }
    off = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    inventory = tmp_path / "hosts.json"
    inventory.write_text(
        json.dumps({"towers": {"hosts": hosts, "vars": everyone}, "builders": {"hosts": {"builder": off}}})
    )
    (tmp_path / "play.yml").write_text(STEPS)
    done = play(inventory, str(tmp_path / "play.yml"), "--check")
    said = done.stdout + done.stderr
    assert f"{KEY} present True" in said, said
    assert re.search(r"^has +: .*unreachable=0 +failed=0", said, re.MULTILINE), said
    assert re.search(r"^lacks +: .*failed=1", said, re.MULTILINE), said
    assert "The builder builder does not answer, and lacks has no build of this source" in " ".join(said.split()), said
