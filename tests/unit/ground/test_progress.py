# SPDX-License-Identifier: MIT
"""How far a long job is, and how that is shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.progress import Progress, job_running, progress_line, read


def state(**changes: Any) -> Any:
    start = {
        "label": "compiling",
        "unit": "files",
        "first": 0,
        "started": 1000.0,
        "done": 0,
        "total": 0,
        "updated": 1000.0,
    }
    return {**start, **changes}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"label": "configuring"}, "configuring"),
        ({"done": 0, "total": 361}, "compiling 0 of 361, 0 %"),
        ({"done": 120, "total": 361, "updated": 1150.0}, "compiling 120 of 361, 33 %, 5 min left"),
        ({"done": 361, "total": 361, "updated": 1150.0}, "compiling 361 of 361, 100 %"),
        (
            {"label": "fetching", "unit": "bytes", "done": 12.1e9, "total": 283e9, "updated": 1110.0},
            "fetching 12.1 of 283.0 GB, 110 MB/s, 41 min left",
        ),
        # 100 GB were there already: only the 10 GB of this run tell how fast it is.
        (
            {"label": "fetching", "unit": "bytes", "first": 100e9, "done": 110e9, "total": 200e9, "updated": 1100.0},
            "fetching 110.0 of 200.0 GB, 100 MB/s, 15 min left",
        ),
        (
            {"unit": "bytes", "done": 1e6, "total": 77e6, "updated": 1001.0},
            "compiling 1.0 of 77.0 MB, 1 MB/s, 76 s left",
        ),
        (
            {"label": "fetching", "unit": "bytes", "done": 12e9, "total": 283e9, "updated": 1010.0},
            "fetching 12.0 of 283.0 GB, 1.2 GB/s, 4 min left",
        ),
        # Too early to tell: nearly nothing in nearly no time.
        (
            {"label": "fetching", "unit": "bytes", "done": 2e6, "total": 283e9, "updated": 1001.0},
            "fetching 0.0 of 283.0 GB",
        ),
        # A file that was wrong is to come again.
        (
            {"label": "fetching", "unit": "bytes", "first": 9e9, "done": 5e9, "total": 20e9, "updated": 1900.0},
            "fetching 5.0 of 20.0 GB",
        ),
        ({"done": 1, "total": 1000, "updated": 1100.0}, "compiling 1 of 1000, 0 %, 27.8 h left"),
    ],
)
def test_the_line(changes: dict[str, Any], line: str) -> None:
    assert progress_line(state(**changes)) == line


def test_what_is_told_can_be_read_while_the_job_runs_and_is_gone_afterwards(tmp_path: Path) -> None:
    path = str(tmp_path / "deep" / "progress.json")
    with Progress(path) as progress:
        progress.tell("compiling", 3, 10, "files")
        told = read(path)
        assert told is not None
        assert {name: told[name] for name in ("label", "done", "total", "unit", "first")} == {
            "label": "compiling",
            "done": 3,
            "total": 10,
            "unit": "files",
            "first": 3,
        }
        assert job_running(path)
    assert read(path) is None
    assert not job_running(path)


def test_what_was_there_before_the_first_count_is_not_taken_for_speed(tmp_path: Path) -> None:
    path = str(tmp_path / "progress.json")
    with Progress(path) as progress:
        progress.tell("fetching")
        progress.tell("fetching", 12, 283, "bytes")
        told = read(path)
        assert told is not None
        assert (told["first"], told["unit"]) == (12, "bytes")


def test_a_job_that_nobody_started_does_not_run(tmp_path: Path) -> None:
    assert not job_running(str(tmp_path / "progress.json"))


def test_a_file_that_is_no_progress_is_none(tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text(json.dumps([1]))
    assert read(str(tmp_path / "progress.json")) is None


def test_a_killed_job_gives_the_lock_back_and_what_it_told_is_forgotten(tmp_path: Path, repo: Path) -> None:
    path = str(tmp_path / "progress.json")
    job = (
        "import os, signal, sys\n"
        "from plugins.module_utils.progress import Progress\n"
        "with Progress(sys.argv[1]) as progress:\n"
        "    progress.tell('compiling', 1, 2)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", job, path], cwd=repo, check=False)
    assert killed.returncode == -9
    assert not job_running(path)
    assert read(path) is not None
    with Progress(path):
        assert read(path) is None


def test_a_command_that_outlives_the_job_keeps_the_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "progress.json")
    with Progress(path) as progress:
        command = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[progress.fileno()])
    assert job_running(path)
    command.communicate()
    assert not job_running(path)


def as_nobody(repo: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import os; os.setgid(65534); os.setuid(65534)\n{code}"
    command = [sys.executable, "-c", f"import plugins.module_utils.progress\n{code}", *arguments]
    return subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_cannot_take_the_lock_nor_know_of_it(repo: Path) -> None:
    # pytest's own directories are closed to others.
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        path = f"{directory}/progress.json"
        Path(f"{path}.lock").touch(0o644)  # as an earlier version made it
        with Progress(path):
            assert os.stat(f"{path}.lock").st_mode & 0o777 == 0o600
            assert job_running(path)
        locked = as_nobody(repo, "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX)", f"{path}.lock")
        assert "PermissionError" in locked.stderr
        asked = as_nobody(repo, "import sys; print(plugins.module_utils.progress.job_running(sys.argv[1]))", path)
        assert asked.stdout.strip() == "None", asked.stderr
