# SPDX-License-Identifier: MIT
"""A model is hashed again by the playbook or by a timer, and what is wrong is replaced by the next run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.controller import MODEL, REPO, SET, Tower, counts, said, tiny_hub
from tests.run_module import run_module


@pytest.fixture
def tower(tmp_path: Path, repo: Path) -> Iterator[Tower]:
    """A tower that has the model."""
    with tiny_hub(tmp_path / "hub") as hub:
        tower = Tower(repo, tmp_path, hub)
        (model,) = run_module("model_source_info", models=[MODEL], endpoint=hub.url)["models"]
        place: Any = {"path": str(tower.store), "progress_path": str(tower.store / ".progress.json")}
        assert run_module("model_fetch", model=model, endpoint=hub.url, **place)["changed"]
        yield tower


def test_the_playbook_names_a_wrong_shard_and_the_next_run_replaces_it(tower: Tower) -> None:
    right = run_module("model_verify", path=str(tower.store), progress_path=str(tower.store / ".verify.json"))
    assert right["changed"] is False
    path = tower.store / "tiny" / Path(list(SET)[1]).name
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    run = tower.play(playbook=tower.repo / "playbooks/verify.yml", ansible_become=False)
    assert run.returncode == 2
    bad, good = (hashlib.sha256(found).hexdigest() for found in (data, list(SET.values())[1]))
    assert f"{path.name} of model tiny has the SHA-256 {bad} and not {good}" in said(run)

    tower.hub.log.clear()
    assert counts(tower.play())["changed"] == 1
    assert path.read_bytes() == list(SET.values())[1]
    first, whole = next(iter(SET.items()))
    assert tower.hub.bytes_sent()[f"{REPO}/{first}"] < len(whole), "only its header"
    (found,) = run_module("model_store_info", path=str(tower.store), models=[MODEL])["models"]
    assert found["state"] == "present"


def test_the_timer_is_installed_where_it_is_wanted(tower: Tower) -> None:
    # Only looked at: its place is this machine's own.
    preview = tower.play("--check", model_store_verify_timer=True)
    assert counts(preview)["changed"] == 2, preview.stdout
