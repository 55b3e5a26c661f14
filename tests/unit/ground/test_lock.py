# SPDX-License-Identifier: MIT
"""One at a time, and who waits is told for whom."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plugins.module_utils.lock import HeldError, locked


def test_who_waits_is_told_the_holder_and_gives_up_in_time(tmp_path: Path) -> None:
    path = str(tmp_path / "run/change.lock")
    heard: list[str] = []
    with locked(path, "a switch of main", 0):
        said = f"a switch of main, process {os.getpid()} since "
        with pytest.raises(HeldError, match=said), locked(path, "another", 0.05, heard.append, 0.01):
            pass
        assert os.stat(path).st_mode & 0o777 == 0o600
    assert heard and heard[0].startswith("a switch of main")
    with locked(path, "another", 0):
        assert Path(path).read_text().startswith("another, process ")


def test_it_is_given_up_where_the_work_fails(tmp_path: Path) -> None:
    path = str(tmp_path / "change.lock")
    with pytest.raises(KeyError), locked(path, "work", 0):
        raise KeyError
    with locked(path, "the next", 0):
        pass
