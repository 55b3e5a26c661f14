# SPDX-License-Identifier: MIT
"""The tuner on a tower: what it chooses from, and what it keeps when it is interrupted."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.benchmark.document import Limits
from plugins.module_utils.benchmark.llama_bench import BenchError, Outcome
from plugins.module_utils.benchmark.search import FINAL_REPETITIONS
from plugins.module_utils.benchmark.terminal import tuning_text
from plugins.module_utils.benchmark.tuner import TuneError, Tuner, current_load, make_space, policies, weighted

TUNER = "plugins.module_utils.benchmark.tuner"
UNIT: Any = {
    "prefix": [],
    "binaries": "/opt/llama.cpp/releases/0123456789abcdef/bin",
    "settings": {"LLAMA_ARG_THREADS": "2", "LLAMA_ARG_LOAD_MODE": "dio"},
    "environment": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
    "active": True,
    "maps_model": False,
}
LIMITS: Limits = {"threads": [2, 1], "threads_batch": [2], "flash_attention": [True, False]}


def tower(nodes: int, kernel: str = "6.12.0") -> Any:
    each = [{"node": node, "memory_bytes": 10**11, "cpus": [node]} for node in range(nodes)]
    return {"nodes": each, "cores": 2, "cpus": 2, "thp": {"enabled": "madvise"}, "kernel": kernel}


# What else the conditions of a measurement are.
SAID = {"bios": {"version": "1"}, "cpu": {"model": "A CPU"}, "frequency": None}


def test_a_tower_with_one_node_has_one_policy_and_one_with_two_those_that_it_can() -> None:
    assert policies(tower(1), 0, {}) == (["interleave"], {})
    possible, left_out = policies(tower(2, "6.1.0"), 15 * 10**10, {})
    assert possible == ["interleave", "distribute", "none"]
    assert "6.9" in left_out["weighted"]
    assert "bind needs 150.0 GB" in left_out["bind"]


def test_weighted_is_compared_where_a_benchmark_found_nodes_unequal() -> None:
    assert "weighted" in policies(tower(2), 0, {0: 3, 1: 2})[0]
    possible, left_out = policies(tower(2), 0, {0: 1, 1: 1})
    assert "weighted" not in possible
    assert "llamatower.tower.bench" in left_out["weighted"]


def test_the_kernel_has_its_weights_back_after_an_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{TUNER}.WEIGHT", str(tmp_path / "node{}"))
    for node in (0, 1):
        (tmp_path / f"node{node}").write_text("1\n")

    def now() -> list[str]:
        return [(tmp_path / f"node{node}").read_text().strip() for node in (0, 1)]

    with contextlib.suppress(BenchError), weighted({0: 3, 1: 2}):
        assert now() == ["3", "2"]
        raise BenchError("llama-bench ended with 1.")
    assert now() == ["1", "1"]


def test_the_present_settings_are_the_first() -> None:
    interleaved: Any = {**UNIT, "prefix": ["/usr/bin/numactl", "--interleave=0-1"]}
    assert current_load(interleaved, tower(2), ["none", "interleave"]) == ("interleave", "dio", "thp")
    space, _left_out = make_space(interleaved, tower(2), {}, 0)
    assert space.loads[0] == ("interleave", "dio", "thp")
    assert ("distribute", "mmap", "none") in space.loads
    assert not any(policy == "distribute" and mode == "dio" for policy, mode, _pages in space.loads)


def test_what_is_bound_to_a_node_is_measured_with_the_threads_of_that_node() -> None:
    nodes = [{"node": node, "memory_bytes": 10**11, "cpus": list(range(32 * node, 32 * node + 32))} for node in (0, 1)]
    machine: Any = {**tower(2), "nodes": nodes, "cores": 32, "cpus": 64}
    space, _left_out = make_space(UNIT, machine, {}, 0)
    assert (space.threads, space.threads_batch) == ((32, 24, 16, 31, 64), (32, 64))
    assert (space.bound_threads, space.bound_threads_batch) == ((16, 12, 8, 15, 32), (16, 32))
    assert make_space(UNIT, machine, {"policies": ["interleave"]}, 0)[0].bound_threads == ()
    assert make_space(UNIT, machine, {"threads": [20]}, 0)[0].bound_threads == (20,)


def test_a_pool_that_the_service_does_not_have_is_not_measured() -> None:
    with pytest.raises(TuneError, match="of the huge pages hugetlb its service can have thp, none"):
        make_space(UNIT, tower(1), {"huge_pages": ["hugetlb"]}, 0)
    space, _left_out = make_space(UNIT, tower(1), {"huge_pages": ["hugetlb", "none"]}, 0)
    assert {pages for _policy, _mode, pages in space.loads} == {"none"}


def test_a_pool_that_was_reserved_for_the_service_is_kept() -> None:
    pool: Any = {**UNIT, "environment": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=2097152"}}
    space, _left_out = make_space(pool, tower(1), {}, 0)
    assert {pages for _policy, mode, pages in space.loads if mode != "mmap"} == {"hugetlb"}


def test_limits_that_leave_nothing_are_refused_with_the_reason() -> None:
    with pytest.raises(TuneError, match=r"leave nothing to compare.*6\.9"):
        make_space(UNIT, tower(2, "6.1.0"), {"policies": ["weighted"]}, 0)


class Bench:
    """Stands in for the process: a speed for each setting, and an end after so many processes.

    ``drift`` is how much faster the machine is with each test of a process, of 1.
    """

    def __init__(self, most: int = 1000, drift: float = 0.0) -> None:
        self.most, self.drift, self.commands = most, drift, list[list[str]]()

    def __call__(
        self, words: list[str], environment: dict[str, str], longest_repetition: float | None = None
    ) -> Outcome:
        if len(self.commands) == self.most:
            raise KeyboardInterrupt
        self.commands.append(words)
        option = dict(itertools.pairwise(words))
        if option["--load-mode"] == "none":
            raise BenchError("llama-bench ended with 1: no memory.")
        speed = 40.0 if environment else 30.0
        settings = itertools.product(option["--flash-attn"].split(","), map(int, option["--threads"].split(",")))
        return Outcome(
            [
                {
                    "threads": count,
                    "flash_attention": flash == "on",
                    "prompt": int(option["--n-prompt"]),
                    "generated": int(option["--n-gen"]),
                    "tokens_per_second": [
                        speed * count / 2 * (1.0 if flash == "on" else 0.9) * (1 + number * self.drift)
                    ]
                    * int(option["--repetitions"]),
                }
                for number, (flash, count) in enumerate(settings)
            ],
            1.5,
            False,
        )


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"weights")
    monkeypatch.setattr(f"{TUNER}.cpu_seconds", lambda _unit: None)
    return path


def tuner(model: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch, mode: str = "dio", **limits: Any) -> Tuner:
    wanted: Limits = {**LIMITS, **limits}  # type: ignore[typeddict-item]
    monkeypatch.setattr("plugins.module_utils.benchmark.llama_bench.run", bench)
    said: list[str] = []
    settings = {**UNIT["settings"], "LLAMA_ARG_LOAD_MODE": mode, "LLAMA_ARG_THREADS": "1" if mode == "mmap" else "2"}
    unit: Any = {**UNIT, "name": "unit", "model": str(model), "settings": settings}
    found = Tuner(unit, str(model.parent / "tuning.json"), "lock", wanted, said.append)
    found.said = said  # type: ignore[attr-defined]
    return found


def test_an_interrupted_search_goes_on_with_what_it_measured(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Bench()
    expected = tuner(model, whole, monkeypatch).search()
    os.unlink(model.parent / "tuning.json")
    first = Bench(most=4)
    with pytest.raises(KeyboardInterrupt):
        tuner(model, first, monkeypatch).search()
    assert not (model.parent / "tuning.json").exists()
    second = Bench()
    found = tuner(model, second, monkeypatch).search()
    assert first.commands + second.commands == whole.commands
    assert found["winner"] == expected["winner"]
    assert set(os.listdir(model.parent)) == {"x.gguf", "tuning.json"}


def test_the_result_is_stored_with_its_evidence_and_known_the_next_time(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tuner(model, Bench(), monkeypatch).search()
    assert found["winner"] == {
        "numa_policy": "interleave",
        "load_mode": "dio",
        "huge_pages": "thp",
        "threads": 2,
        "threads_batch": 2,
        "flash_attention": True,
    }
    assert found["evidence"]["load_seconds"] == [1.5] * len(found["evidence"]["load_seconds"])
    assert "no memory" in str([entry.get("problem") for entry in found["evidence"]["measurements"]])
    again = tuner(model, Bench(), monkeypatch)
    assert again.stored() == json.loads((model.parent / "tuning.json").read_text())
    assert tuner(model, Bench(), monkeypatch, threads=[1]).stored() is None
    # Nor is a service that has taken the result over, and so has other settings than when it was measured, a reason.
    assert tuner(model, Bench(), monkeypatch, mode="mmap").stored() == again.stored()
    text = tuning_text(found, {"bind": "The model is too large."})
    print(text)
    assert "40.0 tokens a second" in text
    assert max(map(len, text.splitlines())) <= 80


def test_settings_take_turns_so_that_a_machine_that_becomes_faster_favors_none(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(drift=0.08)
    found = tuner(model, bench, monkeypatch).search()
    threads = [entry for entry in found["evidence"]["measurements"] if entry["stage"] == "threads"]
    print(threads)
    assert found["winner"]["flash_attention"]
    assert {len(entry["tokens_per_second"]) for entry in threads} == {FINAL_REPETITIONS}


def test_its_progress_says_how_many_steps_and_seconds_there_are_at_most(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tuner(model, Bench(), monkeypatch)
    found.search()
    said: list[str] = found.said  # type: ignore[attr-defined]
    print("\n".join(said))
    assert "step 1 of at most" in said[0]
    assert "left" not in said[0]
    assert all("best so far" in line and "left" in line for line in said[1:])


def test_the_service_is_stopped_only_where_there_is_no_room_beside_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[str] = []

    @contextlib.contextmanager
    def stopped(unit: str, _lock: str) -> Iterator[None]:
        did.append(f"stop {unit}")
        yield
        did.append(f"start {unit}")

    monkeypatch.setattr(f"{TUNER}.stopped", stopped)
    tuner(model, Bench(), monkeypatch).search()
    assert did == []
    monkeypatch.setattr(f"{TUNER}.available_bytes", lambda: 1)
    tuner(model, Bench(), monkeypatch).search()
    assert did == ["stop unit", "start unit"]


def test_the_service_is_stopped_where_its_part_of_a_node_leaves_no_room_for_all_of_the_model(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[str] = []

    @contextlib.contextmanager
    def stopped(unit: str, _lock: str) -> Iterator[None]:
        did.append(unit)
        yield

    monkeypatch.setattr(f"{TUNER}.stopped", stopped)
    monkeypatch.setattr(f"{TUNER}.available_bytes", lambda: 2 * 10**11)
    monkeypatch.setattr(f"{TUNER}.read_tower", lambda: {**tower(2), **SAID})
    free = {"MemFree": 2**40}
    monkeypatch.setattr(f"{TUNER}.node_meminfo", lambda _node: free)
    tuner(model, Bench(), monkeypatch, policies=["interleave", "bind"]).search()
    assert did == []
    free["MemFree"] = 2**20
    tuner(model, Bench(), monkeypatch, policies=["interleave"]).search()
    assert did == []
    tuner(model, Bench(), monkeypatch, policies=["interleave", "bind"]).search()
    assert did == ["unit"]


def test_an_arm_in_which_the_service_was_used_is_measured_again(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Busy during the first process, idle afterwards.
    used = iter([0.0, 100.0])
    monkeypatch.setattr(f"{TUNER}.cpu_seconds", lambda _unit: next(used, 100.0))
    bench = Bench()
    found = tuner(model, bench, monkeypatch).search()
    assert bench.commands[0] == bench.commands[1]
    assert not any(entry["disturbed"] for entry in found["evidence"]["measurements"])


def test_a_search_in_which_nothing_ran_says_why_and_leaves_nothing(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TuneError, match="no memory"):
        tuner(model, Bench(), monkeypatch, load_modes=["none"]).search()
    assert os.listdir(model.parent) == ["x.gguf"]
