# SPDX-License-Identifier: MIT
"""One benchmark of a tower: what is measured in which order, and what is said where something cannot be."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Callable, Optional

from ..limits import usable
from ..lock import HeldError, changing
from ..model.declaration import shards_of
from ..model.gguf import GgufError, file_reader
from ..model.sources import headers
from ..model.store import read_manifest
from ..service.client import ServerError
from ..service.document import Unit
from ..service.memory_budget import Serving, Weighed, available_bytes, memory_budget, second_copy_problem
from ..service.numa_policy import memory_nodes, node_cores
from ..service.served import read_unit
from ..service.tuned import TunedModel
from ..service.unit import UnitError, huge_pages, stopped
from ..sysfs import node_meminfo
from ..text import utc
from ..tower import read_tower
from . import llama_bench, measure
from .document import SCHEMA_VERSION, BenchmarkOptions, Quantity, Run, RunConditions
from .results import conditions_of, derived, misplaced, model_label, probe_results, quantity

CANNOT = (OSError, ValueError, HeldError, UnitError, ServerError, llama_bench.BenchError)


def build_of(binaries: str) -> str:
    """The key of the release that has these binaries, the name of its directory; as it is, where it is none."""
    return os.path.basename(os.path.dirname(os.path.realpath(binaries)))


def measured_model(first: str) -> TunedModel:
    """Name and hashes of a model, from the manifest beside it; of a model without one, name, size and time."""
    manifest = read_manifest(os.path.dirname(first))
    if manifest:
        return {"name": manifest["name"], "sha256": [entry["sha256"] for entry in manifest["files"]]}
    marks = [f"{os.path.getsize(path)}-{os.stat(path).st_mtime_ns}" for path in shards_of(first)]
    return {"name": os.path.basename(first), "sha256": marks}


def copy_bytes(first: str, tokens: int) -> int:
    """What llama-bench takes that has the model in memory a second time, and works on so many tokens. Of a model whose
    headers cannot be read it is what the largest are computed in."""
    files = shards_of(first)
    known = Weighed(sum(map(os.path.getsize, files)), None, None)
    with contextlib.suppress(OSError, GgufError):
        gguf = headers([file_reader(path) for path in files])
        known = Weighed(known.bytes, gguf["kv"], gguf["compute"])
    return memory_budget(known, Serving(tokens, flash_attention=False, threads=os.cpu_count() or 1))["total"]


class Benchmark:
    """One run of it. ``options`` are those of the module llama_benchmark; ``tell`` hears what is measured next."""

    def __init__(self, options: BenchmarkOptions, lock_path: str, tell: Callable[[str], None]) -> None:
        self.options, self.lock_path, self.tell = options, lock_path, tell
        self.results: dict[str, Quantity] = {}
        self.skipped: dict[str, str] = {}
        self.unit: Optional[Unit] = None
        self.active_bytes: Optional[int] = None
        self.beside = True

    def make(self) -> Run:
        """Measure everything and return the run."""
        started = utc()
        with self._attempt("service_steady", "bench_decode", "disk_read"):
            self.unit = read_unit(self.options["unit"])
        with self._attempt("hash"):
            self.tell("hashing")
            workers = len(os.sched_getaffinity(0))
            self._keep("hash", measure.hashing(workers, self.options["repetitions"]), "GB/s")
        if self.unit:
            self._read_model(self.unit)
            self._ask_service(self.unit)
        self._memory_and_bench()
        return {
            "schema_version": SCHEMA_VERSION,
            "started": started,
            "conditions": self._conditions(),
            "results": self.results,
            "skipped": self.skipped,
            "derived": derived(self.results, self.active_bytes),
        }

    @contextlib.contextmanager
    def _attempt(self, *names: str) -> Iterator[None]:
        try:
            yield
        except CANNOT as error:
            self.skipped.update(dict.fromkeys(names, str(error)))

    def _keep(self, name: str, samples: list[float], unit: str) -> None:
        self.results[name] = quantity(samples, unit)

    def _read_model(self, unit: Unit) -> None:
        files = shards_of(unit["model"])
        with self._attempt("disk_read"):
            self.tell("reading the disk")
            self._keep(
                "disk_read", measure.disk(files, self.options["disk_bytes"], self.options["repetitions"]), "GB/s"
            )
        with contextlib.suppress(OSError, GgufError):
            self.active_bytes = headers([file_reader(path) for path in files])["active_bytes"]

    def _ask_service(self, unit: Unit) -> None:
        options = self.options
        if not unit["active"]:
            self.skipped["service_steady"] = f"{options['unit']} does not run: start it with llamatower.tower.serve."
            return
        with self._attempt("service_load"):
            if not options["restart_service"]:
                raise ValueError("The service was not restarted: benchmark_restart_service=true does that.")
            self.tell("restarting the service")
            with changing(f"a measurement that restarts {options['unit']}"):
                seconds = measure.restart(options["unit"], unit["address"], options["timeout"])
            size = sum(os.path.getsize(path) for path in shards_of(unit["model"]))
            self._keep("service_load", [size / seconds / 1e9], "GB/s")
        with self._attempt("service_steady"):
            self.tell("asking the service")
            found = measure.completions(
                unit["address"],
                unit["key_file"],
                options["tokens"],
                options["prompt_words"],
                options["repetitions"] + 1,
                options["timeout"],
            )
            self._keep("service_first", [found[0]["decode"]], "tokens/s")
            self._keep("service_steady", [entry["decode"] for entry in found[1:]], "tokens/s")
            self._keep("service_prompt", [entry["prompt"] for entry in found[1:]], "tokens/s")

    def _memory_and_bench(self) -> None:
        """What needs the memory to itself, or at least room beside the service."""
        problem = None
        if self.unit and self.unit["active"]:
            tokens = max(self.options["tokens"], self.options["prompt_words"])
            problem = second_copy_problem(copy_bytes(self.unit["model"], tokens), available_bytes())
            if huge_pages(self.unit["environment"]) == "hugetlb":
                # llama-bench would have other pages beside it, and be slower than the service for no fault of its own.
                problem = "The service has the pool of huge pages, which has no room for a second copy of the model."
            if problem and self.options["stop_service"]:
                self.beside = False
                with stopped(self.options["unit"], self.lock_path):
                    self._probe()
                    self._bench()
                return
        self._probe()
        if problem:
            self.skipped["bench_decode"] = f"{problem} benchmark_stop_service=true stops it meanwhile."
        elif self.unit:
            self._bench()

    def _probe(self) -> None:
        options = self.options
        with self._attempt("read_whole"):
            self.tell("reading memory")
            problem = self._probe_problem()
            if problem:
                raise ValueError(problem)
            answer = measure.probe(options["probe"], options["probe_mebibytes"], options["repetitions"])
            self.results.update(probe_results(answer))
            wrong = misplaced(answer)
            if wrong:
                self.skipped["misplaced"] = wrong

    def _probe_problem(self) -> Optional[str]:
        tower = usable(read_tower())
        meminfo = {node: node_meminfo(node) for node in memory_nodes(tower)}
        # The cores of one node read each node's memory, and all cores that of all nodes.
        cores = [node_cores(tower, node["node"]) for node in tower["nodes"]]
        most = max([*cores, -(-sum(cores) // max(1, len(meminfo)))])
        return measure.probe_problem(meminfo, most, self.options["probe_mebibytes"])

    def _bench(self) -> None:
        unit, options = self.unit, self.options
        assert unit is not None
        with self._attempt("bench_decode"):
            self.tell("running llama-bench")
            for name, generated, prompt in (
                ("bench_decode", options["tokens"], 0),
                ("bench_prompt", 0, options["prompt_words"]),
            ):
                settings = dict(unit["settings"])
                if prompt and settings.get("LLAMA_ARG_THREADS_BATCH"):
                    settings["LLAMA_ARG_THREADS"] = settings["LLAMA_ARG_THREADS_BATCH"]
                words = llama_bench.command(
                    os.path.join(unit["binaries"], "llama-bench"),
                    unit["model"],
                    settings,
                    options["repetitions"],
                    generated,
                    prompt,
                    unit["prefix"],
                )
                (test,) = llama_bench.run(words, unit["environment"]).tests
                self._keep(name, test["tokens_per_second"], "tokens/s")

    def _conditions(self) -> RunConditions:
        unit, options = self.unit, self.options
        model = measured_model(unit["model"]) if unit else None
        settings: dict[str, str] = {}
        if unit:
            settings = {
                name: unit["settings"][name] for name in sorted(llama_bench.OPTIONS) if name in unit["settings"]
            }
            settings.update(unit["environment"])
        return {
            **conditions_of(usable(read_tower())),
            "build": build_of(unit["binaries"]) if unit else None,
            "model": model_label(model["name"], model["sha256"]) if model else None,
            "prefix": unit["prefix"] if unit else [],
            "settings": settings,
            "beside_service": self.beside,
            "restarted": options["restart_service"],
            "probe_mebibytes": options["probe_mebibytes"],
            "tokens": options["tokens"],
            "prompt_words": options["prompt_words"],
        }
