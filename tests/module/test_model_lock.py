# SPDX-License-Identifier: MIT
"""The lock file: lock.yml writes it, and the role deploys what it says; against the test hub."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.model.store import model_plan
from tests.controller import MODEL, ONE, REPO, SET, SOURCE, TOKEN, Tower, counts, said, tiny_hub
from tests.gguf_builder import shards
from tests.run_module import run_module


class Locking(Tower):
    """A tower whose inventory has a lock file."""

    @property
    def file(self) -> Path:
        return self.directory / "inventory/models.lock.yml"

    def lock(self, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        return self.play(*arguments, playbook=self.repo / "playbooks/lock.yml", ansible_become=False, **variables)

    def lock_module(self, towers: dict[str, list[dict[str, str]]] | None = None, **options: Any) -> dict[str, Any]:
        """The same by the module alone."""
        self.file.parent.mkdir(exist_ok=True)
        given = towers or {"tower": [MODEL]}
        return run_module("model_lock", path=str(self.file), towers=given, endpoint=self.endpoint, **options)

    def found(self, *models: dict[str, Any]) -> dict[str, Any]:
        """What the role sees of these models and of the lock file."""
        lock = yaml.safe_load(self.file.read_text()) if self.file.exists() else {}
        return run_module("model_store_info", path=str(self.store), models=list(models or [MODEL]), lock=lock)

    def entry(self) -> dict[str, Any]:
        (entry,) = yaml.safe_load(self.file.read_text())["models"]
        return dict(entry)

    def fetch(self) -> dict[str, Any]:
        """What is locked, by the module alone."""
        progress = str(self.store / ".progress.json")
        return run_module(
            "model_fetch", model=self.entry(), path=str(self.store), endpoint=self.hub.url, progress_path=progress
        )

    def commit(self) -> str:
        return self.hub.commit(self.hub.files(REPO))

    def move(self) -> None:
        """Another commit is on the branch, with another second shard."""
        name = list(SET)[1]
        (self.hub.root / REPO / name).write_bytes(shards("Q6_K/tiny-Q6_K", 2, b"new")[name])


@pytest.fixture
def tower(tmp_path: Path, repo: Path) -> Iterator[Locking]:
    with tiny_hub(tmp_path / "hub") as hub:
        yield Locking(repo, tmp_path, hub)


def changes(run: subprocess.CompletedProcess[str]) -> int:
    """Changes of all towers."""
    assert run.returncode == 0, run.stdout + run.stderr
    return sum(map(int, re.findall(r"changed=(\d+)", run.stdout)))


def test_a_model_is_locked_by_commit_size_and_hash_and_the_token_is_nowhere(tower: Locking) -> None:
    tower.hub.faults = [{"kind": "gated"}]
    preview = tower.lock("--check", "--diff", "-vvv", model_store_hf_token=TOKEN)
    assert counts(preview)["changed"] == 1
    assert f"+  commit: {tower.commit()}" in preview.stdout, preview.stdout
    assert not (tower.directory / "inventory/models.lock.yml").exists()

    run = tower.lock("--diff", "-vvv", model_store_hf_token=TOKEN)
    assert counts(run)["changed"] == 1
    entry = tower.entry()
    assert (entry["name"], entry["source"], entry["commit"]) == ("tiny", SOURCE, tower.commit())
    assert entry["files"] == [
        {"file": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in SET.items()
    ]
    assert tower.lock_module(token=TOKEN)["changed"] is False
    assert sorted(path.name for path in tower.file.parent.iterdir()) == ["hosts.yml", "models.lock.yml"]
    assert TOKEN not in preview.stdout + preview.stderr + run.stdout + run.stderr + tower.file.read_text()


def test_what_is_locked_comes_from_a_mirror_and_follows_its_branch_only_when_it_is_locked_again(tower: Locking) -> None:
    assert tower.lock_module()["changed"] is True
    before = tower.commit()
    unmoved = run_module("model_source_info", models=[], locked=[tower.entry()], endpoint=tower.hub.url)
    assert "warnings" not in unmoved

    tower.hub.log.clear()
    tower.endpoint = "http://127.0.0.1:9"  # nobody is there
    first = tower.play(model_store_hf_endpoint=tower.hub.url)
    assert counts(first)["changed"] == 1
    # The headers were read when it was locked: every byte of it is sent once.
    assert tower.hub.bytes_sent() == {f"{REPO}/{name}": len(data) for name, data in SET.items()}
    assert (tower.plan()["locked"], tower.plan()["commit"]) == (True, before)
    assert "WARNING" not in first.stderr

    tower.endpoint = tower.hub.url
    tower.move()
    tower.hub.log.clear()
    second = tower.play()
    assert counts(second)["changed"] == 0 and tower.hub.log == []
    assert "WARNING" not in second.stderr

    preview = tower.lock_module(check=True, diff=True)
    assert preview["changed"] is True
    assert (
        f"  commit: {before}" in preview["diff"]["before"] and f"  commit: {tower.commit()}" in preview["diff"]["after"]
    )
    assert tower.entry()["commit"] == before
    moved = tower.lock()
    assert f"tiny: {before} -> {tower.commit()}, 1 of 2 files changed" in said(moved)

    (plan,) = model_plan(tower.found()["models"], [])
    assert plan["missing_bytes"] == len(list(SET.values())[1])
    tower.hub.log.clear()
    assert tower.fetch()["changed"] is True
    assert sum(tower.hub.bytes_sent().values()) == len(list(SET.values())[1])
    manifest = json.loads((tower.store / "tiny/manifest.json").read_text())
    assert manifest["commit"] == tower.commit()
    assert [entry["sha256"] for entry in manifest["files"]] == [entry["sha256"] for entry in tower.entry()["files"]]


def test_a_locked_model_that_has_to_be_fetched_warns_once_where_its_branch_has_moved(tower: Locking) -> None:
    tower.lock_module()
    before = tower.commit()
    tower.move()
    tower.hub.log.clear()
    run = tower.play("--check")
    assert counts(run)["changed"] == 1
    sentence = f"main of {REPO} is at commit {tower.commit()} now; model tiny is deployed as it is locked, at {before}"
    assert said(run).count(sentence) == 1, run.stdout + run.stderr
    assert [entry["origin"] for entry in tower.hub.log] == ["hub"], "one question, and no header"


def test_a_declaration_that_changed_must_be_locked_again(tower: Locking) -> None:
    tower.lock_module()
    refused = tower.found({**MODEL, "files": "one.gguf"})
    assert "declared otherwise than it was locked: run ansible-playbook llamatower.tower.lock" in refused["msg"]


def test_a_fleet_is_locked_as_one_and_must_agree(tower: Locking) -> None:
    other = {"name": "other", "url": f"{tower.hub.url}/{REPO}/resolve/main/one.gguf", "sha256": "0" * 64}
    tower.towers = {"one": {"model_store_models": [MODEL]}, "two": {"model_store_models": [MODEL, other]}, "three": {}}
    tower.towers["three"]["model_store_models"] = []
    assert changes(tower.lock()) == 1
    found = {entry["name"]: entry for entry in yaml.safe_load(tower.file.read_text())["models"]}
    assert list(found) == ["other", "tiny"]
    assert found["other"]["files"] == [{"file": other["url"], "size": len(ONE), "sha256": "0" * 64}]

    text = tower.file.read_text()
    assert changes(tower.lock("--limit", "one")) == 0, "what other towers have stays as it is locked"
    refused = tower.lock_module({"one": [MODEL], "two": [{**MODEL, "files": "one.gguf"}]})
    assert "Model tiny is declared in one way for one and in another for two" in refused["msg"]
    assert tower.file.read_text() == text


class Signed(http.server.SimpleHTTPRequestHandler):
    """Gives a file to who has the signature."""

    def do_GET(self) -> None:
        if "?X-Signature=S3cret" in self.path:
            return super().do_GET()
        return self.send_error(403)

    def log_message(self, *_arguments: Any) -> None:
        pass


def test_a_signature_of_a_url_is_used_and_kept_nowhere(tower: Locking) -> None:
    handler = functools.partial(Signed, directory=str(tower.hub.root / REPO))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/one.gguf"
        signed = {"name": "signed", "url": f"{url}?X-Signature=S3cret", "sha256": hashlib.sha256(ONE).hexdigest()}
        tower.towers = {"one": {"model_store_models": [signed]}}
        assert changes(tower.lock()) == 1
        assert tower.entry()["files"][0]["file"] == tower.entry()["source"]["url"] == url
        run = tower.play("-vvv", model_store_models=[signed])
        server.shutdown()
    assert counts(run)["changed"] == 1, run.stdout + run.stderr
    assert (tower.store / "signed/one.gguf").read_bytes() == ONE
    manifest = (tower.store / "signed/manifest.json").read_text()
    assert url in manifest
    assert "S3cret" not in manifest + tower.file.read_text()
    # Signed anew it is the same model, as it is after an older manifest, which had all of the URL.
    (tower.store / "signed/manifest.json").write_text(manifest.replace(url, signed["url"]))
    (again,) = tower.found({**signed, "url": f"{url}?X-Signature=another"})["models"]
    assert (again["state"], again["manifest"]["source"]["url"]) == ("present", url)


def test_files_of_the_tower_are_hashed_there_once_and_then_proven_without_a_hub(tower: Locking) -> None:
    directory = tower.hub.root / REPO / "Q6_K"
    names = sorted(path.name for path in directory.iterdir())
    models = [{"name": "tiny", "path": str(directory)}]
    assert "has a path and no sha256, and is not locked" in tower.found(*models)["msg"]

    tower.endpoint = "http://127.0.0.1:9"  # nobody is there
    counts(tower.lock(model_store_models=models))
    assert tower.entry()["files"] == [
        {"file": str(directory / name), "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in zip(names, SET.values(), strict=True)
    ]
    # What is on the disk afterwards is not what was locked.
    (directory / names[1]).write_bytes(next(iter(SET.values())))
    wrong = tower.fetch()
    assert wrong["failed"] is True and not (tower.store / "tiny").exists(), wrong
    (directory / names[1]).write_bytes(list(SET.values())[1])
    counts(tower.play(model_store_models=models))
    assert sorted(path.name for path in (tower.store / "tiny").glob("*.gguf")) == names
    assert tower.hub.log == []


def test_what_only_a_tower_that_is_left_out_can_read_is_said(tower: Locking) -> None:
    local = {"name": "local", "path": str(tower.hub.root / REPO / "one.gguf"), "sha256": "0" * 64}
    refused = tower.lock_module({"one": [], "two": [local]})
    assert refused["msg"] == "Model local is read on its tower, which this run leaves out: run it without --limit."
    assert not tower.file.exists()
