# SPDX-License-Identifier: MIT
"""What a tower runs by itself, installed by a playbook out of the collection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.controller import task_result

PLAY = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - llamatower.tower.tower_programs:
        path: {path}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """What an older version has left."""
    path = tmp_path / "lib"
    (path / "llamatower").mkdir(parents=True)
    (path / "llamatower/placement_check.py").touch()
    return path


def install(repo: Path, path: Path, *options: str) -> tuple[dict[str, Any], str]:
    """The result of the task, and all that was printed."""
    play = path.parent / "play.yml"
    play.write_text(PLAY.format(path=path))
    result, done = task_result(repo / "inventory/localhost.yml", play, *options, umask=0o077)
    assert done.returncode == 0, done.stdout + done.stderr
    return result, done.stdout


def test_a_second_run_changes_nothing(repo: Path, path: Path) -> None:
    first, _said = install(repo, path)
    assert first["changed"]
    assert first["removed"] == ["llamatower/placement_check.py"]
    assert {"llamatower/service/supervise.py", "llamatower/model/verify.py", "llamatower/tower.py"} <= set(
        first["written"]
    )
    second, _said = install(repo, path)
    assert (second["changed"], second["written"], second["removed"]) == (False, [], [])


def test_a_check_changes_nothing_and_shows_names_and_no_code(repo: Path, path: Path) -> None:
    result, said = install(repo, path, "--check", "--diff")
    assert result["changed"]
    assert [found.name for found in path.rglob("*")] == ["llamatower", "placement_check.py"]
    assert "-llamatower/placement_check.py\n" in said
    assert "+llamatower/service/supervise.py\n" in said
    assert "import annotations" not in said
