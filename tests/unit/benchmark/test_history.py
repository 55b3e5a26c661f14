# SPDX-License-Identifier: MIT
"""The kept runs: what became slower, what changed meanwhile, and what is told of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from plugins.module_utils.benchmark.history import (
    changed_conditions,
    history_summary,
    keep_run,
    node_weights,
    read_history,
    read_tuning,
    regressions,
    sentence,
    without_measurements,
)
from plugins.module_utils.benchmark.results import probe_results, quantity
from plugins.module_utils.benchmark.terminal import benchmark_text


def run(speed: list[float], started: str = "2026-01-01T00:00:00Z", **conditions: Any) -> Any:
    results = {"decode": quantity(speed, "tokens/s")}
    return {"schema_version": 1, "started": started, "conditions": conditions, "results": results, "skipped": {}}


def matrix(**rates: float) -> Any:
    """A run with the bandwidth of cells: ``c0m1`` is what the cores of node 0 read from the memory of node 1."""
    cells: Any = [
        {"cpu_node": int(cell[1]), "memory_node": int(cell[3]), "gb_s": [rate]} for cell, rate in rates.items()
    ]
    answer: Any = {"bytes_per_thread": 2**20, "cells": cells, "whole": {"gb_s": [1.0]}}
    return {"results": probe_results(answer)}


def test_weights_of_the_nodes_are_their_bandwidth_for_the_cores_that_read_them_fastest() -> None:
    run_of_two = matrix(c0m0=300.0, c1m0=90.0, c0m1=90.0, c1m1=200.0)
    assert node_weights([run_of_two], [0, 1]) == {0: 3, 1: 2}
    # Memory without cores of its own.
    assert node_weights([matrix(c0m0=300.0, c0m2=100.0)], [0, 2]) == {0: 3, 2: 1}


def test_weights_come_from_the_last_run_that_read_all_nodes() -> None:
    older, newer = matrix(c0m0=100.0, c1m1=200.0), matrix(c0m0=200.0, c1m1=100.0)
    assert node_weights([older, newer, matrix(c0m0=100.0), run([1.0])], [0, 1]) == {0: 2, 1: 1}
    assert node_weights([newer], [0, 1, 2]) == {}
    assert node_weights([newer], [0]) == {}
    # Before the BIOS made two nodes of four, the first two were the halves of one socket.
    four = matrix(c0m0=100.0, c1m1=100.0, c2m2=50.0, c3m3=50.0)
    assert node_weights([newer, four], [0, 1]) == {0: 2, 1: 1}
    assert node_weights([four], [0, 1]) == {}


def test_a_loss_beyond_the_spread_is_named_and_one_within_it_is_not() -> None:
    before = run([10.0, 10.1, 9.9], kernel="6.1")
    (fell,) = regressions(run([8.0, 8.1, 7.9], kernel="6.1"), [before])
    assert (fell["name"], fell["before"], fell["now"], round(fell["loss"], 3)) == ("decode", 10.0, 8.0, 0.2)
    assert sentence(fell).startswith(f"decode fell by 20% since {before['started']}, from 10.0 to 8.00 tokens/s")
    assert regressions(run([9.8, 9.9, 9.7], kernel="6.1"), [before]) == []
    assert regressions(run([8.0, 12.0, 8.5], kernel="6.1"), [before]) == []


def test_another_condition_makes_no_regression() -> None:
    before, now = run([10.0], kernel="6.1"), run([5.0], kernel="6.12")
    assert regressions(now, [before]) == []
    assert changed_conditions(now, before) == ["kernel"]


def test_the_history_is_bounded_and_in_order(tmp_path: Path) -> None:
    for day in range(1, 6):
        keep_run(str(tmp_path), run([1.0], f"2026-01-0{day}T00:00:00Z"), kept=3)
    (tmp_path / "2026-01-09.json").write_text("half a fi")
    assert [old["started"][8:10] for old in read_history(str(tmp_path))] == ["03", "04", "05"]


def test_the_summary_names_what_changed_and_has_no_samples_but_of_the_last_run() -> None:
    assert history_summary([]) is None
    old, new = run([10.0], "2026-01-01T00:00:00Z", kernel="6.1"), run([5.0], "2026-01-02T00:00:00Z", kernel="6.12")
    found = history_summary([old, new])
    assert found is not None
    assert found["changed_conditions"] == ["kernel"]
    assert found["regressions"] == []
    assert [entry["started"] for entry in found["history"]] == [old["started"], new["started"]]
    assert all("samples" not in entry["results"]["decode"] for entry in found["history"])
    assert found["latest"] == new


def test_the_text_says_the_change_since_the_run_it_is_compared_with() -> None:
    whole = {"derived": {"roofline_tokens_per_second": 12.0, "service_of_roofline": 0.75}}
    before: Any = {**run([10.0, 10.1, 9.9], kernel="6.1"), **whole}
    now: Any = {
        **run([8.0, 8.1, 7.9], "2026-01-02T00:00:00Z", kernel="6.1"),
        **whole,
        "skipped": {"hash": "No CPU is free."},
    }
    found = history_summary([before, now])
    assert found is not None
    text = benchmark_text(found, "tower1")
    print(text)
    assert "-20.0%" in text
    assert "SLOWER" in text
    assert "75%" in text
    assert "No CPU is free." in text
    assert max(map(len, text.splitlines())) <= 80


def test_what_was_stored_is_read_or_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "tuning.json"
    assert read_tuning(str(path)) is None
    path.write_text("half a fi")
    assert read_tuning(str(path)) is None
    stored = {"schema_version": 1, "build": "b", "model": {}, "conditions": {}, "winner": {"threads": 2}}
    path.write_text(json.dumps(stored))
    assert dict(read_tuning(str(path)) or {}) == stored
    path.write_text(json.dumps({**stored, "schema_version": 2}))
    assert read_tuning(str(path)) is None


def test_what_is_told_of_the_tuner_has_no_measurements() -> None:
    document: Any = {"schema_version": 1, "evidence": {"load_seconds": [1.0], "measurements": [{}]}}
    assert dict(without_measurements(document)["evidence"]) == {"load_seconds": [1.0]}
    assert "measurements" in document["evidence"]
