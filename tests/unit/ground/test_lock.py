# SPDX-License-Identifier: MIT
"""One at a time, and who waits is told for whom."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plugins.module_utils import lock
from plugins.module_utils.lock import HeldError, locked


def test_who_waits_is_told_the_holder_and_gives_up_in_time(tmp_path: Path) -> None:
    path = str(tmp_path / "run/change.lock")
    heard: list[str] = []
    with locked(path, "a switch of main", 0, by="ann@desk"):
        said = f"a switch of main by ann@desk, process {os.getpid()} since "
        with pytest.raises(HeldError, match=said), locked(path, "another", 0.05, heard.append, 0.01):
            pass
        assert os.stat(path).st_mode & 0o777 == 0o600
    assert heard and heard[0].startswith("a switch of main")
    with locked(path, "another", 0):
        found = lock.holder(path)
        assert found and (found["what"], found["by"], found["pid"]) == ("another", "", os.getpid())
    assert lock.holder(path) is None


def test_it_is_given_up_where_the_work_fails(tmp_path: Path) -> None:
    path = str(tmp_path / "change.lock")
    with pytest.raises(KeyError), locked(path, "work", 0):
        raise KeyError
    with locked(path, "the next", 0):
        pass


# Holds the lock, or waits for it, until it is killed; with a child that has the lock, too; deaf to being asked.
HOLDER = """
import os, signal, subprocess, sys, time
from plugins.module_utils.lock import locked
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with locked(sys.argv[1], "the fetch of glm", 60, by="ann@desk") as descriptor:
    if "child" in sys.argv:
        print(subprocess.Popen(["sleep", "60"], pass_fds=[descriptor]).pid, flush=True)
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def start(repo: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def run(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLDER, *words]
        started.append(subprocess.Popen(command, cwd=repo, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout
    while process.stdout.readline().strip() != line:
        assert process.poll() is None


@pytest.mark.parametrize("how", ["plain", "deaf", "child"])
def test_who_holds_it_is_ended_and_who_waits_is_not(
    how: str, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    path = str(tmp_path / "job.lock")
    holder = start(path, how)
    until(holder, "held")
    waiting = start(path)
    assert holder.pid in lock.holding(path) and waiting.pid not in lock.holding(path)
    ended = lock.end(path, 1)
    assert ended and (ended["what"], ended["by"], ended["pid"]) == ("the fetch of glm", "ann@desk", holder.pid)
    assert holder.wait(10) < 0
    until(waiting, "held")
    assert lock.holding(path) == [waiting.pid]


def test_nobody_is_ended_where_nobody_holds_it(tmp_path: Path) -> None:
    path = str(tmp_path / "job.lock")
    assert lock.end(path) is None
    with locked(path, "work", 0):
        pass
    assert lock.end(path) is None


def test_one_that_is_removed_while_somebody_waits_is_no_lock_any_more(tmp_path: Path) -> None:
    """As by uninstall, between two looks of who waits: both would have one, of two files of one name."""
    path = tmp_path / "change.lock"
    first = locked(str(path), "the first", 0)
    first.__enter__()

    def meanwhile(_holder: str) -> None:
        first.__exit__(None, None, None)
        path.unlink(missing_ok=True)

    with locked(str(path), "who waited", 5, meanwhile, 0), pytest.raises(HeldError), locked(str(path), "a third", 0):
        pass
