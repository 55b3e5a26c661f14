# SPDX-License-Identifier: MIT
"""The role through Ansible, with this machine as controller and as tower, and the test hub."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gguf_builder import gguf, shards
from tests.hub.hub import Hub

REPO = "acme/tiny-GGUF"
SET = shards("Q6_K/tiny-Q6_K", 2)
# Nobody else on this machine has it in a process list.
TOKEN = f"hf_{secrets.token_hex(8)}"
MODEL = {"name": "tiny", "repo": REPO, "revision": "main", "files": "Q6_K/*.gguf"}

PLAYBOOK = """
- hosts: towers
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
        # A tower may have models of its own.
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
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(self.directory / "facts"),
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


def test_a_fetch_goes_on_without_its_controller_and_the_next_run_finds_it(tower: Tower) -> None:
    tower.hub.faults = [{"kind": "slow", "rate": 150_000}]
    partial, model = tower.store / ".tiny.partial", tower.store / "tiny"

    def wait_for(condition: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + 90
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            time.sleep(0.05)

    with tower.start() as controller:
        wait_for(lambda: any(path.stat().st_size for path in partial.glob("*.part")), "the first bytes")
        os.killpg(controller.pid, signal.SIGKILL)
    assert not model.exists()
    tower.hub.faults = []
    assert counts(tower.play())["changed"] == 0, "the first one's work"
    assert model.exists()
    # Of each file, the ranges without an end: what was asked for of its header has one.
    whole = [
        entry for entry in tower.hub.log if entry["origin"] == "cdn" and not re.search(r"\d$", entry["range"] or "")
    ]
    assert sum(entry["bytes"] for entry in whole) == sum(map(len, SET.values()))
    assert len(whole) == len(SET)


def open_to_others(path: Path, top: Path) -> bool:
    """Whether another user could read a file, if the directory ``top`` were open to all."""
    between = [parent for parent in path.parents if top in parent.parents]
    return bool(path.stat().st_mode & 0o044) and all(parent.stat().st_mode & 0o011 for parent in between)


def test_the_token_is_in_no_output_no_process_list_and_no_file_of_others(tower: Tower, tmp_path: Path) -> None:
    tower.hub.faults = [{"kind": "gated"}, {"kind": "slow", "rate": 100_000}]  # seconds in which one can look
    shown, kept, over = set[str](), dict[Path, bool](), threading.Event()

    def holding() -> Iterator[Path]:
        # Not rglob, which fails where a directory goes meanwhile.
        for path in [Path(parent, name) for parent, _directories, names in os.walk(tmp_path) for name in names]:
            with contextlib.suppress(OSError):  # gone meanwhile
                if path.is_file() and path.name != "vars.json" and TOKEN.encode() in path.read_bytes():
                    yield path

    def watch() -> None:
        while not over.is_set():
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    if TOKEN.encode() in process.read_bytes():
                        shown.add(process.read_text())
            for path in holding():
                with contextlib.suppress(OSError):
                    kept[path] = open_to_others(path, tmp_path)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run = tower.play("-vvv", "--diff", model_store_hf_token=TOKEN)
    finally:
        over.set()
        watcher.join()
    counts(run)
    assert TOKEN not in run.stdout + run.stderr
    assert shown == set()
    # Ansible's copies of the module, which have its arguments, are seen while they are there: on the tower, and shortly
    # on the controller before that. They are its user's alone.
    print(kept)
    assert any(path.name.startswith("AnsiballZ_") for path in kept)
    assert {path.relative_to(tmp_path).parts[0] for path in kept} <= {"remote", "local"}
    assert not any(kept.values())
    assert {(entry["origin"], entry["authorized"]) for entry in tower.hub.log} == {("hub", True), ("cdn", False)}
    # The async wrapper removes its copy after it has told the result.
    deadline = time.monotonic() + 60
    while (left := list(holding())) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []


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
