# SPDX-License-Identifier: MIT
"""What a measurement says, and the read probe on this machine."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from plugins.module_utils.benchmark.document import Probe, ProbeCell
from plugins.module_utils.benchmark.results import derived, misplaced, probe_results, quantity


def test_the_probe_reads_every_node_and_the_whole(tmp_path: Path, repo: Path) -> None:
    probe = tmp_path / "read_probe"
    flags = ["-std=gnu11", "-O3", "-march=native", "-Wall", "-Wextra", "-Werror", "-pthread"]
    subprocess.run(["gcc", *flags, repo / "roles/benchmark/files/read_probe.c", "-o", probe], check=True)
    answer = json.loads(subprocess.check_output([probe, "16", "3"], text=True))
    assert answer["bytes_per_thread"] == 16 * 2**20
    results = probe_results(answer)
    print(results)
    assert {"read_node0_node0", "read_whole"} <= set(results)
    assert all(len(result["samples"]) == 3 for result in results.values())
    assert misplaced(answer) is None
    assert subprocess.run([probe, "0"], capture_output=True, check=False).returncode == 2


def test_memory_on_another_node_than_asked_for_is_told() -> None:
    cell: ProbeCell = {"cpu_node": 0, "memory_node": 1, "threads": 8, "gb_s": [1.0], "misplaced": 3}
    answer: Probe = {"bytes_per_thread": 2**20, "cells": [cell], "whole": cell}
    assert "0 to 1" in str(misplaced(answer))
    assert misplaced({**answer, "cells": [{**cell, "misplaced": None}]}) is None


def test_a_quantity_has_median_and_spread() -> None:
    assert quantity([9.0, 10.0, 11.0], "GB/s") == {
        "unit": "GB/s",
        "samples": [9.0, 10.0, 11.0],
        "median": 10.0,
        "spread": 0.2,
    }
    with pytest.raises(ValueError, match="above zero"):
        quantity([], "GB/s")


def test_the_roofline_is_what_the_memory_allows() -> None:
    results = {"read_whole": quantity([30.0], "GB/s"), "service_steady": quantity([27.0], "tokens/s")}
    found = derived(results, 10**9)
    assert found["roofline_tokens_per_second"] == 30.0
    assert found["service_of_roofline"] == 0.9
    assert found["service_of_bench"] is None
    assert derived({}, None)["roofline_tokens_per_second"] is None
