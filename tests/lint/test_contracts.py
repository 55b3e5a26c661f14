# SPDX-License-Identifier: MIT
"""What the checkers must see: a decision that imports the report, and a misspelt key of a document."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def copy(repo: Path, tmp_path: Path) -> Path:
    """The plugins and the settings of the tools, to break something in."""
    shutil.copytree(repo / "plugins", tmp_path / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(repo / "pyproject.toml", tmp_path)
    extension = tmp_path / "tests/lint"
    extension.mkdir(parents=True)
    shutil.copy(repo / "tests/lint/typed_get.py", extension)
    return tmp_path


def run(command: list[str], directory: Path) -> tuple[int, str]:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    # As wide as the terminal, lines are broken.
    said = " ".join((done.stdout + done.stderr).split())
    print(said)
    return done.returncode, said


def test_a_decision_that_imports_the_report_breaks_the_contract(copy: Path) -> None:
    command = ["lint-imports", "--no-cache"]
    code, said = run(command, copy)
    assert code == 0
    decision = copy / "plugins/module_utils/advice/kernel.py"
    decision.write_text(decision.read_text() + "\nfrom ..report import markdown\n")
    code, said = run(command, copy)
    assert code != 0
    assert "plugins.module_utils.advice.kernel -> plugins.module_utils.report" in said


def test_a_wing_that_no_contract_knows_breaks_it(copy: Path) -> None:
    """A new directory must say where it belongs, else anything could be imported through it."""
    wing = copy / "plugins/module_utils/astrology"
    wing.mkdir()
    (wing / "stars.py").write_text("")
    code, said = run(["lint-imports", "--no-cache"], copy)
    assert code != 0
    assert "astrology" in said


@pytest.mark.parametrize(
    ("document", "access", "right", "wrong"),
    [
        ("model.document.Manifest", "[{}]", '"commit"', '"comit"'),
        ("model.document.Manifest", ".get({})", '"commit"', '"comit"'),
        ("tower_document.Node", "[{}]", '"cpus"', '"cpu"'),
    ],
)
def test_a_misspelt_key_of_a_document_is_an_error_of_types(
    copy: Path, document: str, access: str, right: str, wrong: str
) -> None:
    module, _, name = document.rpartition(".")
    code = f"from .{module} import {name}\n\n\ndef read(found: {name}) -> object:\n    return found{access}\n"
    reader = copy / "plugins/module_utils/reader.py"
    command = ["mypy", "--cache-dir", str(copy / "cache"), str(reader)]
    reader.write_text(code.format(right))
    assert run(command, copy)[0] == 0
    reader.write_text(code.format(wrong))
    result, said = run(command, copy)
    assert result != 0
    assert f"has no key {wrong}" in said
