# SPDX-License-Identifier: MIT
"""The file of the API keys, as the module writes it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.run_module import run_module

ANN, BEN = {"name": "ann", "key": "key-of-ann"}, {"name": "ben", "key": "key-of-ben"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "main.keys"


def run(path: Path, *keys: dict[str, str], **options: Any) -> dict[str, Any]:
    return run_module("llama_api_keys", path=str(path), keys=list(keys), mode="0640", **options)


def test_keys_are_written_with_their_names_and_once(path: Path) -> None:
    assert run(path, ANN, BEN)["changed"] is True
    assert path.read_text() == "# ann\nkey-of-ann\n# ben\nkey-of-ben\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert run(path, ANN, BEN)["changed"] is False
    assert run(path, BEN)["changed"] is True
    assert path.read_text() == "# ben\nkey-of-ben\n"


def test_a_mode_that_somebody_changed_is_put_right(path: Path) -> None:
    run(path, ANN)
    os.chmod(path, 0o644)
    assert run(path, ANN)["changed"] is True
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_random_key_is_made_once_and_rotated_on_request(path: Path) -> None:
    assert run(path)["changed"] is True
    first = path.read_text().splitlines()[1]
    assert len(first) == 43
    assert run(path)["changed"] is False
    assert run(path, rotate=True)["changed"] is True
    assert path.read_text().splitlines()[1] not in ("", first)


def test_check_mode_writes_nothing(path: Path) -> None:
    assert run(path, ANN, check=True)["changed"] is True
    assert not path.exists()


def test_a_key_that_is_none_is_refused_and_no_answer_has_a_key(path: Path) -> None:
    run(path, ANN)
    answer = run(path, BEN, {"name": "eve", "key": "#3cret"}, diff=True)
    assert answer["failed"] is True
    assert "API key 2" in answer["msg"]
    assert "3cret" not in str(answer) and "key-of-ben" not in str(answer)
    assert path.read_text() == "# ann\nkey-of-ann\n"
