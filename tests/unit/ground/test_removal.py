# SPDX-License-Identifier: MIT
"""What is removed is what was named, whatever else lies beside it or where links lead."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from plugins.module_utils.files import bytes_of
from plugins.module_utils.removal import emptied, held_locks, left_in, matching, remove


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory of the roles' in which somebody has put a link to files of their own."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/file").write_bytes(bytes(8192))
    (tmp_path / "ours/releases/a").mkdir(parents=True)
    (tmp_path / "ours/releases/a/file").write_bytes(bytes(8192))
    (tmp_path / "ours/current").symlink_to("releases/gone")
    (tmp_path / "ours/releases/link").symlink_to(tmp_path / "theirs")
    return tmp_path / "ours"


def named(place: Path, *names: str) -> list[str]:
    return matching([str(place / name) for name in names])


def test_links_are_removed_and_not_followed(place: Path) -> None:
    paths = named(place, "releases", "current", "nothing")
    assert [Path(path).name for path in paths] == ["current", "releases"]
    remove(paths)
    assert list(place.iterdir()) == []
    assert (place.parent / "theirs/file").exists()


def test_a_directory_goes_where_nothing_else_is_in_it(place: Path) -> None:
    paths = named(place, "releases", "current")
    assert emptied([str(place.parent), str(place)], paths) == [str(place)], "theirs are beside it"
    (place / "somebodys").touch()
    assert emptied([str(place)], paths) == []
    assert left_in(str(place), paths) == [str(place / "somebodys")]


def test_inner_directories_go_with_the_outer_ones(place: Path) -> None:
    outer, inner = str(place / "releases"), str(place / "releases/a")
    assert emptied([outer, inner], named(place, "releases/a/file", "releases/link")) == [inner, outer]


def test_a_directory_that_is_a_link_or_a_mount_point_stays(place: Path) -> None:
    (place.parent / "empty").mkdir()
    (place.parent / "link").symlink_to("empty")
    assert emptied([str(place.parent / "link"), "/proc"], []) == []


def test_a_file_of_two_names_counts_once(place: Path) -> None:
    one = bytes_of([str(place / "releases/a/file")])
    (place / "pinned").hardlink_to(place / "releases/a/file")
    assert bytes_of([str(place / "pinned"), str(place / "releases/a/file")]) == one >= 8192


def test_the_lock_of_a_running_job_is_found_right_below_and_one_that_is_left_over_is_not(place: Path) -> None:
    for name in ("job.lock", "releases/old.lock"):
        (place / name).touch()
    with (place / "job.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert held_locks([str(place)]) == [str(place / "job.lock")]
        assert held_locks(named(place, "*.lock", "releases")) == [str(place / "job.lock")]
    assert held_locks([str(place)]) == []
