# SPDX-License-Identifier: MIT
"""The search for the fastest settings, on simulated machines with noise."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.module_utils.benchmark.search import (
    FINALISTS,
    Space,
    arm_of,
    beats,
    chosen_load,
    confidence,
    decide,
    exhaustive,
    hopeful,
    load_of,
    loads,
    next_step,
    seconds_left,
    steps_left,
    thread_counts,
)
from plugins.module_utils.service.tuned import stored_winner

SPACE = Space(
    loads(["interleave", "distribute", "none"], ["dio", "none", "mmap"], ["thp", "none"]),
    *thread_counts(16, 32),
)

WINNER: Any = {**arm_of(("bind", "dio", "thp"), 2, True), "threads_batch": 2}


class Machine:
    """Decodes at a speed of each arm's own, give or take the noise."""

    def __init__(self, seed: int, noise: float, space: Space = SPACE) -> None:
        self.random = random.Random(seed)
        self.noise = noise
        by_load = {load: self.random.uniform(10, 20) for load in space.loads}
        by_threads = {count: self.random.uniform(0.6, 1.1) for count in space.threads}
        self.speed = {
            (load, threads, flash): speed * scale * (1.0 if flash else 0.95)
            for load, speed in by_load.items()
            for threads, scale in by_threads.items()
            for flash in (True, False)
        }
        self.repetitions = 0

    def run(self, step: Any) -> list[Any]:
        entries = []
        for threads in step.threads:
            for flash in step.flash_attention:
                self.repetitions += step.repetitions
                rate = 100.0 if step.prompt else self.speed[step.load, threads, flash]
                policy, mode, pages = step.load
                samples = [rate * self.random.uniform(1 - self.noise, 1 + self.noise) for _ in range(step.repetitions)]
                entries.append(
                    {
                        "stage": step.stage,
                        "numa_policy": policy,
                        "load_mode": mode,
                        "huge_pages": pages,
                        "threads": threads,
                        "flash_attention": flash,
                        "prompt": step.prompt,
                        "tokens_per_second": samples,
                        "load_seconds": 1.0,
                    }
                )
        return entries


def search(machine: Machine, space: Space = SPACE) -> tuple[list[Any], int]:
    measurements: list[Any] = []
    steps = 0
    left = len(steps_left(space, measurements))
    while step := next_step(space, measurements):
        measurements += machine.run(step)
        steps += 1
        before, left = left, len(steps_left(space, measurements))
        assert left < before
    return measurements, steps


@given(st.integers(0, 10**6), st.floats(0, 0.01))
def test_the_winner_is_within_three_percent_of_the_best_arm(seed: int, noise: float) -> None:
    machine = Machine(seed, noise)
    measurements, steps = search(machine)
    spent = machine.repetitions
    decided = decide(SPACE, measurements)
    assert decided is not None
    winner = decided["winner"]
    reached = machine.speed[load_of(winner), winner["threads"], winner["flash_attention"]]
    assert reached >= 0.97 * max(machine.speed.values()), decided
    assert steps <= len(SPACE.loads) + FINALISTS + 1 + 2
    sweep = exhaustive(SPACE)
    assert spent <= sum(step.repetitions for step in sweep) / 3
    assert steps <= len(sweep) / 3


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(0, len(SPACE.loads)))
def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(seed: int, kept: int) -> None:
    whole, _steps = search(Machine(seed, 0.0))
    rest = whole[:kept]
    machine = Machine(seed, 0.0)
    while step := next_step(SPACE, rest):
        rest = rest + machine.run(step)
    assert rest == whole


def test_what_differs_by_noise_alone_does_not_replace_the_default() -> None:
    assert beats([10.4, 10.5], [10.0, 10.1])
    assert not beats([10.05, 10.06], [10.0, 10.01])
    assert not beats([9.0, 10.6, 12.0], [8.5, 10.0, 12.5])


def test_the_default_is_measured_again_beside_two_others_unless_it_is_hopeless() -> None:
    default, first, second = ("none", "dio", "thp"), ("none", "dio", "none"), ("none", "mmap", "none")
    order = (default, first, second)
    assert hopeful({default: [9.8, 9.9], first: [10.0, 10.1], second: [9.9, 10.0]}, order) == [first, second, default]
    assert hopeful({default: [9.0, 9.1], first: [10.0, 10.1], second: [9.9, 10.0]}, order) == [first, second]
    # Another sample of the same default differs as much as the samples of any other.
    noisy = {default: [9.0, 9.1], first: [9.0, 11.1], second: [9.9, 10.0]}
    assert hopeful(noisy, order) == [first, second, default]


def test_a_load_that_was_fast_at_first_sight_only_is_not_chosen() -> None:
    default, other, third = ("none", "dio", "thp"), ("none", "dio", "none"), ("none", "mmap", "none")
    space = Space((default, other, third), (2,), (2,), (True,))

    def entry(stage: str, load: tuple[str, str, str], *rates: float) -> Any:
        return {**arm_of(load, 2, True), "stage": stage, "prompt": 0, "tokens_per_second": rates}

    measured = [entry("screen", load, 10.0, 10.1) for load in space.loads]
    # The third was no finalist; what the others lost since is no reason to take it.
    slower = [entry("final", load, 8.0, 8.1, 8.2) for load in (default, other)]
    assert chosen_load(space, [*measured, *slower]) == default


def test_the_file_s_own_pages_are_never_asked_to_be_huge_and_the_default_comes_first() -> None:
    found = loads(["none"], ["mmap", "dio"], ["thp", "none"], ("none", "dio", "thp"))
    assert found == (("none", "dio", "thp"), ("none", "mmap", "none"), ("none", "dio", "none"))


def test_hyper_threads_are_tried_only_where_there_are_some() -> None:
    assert thread_counts(16, 32) == ((16, 12, 8, 15, 32), (16, 32))
    assert thread_counts(2, 2) == ((2, 1), (2,))
    assert thread_counts(128, 128)[0] == (128, 96, 64, 32, 16, 127)
    assert thread_counts(1, 1) == ((1,), (1,))


def test_a_load_that_fails_is_left_out() -> None:
    space = Space((("none", "dio", "thp"), ("none", "mmap", "none")), (2, 1), (2,))
    machine = Machine(1, 0.0, space)
    measurements: list[Any] = []
    while step := next_step(space, measurements):
        entries = machine.run(step)
        if step.load[1] == "dio":
            entries = [{**entry, "tokens_per_second": [], "problem": "no O_DIRECT"} for entry in entries]
        measurements += entries
    decided = decide(space, measurements)
    assert decided is not None
    assert decided["winner"]["load_mode"] == "mmap"


def test_a_search_in_which_everything_failed_has_no_winner() -> None:
    assert decide(SPACE, []) is None


def test_how_sure_the_winner_is() -> None:
    assert confidence([10.0, 10.1], [9.0, 9.9]) == "certain"
    assert confidence([10.0, 10.4, 10.6], [9.0, 9.9, 10.1]) == "likely"
    assert confidence([10.0, 10.1], [10.0, 10.1]) == "tie"


TOWER: Any = {"cpu": {"model": "A CPU"}, "cores": 16, "cpus": 32, "nodes": [{}, {}]}


def test_a_stored_winner_is_of_this_build_and_model_or_none() -> None:
    stored: Any = {
        "schema_version": 1,
        "build": "b",
        "model": {"sha256": ["m"]},
        "conditions": {"cpu": "A CPU", "cores": 16, "threads_per_core": 2, "nodes": 2, "kernel": "6.1.0"},
        "winner": WINNER,
    }
    assert stored_winner(stored, "b", ["m"], TOWER) == WINNER
    assert stored_winner(stored, "other", ["m"], TOWER) is None
    assert stored_winner(stored, "b", ["other"], TOWER) is None
    assert stored_winner(None, "b", ["m"], TOWER) is None


@pytest.mark.parametrize(
    "changes", [{"cpus": 16}, {"nodes": [{}] * 8}, {"cpu": {"model": "Another"}}, {"cores": 8, "cpus": 16}]
)
def test_a_stored_winner_of_other_hardware_is_none(changes: dict[str, Any]) -> None:
    conditions = {"cpu": "A CPU", "cores": 16, "threads_per_core": 2, "nodes": 2}
    stored: Any = {
        "schema_version": 1,
        "build": "b",
        "model": {"sha256": []},
        "conditions": conditions,
        "winner": WINNER,
    }
    assert stored_winner(stored, "b", [], TOWER) == WINNER
    assert stored_winner(stored, "b", [], TOWER | changes) is None


def test_threads_that_are_bound_to_a_node_are_no_more_than_it_has() -> None:
    bind, interleave = ("bind", "dio", "thp"), ("interleave", "dio", "thp")
    space = Space((interleave, bind), (32, 24), (32, 64), bound_threads=(16, 8), bound_threads_batch=(16,))
    machine = Machine(0, 0.0, space)
    machine.speed = {
        (load, threads, flash): (20.0 if load == bind else 10.0) + threads / 100
        for load, counts in ((interleave, (32, 24)), (bind, (16, 8)))
        for threads in counts
        for flash in (True, False)
    }
    measurements, _steps = search(machine, space)
    decided = decide(space, measurements)
    assert decided is not None
    assert (decided["winner"]["numa_policy"], decided["winner"]["threads"]) == ("bind", 16)
    assert decided["winner"]["threads_batch"] == 16
    assert {step.threads for step in exhaustive(space) if step.load == bind} == {(16,), (8,)}


def test_the_threads_that_decode_a_distributed_model_read_its_prompts_too() -> None:
    """The service has them do so: their own rows of the weights are near them."""
    space = Space(loads(["distribute"], ["mmap"], ["none"]), *thread_counts(16, 32))
    measurements, _steps = search(Machine(1, 0.01, space), space)
    decided = decide(space, measurements)
    assert decided and decided["winner"]["threads_batch"] == decided["winner"]["threads"]
    assert not any(entry["prompt"] for entry in measurements) and not any(step.prompt for step in exhaustive(space))


def test_the_time_that_is_left_shrinks_and_is_at_most_what_it_takes() -> None:
    assert seconds_left(SPACE, []) is None
    measurements: list[Any] = []
    machine = Machine(3, 0.0)
    told: list[float] = []
    while step := next_step(SPACE, measurements):
        measurements += machine.run(step)
        told.append(seconds_left(SPACE, measurements) or 0.0)
    print(told)
    assert told[0] > 0
    assert told[-1] == 0
    assert told[0] > told[len(SPACE.loads)]
