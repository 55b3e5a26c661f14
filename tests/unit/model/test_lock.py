# SPDX-License-Identifier: MIT
"""The lock file: its text, what is wrong with it, and which entry a declared model has."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from plugins.module_utils.model.lock import (
    LockError,
    declared,
    entries,
    kept,
    lock_text,
    locked_entry,
    moved,
    read_on_towers,
)

SOURCE = {"repo": "acme/tiny-GGUF", "revision": "main", "files": "Q6_K/*.gguf"}
MODEL: Any = {"name": "tiny", **SOURCE}
ENTRY: Any = {
    "name": "tiny",
    "source": SOURCE,
    "commit": "c" * 40,
    "bytes": 7,
    "files": [{"file": "Q6_K/tiny.gguf", "size": 7, "sha256": "0" * 64}],
    "gguf": {"architecture": "llama"},
}


def like(document: Any, **change: Any) -> Any:
    return {**document, **change}


def test_the_text_is_yaml_in_a_stable_order_and_read_back_as_it_was() -> None:
    other = like(ENTRY, name="a")
    text = lock_text([ENTRY, other])
    assert text == lock_text([other, ENTRY])
    assert "llamatower.tower.lock" in text.splitlines()[0]
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
    assert locked_entry(MODEL, [ENTRY]) == ENTRY
    assert locked_entry(like(MODEL, name="other"), [ENTRY]) is None
    with pytest.raises(LockError, match="declared otherwise than it was locked: run"):
        locked_entry(like(MODEL, revision="v2"), [ENTRY])
    with pytest.raises(LockError, match="has a path and no sha256, and is not locked"):
        locked_entry({"name": "local", "path": "/m.gguf"}, [ENTRY])
    assert locked_entry({"name": "local", "path": "/m.gguf", "sha256": "0" * 64}, [ENTRY]) is None


def test_towers_declare_a_name_alike() -> None:
    assert declared({"a": [MODEL], "b": [like(MODEL, name="less"), MODEL]}) == [like(MODEL, name="less"), MODEL]
    with pytest.raises(LockError, match="Model tiny is declared in one way for a and in another for b"):
        declared({"a": [MODEL], "b": [like(MODEL, revision="v2")]})


def test_what_moved_is_told_a_line_a_model() -> None:
    new = like(ENTRY, commit="d" * 40, files=[{**ENTRY["files"][0], "sha256": "1" * 64}])
    assert moved([ENTRY], [ENTRY]) == []
    assert moved([ENTRY], [new]) == [f"tiny: {'c' * 40} -> {'d' * 40}, 1 of 1 files changed"]
    assert moved([ENTRY], [like(ENTRY, name="new")]) == ["new: is locked now", "tiny: is declared no more"]
    assert moved([ENTRY], [like(new, commit=ENTRY["commit"])]) == ["tiny: 1 of 1 files changed"]


def test_what_only_a_tower_that_is_left_out_can_read_stays_as_it_is_locked_or_is_said() -> None:
    local: Any = {"name": "local", "path": "/m.gguf"}
    entry: Any = {**ENTRY, "name": "local", "source": {"path": "/m.gguf"}}
    assert kept(local, [ENTRY, entry]) == entry
    with pytest.raises(LockError, match="is read on its tower, which this run leaves out: run it without --limit"):
        kept(local, [ENTRY])


def test_towers_must_have_read_the_same_files() -> None:
    other = like(ENTRY, files=[{**ENTRY["files"][0], "sha256": "1" * 64}])
    assert read_on_towers({"a": [ENTRY], "b": [ENTRY]}) == {"tiny": ENTRY}
    with pytest.raises(LockError, match="Model tiny has other files on b than on a"):
        read_on_towers({"a": [ENTRY], "b": [other]})
