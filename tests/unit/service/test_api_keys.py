# SPDX-License-Identifier: MIT
"""Which API keys the server takes, and what becomes of their file."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from plugins.module_utils.service.api_keys import GENERATED, key_file, key_problems, read_keys

FRESH = "f" * 43


def keys(*pairs: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "key": key} for name, key in pairs]


def test_keys_that_are_some_are_taken() -> None:
    assert key_problems(keys(("ann", "S3cret"), ("Ben Müller", "a,b#c=="), ("ci@tower-1", "~!"))) == []
    assert key_problems([]) == key_problems(None) == []


@pytest.mark.parametrize(
    "key", ["", "#3cret", "two words", " first", "last ", "a\nb", "a\tb", "a\rb", "schlüssel", "\x00"]
)
def test_what_the_server_would_not_read_as_a_key_is_refused_and_not_said(key: str) -> None:
    (problem,) = key_problems(keys(("ann", key)))
    assert "API key 1 in llama_service_api_keys would not be read as a key" in problem
    assert not key or key not in problem


@pytest.mark.parametrize("name", ["", " ann", "a\nb", "(generated)", "#", "a,b"])
def test_a_name_is_one_line_and_none_of_ours(name: str) -> None:
    (problem,) = key_problems(keys((name, "S3cret")))
    assert problem.startswith("The name of API key 1 in llama_service_api_keys is empty or no plain name")


def test_names_and_keys_are_there_once() -> None:
    assert key_problems(keys(("ann", "x"), ("ann", "y"))) == [
        "Two of llama_service_api_keys have the name ann: give each its own."
    ]
    assert key_problems(keys(("ann", "x"), ("ben", "x"))) == [
        "API key 2 in llama_service_api_keys is there twice: give each client its own."
    ]


@given(
    some.lists(some.tuples(some.text(max_size=8), some.text(max_size=8)), min_size=1, max_size=4),
    some.text(max_size=99),
)
def test_the_server_reads_exactly_the_keys_that_were_not_refused(pairs: list[tuple[str, str]], present: str) -> None:
    entries = keys(*pairs)
    if not key_problems(entries):
        assert read_keys(key_file(entries, present, FRESH)) == [key for _name, key in pairs]


@given(some.text(max_size=200), some.booleans())
def test_without_a_list_there_is_always_exactly_one_key(present: str, rotate: bool) -> None:
    assert len(read_keys(key_file([], present, FRESH, rotate))) == 1


def test_a_generated_key_stays_until_it_is_rotated_or_keys_are_given() -> None:
    first = key_file([], "", FRESH)
    assert read_keys(first) == [FRESH]
    assert key_file([], first, "g" * 43) == first
    assert read_keys(key_file([], first, "g" * 43, rotate=True)) == ["g" * 43]
    given_ones = key_file(keys(("ann", "x")), first, "g" * 43)
    assert given_ones == "# ann\nx\n"


def test_a_key_that_leaves_the_list_leaves_the_file() -> None:
    two = key_file(keys(("ann", "x"), ("ben", "y")), "", FRESH)
    assert read_keys(key_file(keys(("ben", "y")), two, FRESH)) == ["y"]
    # Nor does the last one become the key of everybody.
    assert read_keys(key_file([], two, FRESH)) == [FRESH]
    assert read_keys(key_file([], "x\n", FRESH)) == [FRESH]


@pytest.mark.parametrize("broken", [f"{GENERATED}\n", f"{GENERATED}\n#x\n", f"{GENERATED}\na b\n", f"{GENERATED}"])
def test_a_file_that_lost_its_generated_key_gets_another(broken: str) -> None:
    assert key_file([], broken, FRESH) == f"{GENERATED}\n{FRESH}\n"
