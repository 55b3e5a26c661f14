# SPDX-License-Identifier: MIT
"""A pinned model stays whole when another one comes under its name, and takes no room before."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.model.pin import PinError, pin, unpin


def model(store: Path, text: str) -> tuple[str, Any]:
    """A model of two files in a store, and its manifest."""
    directory = store / "m"
    directory.mkdir(parents=True)
    names = ["m-1.gguf", "m-2.gguf"]
    for name in names:
        (directory / name).write_text(text)
    manifest = {"schema_version": 1, "files": [{"file": name, "sha256": f"{name}{text}"} for name in names]}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return str(directory), manifest


def test_the_files_are_the_same_and_stay_when_the_model_is_replaced(tmp_path: Path) -> None:
    directory, manifest = model(tmp_path, "one")
    path = pin(directory, manifest)
    assert path.startswith(f"{tmp_path}/.pinned/m-")
    assert os.path.samefile(f"{path}/m-1.gguf", f"{directory}/m-1.gguf")
    assert pin(directory, manifest) == path
    os.rename(directory, tmp_path / "gone")
    other, second = model(tmp_path, "two")
    assert pin(other, second) != path
    assert Path(path, "m-2.gguf").read_text() == "one"


def test_files_that_were_mended_are_pinned_again(tmp_path: Path) -> None:
    directory, manifest = model(tmp_path, "one")
    path = pin(directory, manifest)
    Path(directory, "m-1.gguf").unlink()
    Path(directory, "m-1.gguf").write_text("mended")
    assert pin(directory, manifest) == path
    assert Path(path, "m-1.gguf").read_text() == "mended"


def test_another_model_that_came_meanwhile_is_not_taken_for_it(tmp_path: Path) -> None:
    """A fetch of another run has given the name to files of the same names; what is pinned stays as it is."""
    directory, manifest = model(tmp_path, "one")
    path = pin(directory, manifest)
    os.rename(directory, tmp_path / "gone")
    model(tmp_path, "two")
    with pytest.raises(PinError, match="has another model since"):
        pin(directory, manifest)
    assert {file.read_text() for file in Path(path).glob("*.gguf")} == {"one"}
    unpin(str(tmp_path), set())
    with pytest.raises(PinError, match="has another model since"):
        pin(directory, manifest)
    assert os.listdir(tmp_path / ".pinned") == []


def test_what_nobody_needs_goes(tmp_path: Path) -> None:
    directory, manifest = model(tmp_path, "one")
    path = pin(directory, manifest)
    (tmp_path / ".pinned/left.partial").mkdir()
    assert unpin(str(tmp_path), {path}) == [f"{tmp_path}/.pinned/left.partial"]
    assert unpin(str(tmp_path), set()) == [path]
    assert sorted(os.listdir(tmp_path)) == ["m"]
    assert unpin(str(tmp_path), set()) == []


def test_a_store_without_links_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_arguments: Any, **_options: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    directory, manifest = model(tmp_path, "one")
    monkeypatch.setattr(os, "link", link)
    assert pin(directory, manifest) == directory
    assert os.listdir(tmp_path / ".pinned") == []
