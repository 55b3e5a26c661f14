# SPDX-License-Identifier: MIT
"""Playbooks with this machine as controller and as towers, and a test hub with a small model."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.gguf_builder import gguf, shards
from tests.hub.hub import Hub

CLONE = Path(__file__).resolve().parents[1]
REPO = "acme/tiny-GGUF"
SET = shards("Q6_K/tiny-Q6_K", 2)
ONE = gguf()
# Nobody else on this machine has it in a process list.
TOKEN = f"hf_{secrets.token_hex(8)}"
SOURCE = {"repo": REPO, "revision": "main", "files": "Q6_K/*.gguf"}
MODEL = {"name": "tiny", **SOURCE}

# The filter loads those of the collection once, as plays/has_towers.yml does for the playbooks.
TOWERS = "{{ groups['towers'] | llamatower.tower.tower_names }}"

PLAYBOOK = f"""
- hosts: "{TOWERS}"
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: llamatower.tower.model_store
    - ansible.builtin.copy:
        content: "{{{{ model_store_plan | to_json }}}}"
        dest: "{{{{ plan_file }}}}"
        mode: "0600"
      check_mode: false
      changed_when: false
"""


def play(
    inventory: Path, playbook: Path | str, *options: str, umask: int = -1, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a playbook of the clone, or one beside it, on the towers of an inventory; what it says is without colors."""
    return subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), str(playbook), *options],
        cwd=CLONE,
        env=os.environ | {"ANSIBLE_NOCOLOR": "1"} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        umask=umask,
    )


def task_result(
    inventory: Path, playbook: Path, *options: str, umask: int = -1
) -> tuple[dict[str, Any], subprocess.CompletedProcess[str]]:
    """What the one task of a playbook returns, and the run."""
    done = play(inventory, playbook, "-v", *options, umask=umask, ANSIBLE_CALLBACK_RESULT_FORMAT="json")
    assert "=> {" in done.stdout, done.stdout + done.stderr
    result, _end = json.JSONDecoder().raw_decode(done.stdout, done.stdout.index("=> {") + 3)
    return result, done


@contextlib.contextmanager
def tiny_hub(directory: Path) -> Iterator[Hub]:
    """A hub that has the model in two shards, and another in one file."""
    for name, data in {**SET, "one.gguf": ONE}.items():
        path = directory / REPO / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with Hub(directory, token=TOKEN) as hub:
        yield hub


class Tower:
    """A directory that is the model store of a tower."""

    def __init__(self, repo: Path, directory: Path, hub: Hub) -> None:
        self.repo, self.directory, self.hub = repo, directory, hub
        self.store = directory / "store"
        self.site = directory / "site.yml"
        self.site.write_text(PLAYBOOK)
        # The hub as the controller reaches it.
        self.endpoint = hub.url
        # An inventory of one tower, or of several that are all this machine.
        self.towers: dict[str, dict[str, Any]] = {"tower": {}}

    def play(self, *arguments: str, playbook: Path | None = None, **variables: Any) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, playbook=playbook, **variables) as process:
            try:
                output, errors = process.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def start(self, *arguments: str, playbook: Path | None = None, **variables: Any) -> subprocess.Popen[str]:
        """The controller, in a session of its own."""
        values = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "model_store_dir": str(self.store),
            "model_store_reserve_bytes": 0,
            "model_store_models": [MODEL],
            "plan_file": str(self.directory / "plan.json"),
        }
        # A tower may have values of its own.
        values = {key: value for key, value in values.items() if not any(key in host for host in self.towers.values())}
        (self.directory / "vars.json").write_text(json.dumps({**values, **variables}))
        (self.directory / "inventory").mkdir(exist_ok=True)
        (self.directory / "inventory/hosts.yml").write_text(json.dumps({"towers": {"hosts": self.towers}}))
        # Set in the environment only, as for a mirror.
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(self.repo / "ansible.cfg"),
            "ANSIBLE_LOCAL_TEMP": str(self.directory / "local"),
            "ANSIBLE_REMOTE_TMP": str(self.directory / "remote"),
            "ANSIBLE_ASYNC_DIR": str(self.directory / "async"),
            "ANSIBLE_NOCOLOR": "1",
            "HF_ENDPOINT": self.endpoint,
        }
        command = ["ansible-playbook", "-i", f"{self.directory}/inventory", "-e", f"@{self.directory}/vars.json"]
        command += [*arguments, str(playbook or self.site)]
        return subprocess.Popen(
            command, env=environment, cwd=self.repo, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def plan(self) -> dict[str, Any]:
        (model,) = json.loads((self.directory / "plan.json").read_text())
        return dict(model)

    def names(self) -> list[str]:
        """What is in the store, but for the file that tells how far a job is."""
        return sorted(path.name for path in self.store.iterdir() if "progress" not in path.name)


def recap(output: str, tower: str) -> dict[str, int]:
    """What the recap counts of a tower."""
    (line,) = re.findall(rf"^{tower} +: (ok=.*)$", output, re.MULTILINE)
    return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", line)}


def counts(run: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """The recap of a run of one tower that succeeded."""
    assert run.returncode == 0, run.stdout + run.stderr
    return recap(run.stdout, r"\w+")


def said(run: subprocess.CompletedProcess[str]) -> str:
    """What a run printed, whose long lines Ansible breaks, in one line."""
    return re.sub(r"\s+", " ", run.stdout + run.stderr)
