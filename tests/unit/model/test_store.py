# SPDX-License-Identifier: MIT
"""What a store has of its models, and what is missing: told without reading a byte of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.files import write_json
from plugins.module_utils.model.store import find, intact_files, model_plan, partial_bytes, state_of, store_warning

SOURCE = {"repo": "acme/tiny-GGUF", "revision": "main", "files": "*Q6_K*"}


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Any, Path]:
    """A manifest, and the directory of its files."""
    files = []
    for name in ("a-00001-of-00002.gguf", "a-00002-of-00002.gguf"):
        (tmp_path / name).write_bytes(b"weights")
        found = (tmp_path / name).stat()
        files.append({"file": name, "size": 7, "mtime_ns": found.st_mtime_ns, "sha256": name})
    return {
        "schema_version": 1,
        "name": "tiny",
        "source": SOURCE,
        "commit": "c" * 40,
        "files": files,
        "bytes": 14,
        "gguf": {},
    }, tmp_path


def test_a_model_is_present_when_its_files_are_as_they_were_proven(stored: tuple[Any, Path]) -> None:
    manifest, directory = stored
    assert state_of(SOURCE, manifest, str(directory)) == ("present", None)
    assert state_of(SOURCE, None, str(directory)) == ("absent", None)


def test_another_declaration_or_another_file_is_noticed(stored: tuple[Any, Path]) -> None:
    manifest, directory = stored
    assert state_of({**SOURCE, "revision": "v2"}, manifest, str(directory))[0] == "changed"
    second = directory / manifest["files"][1]["file"]
    os.utime(second, ns=(0, 0))
    assert state_of(SOURCE, manifest, str(directory)) == (
        "changed",
        f"{second.name} is gone, or was changed after it was verified",
    )


def test_another_commit_or_other_files_than_are_wanted_are_noticed(stored: tuple[Any, Path]) -> None:
    manifest, directory = stored
    assert state_of(SOURCE, manifest, str(directory), manifest) == ("present", None)
    other: Any = {**manifest, "commit": "d" * 40}
    state, reason = state_of(SOURCE, manifest, str(directory), other)
    assert (state, reason) == ("changed", f"commit {'d' * 40} is wanted, and {'c' * 40} is here")
    fewer: Any = {**manifest, "files": manifest["files"][:1]}
    assert state_of(SOURCE, manifest, str(directory), fewer)[0] == "changed"


def test_a_file_that_a_verification_found_wrong_is_not_taken_for_intact(stored: tuple[Any, Path]) -> None:
    manifest, directory = stored
    first, second = (entry["file"] for entry in manifest["files"])
    verified = {"schema_version": 1, "time": 1, "wrong": {second: "0" * 64}}
    write_json(str(directory / "verified.json"), verified)
    assert [entry["file"] for entry in intact_files(manifest["files"], str(directory))] == [first]
    assert state_of(SOURCE, manifest, str(directory)) == (
        "changed",
        f"{second} had another SHA-256 when it was verified",
    )
    (directory / "verified.json").write_text("damaged")
    assert state_of(SOURCE, manifest, str(directory)) == ("present", None)


def entry(state: str, manifest: Any, intact: list[str], partial: int = 0) -> Any:
    """As model_store_info describes it."""
    return {
        "name": "tiny", "state": state, "reason": None, "locked": None, "verified": None, "manifest": manifest,
        "intact": intact, "partial_bytes": partial,
    }  # fmt: skip


def test_the_plan_counts_what_is_missing(stored: tuple[Any, Path]) -> None:
    manifest, _directory = stored
    names = [file["file"] for file in manifest["files"]]
    source: Any = [{**manifest, "commit": "d" * 40}]

    def missing(*arguments: Any) -> int:
        return int(model_plan([entry(*arguments)], source)[0]["missing_bytes"])

    assert missing("present", manifest, names) == 0
    assert missing("absent", None, []) == 14
    assert missing("changed", manifest, names[:1]) == 7
    assert missing("changed", manifest, names) == 0
    assert missing("absent", None, [], 4) == 10
    assert model_plan([entry("present", manifest, names)], [])[0]["commit"] == "c" * 40
    assert model_plan([entry("changed", manifest, [])], source)[0]["commit"] == "d" * 40
    locked: Any = {**entry("absent", None, []), "locked": source[0]}
    plan = model_plan([locked], [])
    assert (plan[0]["commit"], plan[0]["locked"], plan[0]["missing_bytes"]) == ("d" * 40, True, 14)


def test_what_a_fetch_left_counts_and_what_it_found_wrong_does_not(tmp_path: Path) -> None:
    for name in (".a.partial/one.gguf", ".a.partial/two.gguf.part", ".a.partial/quarantine/two.gguf", ".a.swarm/three"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(4096))
    assert partial_bytes(str(tmp_path), "a") == 3 * 4096
    assert partial_bytes(str(tmp_path), "b") == 0


def test_what_is_found_of_a_model_says_all_of_it(stored: tuple[Any, Path]) -> None:
    manifest, directory = stored
    write_json(str(directory / "manifest.json"), manifest)
    (directory / manifest["files"][1]["file"]).unlink()
    assert find(str(directory.parent), {"name": directory.name, **SOURCE}, None) == {  # type: ignore[typeddict-item]
        "name": directory.name,
        "source": SOURCE,
        "state": "changed",
        "reason": f"{manifest['files'][1]['file']} is gone, or was changed after it was verified",
        "locked": None,
        "verified": None,
        "manifest": manifest,
        "intact": [manifest["files"][0]["sha256"]],
        "partial_bytes": 0,
    }


@pytest.mark.parametrize(
    ("filesystem", "words"),
    [
        ("tmpfs", "is in memory (tmpfs), so each model takes its memory twice"),
        ("zfs", "limit it by zfs_arc_max"),
        *((name, None) for name in ("ext4", "xfs", "btrfs", "nfs4", "overlay", None)),
    ],
)
def test_a_store_that_keeps_what_is_read_in_memory_is_said(filesystem: str | None, words: str | None) -> None:
    warning = store_warning("/srv/models", filesystem)
    assert warning is None if words is None else words in str(warning)
