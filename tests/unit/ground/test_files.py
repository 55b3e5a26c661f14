# SPDX-License-Identifier: MIT
"""Files and directories have the modes that are asked for, whatever the umask of root, and whatever they lie on."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugins.module_utils import files


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_everybody_can_read_what_is_written_and_come_to_it(umask: None, tmp_path: Path) -> None:
    files.make_directory(str(tmp_path / "my models/tiny"))
    files.write_json(str(tmp_path / "my models/tiny/manifest.json"), {})
    assert [mode(tmp_path / path) for path in ("my models", "my models/tiny")] == [0o755, 0o755]
    assert mode(tmp_path / "my models/tiny/manifest.json") == 0o644


def test_what_is_secret_is_so_from_its_first_byte(umask: None, tmp_path: Path) -> None:
    files.write_beside(str(tmp_path / "keys"), "secret", mode=0o600)
    assert mode(tmp_path / "keys") == 0o600


def test_a_file_system_that_syncs_no_directory_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", fsync)
    files.write_beside(str(tmp_path / "one"), "text")
    files.point(str(tmp_path / "link"), "one")
    assert (tmp_path / "link").read_text() == "text"


def test_a_disk_that_fails_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error"):
        files.sync_directory(str(tmp_path))


def test_nothing_is_written_or_given_away_through_a_link_in_the_way(tmp_path: Path) -> None:
    """Whoever a directory is may put it there, as HAProxy where root writes its certificate."""
    (tmp_path / "passwd").write_text("root\n")
    (tmp_path / "own.partial").symlink_to("passwd")
    files.write_beside(str(tmp_path / "own"), "text", mode=0o400, owner=tmp_path.stat())
    assert (tmp_path / "passwd").read_text() == "root\n"
    assert ((tmp_path / "own").read_text(), (tmp_path / "own").is_symlink()) == ("text", False)
