# SPDX-License-Identifier: MIT
"""What may be declared, and how the files of a model are named."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.model.declaration import (
    choose_files,
    declaration_problems,
    file_names,
    name_problem,
    piece_problem,
    shard_problem,
    shards_of,
)

HASH = "a" * 64
MODEL = {"name": "tiny", "repo": "acme/tiny-GGUF", "revision": "main", "files": "*Q6_K*"}
SOURCE = {key: value for key, value in MODEL.items() if key != "name"}


@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        {**MODEL, "path": None, "sha256": None},
        {"name": "a.b_c-1", "path": "/m.gguf", "sha256": HASH},
        {"name": "tiny", "path": "/mnt/models/tiny"},
        {"name": "tiny", "url": "https://example.com/m.gguf", "sha256": HASH},
    ],
)
def test_a_good_declaration_has_no_problem(model: dict[str, Any]) -> None:
    assert declaration_problems([model]) == []


@pytest.mark.parametrize(
    ("models", "sentence"),
    [
        ([{**MODEL, "url": "https://host"}], "Model tiny needs exactly one of repo, path and url; it has repo, url."),
        ([{"name": "tiny"}], "Model tiny needs exactly one of repo, path and url; it has none."),
        ([{**MODEL, "revision": None}], "Model tiny has a repo and lacks revision: add it."),
        ([{"name": "tiny", "url": "https://host"}], "Model tiny has a url and lacks sha256: add it."),
        ([{**MODEL, "quant": "Q6"}], "Model tiny has a repo, and quant does not belong to it: remove it."),
        ([{"name": "tiny", "path": "/m", "sha256": HASH.upper()}], "The sha256 of model tiny is not one"),
        ([{"name": "tiny", "path": "/m", "sha256": "a" * 63}], "The sha256 of model tiny is not one"),
        ([{"name": "tiny", "path": "~/m.gguf"}], "The path of model tiny begins with ~"),
        ([{"name": "tiny", "path": "/m/a.gguf.part1of3"}], "The path of model tiny names no GGUF file: /m/a"),
        ([{"name": "tiny", "url": "https://host/a.gguf-split-a?x=1", "sha256": HASH}], "The url of model tiny"),
        ([{"name": "tiny", "url": "https://host:S3cret@host/a", "sha256": HASH}], "The url of model tiny has a u"),
        ([{**MODEL, "name": "../etc"}], "A model has the name '../etc'"),
        ([{**MODEL, "name": ".hidden"}], "A model has the name '.hidden'"),
        ([SOURCE], "A model has the name None"),
        ([MODEL, MODEL], "Two models have the name tiny: give each its own."),
        ([{**MODEL, "revision": 1}], "The revision of model tiny is no text"),
    ],
)  # fmt: skip
def test_a_bad_declaration_is_told_in_one_sentence(models: list[dict[str, Any]], sentence: str) -> None:
    problems = declaration_problems(models)
    assert len(problems) == 1
    assert problems[0].startswith(sentence)
    assert "S3cret" not in problems[0]


def test_a_pattern_chooses_gguf_files_only() -> None:
    names = ["README.md", "b-Q6_K.gguf", "Q6_K/a-00001-of-00002.gguf", "Q6_K/readme.txt", "a-Q4_K.gguf"]
    assert choose_files("Q6_K/*", names) == ["Q6_K/a-00001-of-00002.gguf"]
    assert choose_files("*Q6_K*", names) == ["Q6_K/a-00001-of-00002.gguf", "b-Q6_K.gguf"]


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["a.gguf"], None),
        (["d/a-00001-of-00002.gguf", "d/a-00002-of-00002.gguf"], None),
        (["a-00001-of-00001.gguf"], None),
        (["a.gguf", "b.gguf"], "2 models (a.gguf, b.gguf)"),
        (["a-00001-of-00002.gguf", "a-00002-of-00003.gguf"], "2 models"),
        (["x/a-00001-of-00001.gguf", "y/a-00001-of-00001.gguf"], "2 models (x/a, y/a)"),
        (["a-00001-of-00001.gguf", "mmproj.gguf"], "2 models"),
        (["a-00001-of-00003.gguf", "a-00003-of-00003.gguf"], "shard 2 of 3 is missing"),
        (["a-00002-of-00002.gguf"], "shard 1 of 2 is missing"),
        (["a-00000-of-00002.gguf", "a-00001-of-00002.gguf", "a-00002-of-00002.gguf"], "no shard 0 of 2"),
    ],
)
def test_files_are_one_model_or_what_is_wrong_is_told(names: list[str], problem: str | None) -> None:
    found = shard_problem(names)
    assert found is None if problem is None else problem in str(found)


@pytest.mark.parametrize("name", ["", ".", "..", "manifest.json", "proven.json", "quarantine", "a\nb.gguf", "a\0.gguf"])
def test_a_name_that_is_the_stores_own_or_no_line_of_settings_is_told(name: str) -> None:
    assert repr(name) in str(name_problem(["model.gguf", name]))
    assert name_problem(["model.gguf", "-1 of [2] ümläut.gguf"]) is None


@pytest.mark.parametrize("pattern", ["*.GGUF", "*.gguf", "BF16/*"])
def test_an_ending_in_capitals_is_one(pattern: str) -> None:
    names = ["BF16/a-00001-OF-00002.GGUF", "BF16/a-00002-OF-00002.GGUF", "BF16/README.MD"]
    chosen = choose_files(pattern, names)
    assert chosen == names[:2]
    assert shard_problem(chosen) is None
    assert shards_of(names[0]) == chosen


def test_a_file_has_in_the_store_the_name_that_the_engine_looks_for() -> None:
    """llama.cpp finds the other shards by the name of the first, in small letters (llama_split_path)."""
    model: Any = {"source": {"repo": "acme/a"}, "files": [{"file": "BF16/A-00001-OF-00002.GGUF"}, {"file": "B.Gguf"}]}
    assert file_names(model) == ["A-00001-of-00002.gguf", "B.gguf"]


@pytest.mark.parametrize("end", ["part1of3", "part3of3", "split-a", "part-aa", "part_01", "001"])
def test_a_piece_of_a_file_is_told_from_a_shard(end: str) -> None:
    assert f"a.gguf.{end} is a piece of a file" in str(piece_problem(["b.gguf", f"a.gguf.{end}"]))
    assert piece_problem(["a.gguf", "a-00001-of-00002.gguf", "a.gguf.md", "a.gguf.sha256"]) is None


def test_all_shards_are_known_from_one() -> None:
    assert shards_of("a-00002-of-00003.gguf") == [f"a-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert shards_of("a.gguf") == ["a.gguf"]


def test_a_name_has_room_for_what_the_store_adds_to_it() -> None:
    """A model with a name of 240 characters was fetched, and could not be pinned."""
    fine, long = ({"name": "m" * count, "path": "/a.gguf"} for count in (200, 201))
    assert declaration_problems([fine]) == []
    (problem,) = declaration_problems([long])
    assert problem.startswith("A model has a name of 201 characters, mmmmmmmmmmmmmmmmmmmm…")
