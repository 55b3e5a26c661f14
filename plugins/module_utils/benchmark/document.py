# SPDX-License-Identifier: MIT
"""The documents of benchmarks and of the tuner, and what their results are called.

Rates of memory, disk and hashing are GB/s (1e9 bytes a second), of models tokens a second. Times are UTC, as in
``2026-01-31T12:00:00Z``.
"""

from __future__ import annotations

import re
from typing import Any, TypedDict

from ..service.document import Arm, Hardware, Winner
from ..service.tuned import TunedModel

# Raised when a key of a run is renamed, removed or changes its meaning.
SCHEMA_VERSION = 1

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


class _Measured(TypedDict):
    unit: str
    median: float
    spread: float


class Quantity(_Measured, total=False):
    """A rate, higher is better: ``unit`` is GB/s or tokens/s, ``spread`` the largest sample minus the smallest over the
    median. A history that is told has no ``samples``."""

    samples: list[float]


class ProbeCell(TypedDict):
    """What the cores of one node read from the memory of another, one sample a repetition: ``gb_s`` in GB/s.

    Nodes are null where all cores read from all nodes, and ``misplaced`` is how many pages lay elsewhere than asked
    for, null where that was not looked at.
    """

    cpu_node: int | None
    memory_node: int | None
    threads: int
    gb_s: list[float]
    misplaced: int | None


class Probe(TypedDict):
    """What roles/benchmark/files/read_probe.c prints: bytes that each thread read, each node by each, and the whole."""

    bytes_per_thread: int
    cells: list[ProbeCell]
    whole: ProbeCell


class BenchTest(TypedDict):
    """One test of llama-bench: its settings (``flash_attention`` is null where llama-bench decided itself), how many
    tokens it read as a ``prompt`` and ``generated``, and tokens a second of each repetition."""

    threads: int
    flash_attention: bool | None
    prompt: int
    generated: int
    tokens_per_second: list[float]


class BenchmarkOptions(TypedDict):
    """What a benchmark measures and how: options of the module llama_benchmark.

    ``unit`` is the service, ``probe`` the path of the read probe, which reads ``probe_mebibytes`` a core;
    ``disk_bytes`` of the model are read at most, ``tokens`` generated, prompts have ``prompt_words``, and
    ``timeout`` is in seconds.
    """

    unit: str
    probe: str
    repetitions: int
    probe_mebibytes: int
    tokens: int
    prompt_words: int
    disk_bytes: int
    stop_service: bool
    restart_service: bool
    timeout: int


class Conditions(Hardware):
    """What a tower's speed depends on without its being a fault of the tower's, by :func:`results.conditions_of`; null
    is what Linux does not show.

    The size of the memory is left out: a lost DIMM is a regression to be named, not another condition.
    """

    kernel: str | None
    bios: str | None
    thp: str | None
    governor: str | None


class RunConditions(Conditions):
    """The same, and what was measured how.

    ``model`` is its name and the first digits of a hash, ``prefix`` the words before the server's command, and
    ``settings`` are those that llama-bench has too. ``beside_service`` is whether the service ran while memory and
    llama-bench were measured, ``restarted`` whether it was restarted first, and the rest is how much was measured.
    """

    build: str | None
    model: str | None
    prefix: list[str]
    settings: dict[str, str]
    beside_service: bool
    restarted: bool
    probe_mebibytes: int
    tokens: int
    prompt_words: int


class Derived(TypedDict):
    """What the memory allows, in tokens a second, and which part of it and of llama-bench the service reaches; null
    where not measured. ``active_bytes`` are the bytes of weights that a token reads."""

    active_bytes: int | None
    roofline_tokens_per_second: float | None
    service_of_roofline: float | None
    service_of_bench: float | None


class Run(TypedDict):
    """One run of the benchmark, a file of ``benchmarks/`` in the directory of the measurements.

    ``results`` are by name: ``read_node0_node1`` (what the cores of node 0 read from the memory of node 1) and those of
    :data:`NAMES`. ``service_first`` is the first request of a run, after the restart if there was one, which is what
    ``service_load`` is of. ``skipped`` has the sentence why, by the name of a result or what else was wrong with it.
    """

    schema_version: int
    started: str
    conditions: RunConditions
    results: dict[str, Quantity]
    skipped: dict[str, str]
    derived: Derived


class Regression(TypedDict):
    """A result that fell by more than the spread since the last run under the same conditions, which started ``since``:
    the medians ``before`` and ``now`` in ``unit``, and the ``loss`` as a part of the former."""

    name: str
    since: str
    before: float
    now: float
    unit: str
    loss: float


class Summary(TypedDict):
    """What :func:`history.history_summary` tells of a history: the ``latest`` run, the ``history`` of all runs without
    samples, oldest first, ``regressions`` in sentences, and ``changed_conditions``: those that differ from the run
    before, which was not compared then."""

    latest: Run
    history: list[Run]
    regressions: list[str]
    changed_conditions: list[str]


class Limits(TypedDict, total=False):
    """What the tuner may choose from: options of the module llama_tune. What is not there, or null, is everything that
    the tower can."""

    policies: list[str] | None
    load_modes: list[str] | None
    huge_pages: list[str] | None
    threads: list[int] | None
    threads_batch: list[int] | None
    flash_attention: list[bool] | None


class _Measurement(Arm):
    stage: str
    prompt: int
    tokens_per_second: list[float]


class Measurement(_Measurement, total=False):
    """One setting of one process of the tuner, in the ``stage`` screen, final, threads or prompt.

    ``prompt`` is how many tokens are read, 0 where it decodes; ``tokens_per_second`` are its steady repetitions, []
    where nothing could be measured and ``problem`` says why; ``first_tokens_per_second`` is the first one, which may
    fault in what a mapped file has on the disk, ``load_seconds`` the time from the disk (null where it was not seen),
    and ``disturbed`` whether the service was used meanwhile.
    """

    first_tokens_per_second: float
    load_seconds: float | None
    disturbed: bool
    problem: str


class SampledSpeed(TypedDict):
    """Tokens a second of so many samples."""

    median: float
    low: float
    high: float
    samples: int


class RunnerUp(Arm):
    """The next best settings of the tuner, and how fast they were."""

    decode_tokens_per_second: SampledSpeed


class _Evidence(TypedDict):
    decode_tokens_per_second: SampledSpeed
    prompt_tokens_per_second: SampledSpeed | None
    load_seconds: list[float]
    runner_up: RunnerUp | None


class Evidence(_Evidence, total=False):
    """What the tuner's winner was chosen by. Prompts are null where no number of threads was compared for them, the
    runner-up where there was nothing else to compare; a document that is told has no ``measurements``."""

    measurements: list[Measurement]


class Decision(TypedDict):
    """What the tuner's measurements say, by :func:`search.decide`; ``confidence`` is certain, likely or tie."""

    winner: Winner
    confidence: str
    evidence: Evidence


class Tuning(Decision):
    """``tuning-INSTANCE.json`` where the measurements are: what the tuner found for one build, model and tower.

    ``schema_version`` is :data:`service.tuned.SCHEMA_VERSION`, ``build`` the key of the release, and ``space`` has the
    sorted values of :class:`search.Space`. The service takes the winner over where :func:`service.tuned.stored_winner`
    says that it is of its own build, model and hardware.
    """

    schema_version: int
    measured: str
    build: str
    model: TunedModel
    conditions: Conditions
    space: dict[str, Any]
