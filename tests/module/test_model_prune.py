# SPDX-License-Identifier: MIT
"""A model is removed where somebody named it and nobody needs it."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.model.fit import disk_problem
from plugins.module_utils.model.prune import found, prune_problem
from plugins.module_utils.model.store import model_plan
from plugins.module_utils.service.deployment import SCHEMA_VERSION
from tests.controller import MODEL, Tower, counts, said
from tests.run_module import run_module


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with two models, and what a fetch left of one that never came."""
    for name in ("old", "main", ".old.partial", ".half.partial"):
        (tmp_path / "store" / name).mkdir(parents=True)
        (tmp_path / "store" / name / "model.gguf").write_bytes(bytes(40960))
    return tmp_path / "store"


def prune(store: Path, *names: str, **arguments: Any) -> dict[str, Any]:
    instances = str(store.parent / "instances")
    return run_module("model_prune", path=str(store), names=list(names), **{"instances_path": instances, **arguments})


def deploy(store: Path, instance: str, name: str, link: str | None = None, directory: Path | None = None) -> Path:
    """A deployment of an instance with a model of the store, and the link that names it."""
    path = store.parent / "instances" / instance / "deployments" / f"of-{name}"
    path.mkdir(parents=True)
    model = {"name": name, "directory": str(directory or store / f".pinned/{name}-0123456789ab")}
    (path / "deployment.json").write_text(
        json.dumps({"schema_version": SCHEMA_VERSION, "instance": instance, "model": model})
    )
    if link:
        (path.parent.parent / link).symlink_to(f"deployments/{path.name}")
    return path


def test_what_is_named_is_removed_and_all_that_was_left_of_it(store: Path) -> None:
    preview = prune(store, "old", "half", "never", check=True, diff=True)
    assert preview["changed"] and (store / "old/model.gguf").exists()
    assert preview["diff"]["before"] == "old, 82 kB\nhalf, 41 kB\n"
    result = prune(store, "old", "half", "never")
    assert result["changed"]
    assert result["removed"] == [{"name": "old", "bytes": 81920}, {"name": "half", "bytes": 40960}]
    assert result["bytes"] == 122880
    assert [path.name for path in store.iterdir()] == ["main"]
    assert prune(store, "old", "half")["changed"] is False


def test_a_draft_that_a_deployment_names_is_refused(store: Path) -> None:
    """Loaded past the page cache it is neither mapped nor open, and the next start would not find it."""
    path = deploy(store, "main", "main", "current") / "deployment.json"
    units = [{"environment": {"LLAMA_ARG_MODEL_DRAFT": str(store / "old/model.gguf"), "LLAMA_ARG_ALIAS": "old"}}]
    path.write_text(json.dumps({**json.loads(path.read_text()), "units": units}))
    assert "Model old is what main served or serves" in prune(store, "old")["msg"]
    assert (store / "old/model.gguf").exists()
    assert prune(store, "half")["changed"], "another one is not"


def test_what_a_killed_run_left_is_removed_by_the_next(store: Path) -> None:
    (store / "old").rename(store / ".old.pruned")
    assert prune(store, "old")["bytes"] == 81920
    assert sorted(path.name for path in store.iterdir()) == [".half.partial", "main"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"declared": ["main"]}, "Model main is in model_store_models and in model_store_prune"),
        ({"served": ["main"]}, "Model main is what llama_service_model"),
    ],
)
def test_what_the_inventory_needs_is_refused_and_nothing_is_removed(
    store: Path, arguments: dict[str, Any], sentence: str
) -> None:
    result = prune(store, "old", "main", **arguments)
    assert sentence in result["msg"]
    assert (store / "old/model.gguf").exists() and (store / "main/model.gguf").exists()


@pytest.mark.parametrize("link", ["current", "good", "wanted"])
@pytest.mark.parametrize("instance", ["main", "second"])
def test_what_a_deployment_needs_is_refused(store: Path, instance: str, link: str) -> None:
    deploy(store, instance, "main", link)
    result = prune(store, "old", "main")
    assert f"Model main is what {instance} served or serves: serve another one first" in result["msg"]
    assert (store / "old/model.gguf").exists() and (store / "main/model.gguf").exists()
    assert prune(store, "old")["changed"], "another one is not"


def test_nothing_is_removed_while_a_deployment_cannot_be_read(store: Path) -> None:
    deployment = deploy(store, "second", "main", "current") / "deployment.json"
    deployment.write_text(deployment.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 99'))
    result = prune(store, "old", "main")
    assert (result["changed"], result["removed"]) == (False, [])
    assert "cannot be read, so that nobody knows which engine and model it needs" in str(result["warnings"])
    assert (store / "old/model.gguf").exists() and (store / "main/model.gguf").exists()


def test_what_can_be_gone_back_to_is_refused_and_what_never_served_is_not(store: Path) -> None:
    (deploy(store, "main", "main") / "proven").write_text("")
    deploy(store, "main", "old")
    assert "Model main is what main served or serves" in prune(store, "main")["msg"]
    assert prune(store, "old")["changed"]


def test_all_instances_that_need_it_are_named(store: Path) -> None:
    for instance in ("second", "main"):
        deploy(store, instance, "main", "current")
    assert "Model main is what main, second served or serves" in prune(store, "main")["msg"]


def test_a_model_of_the_same_name_in_another_store_is_another(store: Path, tmp_path: Path) -> None:
    deploy(store, "main", "main", "current", tmp_path / "store-of-another/main")
    assert prune(store, "main")["changed"]


@pytest.mark.parametrize("pinned", [False, True])
def test_a_store_by_way_of_a_link_is_the_same_store(store: Path, tmp_path: Path, pinned: bool) -> None:
    (tmp_path / "link").symlink_to(store)
    deploy(store, "main", "main", "current", tmp_path / "link" / (".pinned/main-0" if pinned else "main"))
    assert "Model main is what main served or serves" in prune(store, "main")["msg"]
    assert "Model main is what main served or serves" in prune(tmp_path / "link", "main")["msg"]


def test_what_a_process_has_opened_or_mapped_is_refused(store: Path) -> None:
    with (store / "main/model.gguf").open("rb") as file:
        assert "Model main is in use by " in prune(store, "main")["msg"]
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    assert "Model main is in use by " in prune(store, "main")["msg"]
    mapped.close()
    assert prune(store, "main")["changed"]


def test_a_served_file_that_is_a_link_to_another_disk_protects_its_model(store: Path, tmp_path: Path) -> None:
    (store / "main/model.gguf").rename(tmp_path / "elsewhere.gguf")
    (store / "main/model.gguf").symlink_to(tmp_path / "elsewhere.gguf")
    # A store that cannot have links is deployed from as it is.
    deploy(store, "main", "main", "current", store / "main")
    assert "Model main is what main served or serves" in prune(store, "main")["msg"]


def test_a_model_that_is_a_link_is_left_to_whoever_made_it(store: Path, tmp_path: Path) -> None:
    (store / "main").rename(tmp_path / "elsewhere")
    (store / "main").symlink_to(tmp_path / "elsewhere")
    assert f"Model main is a link to {tmp_path}/elsewhere: remove that by hand" in prune(store, "main")["msg"]
    assert (store / "main/model.gguf").exists()


def test_a_name_that_leads_elsewhere_is_refused(store: Path) -> None:
    assert "no name of a model" in prune(store, "../store/main")["msg"]
    assert prune_problem("a/b", [], [], [], [])
    assert found(str(store / "none"), ["old"]) == []


def test_the_role_removes_before_it_fetches(tower: Tower) -> None:
    (tower.store / "old").mkdir(parents=True)
    (tower.store / "old/model.gguf").write_bytes(b"weights" * 10_000)
    refused = tower.play(model_store_prune=["tiny"])
    assert refused.returncode == 2 and "take it out of one of them" in said(refused)
    assert (tower.store / "old").exists()
    run = tower.play(model_store_prune=["old"])
    assert counts(run)["changed"] == 2
    assert run.stdout.index("Remove the models") < run.stdout.index("Fetch the models")
    assert tower.names() == ["tiny"]


def test_room_that_is_made_counts(tower: Tower) -> None:
    """The reserve is what is free now and half of what goes: without that half there is no room."""
    # The file system is the machine's, so runs of this test beside each other take turns.
    with open(__file__) as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        size = 2**31  # more than others write and remove on this disk meanwhile
        (tower.store / "old").mkdir(parents=True)
        with (tower.store / "old/model.gguf").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        found = run_module("model_store_info", path=str(tower.store), models=[MODEL])
        free, reserve = found["free_bytes"], found["free_bytes"] + size // 2
        preview = tower.play("--check", "--diff", model_store_reserve_bytes=reserve, model_store_prune=["old"])
        (tower.store / "old/model.gguf").unlink()
    assert counts(preview)["changed"] == 2 and "-old, 2.1 GB" in preview.stdout, preview.stdout
    resolved = run_module("model_source_info", models=[MODEL], endpoint=tower.hub.url)["models"]
    problem = disk_problem(model_plan(found["models"], resolved), str(tower.store), free, reserve)
    assert problem and "make room" in problem
