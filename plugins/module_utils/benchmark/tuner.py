# SPDX-License-Identifier: MIT
"""The tuner on a tower: what it may choose from, one process of the search, and the files that it leaves.

Measurements are kept in ``<result>.measurements`` while the search goes on, so that a killed one goes on from there.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Callable, Optional, cast

from ..files import read_json, write_beside, write_json
from ..limits import usable
from ..model.declaration import shards_of
from ..model.uncached import drop
from ..service.document import Unit
from ..service.memory_budget import available_bytes, second_copy_problem
from ..service.numa_policy import WEIGHT, launch, memory_nodes, node_cores, policy_problem
from ..service.settings import HEAP, THP
from ..service.tuned import SCHEMA_VERSION
from ..service.unit import cpu_seconds, huge_pages, stopped
from ..sysfs import node_available, node_meminfo, read_int
from ..text import duration, rate, utc
from ..tower import read_tower
from ..tower_document import Tower
from . import llama_bench
from .document import Limits, Measurement, Tuning
from .history import node_weights, read_history, read_tuning
from .results import conditions_of
from .run import build_of, copy_bytes, measured_model
from .search import (
    GENERATED,
    PROMPT,
    Load,
    Space,
    Step,
    decide,
    load_of,
    loads,
    next_step,
    seconds_left,
    steps_left,
    thread_counts,
)

LOAD_MODES = ("dio", "none", "mmap")
# per_node is another service, not another setting of this one.
POLICIES = ("interleave", "weighted", "distribute", "bind", "none")
# A service that used so much of one core while an arm ran was used by somebody: the arm is measured again, so often.
DISTURBED, ATTEMPTS = 0.1, 3


class TuneError(Exception):
    """The tuner cannot go on; the text is one sentence."""


def policies(tower: Tower, needed_bytes: int, weights: dict[int, int]) -> tuple[list[str], dict[str, str]]:
    """The policies that can be compared on this tower, and why the others cannot.

    ``weights`` are those of its nodes by a benchmark; {} leaves those of the kernel.
    """
    if len(memory_nodes(tower)) < 2:
        return ["interleave"], {}
    problems = {policy: policy_problem(policy, tower, needed_bytes) for policy in POLICIES}
    shares = {weights.get(node) or read_int(WEIGHT.format(node)) for node in memory_nodes(tower)}
    if not problems["weighted"] and len(shares) < 2:
        problems["weighted"] = (
            "The weights of the nodes are equal, which is the policy interleave: run ansible-playbook "
            "llamatower.tower.bench, which measures them."
        )
    return [name for name in POLICIES if not problems[name]], {name: why for name, why in problems.items() if why}


def current_load(unit: Unit, tower: Tower, candidates: list[str]) -> Load:
    """How the service loads its model now."""
    numa = unit["settings"].get("LLAMA_ARG_NUMA")
    for policy in candidates:
        start = launch(policy, tower)
        if start.prefix == unit["prefix"] and start.settings.get("LLAMA_ARG_NUMA") == numa:
            break
    else:
        policy = candidates[0]
    pages = huge_pages(unit["environment"])
    mode = unit["settings"].get("LLAMA_ARG_LOAD_MODE", "mmap")
    return policy, mode, "none" if mode == "mmap" else pages


def make_space(
    unit: Unit,
    tower: Tower,
    limits: Limits,
    needed_bytes: int,
    weights: Optional[dict[int, int]] = None,
) -> tuple[Space, dict[str, str]]:
    """What there is to choose from, the present settings first, and why some is left out.

    Raises TuneError where the limits leave nothing.
    """
    possible, left_out = policies(tower, needed_bytes, weights or {})
    wanted = limits.get("policies")
    chosen = [policy for policy in possible if policy in wanted] if wanted else possible
    now = current_load(unit, tower, possible)
    if now[2] == "hugetlb":
        # The pool was reserved for this model, and nothing else can use it meanwhile.
        pages = ["hugetlb"]
    else:
        enabled = tower["thp"]["enabled"] if tower["thp"] else "never"
        pages = ["thp", "none"] if enabled in ("always", "madvise") else ["none"]
    asked = limits.get("huge_pages") or pages
    # Without its pool, hugetlb would measure what glibc takes instead, which it does without a word.
    found = loads(chosen, limits.get("load_modes") or LOAD_MODES, [page for page in asked if page in pages], now)
    if not found:
        raise TuneError(
            "The limits of the search leave nothing to compare: of the policies "
            f"{', '.join(wanted or possible)} this tower can {', '.join(chosen) or 'none'}, and of the huge pages "
            f"{', '.join(asked)} its service can have {', '.join(pages)}"
            + "".join(f"; {why}" for name, why in left_out.items() if name in (wanted or []))
        )
    present = int(unit["settings"].get("LLAMA_ARG_THREADS") or 0)

    def counts(cores: int, cpus: int, here: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Those of the limits, else all that make sense, of the service's own policy its present number first."""
        decode, batch = thread_counts(cores, cpus)
        own = [present] if here and present in decode else []
        return (
            tuple(limits.get("threads") or dict.fromkeys([*own, *decode])),
            tuple(limits.get("threads_batch") or batch),
        )

    bound = launch("bind", tower).nodes if "bind" in chosen else []
    cpus = sum(len(node["cpus"]) for node in tower["nodes"] if node["node"] in bound)
    return (
        Space(
            found,
            *counts(tower["cores"] or 1, tower["cpus"] or 1, now[0] != "bind"),
            tuple(limits.get("flash_attention") or (True, False)),
            *(counts(node_cores(tower, bound[0]), cpus, now[0] == "bind") if bound else ((), ())),
        ),
        left_out,
    )


@contextlib.contextmanager
def weighted(weights: dict[int, int]) -> Iterator[None]:
    """Have the kernel interleave by these weights meanwhile."""
    before = {node: read_int(WEIGHT.format(node)) for node in weights}
    try:
        _set(weights)
        yield
    finally:
        _set({node: weight for node, weight in before.items() if weight})


def _set(weights: dict[int, int]) -> None:
    for node, weight in weights.items():
        with open(WEIGHT.format(node), "w", encoding="ascii") as file:
            file.write(str(weight))


class Tuner:
    """One search for a unit that read_unit described.

    Its result is stored in ``path``, and the runs of benchmarks are in ``benchmarks`` beside it. ``tell`` hears what is
    measured next; ``lock_path`` is the lock that :func:`stopped` needs.
    """

    def __init__(self, unit: Unit, path: str, lock_path: str, limits: Limits, tell: Callable[[str], None]) -> None:
        self.unit, self.path, self.lock_path, self.tell = unit, path, lock_path, tell
        self.partial = f"{path}.measurements"
        self.tower = usable(read_tower())
        self.files = shards_of(self.unit["model"])
        self.needed_bytes = copy_bytes(self.unit["model"], GENERATED + PROMPT)
        runs = read_history(os.path.join(os.path.dirname(path), "benchmarks"))
        self.weights = node_weights(runs, memory_nodes(self.tower))
        self.space, self.left_out = make_space(self.unit, self.tower, limits, self.needed_bytes, self.weights)
        self.identity = {
            "schema_version": SCHEMA_VERSION,
            "build": build_of(self.unit["binaries"]),
            "model": measured_model(self.unit["model"]),
            "conditions": conditions_of(self.tower),
            # Sorted: what is the first changes with the service's settings, which the result itself changes.
            "space": json.loads(json.dumps({name: sorted(values) for name, values in self.space._asdict().items()})),
        }

    def stored(self) -> Optional[Tuning]:
        """The stored result, where it is of this build, model, tower and space."""
        found = read_tuning(self.path)
        return found if found and self._same(found) else None

    def _same(self, document: Mapping[str, object]) -> bool:
        """Whether a document is of this search."""
        return all(document.get(key) == value for key, value in self.identity.items())

    def search(self) -> Tuning:
        """Measure until the search is over, store the result and return it. Raises TuneError where nothing ran."""
        partial = read_json(self.partial)
        measurements: list[Measurement] = []
        if isinstance(partial, dict) and self._same(partial):
            measurements = list(partial["measurements"])
        with self._room():
            while True:
                step = next_step(self.space, measurements)
                if not step:
                    break
                self.tell(self._line(step, measurements))
                measurements += self.measure(step, measurements)
                write_beside(self.partial, json.dumps({**self.identity, "measurements": measurements}))
        decided = decide(self.space, measurements)
        if not decided:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.partial)
            problems = dict.fromkeys(entry["problem"] for entry in measurements)
            raise TuneError("No setting could be measured. " + " ".join(problems))
        document = cast(Tuning, {**self.identity, "measured": utc(), **decided})
        write_json(self.path, document)
        os.unlink(self.partial)
        return document

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        """Stop the service where the search has no room beside it, or could not drop the page cache."""
        unit = self.unit
        cramped = bool(
            second_copy_problem(self.needed_bytes, available_bytes())
            or unit["maps_model"]
            or self.space.loads[0][2] == "hugetlb"
        )
        if any(load[0] == "bind" for load in self.space.loads):
            # All of the model on the node where the service has its part.
            (node,) = launch("bind", self.tower).nodes
            cramped = cramped or bool(second_copy_problem(self.needed_bytes, node_available(node_meminfo(node))))
        if unit["active"] and cramped:
            with stopped(unit["name"], self.lock_path):
                yield
                self._drop()
        else:
            yield
            self._drop()

    def _line(self, step: Step, measurements: list[Measurement]) -> str:
        left, seconds = len(steps_left(self.space, measurements)), seconds_left(self.space, measurements)
        done = len({(entry["stage"], load_of(entry)) for entry in measurements})
        rates = [each for entry in measurements if not entry["prompt"] for each in entry["tokens_per_second"]]
        line = f"tuning: step {done + 1} of at most {done + left}, {step.stage} {', '.join(step.load)}"
        line += f"; best so far {rate(max(rates), unit='tokens/s')}" if rates else ""
        return line + (f"; at most {duration(seconds)} left" if seconds is not None else "")

    def measure(self, step: Step, measurements: list[Measurement]) -> list[Measurement]:
        """The measurements of one process; again where the service was used meanwhile."""
        for _ in range(ATTEMPTS):
            used, began = self._used(), time.monotonic()
            entries = self._measure(step, measurements)
            after, seconds = self._used(), time.monotonic() - began
            disturbed = used is not None and after is not None and after - used > DISTURBED * seconds
            if not disturbed:
                break
        for entry in entries:
            entry["disturbed"] = disturbed
        return entries

    def _drop(self) -> None:
        """Drop the model from the page cache, so that each process reads it from the disk, to where its policy says."""
        for path in self.files:
            with open(path, "rb") as file:
                drop(file.fileno())

    def _used(self) -> Optional[float]:
        return cpu_seconds(self.unit["name"]) if self.unit["active"] else None

    def _command(self, step: Step) -> list[str]:
        """llama-bench with all settings of a step."""
        policy, mode, _pages = step.load
        start = launch(policy, self.tower)
        # Settings that are compared within a process take turns: what else the machine does in a minute is then part of
        # all of them. Not those that read prompts, which llama-bench reads once more at each turn, to warm up.
        turns = 1 if single(step) or step.prompt else step.repetitions + 1
        settings = {
            **start.settings,
            "LLAMA_ARG_LOAD_MODE": mode,
            "LLAMA_ARG_THREADS": ",".join(map(str, step.threads)),
            "LLAMA_ARG_FLASH_ATTN": ",".join(["on" if flash else "off" for flash in step.flash_attention] * turns),
        }
        return llama_bench.command(
            os.path.join(self.unit["binaries"], "llama-bench"),
            self.unit["model"],
            settings,
            (step.repetitions + 1) // turns,
            0 if step.prompt else GENERATED,
            step.prompt,
            start.prefix,
        )

    def _measure(self, step: Step, measurements: list[Measurement]) -> list[Measurement]:
        policy, _mode, pages = step.load
        tunables = {"thp": THP, "hugetlb": self.unit["environment"].get("GLIBC_TUNABLES", "")}
        environment = {"GLIBC_TUNABLES": tunables.get(pages, HEAP)}
        known = [entry for entry in measurements if entry["tokens_per_second"] and not entry["prompt"]]
        best = max((max(entry["tokens_per_second"]) for entry in known), default=None)
        longest = 2 * GENERATED / best if best and single(step) and not step.prompt else None
        problem = None
        self._drop()
        try:
            with weighted(self.weights if policy == "weighted" else {}):
                outcome = llama_bench.run(self._command(step), environment, longest)
            if outcome.hopeless:
                problem = f"{', '.join(step.load)} was stopped: it is less than half as fast as the best."
        except llama_bench.BenchError as error:
            outcome, problem = llama_bench.Outcome([], None, False), str(error)

        if problem:
            failed = measured(step, step.threads[0], step.flash_attention[0], [])
            failed["problem"] = problem
            return [failed]
        rates: dict[tuple[int, bool], list[float]] = {}
        for test in outcome.tests:
            # On or off, as was asked for: never what llama-bench would decide.
            rates.setdefault((test["threads"], bool(test["flash_attention"])), []).extend(test["tokens_per_second"])
        found = []
        for (threads, flash_attention), (first, *steady) in rates.items():
            entry = measured(step, threads, flash_attention, steady)
            entry.update({"first_tokens_per_second": first, "load_seconds": outcome.load_seconds})
            found.append(entry)
        return found


def measured(step: Step, threads: int, flash_attention: bool, rates: list[float]) -> Measurement:
    """The measurement of one setting of a step."""
    policy, mode, pages = step.load
    return {
        "stage": step.stage,
        "numa_policy": policy,
        "load_mode": mode,
        "huge_pages": pages,
        "threads": threads,
        "flash_attention": flash_attention,
        "prompt": step.prompt,
        "tokens_per_second": rates,
    }


def single(step: Step) -> bool:
    """Whether a step has one setting only, so that nothing is compared within its process."""
    return len(step.threads) * len(step.flash_attention) == 1
