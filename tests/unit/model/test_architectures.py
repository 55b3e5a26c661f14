# SPDX-License-Identifier: MIT
"""Every architecture of the pinned engine is in the table or named as none for a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from plugins.module_utils.model.architectures import ARCHITECTURES, NOT_SERVED, architecture_problem

REPO = Path(__file__).resolve().parents[3]
ENGINE = json.loads((REPO / "tests/engine_architectures.json").read_text())


def test_the_list_is_that_of_the_engine_that_is_pinned() -> None:
    """A new llama_build_source ends here: write the list anew (tests/engine_architectures.py says how), and the next
    test names what is new."""
    pinned = yaml.safe_load((REPO / "roles/llama_build/defaults/main.yml").read_text())["llama_build_source"]
    assert ENGINE["source"] == pinned


def test_every_architecture_of_the_engine_is_in_the_table_or_named_as_none_for_a_server() -> None:
    assert set(ENGINE["architectures"]) - set(ARCHITECTURES) - set(NOT_SERVED) == set()


def test_the_table_has_no_architecture_that_the_engine_lacks() -> None:
    assert (set(ARCHITECTURES) | set(NOT_SERVED)) - set(ENGINE["architectures"]) == set()
    assert set(ARCHITECTURES) & set(NOT_SERVED) == set()


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ("llama", None),
        (None, None),
        ("unheard-of", "The architecture of a-model, 'unheard-of', is not among those that the pinned llama.cpp loads"),
        ("t5", "The architecture of a-model, 't5', is that of an encoder with a decoder"),
        ("two\nlines", "The architecture of a-model, 'two lines', is not among"),
    ],
)
def test_an_architecture_that_is_not_known_is_said(architecture: str | None, said: str | None) -> None:
    found = architecture_problem("a-model", architecture)
    assert (found or "").startswith(said or "") and bool(found) == bool(said)
