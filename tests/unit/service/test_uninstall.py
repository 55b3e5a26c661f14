# SPDX-License-Identifier: MIT
"""An instance is taken away whole, also in two goes, and no other one with it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.service import uninstall, unit_files
from plugins.module_utils.service.deployment import SCHEMA_VERSION, Instance
from plugins.module_utils.service.uninstall import Removing, known_instances, remove


class PowerCut(BaseException):
    """Nothing that comes after it happens."""


class Tower:
    """Two instances: main, with one unit a node, and drafts. What systemd is asked to do is written down."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.instances, self.system = directory / "instances", directory / "system"
        self.kept = directory / "kept"
        self.kept.mkdir()
        self.running = {"llama.slice", "llama-server-check@drafts.service"}
        self.failed: set[str] = set()
        for name, needed, units in (("main", 1000, ["main-node0", "main-node1"]), ("drafts", 50, ["drafts"])):
            self.deploy(name, needed, units)
        self.asked: list[list[str]] = []
        self.steps, self.cut_at = 0, 10**9
        monkeypatch.setattr(uninstall, "KEPT", (f"{self.kept}/{{}}.json",))
        monkeypatch.setattr(uninstall, "show", self.show)
        monkeypatch.setattr(uninstall, "call", self.counted(self.call))
        for module, name in ((os, "unlink"), (shutil, "rmtree")):
            monkeypatch.setattr(module, name, self.counted(getattr(module, name)))

    def deploy(self, name: str, needed: int, units: list[str]) -> None:
        path = self.instances / name / "deployments/0123456789ab"
        path.mkdir(parents=True)
        named = [{"name": unit, "unit": f"llama-server@{unit}.service"} for unit in units]
        document = {
            "schema_version": SCHEMA_VERSION,
            "instance": name,
            "needed_bytes": needed,
            "pool": None,
            "model": {"directory": str(self.pin(name))},
            "units": named,
        }
        (path / "deployment.json").write_text(json.dumps(document))
        (path / "keys").write_text("secret\n")
        for link in ("current", "good"):
            (self.instances / name / link).symlink_to("deployments/0123456789ab")
        (self.system / "multi-user.target.wants").mkdir(parents=True, exist_ok=True)
        for unit in units:
            (self.system / f"llama-server@{unit}.service.d").mkdir()
            (self.system / f"llama-server@{unit}.service.d/deployment.conf").touch()
            (self.kept / f"{unit}.json").touch()
        for unit in [f"llamatower-switch@{name}.service", *(entry["unit"] for entry in named)]:
            (self.system / "multi-user.target.wants" / unit).symlink_to("../nowhere")
        self.running |= {entry["unit"] for entry in named}
        slice_drop_in = self.system / "llama.slice.d/deployment.conf"
        slice_drop_in.parent.mkdir(exist_ok=True)
        slice_drop_in.write_text("of all\n")

    def pin(self, instance: str) -> Path:
        path = self.instances.parent / "store/.pinned" / f"model-of-{instance}"
        path.mkdir(parents=True, exist_ok=True)
        (path / "model.gguf").touch()
        return path

    def counted(self, function: Any) -> Any:
        def step(*arguments: Any, **options: Any) -> Any:
            self.steps += 1
            if self.steps == self.cut_at:
                raise PowerCut
            return function(*arguments, **options)

        return step

    def show(self, unit: str, *_names: str) -> dict[str, str]:
        failed = "failed" if unit in self.failed else "inactive"
        return {"ActiveState": "active" if unit in self.running else failed}

    def call(self, words: list[str]) -> str:
        self.asked.append(words)
        if words[1] == "stop":
            self.running -= set(words[2:])
            # One that is stopped while it works.
            self.failed |= {unit for unit in words[2:] if "check@" in unit}
        elif words[1] == "reset-failed":
            self.failed -= set(words[2:])
        return ""

    def remove(self, *names: str) -> None:
        for name in names:
            remove(name, str(self.instances), str(self.system))

    def names(self) -> list[str]:
        return known_instances(str(self.instances), str(self.system))

    def left(self) -> set[str]:
        top = self.system.parent
        return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_symlink() or not path.is_dir()}


@pytest.fixture
def tower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tower:
    return Tower(tmp_path, monkeypatch)


def test_an_instance_goes_with_all_its_units_and_the_other_stays_as_it_is(tower: Tower) -> None:
    before = tower.left()
    tower.remove("main")
    gone = before - tower.left()
    assert {path for path in before - gone if "main" in path} == set()
    assert {path for path in gone if "drafts" in path} == set()
    assert tower.names() == ["drafts"]
    assert tower.running == {"llama.slice", "llama-server@drafts.service", "llama-server-check@drafts.service"}
    assert "MemoryMin=50\n" in (tower.system / "llama.slice.d/deployment.conf").read_text()


def test_with_the_last_instance_nothing_is_left(tower: Tower) -> None:
    tower.remove("main", "drafts")
    assert tower.left() == set()
    assert (tower.running, tower.failed) == (set(), set())


def test_a_removal_that_is_cut_anywhere_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cut_at in range(1, 100):
        with pytest.MonkeyPatch.context() as patch:
            directory = tmp_path / str(cut_at)
            directory.mkdir()
            tower = Tower(directory, patch)
            tower.cut_at = cut_at
            with contextlib.suppress(PowerCut):
                tower.remove("main", "drafts")
            if tower.steps < cut_at:
                break
            tower.remove(*tower.names())
            assert tower.left() == set(), f"cut at step {cut_at}"
            assert tower.running == set(), f"cut at step {cut_at}"
    assert cut_at > 15, "the steps are not counted"


def test_a_switch_is_waited_for_and_not_cut(tower: Tower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    instance = Instance("main", str(tower.instances))
    instance.point("wanted", "0123456789ab")
    states = iter(["activating", "activating", "inactive"])
    monkeypatch.setattr(uninstall, "CHANGE", str(tmp_path / "lock"))
    monkeypatch.setattr(uninstall, "Instance", lambda _name: instance)
    monkeypatch.setattr(uninstall, "start_state", lambda _unit: (next(states), 0))
    monkeypatch.setattr(uninstall, "remove", lambda name: tower.asked.append([name]))
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)

    class Progress:
        def tell(self, line: str) -> None:
            told.append(line)

        waiting = tell

    Removing("ann", Progress()).carry_out(["main"])  # type: ignore[arg-type]
    assert told == ["waiting for the switch of main"] * 2
    assert tower.asked == [["main"]]


def test_an_instance_is_known_by_what_is_left_of_it(tower: Tower) -> None:
    shutil.rmtree(tower.instances / "main")
    assert tower.names() == ["drafts", "main"]
    assert unit_files.own_units("main", str(tower.system)) == [
        "llama-server@main-node0.service",
        "llama-server@main-node1.service",
    ]


def test_what_is_pinned_for_it_goes_with_it(tower: Tower) -> None:
    """Else its room stays taken until another instance of the same store deploys, or for good."""
    tower.remove("main")
    assert os.listdir(tower.instances.parent / "store/.pinned") == ["model-of-drafts"]
    tower.remove("drafts")
    assert os.listdir(tower.instances.parent / "store") == []


def test_what_is_pinned_for_it_stays_while_nobody_knows_what_another_needs(tower: Tower) -> None:
    Path(Instance("drafts", str(tower.instances)).directory("0123456789ab"), "deployment.json").write_text("{")
    tower.remove("main")
    assert tower.names() == ["drafts"]
    assert sorted(os.listdir(tower.instances.parent / "store/.pinned")) == ["model-of-drafts", "model-of-main"]


def test_its_huge_pages_are_given_back_while_it_is_known(tower: Tower, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[list[str], bool]] = []

    def trim_pools(_path: str, but: list[str]) -> None:
        given.append((but, (tower.instances / "drafts").exists()))

    monkeypatch.setattr(uninstall, "trim_pools", trim_pools)
    tower.remove("drafts")
    assert given == [(["drafts"], True)]
