# SPDX-License-Identifier: MIT
"""The same refusals before a model is fetched and after, through the module that both entry points of the role call."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.build.document import BuildPlan
from plugins.module_utils.model.store import SCHEMA_VERSION
from plugins.module_utils.service.document import Intent, Settings
from plugins.modules import llama_service_plan
from tests.documented import argument_spec
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


def run(place: Path, models: list[dict[str, Any]] | None, *others: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What the module answers for an instance with these changes, and for others with theirs."""
    given = [
        settings(**{"model_path": str(place / "a-model"), "build_root": str(place / "llama.cpp"), **each})
        for each in (changes, *others)
    ]
    for each in given:
        del each["weights"]
    kept: dict[str, Any] = {
        "tuning_dir": str(place),
        "benchmark_dir": str(place),
        "instances_path": str(place / "instances"),
    }
    return run_module("llama_service_plan", settings=given, models=models, **kept)


def plan(answer: dict[str, Any], number: int = 0) -> dict[str, Any]:
    made: dict[str, Any] = answer["instances"][number]["plan"]
    return made


def problems(answer: dict[str, Any]) -> list[str]:
    """All but those of the places of this test, which may be below /tmp."""
    return [problem for problem in answer["problems"] if "sees nothing below" not in problem]


def test_what_is_declared_is_refused_as_what_is_installed(place: Path) -> None:
    before = run(place, [{**MODEL, "name": "another"}, MODEL])
    (place / "a-model").mkdir()
    (place / "a-model/manifest.json").write_text(json.dumps(MODEL))
    after = run(place, None)
    assert "Model a-model does not fit the memory: 100.0 GB of weights" in " ".join(problems(before))
    assert problems(before) == problems(after)
    assert plan(before)["needed_bytes"] == plan(after)["needed_bytes"] > 100 * GB


def test_two_instances_are_refused_together_before_and_after_alike(place: Path) -> None:
    small = {**MODEL, "name": "small", "bytes": 30 * GB}
    second = {"instance": "second", "model": "small", "model_path": str(place / "small")}
    first = {**MODEL, "bytes": 60 * GB}
    before = run(place, [first, small], second)
    for model in (first, small):
        (place / model["name"]).mkdir()
        (place / model["name"] / "manifest.json").write_text(json.dumps(model))
    after = run(place, None, second)
    assert [sentence.partition(":")[0] for sentence in problems(before)] == [
        "The instances main and second both listen on port 8080",
        "The instances do not fit the memory together",
    ]
    assert problems(before) == problems(after)
    smaller = [{**first, "bytes": 40 * GB}, small]
    assert problems(run(place, smaller, {**second, "port": 8081})) == []
    assert [entry["name"] for entry in after["instances"]] == ["main", "second"]
    assert [entry["model"]["name"] for entry in after["instances"]] == ["a-model", "small"]


def test_what_one_is_set_to_changes_nothing_of_the_other(place: Path) -> None:
    small = {**MODEL, "name": "small", "bytes": GB}
    alone = run(place, [MODEL, small])
    for changes in ({"port": 9000}, {"numa_policy": "per_node", "context": 8, "huge_pages": "none"}):
        beside = run(place, [MODEL, small], {"instance": "second", "model": "small", **changes})
        assert plan(beside) == plan(alone)


def test_what_is_deployed_and_not_declared_is_named_and_counted(place: Path) -> None:
    old = plan(run(place, [MODEL], instance="old"))
    where = place / "instances/old/deployments/a1"
    where.mkdir(parents=True)
    (where / "deployment.json").write_text(json.dumps({**old, "schema_version": 1, "instance": "old"}))
    (place / "instances/old/current").symlink_to("deployments/a1")
    small = {**MODEL, "bytes": GB}
    answer = run(place, [small])
    assert answer["undeclared"] == ["old"]
    assert any("uninstall_instances=old" in sentence for sentence in problems(answer)), problems(answer)
    again = run(place, [small], instance="old")
    assert (again["undeclared"], problems(again)) == ([], [])
    assert again["instances"][0]["turn"] == 0


def test_before_anything_is_installed_nothing_is_missing_and_the_model_must_be_declared(place: Path) -> None:
    answer = run(place, [{**MODEL, "name": "another"}])
    assert answer["missing"] == []
    assert problems(answer) == [
        "llama_service_model is a-model, and model_store_models declares another: name one of those."
    ]
    assert len(run(place, None)["missing"]) == 2


def test_settings_and_intent_are_taken_as_their_documents_have_them() -> None:
    taken = argument_spec("llama_service_plan")[0]["settings"]["options"]
    assert taken.keys() == Settings.__annotations__.keys() - {"weights"}
    assert argument_spec("numa_placement_info")[0]["intent"]["options"].keys() == Intent.__annotations__.keys()


@pytest.mark.parametrize(
    ("module", "option", "document"),
    [
        ("llama_service_plan", "settings", Settings),
        ("numa_placement_info", "intent", Intent),
        ("llama_build", "build", BuildPlan),
    ],
)
def test_what_may_be_null_is_not_required(module: str, option: str, document: type) -> None:
    taken = argument_spec(module)[0][option]["options"]
    null = [key for key, kind in inspect.get_annotations(document).items() if "None" in str(kind)]
    assert null
    assert [key for key in null if taken[key].get("required")] == [], "Ansible would make the word None of a text"


def test_settings_have_the_types_that_they_are_documented_with(place: Path) -> None:
    said = run(
        place, [MODEL], parallel="2", threads="3", metrics="no", numa_policy="weighted", numa_weights={0: 2, 1: 1}
    )
    meant = run(place, [MODEL], parallel=2, threads=3, metrics=False, numa_policy="weighted", numa_weights={0: 2, 1: 1})
    assert (plan(said)["threads"], plan(said)["weights"]) == (3, {"0": 2, "1": 1})
    assert plan(said) == plan(meant)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"numa_policy": "interleaved"}, "value of numa_policy must be one of: auto, interleave,"),
        ({"contexts": 8192}, "settings.contexts"),
        ({"port": "http"}, "'port' is of type"),
    ],
)
def test_settings_that_do_not_exist_are_refused(place: Path, wrong: dict[str, Any], said: str) -> None:
    message = run(place, [MODEL], **wrong)["msg"]
    assert said in message


def test_the_intent_of_a_plan_is_what_the_placement_is_compared_with(place: Path) -> None:
    (place / "numa_maps").write_text("")
    (place / "smaps").write_text("")
    for policy in ("auto", "weighted", "per_node", "none"):
        for instance in plan(run(place, [MODEL], numa_policy=policy))["units"]:
            answer = run_module("numa_placement_info", path=str(place), intent=instance["intent"])
            assert answer.get("problem", "").startswith("No weights were found"), answer
