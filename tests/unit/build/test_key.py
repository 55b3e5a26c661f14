# SPDX-License-Identifier: MIT
"""What identifies a build of llama.cpp."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.build.key import build_key, cmake_options, source_digest, source_problem

SHA256 = "ab" * 32
COMMIT = "cd" * 20
SDIST: Any = {"type": "sdist", "package": "llama-cpp-python", "version": "0.3.36", "sha256": SHA256}
ARCHIVE: Any = {"type": "archive", "location": "/srv/llama.cpp.tar.gz", "sha256": SHA256}
GIT: Any = {"type": "git", "url": "https://github.com/ggml-org/llama.cpp", "tag": "v0.5.0", "commit": COMMIT}


@pytest.mark.parametrize("source", [SDIST, ARCHIVE, GIT])
def test_a_pinned_source_is_accepted(source: dict[str, Any]) -> None:
    assert source_problem(source) is None


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"type": "zip"}, "has the type 'zip': write sdist, archive or git"),
        ({}, "has the type None"),
        ({"type": "archive", "location": "x"}, "of the type archive lacks sha256"),
        ({**SDIST, "sha256": None}, "of the type sdist lacks sha256"),
        ({**GIT, "branch": "master"}, "of the type git has no branch"),
        ({**GIT, "commit": "cdcdcdc"}, "commit cdcdcdc of llama_build_source is not a full one"),
        ({**SDIST, "sha256": "ab"}, "SHA-256 ab of llama_build_source is not one"),
    ],
)
def test_an_unpinned_source_is_refused_in_one_sentence(source: dict[str, Any], words: str) -> None:
    problem = source_problem(source)
    assert problem is not None
    assert words in problem


def test_the_content_is_pinned_by_the_hash_or_the_commit() -> None:
    assert [source_digest(source) for source in (SDIST, ARCHIVE, GIT)] == [SHA256, SHA256, COMMIT]


def test_native_leaves_the_choice_to_the_compiler() -> None:
    options = cmake_options("native", {})
    assert options["GGML_NATIVE"] == "ON"
    assert "GGML_AVX2" not in options


def test_a_level_says_yes_or_no_to_every_switch() -> None:
    options = cmake_options("x86-64-v3", {})
    assert {name: options[f"GGML_{name}"] for name in ("NATIVE", "AVX2", "F16C", "AVX512")} == {
        "NATIVE": "OFF",
        "AVX2": "ON",
        "F16C": "ON",
        "AVX512": "OFF",
    }


def test_nothing_is_fetched_while_it_is_built() -> None:
    options = cmake_options("native", {})
    assert (options["LLAMA_BUILD_UI"], options["LLAMA_USE_PREBUILT_UI"]) == ("OFF", "OFF")


def test_own_options_win() -> None:
    options = cmake_options("x86-64-v3", {"GGML_LTO": True, "GGML_AVX2": False, "LLAMA_BUILD_NUMBER": 7})
    assert (options["GGML_LTO"], options["GGML_AVX2"], options["LLAMA_BUILD_NUMBER"]) == ("ON", "OFF", "7")


KEY = {"source": SHA256, "options": {"A": "ON", "B": "OFF"}, "compiler": "c++ 12.2.0", "features": ["avx2"]}


def test_the_key_does_not_depend_on_the_order_of_the_options() -> None:
    assert build_key(**KEY) == build_key(**{**KEY, "options": {"B": "OFF", "A": "ON"}})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [{"source": COMMIT}, {"options": {"A": "ON"}}, {"compiler": "c++ 14.2.0"}, {"features": ["avx2", "avx512f"]}],
)
def test_whatever_changes_the_binaries_changes_the_key(change: dict[str, Any]) -> None:
    assert build_key(**KEY) != build_key(**{**KEY, **change})  # type: ignore[arg-type]
