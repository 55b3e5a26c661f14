# SPDX-License-Identifier: MIT
"""A model is hashed again: what is wrong is named, stays, and counts as changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.model import uncached
from plugins.module_utils.model import verify as model_verify
from plugins.module_utils.model.document import HashedModel
from plugins.module_utils.model.store import proven_files, read_manifest, read_verified, state_of
from plugins.module_utils.model.verify import manifests, problems, record, verify
from plugins.module_utils.service.programs import install_programs, read_programs

SOURCE = {"path": "/mnt/tiny"}
FILES = {f"tiny-0000{n}-of-00003.gguf": bytes([n]) * 3_000_000 for n in (1, 2, 3)}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with a model of three shards, and what is none."""
    directory = tmp_path / "store" / "tiny"
    directory.mkdir(parents=True)
    entries = []
    for name, data in FILES.items():
        (directory / name).write_bytes(data)
        found = (directory / name).stat()
        sha256 = hashlib.sha256(data).hexdigest()
        entries.append({"file": name, "size": len(data), "mtime_ns": found.st_mtime_ns, "sha256": sha256})
    manifest = {"schema_version": 1, "name": "tiny", "source": SOURCE, "commit": None, "files": entries}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "store/no-model").mkdir()
    (tmp_path / "store/.tiny.partial").mkdir()
    shutil.copy(directory / "manifest.json", tmp_path / "store/.tiny.partial")
    return tmp_path / "store"


def flip(path: Path, at: int = 1000) -> None:
    """Another byte, with the size and time that the file had: what a bad disk does."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def verified(store: Path, workers: int = 2) -> tuple[list[HashedModel], bool]:
    models = manifests(str(store))
    results = verify(str(store), models, workers, lambda _done: None)
    return results, record(str(store), models, results)


def state(store: Path) -> tuple[str, str | None]:
    directory = str(store / "tiny")
    return state_of(SOURCE, read_manifest(directory), directory)


def test_what_is_right_is_so_and_when_is_written_down(store: Path) -> None:
    told: list[int] = []
    models = manifests(str(store))
    assert list(models) == ["tiny"]
    results = verify(str(store), models, 2, told.append)
    assert [file["state"] for file in results[0]["files"]] == ["ok"] * 3
    assert told[-1] == sum(map(len, FILES.values())) and told == sorted(told)
    assert record(str(store), models, results) is False
    assert read_verified(str(store / "tiny")) == {"schema_version": 1, "time": results[0]["time"], "wrong": {}}
    assert state(store) == ("present", None)
    assert problems(results) == []


def test_a_wrong_file_is_named_with_both_hashes_stays_and_counts_as_changed(store: Path) -> None:
    path = store / "tiny/tiny-00002-of-00003.gguf"
    flip(path)
    damaged = path.read_bytes()
    assert state(store) == ("present", None), "nothing else can see it"
    results, changed = verified(store)
    assert changed
    bad, good = (hashlib.sha256(data).hexdigest() for data in (damaged, FILES[path.name]))
    assert problems(results) == [
        f"{path.name} of model tiny has the SHA-256 {bad} and not {good}: run ansible-playbook "
        "llamatower.tower.models, which fetches it again."
    ]
    assert state(store) == ("changed", f"{path.name} had another SHA-256 when it was verified")
    intact = proven_files(str(store / "tiny"))
    assert path.name not in [entry["file"] for entry in intact] and len(intact) == 2
    assert path.read_bytes() == damaged
    assert verified(store)[1] is False, "it was known"


def test_a_file_that_is_right_again_is_no_longer_wrong(store: Path) -> None:
    path = store / "tiny/tiny-00001-of-00003.gguf"
    flip(path)
    verified(store)
    flip(path)
    assert verified(store)[1] is True
    assert state(store) == ("present", None)


def test_a_file_that_changed_only_its_time_counts_as_proven_again(store: Path) -> None:
    """As in a store that was copied to another disk: it would be fetched again otherwise."""
    for name in FILES:
        os.utime(store / "tiny" / name, ns=(1, 1))
    assert state(store)[0] == "changed"
    results, changed = verified(store)
    assert changed and problems(results) == []
    assert state(store) == ("present", None)
    assert verified(store)[1] is False


def test_the_time_of_a_wrong_file_stays_as_the_manifest_has_it(store: Path) -> None:
    before = read_manifest(str(store / "tiny"))
    path = store / "tiny" / next(iter(FILES))
    flip(path)
    os.utime(path, ns=(1, 1))
    verified(store)
    assert read_manifest(str(store / "tiny")) == before


def test_a_missing_file_is_named(store: Path) -> None:
    (store / "tiny/tiny-00003-of-00003.gguf").unlink()
    assert problems(verified(store)[0]) == [
        "tiny-00003-of-00003.gguf of model tiny is missing: run ansible-playbook llamatower.tower.models, "
        "which fetches it again."
    ]


def test_a_file_that_the_disk_does_not_give_is_named_and_the_others_are_verified(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = uncached.sha256_uncached

    def bad(path: str, tell: Any) -> str:
        if "00002" in path:
            raise OSError(5, "Input/output error")
        return original(path, tell)

    def all_bad(*_arguments: Any) -> dict[str, str]:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(model_verify, "sha256_uncached", bad)
    monkeypatch.setattr(model_verify, "sha256_files", all_bad)
    results, _changed = verified(store)
    assert [file["state"] for file in results[0]["files"]] == ["ok", "unreadable", "ok"]
    assert "cannot be read: check the disk, and run" in problems(results)[0]
    assert state(store)[0] == "changed"


def test_a_model_that_was_replaced_meanwhile_is_not_judged_by_its_predecessor(store: Path) -> None:
    flip(store / "tiny/tiny-00001-of-00003.gguf")
    models = manifests(str(store))
    results = verify(str(store), models, 1, lambda _done: None)
    manifest = json.loads((store / "tiny/manifest.json").read_text())
    (store / "tiny/manifest.json").write_text(json.dumps({**manifest, "commit": "d" * 40}))
    assert record(str(store), models, results) is False
    assert not (store / "tiny/verified.json").exists()


@pytest.fixture
def program(tmp_path: Path, repo: Path) -> dict[str, str]:
    """The environment of the program as the role installs it."""
    install_programs(str(tmp_path / "lib"), read_programs(str(repo / "plugins/module_utils")))
    return {"PYTHONPATH": str(tmp_path / "lib"), "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]}


def run(store: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["/usr/bin/python3", "-m", "llamatower.model.verify", str(store)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_the_program_of_the_timer_succeeds_or_fails_with_a_sentence(store: Path, program: dict[str, str]) -> None:
    good = run(store, program)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout == "3 of 3 files of 1 models have the SHA-256 of their manifest.\n"
    flip(store / "tiny/tiny-00002-of-00003.gguf")
    bad = run(store, program)
    assert bad.returncode == 1
    # The number is the priority in the journal: an error.
    assert bad.stderr.startswith("<3>tiny-00002-of-00003.gguf of model tiny has the SHA-256 "), bad.stderr
    assert state(store)[0] == "changed"
    assert run(store.parent / "none", program).returncode == 0


def test_no_page_stays_in_the_page_cache(store: Path, program: dict[str, str]) -> None:
    def resident() -> list[str]:
        command = ["fincore", "--bytes", "--noheadings", "--output", "RES", *sorted(map(str, store.rglob("*.gguf")))]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert resident() != ["0"] * 3, "they have just been written"
    assert run(store, program).returncode == 0
    assert resident() == ["0"] * 3
