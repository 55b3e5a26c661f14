# SPDX-License-Identifier: MIT
"""The role through Ansible, with this machine as controller and as tower, and the test hub."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.controller import MODEL, ONE, REPO, SET, TOKEN, Tower, counts, said


def test_a_model_is_fetched_once(tower: Tower) -> None:
    preview = tower.play("--check")
    assert counts(preview)["changed"] == 1
    plan = tower.plan()
    assert plan["state"] == "absent" and plan["missing_bytes"] == sum(map(len, SET.values()))
    # What is not locked is resolved, and the plan says so.
    assert (plan["locked"], plan["commit"]) == (False, tower.hub.commit(tower.hub.files(REPO)))
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
    tower.hub.faults = [{"kind": "gated"}, {"kind": "slow", "rate": 300_000}]  # seconds in which one can look
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
            time.sleep(0.01)  # of two CPUs the playbook needs more than one

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


def test_what_cannot_work_is_refused_and_nothing_is_installed(tower: Tower) -> None:
    """Three towers, each with a declaration of its own that cannot work."""
    one = str(tower.hub.root / REPO / "one.gguf")
    stores = {name: tower.directory / name for name in ("file", "disk", "hash")}
    own: dict[str, dict[str, Any]] = {
        "file": {"model_store_models": [{**MODEL, "files": "*Q9*"}]},
        "disk": {"model_store_models": [MODEL], "model_store_reserve_bytes": 2**50},
        "hash": {"model_store_models": [{"name": "tiny", "path": one, "sha256": "0" * 64}]},
    }
    reserve = {"model_store_reserve_bytes": 0}
    tower.towers = {
        name: {**reserve, **own[name], "model_store_dir": str(directory)} for name, directory in stores.items()
    }
    # Each for itself: they have no model in common.
    run = tower.play()
    assert run.returncode == 2, run.stdout
    assert f"{REPO} has no file that matches *Q9*" in said(run), run.stdout
    assert "make room, or set model_store_dir to a larger disk" in said(run), run.stdout
    assert "0" * 64 in said(run) and hashlib.sha256(ONE).hexdigest() in said(run), run.stdout
    assert not stores["file"].exists() and not stores["disk"].exists()
    assert [path.name for path in stores["hash"].iterdir() if "progress" not in path.name] == []
