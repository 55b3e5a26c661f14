# SPDX-License-Identifier: MIT
"""A controller that is no Linux: what Python and the shell have on Linux only is used on towers alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.controller import MODEL, ONE, tiny_hub
from tests.hub.hub import Hub

REPO = Path(__file__).resolve().parents[2]
# What the Python of macOS lacks (docs.python.org, "Availability"), for every Python that starts meanwhile.
WITHOUT = """\
import os, socket
for name in ("sched_getaffinity", "sched_setaffinity", "posix_fadvise", "posix_fallocate", "fdatasync", "memfd_create",
             "preadv2", "pidfd_open", "O_DIRECT", "getrandom", "copy_file_range", "splice"):
    vars(os).pop(name, None)
# Defined by what there is when os is imported, from Python 3.13 on.
os.process_cpu_count = os.cpu_count
for name in [name for name in vars(os) if name.startswith("POSIX_FADV_")]:
    del vars(os)[name]
for name in ("TCP_INFO", "SO_PEERCRED", "AF_NETLINK"):
    vars(socket).pop(name, None)
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with tiny_hub(tmp_path / "hub") as hub:
        yield hub


def test_a_plan_with_models_of_the_hub_and_of_a_disk_is_made_there(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    (tmp_path / "one.gguf").write_bytes(ONE)
    sources = [MODEL, {"name": "mine", "path": str(tmp_path / "one.gguf")}]
    variables = json.dumps({"plan_dir": str(tmp_path / "meine Pläne"), "plan_sources": sources})
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "llamatower.tower.plan", "-e", variables],
        cwd=REPO,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "HF_ENDPOINT": hub.url, "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mine" in (tmp_path / "meine Pläne/plan.json").read_text()


def tasks(node: Any) -> Iterator[dict[str, Any]]:
    for entry in node if isinstance(node, list) else []:
        if isinstance(entry, dict):
            yield entry
            for key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks"):
                yield from tasks(entry.get(key))


def test_no_command_is_run_on_the_controller() -> None:
    """Its sed, stat, date and readlink are others than those of GNU."""
    commands = {f"ansible.builtin.{name}" for name in ("command", "shell", "script", "raw")}
    found = 0
    for path in [*REPO.glob("roles/*/tasks/*.yml"), *REPO.glob("playbooks/**/*.yml")]:
        for task in tasks(yaml.safe_load(path.read_text())):
            if task.get("delegate_to") == "localhost":
                found += 1
                assert not commands & task.keys(), f"{path}: {task['name']}"
    assert found > 5
    # All of these are of the controller.
    for path in [*REPO.glob("roles/forecast/tasks/*.yml"), *REPO.glob("roles/report/tasks/write.yml")]:
        assert not any(commands & task.keys() for task in tasks(yaml.safe_load(path.read_text()))), path
    assert "pipe" not in {
        word for path in REPO.glob("roles/*/*/*.yml") for word in path.read_text().split("'") if word == "pipe"
    }
