# SPDX-License-Identifier: MIT
"""Every checker of style, types and imports, with no warning left."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

CHECKERS = {
    "ansible-lint": ["ansible-lint", "--nocolor"],
    "yamllint": ["yamllint", "--strict", "."],
    "ruff": ["ruff", "check"],
    "ruff-format": ["ruff", "format", "--diff"],
    "mypy": ["mypy", "plugins", "tests"],
    "imports": ["lint-imports", "--no-cache"],
    "antsibull-docs": [
        "antsibull-docs",
        "lint-collection-docs",
        "--plugin-docs",
        "--validate-collection-refs=self",
        ".",
    ],
    "antsibull-changelog": ["antsibull-changelog", "lint"],
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_nothing_to_say(checker: str, repo: Path) -> None:
    done = subprocess.run(CHECKERS[checker], cwd=repo, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_shellcheck_has_nothing_to_say(repo: Path, sources: list[Path]) -> None:
    scripts = [path for path in sources if path.suffix == ".sh" or path.read_bytes()[:60].startswith(b"#!/bin/")]
    assert scripts, "no shell script was found: the search is wrong"
    done = subprocess.run(["shellcheck", *scripts], cwd=repo, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
