# SPDX-License-Identifier: MIT
"""What a unit runs, and the order in which it is stopped, guarded and started again."""

from __future__ import annotations

import contextlib

import pytest

from plugins.module_utils.service.memory_budget import second_copy_problem
from plugins.module_utils.service.unit import (
    UnitError,
    await_start,
    call,
    cpu_seconds,
    journal,
    reload_files,
    started,
    stopped,
)

UNIT = "llama-server@main.service"
GUARD = "llamatower-guard-llama-server-main.service"


class Systemd:
    """Answers what systemctl and systemd-run are asked, and keeps what they did."""

    def __init__(self, **states: str) -> None:
        self.states = {UNIT: "active", GUARD: "inactive"}
        self.states.update({UNIT if name == "unit" else GUARD: state for name, state in states.items()})
        self.did: list[str] = []
        self.cpu = "1500000000"

    def __call__(self, words: list[str]) -> str:
        if words[:2] == ["systemctl", "show"]:
            return f"ActiveState={self.states[words[-1]]}\nCPUUsageNSec={self.cpu}\n"
        name = GUARD if words[0] == "systemd-run" else words[-1]
        verb = "start" if words[0] == "systemd-run" else words[1]
        self.did.append(f"{verb} {'guard' if name == GUARD else 'unit'}")
        if words[0] == "systemd-run":
            assert f"--unit={GUARD}" in words
            assert f"--property=ExecStopPost=/usr/bin/systemctl --no-block start {UNIT}" in words
        self.states[name] = "active" if verb == "start" else "inactive"
        if (verb, name) == ("stop", GUARD):
            self.states[UNIT] = "active"
        return ""


def test_the_guard_is_there_before_the_unit_stops_and_ends_after_it_runs_again() -> None:
    systemd = Systemd()
    with stopped(UNIT, "/lock", systemd):
        assert systemd.states == {UNIT: "inactive", GUARD: "active"}
    assert systemd.did == ["start guard", "stop unit", "start unit", "stop guard"]


def test_the_unit_is_started_again_where_the_work_fails() -> None:
    systemd = Systemd()
    with pytest.raises(KeyError), stopped(UNIT, "/lock", systemd):
        raise KeyError
    assert systemd.states == {UNIT: "active", GUARD: "inactive"}


def test_a_guard_that_a_killed_process_left_is_replaced() -> None:
    systemd = Systemd(unit="inactive", guard="active")
    with stopped(UNIT, "/lock", systemd):
        assert systemd.states[UNIT] == "inactive"
    assert systemd.did == ["stop guard", "start guard", "stop unit", "start unit", "stop guard"]


def test_a_unit_that_somebody_stopped_stays_stopped() -> None:
    systemd = Systemd(unit="inactive")
    with stopped(UNIT, "/lock", systemd):
        pass
    assert systemd.did == []


def test_the_time_that_it_used_is_told_where_systemd_counts_it() -> None:
    systemd = Systemd()
    assert cpu_seconds(UNIT, systemd) == 1.5
    for unknown in ("[not set]", str(2**64 - 1)):
        systemd.cpu = unknown
        assert cpu_seconds(UNIT, systemd) is None


def test_a_second_copy_that_does_not_fit_is_refused_with_the_figures() -> None:
    assert second_copy_problem(90 * 10**9, 100 * 10**9) is None
    assert "100.0 GB" in str(second_copy_problem(100 * 10**9, 100 * 10**9))


class Starting:
    """A unit that goes through these states, one each time that it is asked, and stays in the last."""

    def __init__(self, *states: str) -> None:
        self.states = list(states)

    def __call__(self, words: list[str]) -> str:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        name, _, restarts = state.partition(" ")
        job = "Job=7\n" if name == "queued" else ""
        return f"ActiveState={'inactive' if name == 'queued' else name}\nNRestarts={restarts or 0}\n{job}"


def waited(timeout: float, *states: str, loaded: bool = True) -> float:
    return await_start(UNIT, lambda: loaded, timeout, Starting(*states), lambda _seconds: None)


def test_a_start_is_waited_for_from_the_queue_to_the_answer() -> None:
    assert waited(60, "queued", "queued", "activating", "active") < 60


@pytest.mark.parametrize(
    ("timeout", "states", "sentence"),
    [
        (60, ("activating", "activating", "failed"), "did not start"),
        (60, ("activating 1", "activating 1", "activating 2"), "did not start"),
        (-1, ("activating", "active"), "has not loaded its model within -1 s"),
        # A start that is late may still get its verdict from systemd, which takes a while.
        (-300, ("activating",), "has not loaded its model within"),
    ],
)
def test_a_start_that_fails_or_takes_too_long_ends_in_a_sentence(
    timeout: float, states: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(UnitError, match=sentence):
        waited(timeout, *states, loaded=False)


def test_what_the_check_of_the_last_start_said_is_told_apart_from_the_journal() -> None:
    def run(words: list[str]) -> str:
        if words[0] == "systemctl":
            return "InvocationID=abc\n"
        assert "_SYSTEMD_INVOCATION_ID=abc" in words
        return "first\nlast\n" if "python3" in words else "one\ntwo\n"

    assert journal(UNIT, run) == (["one", "two"], "last")
    assert journal(UNIT, lambda _words: "") == ([], "")


def test_units_that_run_are_named_by_the_first_word_of_their_line() -> None:
    listing = "llama-server@main.service loaded active running llama.cpp server\n\n"
    assert started("llama-server@*.service", lambda _words: listing) == [UNIT]


@pytest.mark.parametrize(("resets", "ends_well"), [(0, True), (2, True), (3, False)])
def test_a_reload_whose_connection_is_reset_while_the_machine_boots_is_asked_for_again(
    resets: int, ends_well: bool
) -> None:
    asked: list[list[str]] = []

    def systemctl(words: list[str]) -> str:
        asked.append(words)
        if len(asked) <= resets:
            raise UnitError("`systemctl daemon-reload` failed: Reload daemon failed: Connection reset by peer.")
        return ""

    with contextlib.nullcontext() if ends_well else pytest.raises(UnitError, match="reset by peer"):
        reload_files(systemctl, lambda _seconds: None)
    assert len(asked) == min(resets + 1, 3)


def test_what_a_journal_has_of_half_a_character_is_read_all_the_same() -> None:
    assert (
        call(["printf", "kv 21: tokenizer.ggml.merges = [\\304...\\n"]) == "kv 21: tokenizer.ggml.merges = [\ufffd...\n"
    )
