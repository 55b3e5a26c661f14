# SPDX-License-Identifier: MIT
"""A switch ends in one of two states, whatever fails, and wherever it is cut short."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional

import pytest

from plugins.module_utils import files
from plugins.module_utils.service import deploy, deployment, prepare, switch, unit_files
from plugins.module_utils.service.deployment import Instance, identity_of, needed_deployments
from plugins.module_utils.service.switch import Failure
from plugins.module_utils.service.unit import UnitError


class PowerCut(BaseException):
    """Nothing that comes after it happens."""


def some_deployment(context: int, **changes: Any) -> Any:
    unit = {"name": "main", "unit": "llama-server@main.service", "url": "http://127.0.0.1:8080", "environment": {}}
    return {
        "schema_version": 1,
        "instance": "main",
        "engine": {"key": "k", "directory": "/opt/llama.cpp/releases/k"},
        "model": {"name": "m", "directory": "/models/.pinned/m-1", "files": ["m.gguf"], "sha256": ["0"], "bytes": 9},
        "context": context,
        "needed_bytes": 1000,
        "start_seconds": 60,
        "loopback": True,
        "mounts": ["/models/m", "/opt/llama.cpp"],
        "weights": {},
        "pool": None,
        "units": [unit],
        **changes,
    }


class Tower:
    """A tower with one instance: what its process runs, and which deployments prove themselves."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.instance = Instance("main", str(directory))
        self.runs: Optional[str] = None
        self.bad: dict[str, str] = {}
        self.goes_down = False
        self.steps, self.cut_at = 0, 10**9
        for name in ("point", "forget"):
            monkeypatch.setattr(self.instance, name, self.counted(getattr(self.instance, name)))
        monkeypatch.setattr(switch, "write_json", self.counted(files.write_json))
        monkeypatch.setattr(switch, "write_beside", self.counted(files.write_beside))
        monkeypatch.setattr(switch, "apply", self.apply)
        monkeypatch.setattr(switch, "prove", self.prove)
        monkeypatch.setattr(switch, "systemd_answers", lambda: not self.goes_down)
        monkeypatch.setattr(switch, "serves", lambda _instance: self.runs if self.runs not in self.bad else None)

    def counted(self, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.steps += 1
            if self.steps > self.cut_at:
                raise PowerCut
            return function(*arguments, **options)

        return call

    def apply(self, instance: Instance, identity: str, _deployment: Any) -> None:
        instance.point("current", identity)
        self.runs = identity

    def prove(self, _instance: Instance, identity: str, _deployment: Any) -> Optional[Failure]:
        return Failure(self.bad[identity], ["its last words"]) if identity in self.bad else None

    def add(self, found: Any) -> str:
        identity = identity_of(found)
        path = self.instance.directory(identity)
        os.makedirs(path, exist_ok=True)
        Path(path, "deployment.json").write_text(json.dumps(found))
        return identity

    def boot(self) -> None:
        """What the unit of the server starts, and then the unit of the switch."""
        self.cut_at, self.goes_down = 10**9, False
        self.runs = self.instance.named("current")
        switch.switch(self.instance)

    def state(self) -> dict[str, Optional[str]]:
        return {link: self.instance.named(link) for link in ("current", "good", "wanted")}


@pytest.fixture
def tower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tower:
    found = Tower(tmp_path / "instances", monkeypatch)
    first = found.add(some_deployment(1))
    switch.begin(found.instance, first)
    assert switch.switch(found.instance) is None
    found.steps = 0
    return found


def test_what_proves_itself_is_the_good_one(tower: Tower) -> None:
    second = tower.add(some_deployment(2))
    switch.begin(tower.instance, second)
    assert switch.switch(tower.instance) is None
    assert tower.state() == {"current": second, "good": second, "wanted": None}
    record: Any = tower.instance.record()
    assert (record["outcome"], record["serves"], record["problem"]) == ("committed", second, None)


def test_what_does_not_is_taken_back_with_its_reason(tower: Tower) -> None:
    good = str(tower.instance.named("good"))
    second = tower.add(some_deployment(2))
    tower.bad[second] = "It does not load."
    switch.begin(tower.instance, second)
    assert switch.switch(tower.instance) == "It does not load."
    assert (tower.state(), tower.runs) == ({"current": good, "good": good, "wanted": None}, good)
    record: Any = tower.instance.record()
    assert (record["outcome"], record["deployment"], record["serves"]) == ("taken_back", second, good)
    assert record["journal"] == ["its last words"]


@pytest.mark.parametrize("bad", [False, True], ids=["the wanted one is right", "it is not"])
def test_a_machine_that_goes_down_says_nothing_of_a_deployment(tower: Tower, bad: bool) -> None:
    """systemd was gone first, and both were given up for it: the one that runs was not the good one."""
    good, second = str(tower.instance.named("good")), tower.add(some_deployment(2))
    tower.bad = dict.fromkeys((good, second), "Transport endpoint is not connected.")
    tower.goes_down = True
    switch.begin(tower.instance, second)
    with pytest.raises(OSError, match="systemd does not answer: Transport endpoint"):
        switch.switch(tower.instance)
    assert tower.state() == {"current": second, "good": good, "wanted": second}
    tower.bad = {second: "It does not load."} if bad else {}
    tower.boot()
    serves = good if bad else second
    assert (tower.state(), tower.runs) == ({"current": serves, "good": serves, "wanted": None}, serves)


def test_the_first_of_all_stays_where_nothing_was_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tower = Tower(tmp_path / "other", monkeypatch)
    first = tower.add(some_deployment(1))
    tower.bad[first] = "It does not load."
    switch.begin(tower.instance, first)
    assert switch.switch(tower.instance) == "It does not load."
    assert tower.state() == {"current": first, "good": None, "wanted": None}


def test_both_sentences_are_told_where_the_good_one_fails_too(tower: Tower) -> None:
    good, second = str(tower.instance.named("good")), tower.add(some_deployment(2))
    tower.bad = {good: "The disk is gone.", second: "It does not load."}
    switch.begin(tower.instance, second)
    assert "It does not load. And the deployment before it is not as it was: The disk is gone." in str(
        switch.switch(tower.instance)
    )
    record: Any = tower.instance.record()
    assert (record["outcome"], record["serves"]) == ("failed", None)


@pytest.mark.parametrize("loads", [True, False], ids=["the new one loads", "the new one does not"])
def test_a_power_failure_between_any_two_steps_ends_in_one_of_the_two(tower: Tower, loads: bool) -> None:
    good, second = str(tower.instance.named("good")), tower.add(some_deployment(2))
    tower.bad = {} if loads else {second: "It does not load."}
    seen = 0
    for cut in range(1, 30):
        tower.steps, tower.cut_at = 0, cut
        # Back to the first deployment before each.
        try:
            switch.begin(tower.instance, second)
            switch.switch(tower.instance)
            break
        except PowerCut:
            seen += 1
        tower.boot()
        state = tower.state()
        assert state["current"] == state["good"] == tower.runs, (cut, state, tower.runs)
        assert state["wanted"] is None, (cut, state)
        assert state["current"] in (good, second), (cut, state)
        tower.instance.point("good", good)
        tower.instance.point("current", good)
    # The record, wanted, current; then proven, good, record, wanted, or what takes it back.
    assert seen >= 6, seen


def test_a_unit_that_cannot_be_told_to_start_is_a_failure_like_any_other(
    tower: Tower, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, second = tower.instance.named("good"), tower.add(some_deployment(2))

    def apply(instance: Instance, identity: str, found: Any) -> None:
        if identity == second:
            raise UnitError("`systemctl enable` failed: no such unit.")
        tower.apply(instance, identity, found)

    monkeypatch.setattr(switch, "apply", apply)
    switch.begin(tower.instance, second)
    assert "no such unit" in str(switch.switch(tower.instance))
    assert tower.instance.named("current") == good


def test_an_error_that_nobody_thought_of_is_a_failure_like_any_other(
    tower: Tower, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, second = tower.instance.named("good"), tower.add(some_deployment(2))

    def prove(instance: Instance, identity: str, found: Any) -> Optional[Failure]:
        if identity == second:
            raise KeyError("timings")
        return tower.prove(instance, identity, found)

    monkeypatch.setattr(switch, "prove", prove)
    switch.begin(tower.instance, second)
    assert switch.switch(tower.instance) == "KeyError: 'timings'"
    assert (tower.instance.named("current"), tower.runs) == (good, good)


def test_the_good_one_comes_back_also_where_nothing_can_be_written_any_more(
    tower: Tower, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, second = tower.instance.named("good"), tower.add(some_deployment(2))
    tower.bad[second] = "It does not load."
    switch.begin(tower.instance, second)

    def full(path: str, *_arguments: Any, **_options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    for name in ("write_json", "write_beside"):
        monkeypatch.setattr(switch, name, full)
    with pytest.raises(OSError, match="No space left"):
        switch.switch(tower.instance)
    assert (tower.instance.named("current"), tower.runs) == (good, good)
    for name in ("write_json", "write_beside"):
        monkeypatch.setattr(switch, name, getattr(files, name))
    tower.boot()
    assert (tower.state(), tower.runs) == ({"current": good, "good": good, "wanted": None}, good)


def test_each_proof_has_its_number(tower: Tower) -> None:
    good, second = str(tower.instance.named("good")), tower.add(some_deployment(2))
    for wanted in (second, good):
        switch.begin(tower.instance, wanted)
        switch.switch(tower.instance)
    assert (tower.instance.proof(second), tower.instance.proof(good)) == (2, 3)


def test_one_that_was_wanted_before_is_not_what_comes_back(tower: Tower) -> None:
    """Cut off while it was switched to; then another one was wanted, and that was cut off between record and link."""
    good, second, third = tower.instance.named("good"), tower.add(some_deployment(2)), tower.add(some_deployment(3))
    tower.bad[second] = "It does not load."
    switch.begin(tower.instance, second)
    tower.steps, tower.cut_at = 0, 1
    with pytest.raises(PowerCut):
        switch.begin(tower.instance, third)
    tower.boot()
    assert (tower.state(), tower.runs) == ({"current": good, "good": good, "wanted": None}, good)


def test_one_that_served_starts_without_its_drop_in_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance, called = Instance("main", str(tmp_path)), list[list[str]]()
    os.makedirs(instance.path)
    files.point(os.path.join(instance.path, "good"), "deployments/first")

    def full(_files: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(unit_files, "write", full)
    for name, value in {
        "call": called.append,
        "reload_files": lambda: None,
        "grow_pool": lambda *_: None,
        "front_difference": lambda _unit: None,
        "runs": lambda *_: False,
    }.items():
        monkeypatch.setattr(switch, name, value)
    with pytest.raises(OSError, match="No space left"):
        switch.apply(instance, "second", some_deployment(2))
    assert called == [] and instance.named("current") is None
    switch.apply(instance, "first", some_deployment(1))
    assert ["systemctl", "restart", "--no-block", "llama-server@main.service"] in called


@pytest.mark.parametrize(
    ("shown", "process", "found"),
    [
        ({}, "first", True),
        ({"ActiveState": "activating"}, "first", True),
        ({}, "second", False),
        ({}, None, False),
        ({"NeedDaemonReload": "yes"}, "first", False),
        ({"ActiveState": "failed"}, "first", False),
        ({"MainPID": "0"}, "first", False),
    ],
    ids=str,
)
def test_what_a_unit_runs_is_asked_of_its_process_and_of_systemd(
    monkeypatch: pytest.MonkeyPatch, shown: dict[str, str], process: Optional[str], found: bool
) -> None:
    """A run that was cut off has written files which neither of them has read."""
    fields = {"ActiveState": "active", "MainPID": "7", "NeedDaemonReload": "no", **shown}
    monkeypatch.setattr(switch, "show", lambda *_names: fields)
    monkeypatch.setattr(switch, "process_deployment", lambda _pid: process)
    assert switch.runs("llama-server@main.service", "first") is found


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, None),
        ({"process_deployment": lambda _pid: "second"}, "runs another deployment than first"),
        ({"asks_for_key": lambda _url: False}, "answers whoever asks, without an API key"),
        ({"placement_problem": lambda *_: "It lies elsewhere."}, "It lies elsewhere."),
    ],
    ids=str,
)
def test_one_is_proven_by_its_process_its_keys_and_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], sentence: Optional[str]
) -> None:
    answers: dict[str, Any] = {
        "await_start": lambda *_: None,
        "await_front": lambda _unit: None,
        "main_pid": lambda _unit: 7,
        "process_deployment": lambda _pid: "first",
        "asks_for_key": lambda _url: True,
        "read_key": lambda _path: "S3cret",
        "complete": lambda *_: None,
        "read_process": lambda _pid: None,
        "placement_problem": lambda *_: None,
        "journal": lambda _unit: ([], ""),
    }
    for name, value in (answers | changes).items():
        monkeypatch.setattr(switch, name, value)
    unit = {"name": "main", "unit": "llama-server@main.service", "url": "http://127.0.0.1:8080", "intent": {}}
    found = some_deployment(1, units=[unit], proof={"prompt": "Why?", "max_tokens": 1})
    failure = switch.prove(Instance("main", str(tmp_path)), "first", found)
    assert (failure is None) if sentence is None else (failure is not None and sentence in failure.problem)


@pytest.mark.parametrize("back", [False, True])
def test_who_waits_is_told_how_much_of_the_model_is_in_memory(
    tower: Tower, monkeypatch: pytest.MonkeyPatch, back: bool
) -> None:
    good, second = str(tower.instance.named("good")), tower.add(some_deployment(2))
    switch.begin(tower.instance, second)
    if back:
        tower.instance.point("wanted", good)
    told, loaded = list[tuple[Any, ...]](), iter([0, 4, 12])
    monkeypatch.setattr(deploy, "start_state", lambda _unit: ("active", ""))
    monkeypatch.setattr(deploy, "main_pid", lambda _unit: 7)
    monkeypatch.setattr(deploy, "resident_bytes", lambda _pid: next(loaded))
    monkeypatch.setattr("time.sleep", lambda _seconds: tower.instance.forget("wanted") if len(told) > 2 else None)
    progress: Any = SimpleNamespace(tell=lambda *words: told.append(words))
    deploying = deploy.Deploying(tower.instance, 0, 2, "a switch", "", progress)
    record = deploying._watch(second, some_deployment(2), 0)
    words = "going back: loading m:" if back else "loading m:"
    assert told == [(words, count, 9, "bytes") for count in (0, 4, 9)]
    assert record["deployment"] == second


@pytest.mark.parametrize(
    ("proven", "removed", "said"),
    [
        (True, False, None),
        (False, False, r"Another run \(ann@desk\) wanted deployment \w+ of main before it was seen that \w+ had"),
        (False, True, r"Another run wanted none of main before it was seen that \w+ had"),
    ],
    ids=["it had proven itself before", "it had not", "the instance was taken away"],
)
def test_the_switch_of_another_run_is_not_ones_own(
    tower: Tower, monkeypatch: pytest.MonkeyPatch, proven: bool, removed: bool, said: Optional[str]
) -> None:
    second, third = tower.add(some_deployment(2)), tower.add(some_deployment(3))
    if not proven:
        tower.bad[second] = "It does not load."
    for wanted, by in ((second, "ben@desk"), (third, "ann@desk")):
        switch.begin(tower.instance, wanted, by)
        switch.switch(tower.instance)
    if removed:
        shutil.rmtree(tower.instance.path)
    monkeypatch.setattr(deploy, "start_state", lambda _unit: ("active", ""))
    monkeypatch.setattr("time.sleep", lambda _seconds: pytest.fail("It waits for what does not come."))
    progress: Any = SimpleNamespace(tell=lambda *_words: None)
    deploying = deploy.Deploying(tower.instance, 0, 2, "a switch", "", progress)
    if said:
        with pytest.raises(UnitError, match=said):
            deploying._watch(second, some_deployment(2), 0)
    else:
        assert deploying._watch(second, some_deployment(2), 0)["outcome"] == "committed"


@pytest.mark.parametrize("context", [1, 2], ids=["only the keys are others", "the settings are, too"])
def test_a_key_that_was_taken_out_is_refused_by_what_comes_back_or_it_is_said(
    tower: Tower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: int
) -> None:
    def deploys(context: int, keys: str) -> dict[str, Any]:
        wanted = prepare.with_keys(tower.instance, some_deployment(context), keys)
        return deploy.Deploying(tower.instance, os.getgid(), 2, "", "", progress).carry_out(lambda: (wanted, keys))

    progress: Any = SimpleNamespace(tell=lambda *_words: None, waiting=None)
    for name, value in {
        "CHANGE": str(tmp_path / "change.lock"),
        "reload_files": lambda: None,
        "call": lambda words: switch.switch(tower.instance) if "start" in words else None,
        "differences": lambda *_: ["current is another"],
        "prune": lambda *_: [],
    }.items():
        monkeypatch.setattr(deploy, name, value)
    monkeypatch.setattr(prepare, "TEMPLATE", str(tmp_path / "none"))
    assert deploys(1, "# ann\na\n# ben\nb\n")["outcome"] == "committed"
    only_ben = "# ben\nb\n"
    tower.bad[identity_of(prepare.with_keys(tower.instance, some_deployment(context), only_ben))] = "It does not load."
    failed = deploys(context, only_ben)
    current = tower.instance.named("current") or ""
    assert (failed["outcome"], tower.runs, tower.instance.named("good")) == ("taken_back", current, current)
    refused = prepare.keys_of(tower.instance, current) == only_ben
    said = "one that was taken out is valid until the next run succeeds" in failed["problem"]
    assert (refused, said) == ((False, True) if context == 1 else (True, False)), failed["problem"]


def test_engine_and_model_of_what_served_are_needed_and_of_what_never_did_are_not(tower: Tower) -> None:
    second = tower.add(some_deployment(2, engine={"key": "b", "directory": "/opt/llama.cpp/releases/b"}))
    never = tower.add(some_deployment(3, engine={"key": "c", "directory": "/opt/llama.cpp/releases/c"}))
    switch.begin(tower.instance, second)
    switch.switch(tower.instance)
    path = os.path.dirname(tower.instance.path)
    assert never in tower.instance.deployments()
    assert {found["engine"]["key"] for found in needed_deployments(path)} == {"k", "b"}


def test_the_drop_in_has_what_differs_between_deployments(tmp_path: Path) -> None:
    found = some_deployment(1)
    wanted = unit_files.wanted_files(found, str(tmp_path / "none"), str(tmp_path / "systemd"))
    unit, whole = (
        tmp_path / f"systemd/{name}.d/deployment.conf" for name in ("llama-server@main.service", "llama.slice")
    )
    assert set(wanted) == {str(unit), str(whole)}
    assert "MemoryMin=1000\nIPAddressDeny=any\nIPAddressAllow=localhost" in wanted[str(unit)]
    assert "TimeoutStartSec=60" in wanted[str(unit)]
    assert "IPAddress" not in unit_files.unit_drop_in(some_deployment(1, loopback=False))
    unit_files.write(wanted)
    assert unit_files.differing(wanted) == {}
    assert unit_files.own_units("main", str(tmp_path / "systemd")) == ["llama-server@main.service"]
    of_nodes: Any = some_deployment(1, units=[{"unit": "llama-server@main-node0.service"}])
    assert unit_files.stale_units(of_nodes, str(tmp_path / "systemd")) == ["llama-server@main.service"]


def test_the_slice_protects_what_all_instances_need(tower: Tower, tmp_path: Path) -> None:
    other: Any = some_deployment(1, instance="second", needed_bytes=500)
    wanted = unit_files.wanted_files(other, os.path.dirname(tower.instance.path), str(tmp_path))
    assert "MemoryMin=1500\n" in wanted[f"{tmp_path}/llama.slice.d/deployment.conf"]


def test_the_unit_of_a_node_belongs_to_the_instance() -> None:
    assert [deployment.instance_of(name) for name in ("main", "main-node1", "node1")] == ["main", "main", "node1"]
