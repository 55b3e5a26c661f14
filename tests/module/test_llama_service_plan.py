# SPDX-License-Identifier: MIT
"""The same refusals before a model is fetched and after, through the module that both entry points of the role call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.model.store import SCHEMA_VERSION
from plugins.modules import llama_service_plan
from tests.llama_server import GB, settings, tower
from tests.run_module import run_module

MODEL: dict[str, Any] = {
    "schema_version": SCHEMA_VERSION,
    "name": "a-model",
    "source": {"repo": "someone/a-model"},
    "commit": None,
    "bytes": 100 * GB,
    "files": [{"file": "m.gguf", "size": 100 * GB, "sha256": "0" * 64, "mtime_ns": 1}],
    "gguf": {"kv": None},
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(llama_service_plan, "read_tower", lambda _root: tower(2, 40))
    return tmp_path


def run(place: Path, models: list[dict[str, Any]] | None, **changes: Any) -> dict[str, Any]:
    given = settings(model_path=str(place / "a-model"), build_root=str(place / "llama.cpp"), **changes)
    del given["weights"]
    kept: dict[str, Any] = {
        "tuning_path": str(place / "tuning.json"),
        "benchmark_dir": str(place),
        "config_dir": str(place),
    }
    return run_module("llama_service_plan", settings=given, models=models, **kept)


def problems(answer: dict[str, Any]) -> list[str]:
    """All but those of the places of this test, which may be below /tmp."""
    return [problem for problem in answer["plan"]["problems"] if "sees nothing below" not in problem]


def test_what_is_declared_is_refused_as_what_is_installed(place: Path) -> None:
    before = run(place, [{**MODEL, "name": "another"}, MODEL])
    (place / "a-model").mkdir()
    (place / "a-model/manifest.json").write_text(json.dumps(MODEL))
    after = run(place, None)
    assert "Model a-model does not fit the memory: 100.0 GB of weights" in " ".join(problems(before))
    assert problems(before) == problems(after)
    assert before["plan"]["needed_bytes"] == after["plan"]["needed_bytes"] > 100 * GB


def test_before_anything_is_installed_nothing_is_missing_and_the_model_must_be_declared(place: Path) -> None:
    answer = run(place, [{**MODEL, "name": "another"}])
    assert answer["missing"] == []
    assert problems(answer) == [
        "llama_service_model is a-model, and model_store_models declares another: name one of those."
    ]
    assert len(run(place, None)["missing"]) == 2
