# SPDX-License-Identifier: MIT
"""Several files from templates in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.controller import task_result

PLAY = """\
- hosts: localhost
  connection: local
  gather_facts: false
  vars: {size: %s}
  tasks:
    - llamatower.tower.template_files:
        paths: [%s/a.conf, %s/b.conf]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Templates beside a play, and a directory for what comes of them."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/a.conf.j2").write_text(
        "{# none of this #}\nsize = {{ size }}\n{% if size > 1 %}\nlarge\n{% endif %}\n"
    )
    (tmp_path / "templates/b.conf.j2").write_text("always the same\n\n")
    (tmp_path / "out").mkdir()
    return tmp_path


def write(repo: Path, place: Path, size: int, *options: str) -> tuple[dict[str, Any], str]:
    """The result of the task, and all that was printed."""
    play = place / "play.yml"
    play.write_text(PLAY % (size, place / "out", place / "out"))
    result, done = task_result(repo / "inventory/localhost.yml", play, *options, umask=0o077)
    return result, done.stdout


def test_what_differs_is_written_for_all_to_read_and_shown(repo: Path, place: Path) -> None:
    first, _said = write(repo, place, 1)
    out = place / "out"
    assert first["written"] == [f"{out}/a.conf", f"{out}/b.conf"]
    assert (out / "a.conf").read_text() == "size = 1\n"
    assert (out / "b.conf").read_text() == "always the same\n\n"
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o644}
    second, _said = write(repo, place, 1)
    assert (second["changed"], second["written"]) == (False, [])
    third, said = write(repo, place, 2, "--diff")
    assert third["written"] == [f"{out}/a.conf"]
    assert "-size = 1\n+size = 2\n+large\n" in said
    assert "always the same" not in said


def test_a_check_tells_and_writes_nothing(repo: Path, place: Path) -> None:
    result, said = write(repo, place, 1, "--check", "--diff")
    assert result["changed"]
    assert "+size = 1\n" in said
    assert not list((place / "out").iterdir())


def test_a_mode_that_somebody_changed_is_set_again(repo: Path, place: Path) -> None:
    write(repo, place, 1)
    (place / "out/b.conf").chmod(0o600)
    result, _said = write(repo, place, 1)
    assert result["written"] == [f"{place}/out/b.conf"]
    assert (place / "out/b.conf").stat().st_mode & 0o777 == 0o644


def test_what_cannot_be_written_is_named_with_the_reason(repo: Path, place: Path) -> None:
    (place / "out").rmdir()
    result, _said = write(repo, place, 1)
    assert (
        result["msg"]
        == f"{place}/out/a.conf cannot be written (No such file or directory): make room there, or mend the disk."
    )
