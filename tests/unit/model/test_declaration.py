# SPDX-License-Identifier: MIT
"""Declarations, plans and what fits: decided without a machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.files import write_beside
from plugins.module_utils.forecast.roofline import model_of
from plugins.module_utils.model.declaration import (
    choose_files,
    declaration_problems,
    disk_problem,
    intact_files,
    make_plan,
    memory_problem,
    models_that_fit,
    name_problem,
    partial_bytes,
    shard_problem,
    shards_of,
    state_of,
    suggestion,
)
from plugins.module_utils.model.kv_cache import kv_bytes

HASH = "a" * 64
MODEL = {"name": "tiny", "repo": "acme/tiny-GGUF", "revision": "main", "files": "*Q6_K*"}
SOURCE = {key: value for key, value in MODEL.items() if key != "name"}
GB = 10**9


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


def test_all_shards_are_known_from_one() -> None:
    assert shards_of("a-00002-of-00003.gguf") == [f"a-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert shards_of("a.gguf") == ["a.gguf"]


@pytest.fixture
def stored(tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """A manifest, and the directory of its files."""
    files = []
    for name in ("a-00001-of-00002.gguf", "a-00002-of-00002.gguf"):
        (tmp_path / name).write_bytes(b"weights")
        found = (tmp_path / name).stat()
        files.append({"file": name, "size": 7, "mtime_ns": found.st_mtime_ns, "sha256": name})
    return {
        "schema_version": 1,
        "name": "tiny",
        "source": SOURCE,
        "commit": "c" * 40,
        "files": files,
        "bytes": 14,
        "gguf": {},
    }, tmp_path


def test_a_model_is_present_when_its_files_are_as_they_were_proven(stored: tuple[dict[str, Any], Path]) -> None:
    manifest, directory = stored
    assert state_of(MODEL, manifest, str(directory)) == ("present", None)
    assert state_of(MODEL, None, str(directory)) == ("absent", None)


def test_another_declaration_or_another_file_is_noticed(stored: tuple[dict[str, Any], Path]) -> None:
    manifest, directory = stored
    assert state_of({**MODEL, "revision": "v2"}, manifest, str(directory))[0] == "changed"
    second = directory / manifest["files"][1]["file"]
    os.utime(second, ns=(0, 0))
    assert state_of(MODEL, manifest, str(directory)) == (
        "changed",
        f"{second.name} is gone, or was changed after it was verified",
    )


def test_another_commit_or_other_files_than_are_wanted_are_noticed(stored: tuple[dict[str, Any], Path]) -> None:
    manifest, directory = stored
    assert state_of(MODEL, manifest, str(directory), manifest) == ("present", None)
    state, reason = state_of(MODEL, manifest, str(directory), {**manifest, "commit": "d" * 40})
    assert (state, reason) == ("changed", f"commit {'d' * 40} is wanted, and {'c' * 40} is here")
    fewer = {**manifest, "files": manifest["files"][:1]}
    assert state_of(MODEL, manifest, str(directory), fewer)[0] == "changed"


def test_a_file_that_a_verification_found_wrong_is_not_taken_for_intact(stored: tuple[dict[str, Any], Path]) -> None:
    manifest, directory = stored
    first, second = (entry["file"] for entry in manifest["files"])
    verified = {"schema_version": 1, "time": 1, "wrong": {second: "0" * 64}}
    write_beside(str(directory / "verified.json"), json.dumps(verified))
    assert [entry["file"] for entry in intact_files(manifest, str(directory))] == [first]
    assert state_of(MODEL, manifest, str(directory)) == (
        "changed",
        f"{second} had another SHA-256 when it was verified",
    )
    (directory / "verified.json").write_text("damaged")
    assert state_of(MODEL, manifest, str(directory)) == ("present", None)


def entry(state: str, manifest: dict[str, Any] | None, intact: list[str], partial: int = 0) -> dict[str, Any]:
    """As model_store_info describes it."""
    return {
        "name": "tiny", "state": state, "reason": None, "locked": None, "verified": None, "manifest": manifest,
        "intact": intact, "partial_bytes": partial,
    }  # fmt: skip


def test_the_plan_counts_what_is_missing(stored: tuple[dict[str, Any], Path]) -> None:
    manifest, _directory = stored
    names = [file["file"] for file in manifest["files"]]
    source = [{**manifest, "commit": "d" * 40}]

    def missing(*arguments: Any) -> int:
        return int(make_plan([entry(*arguments)], source)[0]["missing_bytes"])

    assert missing("present", manifest, names) == 0
    assert missing("absent", None, []) == 14
    assert missing("changed", manifest, names[:1]) == 7
    assert missing("changed", manifest, names) == 0
    assert missing("absent", None, [], 4) == 10
    assert make_plan([entry("present", manifest, names)], [])[0]["commit"] == "c" * 40
    assert make_plan([entry("changed", manifest, [])], source)[0]["commit"] == "d" * 40
    plan = make_plan([{**entry("absent", None, []), "locked": source[0]}], [])
    assert (plan[0]["commit"], plan[0]["locked"], plan[0]["missing_bytes"]) == ("d" * 40, True, 14)


def test_what_a_fetch_left_counts_and_what_it_found_wrong_does_not(tmp_path: Path) -> None:
    for name in (".a.partial/one.gguf", ".a.partial/two.gguf.part", ".a.partial/quarantine/two.gguf", ".a.swarm/three"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(4096))
    assert partial_bytes(str(tmp_path), "a") == 3 * 4096
    assert partial_bytes(str(tmp_path), "b") == 0


KV = {"elements": 250_000, "window_elements": 0, "window": 0, "state_bytes": 0}
PLAN = [{"name": "tiny", "bytes": 100 * GB, "missing_bytes": 100 * GB, "gguf": {"kv": KV}}]


def test_the_disk_must_hold_what_is_missing_and_the_reserve() -> None:
    assert disk_problem(PLAN, "/m", 102 * GB, 2 * GB) is None
    assert disk_problem([{**PLAN[0], "missing_bytes": 0}], "/m", 0, 2 * GB) is None
    assert disk_problem(PLAN, "/m", 101 * GB, 2 * GB) == (
        "The disk of /m has 101.0 GB free, and 100.0 GB of models and a reserve of 2.00 GB are to go there: make "
        "room, or set model_store_dir to a larger disk."
    )


def test_the_memory_must_hold_weights_cache_and_reserve() -> None:
    assert memory_problem(PLAN, "tiny", 106 * GB, 8192, GB) is None
    assert memory_problem(PLAN, "tiny", 105 * GB, 8192, GB) == (
        "Model tiny does not fit the memory: 100.0 GB of weights, 4.10 GB of KV cache for 8192 tokens and 1.00 GB of "
        "reserve are more than 105.0 GB: choose a smaller model or quantization, or a smaller llama_service_context."
    )


def test_a_windowed_cache_is_no_larger_than_its_window() -> None:
    windowed = [{**PLAN[0], "gguf": {"kv": KV | {"elements": 0, "window_elements": 250_000, "window": 1024}}}]
    assert memory_problem(windowed, "tiny", 102 * GB, 131_072, GB) is None
    # Four requests have a window each: 4 x 1024 + 512 tokens.
    assert "2.30 GB of KV cache" in str(memory_problem(windowed, "tiny", 102 * GB, 131_072, GB, parallel=4))


def test_a_model_that_is_not_declared_cannot_be_served() -> None:
    assert memory_problem(PLAN, "other", 10**15, 1, 0) == (
        "llama_service_model is other, and model_store_models declares tiny: name one of those."
    )


@pytest.fixture(scope="module")
def catalog(repo: Path) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = yaml.safe_load((repo / "catalog" / "models.yml").read_text())["models"]
    return models


def test_every_model_of_the_catalog_can_be_declared(catalog: list[dict[str, Any]]) -> None:
    assert len(catalog) >= 12
    for model in catalog:
        declared = {"name": model["name"], "repo": model["repo"], "revision": "main", "files": model["files"]}
        assert declaration_problems([declared]) == []
        assert 0 < model["active_bytes"] <= model["bytes"]
        assert model_of(model), model["name"]
        assert model["active_parameters"] <= model["parameters"]
        assert model["context"] > 8192
        assert kv_bytes(model["kv"], 8192) > 0


@pytest.mark.parametrize("gigabytes", [4, 8, 16, 64, 384, 1024])
def test_suggestions_fit_and_can_be_pasted(catalog: list[dict[str, Any]], gigabytes: int) -> None:
    memory = gigabytes * GB
    fitting = models_that_fit(catalog, memory, GB)
    assert fitting
    assert all(model["bytes"] + kv_bytes(model["kv"], 8192) + GB <= memory for model in fitting)
    assert [model["bytes"] for model in fitting] == sorted((model["bytes"] for model in fitting), reverse=True)
    said = suggestion(catalog, memory, GB)
    pasted = yaml.safe_load(said[said.index("model_store_models:") :].partition("\n\n")[0])["model_store_models"]
    assert declaration_problems(pasted) == []
    assert pasted[0]["name"] == fitting[0]["name"]


def test_where_nothing_fits_that_is_said(catalog: list[dict[str, Any]]) -> None:
    assert "none of the catalog fits 0.50 GB" in suggestion(catalog, GB // 2, 0)
