# SPDX-License-Identifier: MIT
"""The role through Ansible, with this machine as controller and as tower, and the test hub."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gguf_builder import gguf, shards
from tests.hub.hub import Hub

REPO = "acme/tiny-GGUF"
SET = shards("Q6_K/tiny-Q6_K", 2)
TOKEN = "hf_right"
MODEL = {"name": "tiny", "repo": REPO, "revision": "main", "files": "Q6_K/*.gguf"}

PLAYBOOK = """
- hosts: tower
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: model_store
    - ansible.builtin.copy:
        content: "{{ model_store_plan | to_json }}"
        dest: "{{ plan_file }}"
        mode: "0600"
      check_mode: false
      changed_when: false
"""


class Tower:
    """A directory that is the model store of a tower."""

    def __init__(self, repo: Path, directory: Path, hub: Hub) -> None:
        self.repo, self.directory, self.hub = repo, directory, hub
        self.store = directory / "store"
        (directory / "site.yml").write_text(PLAYBOOK)

    def play(self, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        values = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "model_store_dir": str(self.store),
            "model_store_reserve_bytes": 0,
            "model_store_models": [MODEL],
            # The environment of these tests has the client; the role would make one of its own.
            "model_store_client_dir": sys.prefix,
            "plan_file": str(self.directory / "plan.json"),
            **variables,
        }
        (self.directory / "vars.json").write_text(json.dumps(values))
        # Set in the environment only, as for a mirror.
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(self.repo / "ansible.cfg"),
            "ANSIBLE_LOCAL_TEMP": str(self.directory / "local"),
            "ANSIBLE_REMOTE_TMP": str(self.directory / "remote"),
            "ANSIBLE_ASYNC_DIR": str(self.directory / "async"),
            "ANSIBLE_NOCOLOR": "1",
            "HF_ENDPOINT": self.hub.url,
        }
        command = ["ansible-playbook", "-i", "tower,", "-e", f"@{self.directory}/vars.json", "--skip-tags"]
        command += ["model_store_install", *arguments, str(self.directory / "site.yml")]
        return subprocess.run(
            command, env=environment, cwd=self.repo, capture_output=True, text=True, check=False, timeout=120
        )

    def plan(self) -> dict[str, Any]:
        (model,) = json.loads((self.directory / "plan.json").read_text())
        return dict(model)


@pytest.fixture
def tower(tmp_path: Path, repo: Path) -> Iterator[Tower]:
    for name, data in {**SET, "one.gguf": gguf()}.items():
        path = tmp_path / "hub" / REPO / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with Hub(tmp_path / "hub", token=TOKEN) as hub:
        yield Tower(repo, tmp_path, hub)


def counts(run: subprocess.CompletedProcess[str]) -> dict[str, int]:
    assert run.returncode == 0, run.stdout + run.stderr
    recap = run.stdout.rpartition("PLAY RECAP")[2]
    return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", recap)}


def test_a_model_is_fetched_once(tower: Tower) -> None:
    preview = tower.play("--check")
    assert counts(preview)["changed"] == 1
    assert tower.plan()["state"] == "absent" and tower.plan()["missing_bytes"] == sum(map(len, SET.values()))
    assert not tower.store.exists()

    first = tower.play()
    assert counts(first)["changed"] == 1
    manifest = json.loads((tower.store / "tiny/manifest.json").read_text())
    assert [entry["sha256"] for entry in manifest["files"]] == [
        hashlib.sha256(data).hexdigest() for data in SET.values()
    ]

    tower.hub.log.clear()
    accessed = {path: path.stat().st_atime_ns for path in tower.store.rglob("*.gguf")}
    second = tower.play()
    assert counts(second)["changed"] == 0
    assert counts(second)["ok"] <= 4, second.stdout  # one of them the test's own
    assert tower.hub.log == []
    assert {path: path.stat().st_atime_ns for path in accessed} == accessed
    plan = tower.plan()
    assert (plan["state"], plan["missing_bytes"], plan["commit"]) == ("present", 0, manifest["commit"])
    assert plan["gguf"]["quantization"] == "Q6_K"


def test_the_token_is_in_no_output_and_in_no_file(tower: Tower, tmp_path: Path) -> None:
    tower.hub.faults = [{"kind": "gated"}]
    variables = {"model_store_hf_token": TOKEN}
    run = tower.play("-vvv", "--diff", **variables)
    counts(run)
    assert TOKEN not in run.stdout + run.stderr
    assert {(entry["origin"], entry["authorized"]) for entry in tower.hub.log} == {("hub", True), ("cdn", False)}
    (tmp_path / "vars.json").unlink()  # the inventory of this test
    # Ansible's async wrapper removes its copy of the module, which has the arguments, after it has told the result.
    deadline = time.monotonic() + 60
    while (copies := list(tmp_path.rglob("AnsiballZ_*"))) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert copies == []
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert holding == []


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"model_store_models": [{**MODEL, "files": "*Q9*"}]}, f"{REPO} has no file that matches *Q9*"),
        ({"model_store_reserve_bytes": 2**50}, "make room, or set model_store_dir to a larger disk"),
    ],
    ids=["file", "disk"],
)
def test_what_cannot_work_is_refused_and_nothing_is_written(
    tower: Tower, variables: dict[str, Any], sentence: str
) -> None:
    run = tower.play(**variables)
    assert run.returncode == 2, run.stdout
    assert sentence in re.sub(r"\s+", " ", run.stdout), run.stdout
    assert not tower.store.exists()


def test_a_file_with_another_hash_is_refused_with_both(tower: Tower) -> None:
    path = tower.hub.root / REPO / "one.gguf"
    run = tower.play(model_store_models=[{"name": "tiny", "path": str(path), "sha256": "0" * 64}])
    assert run.returncode == 2
    said = re.sub(r"\s+", " ", run.stdout)
    assert "0" * 64 in said and hashlib.sha256(gguf()).hexdigest() in said, run.stdout
    assert [path.name for path in tower.store.iterdir() if "progress" not in path.name] == []
