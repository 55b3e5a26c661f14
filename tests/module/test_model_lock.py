# SPDX-License-Identifier: MIT
"""The lock file: playbooks/lock.yml writes it, and the role deploys what it says; against the test hub."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.model.lock import LockError, declared, entries, locked, moved, text_of
from tests.gguf_builder import gguf, shards
from tests.hub.hub import Hub
from tests.module.test_model_store import MODEL, REPO, SET, TOKEN, Tower, counts

SOURCE = {key: value for key, value in MODEL.items() if key != "name"}
ENTRY: dict[str, Any] = {
    "name": "tiny",
    "source": SOURCE,
    "commit": "c" * 40,
    "bytes": 7,
    "files": [{"file": "Q6_K/tiny.gguf", "size": 7, "sha256": "0" * 64}],
    "gguf": {"architecture": "llama"},
}


def test_the_text_is_yaml_in_a_stable_order_and_read_back_as_it_was() -> None:
    other = {**ENTRY, "name": "a"}
    text = text_of([ENTRY, other])
    assert text == text_of([other, ENTRY])
    assert "playbooks/lock.yml" in text.splitlines()[0]
    assert entries(yaml.safe_load(text)) == [other, ENTRY]


@pytest.mark.parametrize("document", [{"schema_version": 2, "models": []}, {"models": []}, [], "text", {"a": 1}])
def test_what_is_no_lock_file_is_said(document: Any) -> None:
    if not document:
        assert entries(document) == []
        return
    with pytest.raises(LockError, match="remove it, and run"):
        entries(document)


@pytest.mark.parametrize(
    "entry", ["tiny", {"name": "tiny"}, {**ENTRY, "files": [{"file": "a"}]}, {**ENTRY, "files": None}]
)
def test_an_entry_that_is_not_whole_is_said(entry: Any) -> None:
    with pytest.raises(LockError, match="entry of model tiny is not whole"):
        entries({"schema_version": 1, "models": [entry]})


def test_a_model_is_locked_as_it_was_declared_or_that_is_said() -> None:
    assert locked(MODEL, [ENTRY]) == ENTRY
    assert locked({**MODEL, "name": "other"}, [ENTRY]) is None
    with pytest.raises(LockError, match="declared otherwise than it was locked: run"):
        locked({**MODEL, "revision": "v2"}, [ENTRY])
    with pytest.raises(LockError, match="has a path and no sha256, and is not locked"):
        locked({"name": "local", "path": "/m.gguf"}, [ENTRY])
    assert locked({"name": "local", "path": "/m.gguf", "sha256": "0" * 64}, [ENTRY]) is None


def test_towers_declare_a_name_alike() -> None:
    assert declared({"a": [MODEL], "b": [{**MODEL, "name": "less"}, MODEL]}) == [{**MODEL, "name": "less"}, MODEL]
    with pytest.raises(LockError, match="Model tiny is declared in one way for a and in another for b"):
        declared({"a": [MODEL], "b": [{**MODEL, "revision": "v2"}]})


def test_what_moved_is_told_a_line_a_model() -> None:
    new = {**ENTRY, "commit": "d" * 40, "files": [{**ENTRY["files"][0], "sha256": "1" * 64}]}
    assert moved([ENTRY], [ENTRY]) == []
    assert moved([ENTRY], [new]) == [f"tiny: {'c' * 40} -> {'d' * 40}, 1 of 1 files changed"]
    assert moved([ENTRY], [{**ENTRY, "name": "new"}]) == ["new: is locked now", "tiny: is declared no more"]
    assert moved([ENTRY], [{**new, "commit": ENTRY["commit"]}]) == ["tiny: 1 of 1 files changed"]


class Locking(Tower):
    """A tower whose inventory has a lock file."""

    @property
    def file(self) -> Path:
        return self.directory / "inventory/models.lock.yml"

    def lock(self, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        return self.play(*arguments, playbook=self.repo / "playbooks/lock.yml", ansible_become=False, **variables)

    def entry(self) -> dict[str, Any]:
        (entry,) = yaml.safe_load(self.file.read_text())["models"]
        return dict(entry)

    def commit(self) -> str:
        return self.hub.commit(self.hub.files(REPO))

    def move(self) -> None:
        """Another commit is on the branch, with another second shard."""
        name = list(SET)[1]
        (self.hub.root / REPO / name).write_bytes(shards("Q6_K/tiny-Q6_K", 2, b"new")[name])


@pytest.fixture
def tower(tmp_path: Path, repo: Path) -> Any:
    for name, data in {**SET, "one.gguf": gguf()}.items():
        path = tmp_path / "hub" / REPO / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with Hub(tmp_path / "hub", token=TOKEN) as hub:
        yield Locking(repo, tmp_path, hub)


def changes(run: subprocess.CompletedProcess[str]) -> int:
    """Changed tasks of all towers together."""
    counts(run)
    return sum(map(int, re.findall(r"changed=(\d+)", run.stdout)))


def said(run: subprocess.CompletedProcess[str]) -> str:
    return re.sub(r"\s+", " ", run.stdout + run.stderr)


def test_a_model_is_locked_by_commit_size_and_hash_and_a_second_time_nothing_changes(tower: Locking) -> None:
    preview = tower.lock("--check", "--diff")
    assert counts(preview)["changed"] == 1
    assert f"+    commit: {tower.commit()}".replace("    ", "  ", 1) in preview.stdout, preview.stdout
    assert not tower.file.exists()

    assert counts(tower.lock())["changed"] == 1
    entry = tower.entry()
    assert (entry["name"], entry["source"], entry["commit"]) == ("tiny", SOURCE, tower.commit())
    assert entry["files"] == [
        {"file": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in SET.items()
    ]
    assert counts(tower.lock())["changed"] == 0
    assert sorted(path.name for path in tower.file.parent.iterdir()) == ["hosts.yml", "models.lock.yml"]


def test_a_branch_that_moved_is_noticed_and_followed_only_by_locking_again(tower: Locking) -> None:
    counts(tower.lock())
    before = tower.commit()
    tower.hub.log.clear()
    counts(tower.play())
    # The headers were read when it was locked: every byte of it is sent once.
    assert tower.hub.bytes_sent() == {f"{REPO}/{name}": len(data) for name, data in SET.items()}
    assert tower.plan()["locked"] is True

    tower.move()
    tower.hub.log.clear()
    second = tower.play()
    assert counts(second)["changed"] == 0 and tower.hub.log == []
    assert "WARNING" not in second.stderr

    diff = tower.lock("--check", "--diff")
    assert f"-  commit: {before}" in diff.stdout and f"+  commit: {tower.commit()}" in diff.stdout, diff.stdout
    assert tower.entry()["commit"] == before
    moved = tower.lock()
    assert f"tiny: {before} -> {tower.commit()}, 1 of 2 files changed" in said(moved)

    preview = tower.play("--check")
    assert counts(preview)["changed"] == 1
    assert tower.plan()["missing_bytes"] == len(list(SET.values())[1])
    tower.hub.log.clear()
    counts(tower.play())
    assert sum(tower.hub.bytes_sent().values()) == len(list(SET.values())[1])
    manifest = json.loads((tower.store / "tiny/manifest.json").read_text())
    assert manifest["commit"] == tower.commit()
    assert [entry["sha256"] for entry in manifest["files"]] == [entry["sha256"] for entry in tower.entry()["files"]]


def test_a_locked_model_that_has_to_be_fetched_warns_once_where_its_branch_has_moved(tower: Locking) -> None:
    counts(tower.lock())
    assert "WARNING" not in tower.play("--check").stderr
    tower.hub.log.clear()
    before = tower.commit()
    tower.move()
    run = tower.play("--check")
    assert counts(run)["changed"] == 1
    sentence = f"main of {REPO} is at commit {tower.commit()} now; model tiny is deployed as it is locked, at {before}"
    assert said(run).count(sentence) == 1, run.stdout + run.stderr
    assert [entry["origin"] for entry in tower.hub.log] == ["hub"], "one question, and no header"


def test_behind_an_air_gap_a_locked_model_comes_from_a_mirror_or_a_directory(tower: Locking, tmp_path: Path) -> None:
    counts(tower.lock())
    tower.endpoint = "http://127.0.0.1:9"  # nobody is there
    run = tower.play(model_store_hf_endpoint=tower.hub.url)
    assert counts(run)["changed"] == 1
    assert tower.plan()["commit"] == tower.entry()["commit"]
    assert "WARNING" not in run.stderr

    directory = tmp_path / "usb"
    shutil.copytree(tower.hub.root / REPO / "Q6_K", directory)
    models = [{"name": "local", "path": str(directory)}]
    tower.hub.log.clear()
    counts(tower.lock(model_store_models=models))
    counts(tower.play(model_store_models=models))
    assert sorted(path.name for path in (tower.store / "local").glob("*.gguf")) == [Path(name).name for name in SET]
    assert tower.hub.log == []


def test_a_declaration_that_changed_must_be_locked_again(tower: Locking) -> None:
    counts(tower.lock())
    run = tower.play(model_store_models=[{**MODEL, "files": "one.gguf"}])
    assert run.returncode == 2
    assert "declared otherwise than it was locked: run ansible-playbook llamatower.tower.lock" in said(run)
    assert not tower.store.exists()


def test_what_is_not_locked_is_resolved_and_the_plan_says_so(tower: Locking) -> None:
    counts(tower.play("--check"))
    assert tower.plan()["locked"] is False
    assert tower.plan()["commit"] == tower.commit()


def test_a_fleet_is_locked_as_one_and_must_agree(tower: Locking) -> None:
    other = {"name": "other", "url": f"{tower.hub.url}/{REPO}/resolve/main/one.gguf", "sha256": "0" * 64}
    tower.towers = {"one": {"model_store_models": [MODEL]}, "two": {"model_store_models": [MODEL, other]}, "three": {}}
    tower.towers["three"]["model_store_models"] = []
    assert changes(tower.lock()) == 1
    found = {entry["name"]: entry for entry in yaml.safe_load(tower.file.read_text())["models"]}
    assert list(found) == ["other", "tiny"]
    assert found["other"]["files"] == [{"file": other["url"], "size": len(gguf()), "sha256": "0" * 64}]

    text = tower.file.read_text()
    assert changes(tower.lock("--limit", "one")) == 0, "what other towers have stays as it is locked"
    tower.towers["two"]["model_store_models"] = [{**MODEL, "files": "one.gguf"}]
    run = tower.lock()
    assert run.returncode == 2
    assert "Model tiny is declared in one way for one and in another for two" in said(run)
    assert tower.file.read_text() == text


def test_files_of_the_tower_are_hashed_there_once_and_then_proven(tower: Locking) -> None:
    directory = tower.hub.root / REPO / "Q6_K"
    names = sorted(path.name for path in directory.iterdir())
    models = [{"name": "tiny", "path": str(directory)}]
    refused = tower.play(model_store_models=models)
    assert refused.returncode == 2 and "has a path and no sha256, and is not locked" in said(refused)

    counts(tower.lock(model_store_models=models))
    assert tower.entry()["files"] == [
        {"file": str(directory / name), "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in zip(names, SET.values(), strict=True)
    ]
    # What is on the disk afterwards is not what was locked.
    (directory / names[1]).write_bytes(next(iter(SET.values())))
    wrong = tower.play(model_store_models=models)
    assert wrong.returncode == 2 and not (tower.store / "tiny").exists(), wrong.stdout
    (directory / names[1]).write_bytes(list(SET.values())[1])
    counts(tower.play(model_store_models=models))
    assert sorted(path.name for path in (tower.store / "tiny").glob("*.gguf")) == names


def test_what_only_a_tower_that_is_left_out_can_read_is_said(tower: Locking) -> None:
    local = {"name": "local", "path": str(tower.hub.root / REPO / "one.gguf"), "sha256": "0" * 64}
    tower.towers = {"one": {"model_store_models": []}, "two": {"model_store_models": [local]}}
    run = tower.lock("--limit", "one")
    assert run.returncode == 2
    assert "Model local is read on its tower, which this run leaves out: run it without --limit." in said(run)
    assert not tower.file.exists()


def test_the_token_is_not_in_the_lock_file_or_a_log(tower: Locking) -> None:
    tower.hub.faults = [{"kind": "gated"}]
    run = tower.lock("-vvv", "--diff", model_store_hf_token=TOKEN)
    counts(run)
    assert TOKEN not in run.stdout + run.stderr + tower.file.read_text()
