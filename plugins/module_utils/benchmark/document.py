# SPDX-License-Identifier: MIT
"""What a benchmark says: medians, spread, history, and what became slower since the last run like it.

A quantity is ``{unit, samples, median, spread}``; higher is better for all of them. A run, one file of
``/var/lib/llamatower/benchmarks``, is::

    {schema_version: 1, started: "2026-01-31T12:00:00Z",
     conditions: {kernel, bios, cpu, cores, threads_per_core, nodes, thp, governor, build, model, prefix, settings,
                  beside_service, restarted, probe_mebibytes, tokens, prompt_words},
     results: {read_node0_node1, …, read_whole, disk_read, hash (GB/s); bench_decode, bench_prompt, service_first,
               service_steady, service_prompt (tokens/s); service_load (GB/s)},
     skipped: {name of a result: the sentence why},
     derived: {active_bytes, roofline_tokens_per_second, service_of_roofline, service_of_bench}}

``read_node0_node1`` is what the cores of node 0 read from the memory of node 1. ``service_first`` is the first request
of a run, after the restart if there was one, which is what ``service_load`` is of.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from statistics import median
from typing import Any, Optional

from ..files import write_json
from ..service.numa_policy import weights
from ..service.tuned import hardware_of

SCHEMA_VERSION = 1
# Runs that are kept for one tower: a year of weekly ones.
KEPT_RUNS = 52
# Less than this is no regression, however steady the samples were: repeated runs on an idle machine differ by so much.
LEAST_LOSS = 0.03

# What a result is called, in the order in which results are shown.
NAMES = {
    "read_whole": "memory, all cores over all nodes",
    "disk_read": "disk of the model, past the cache",
    "hash": "SHA-256, all CPUs",
    "service_load": "service, loading its model",
    "service_first": "service, first answer",
    "service_steady": "service, further answers",
    "service_prompt": "service, reading prompts",
    "bench_decode": "llama-bench, decoding",
    "bench_prompt": "llama-bench, reading prompts",
}
# Reads of one node's memory by the cores of another.
CELL = re.compile(r"read_node(\d+)_node(\d+)")


def name_of(key: str) -> str:
    """A result in words."""
    cell = CELL.fullmatch(key)
    return f"cores of node {cell[1]}, memory of node {cell[2]}" if cell else NAMES.get(key, key)


def quantity(samples: list[float], unit: str) -> dict[str, Any]:
    """Median and spread (largest minus smallest over the median; 0.0 for one sample) of positive samples.

    Raises ValueError where there is none.
    """
    if not samples or min(samples) <= 0:
        raise ValueError(f"A quantity needs samples above zero, not {samples}.")
    middle = median(samples)
    return {
        "unit": unit,
        "samples": samples,
        "median": middle,
        "spread": round((max(samples) - min(samples)) / middle, 4),
    }


def probe_results(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The quantities of what read_probe printed: ``read_node0_node1`` (CPU, memory) and ``read_whole``."""
    cells = {f"read_node{cell['cpu_node']}_node{cell['memory_node']}": cell for cell in answer["cells"]}
    return {name: quantity(cell["gb_s"], "GB/s") for name, cell in {**cells, "read_whole": answer["whole"]}.items()}


def misplaced(answer: dict[str, Any]) -> Optional[str]:
    """One sentence where buffers of the probe did not lie where they were put, else None."""
    wrong = [f"{cell['cpu_node']} to {cell['memory_node']}" for cell in answer["cells"] if cell["misplaced"]]
    if not wrong:
        return None
    return (
        f"The probe's memory was not on the node asked for (CPU to memory node {', '.join(wrong)}): free memory there."
    )


def conditions_of(tower: dict[str, Any]) -> dict[str, Any]:
    """What a tower's speed depends on without its being a fault of the tower's; of what tower_info returns.

    The size of the memory is left out: a lost DIMM is a regression to be named, not another condition.
    """
    return {
        "kernel": tower["kernel"],
        "bios": tower["bios"]["version"],
        **hardware_of(tower),
        "thp": (tower["thp"] or {}).get("enabled"),
        "governor": (tower["frequency"] or {}).get("governor"),
    }


def derived(results: dict[str, dict[str, Any]], active_bytes: Optional[int]) -> dict[str, Any]:
    """What the memory allows, in tokens a second, and which part of it the service reaches; None where not measured."""

    def ratio(above: Optional[float], below: Optional[float]) -> Optional[float]:
        return round(above / below, 3) if above and below else None

    middle = {name: result["median"] for name, result in results.items()}
    bytes_a_second = middle.get("read_whole", 0) * 1e9
    roofline = bytes_a_second / active_bytes if active_bytes and bytes_a_second else None
    return {
        "active_bytes": active_bytes,
        "roofline_tokens_per_second": round(roofline, 2) if roofline else None,
        "service_of_roofline": ratio(middle.get("service_steady"), roofline),
        "service_of_bench": ratio(middle.get("service_steady"), middle.get("bench_decode")),
    }


def comparable(run: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two runs were made under the same conditions."""
    return bool(run["conditions"] == other["conditions"])


def changed_conditions(run: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The names of the conditions that differ."""
    names = {*run["conditions"], *other["conditions"]}
    return sorted(name for name in names if run["conditions"].get(name) != other["conditions"].get(name))


def regressions(run: dict[str, Any], history: list[dict[str, Any]]) -> list[str]:
    """A sentence for each result that fell, by more than the spread, since the last run under the same conditions."""
    before = next((old for old in reversed(history) if comparable(run, old)), None)
    if before is None:
        return []
    sentences = []
    for name, now in sorted(run["results"].items()):
        then = before["results"].get(name)
        if then is None:
            continue
        loss = 1 - now["median"] / then["median"]
        if loss > max(LEAST_LOSS, (now["spread"] + then["spread"]) / 2):
            sentences.append(
                f"{name} fell by {loss:.0%} since {before['started']}, from {then['median']:.4g} to {now['median']:.4g}"
                f" {now['unit']}, under the same conditions."
            )
    return sentences


def read_history(directory: str) -> list[dict[str, Any]]:
    """The kept runs, oldest first; a file that is no run of this schema is passed over."""
    runs = []
    for path in sorted(Path(directory).glob("*.json")):
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(run, dict) and run.get("schema_version") == SCHEMA_VERSION and "results" in run:
            runs.append(run)
    return runs


def node_weights(runs: list[dict[str, Any]], nodes: list[int]) -> dict[int, int]:
    """Weights of weighted interleave for these memory nodes, {} where no run, oldest first, has read just these.

    What counts of a node is its bandwidth for the cores that read it fastest: the links that the others come over are
    shared by all policies that use every node.
    """
    for run in reversed(runs):
        rates: dict[int, float] = {}
        for name, result in run["results"].items():
            cell = CELL.fullmatch(name)
            if cell:
                rates[int(cell[2])] = max(rates.get(int(cell[2]), 0.0), result["median"])
        # One of another setting of the BIOS (NPS, SNC) had other nodes by the same numbers.
        if set(rates) == set(nodes) and len(nodes) > 1:
            return weights(rates)
    return {}


def trimmed(run: dict[str, Any]) -> dict[str, Any]:
    """A run without the samples of its results."""
    results = {
        name: {key: value for key, value in result.items() if key != "samples"}
        for name, result in run["results"].items()
    }
    return {**run, "results": results}


def summary(runs: list[dict[str, Any]]) -> Optional[dict[str, Any]]:
    """What is told of a history, oldest first; None where it is empty.

    ``latest`` is the last run, ``history`` all of them without samples, ``regressions`` sentences, and
    ``changed_conditions`` the conditions that differ from the run before, which was not compared then.
    """
    if not runs:
        return None
    *before, latest = runs
    return {
        "latest": latest,
        "history": [trimmed(run) for run in runs],
        "regressions": regressions(latest, before),
        "changed_conditions": changed_conditions(latest, before[-1]) if before else [],
    }


def keep(directory: str, run: dict[str, Any], kept: int = KEPT_RUNS) -> str:
    """Add a run to the history, drop the oldest beyond ``kept``, and return its path."""
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, f"{run['started'].replace(':', '')}.json")
    write_json(path, run)
    for old in sorted(Path(directory).glob("*.json"))[:-kept]:
        old.unlink()
    return path
