#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How good what the tuner finds is, and how near a server with those settings comes to what the memory allows.

    python3 -m tests.benchmarks.tuning [--rounds N] [--work DIR] [--patience SECONDS] [--c-flags FLAGS]

Builds llama.cpp for this CPU and for any with AVX2 (x86-64-v3), makes a model of 507 MB in Q6_K, lets the tuner search,
and then, with the same build and model,

- measures every arm of the same search, each in a process of its own, as one would by hand: the exhaustive sweep;
- runs the read probe, the server with the settings that were found, llama-bench with the best settings of the sweep,
  the generic build's server with no settings at all, and the probe again: a round. With --c-flags (CMAKE_C_FLAGS of the
  build for this CPU), llama-bench of the same build without them, too.

Prints a table of ratios and one JSON document. What the memory gives changes from one second to the next where other
machines share it, so everything is compared within a round, each for about as long, and the median of the rounds
counts; between which ratios the middle half of them lie, and for which part of the time somebody waited for a CPU, are
told besides. Two threads that wait for each other get nothing done on a busy machine: it waits until this one is quiet,
and says so where it never was. Needs gcc, cmake and ninja, 4 GB of memory, and 20 minutes, most of them for building.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import harmonic_mean, median, quantiles
from typing import Any

import yaml

from plugins.module_utils.benchmark import llama_bench, measure, search
from plugins.module_utils.benchmark.document import Measurement
from plugins.module_utils.benchmark.tuner import Tuner
from plugins.module_utils.model.gguf import file_reader, read_header, summary
from plugins.module_utils.model.uncached import drop
from plugins.module_utils.service.client import healthy
from plugins.module_utils.service.document import Arm, Unit
from plugins.module_utils.service.settings import HEAP, THP
from tests.benchmarks.benchmark_model import make
from tests.engine import free_port

REPO = Path(__file__).resolve().parents[2]
TOKENS = 64


def build(cpu: str, more: dict[str, str], cache: Path, work: Path) -> Path:
    """The directory of the binaries, built once and kept."""

    def module(name: str, **arguments: Any) -> dict[str, Any]:
        words = ["ansible", "localhost", "-c", "local", "-m", name, "-a", json.dumps(arguments)]
        settings = {"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
        done = subprocess.run(
            [*words, "-e", f"ansible_python_interpreter={sys.executable}"],
            cwd=REPO, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("=> ") + 3 :])
        return found

    defaults = yaml.safe_load((REPO / "roles/llama_build/defaults/main.yml").read_text())
    places = {"work_dir": str(cache / "builds")}
    wanted = {"source": defaults["llama_build_source"], "cpu": cpu, "cmake_options": more}
    plan = module("llama_build_info", **wanted, **places)["llama_build"]
    if not plan["present"]:
        progress = {"progress_path": str(cache / "builds/progress.json"), "ccache_dir": str(cache / "ccache")}
        module("llama_build", build=plan, **places, **progress)
    place = work / plan["key"]
    if not (place / "bin").exists():
        with tarfile.open(plan["archive"]) as archive:
            archive.extractall(place, filter="data")
    return place / "bin"


class Server:
    """A llama-server on a port of its own."""

    def __init__(self, binaries: Path, model: Path, log: Path, settings: dict[str, str], options: list[str]) -> None:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        with open(log, "w") as file:
            self.process = subprocess.Popen(
                [binaries / "llama-server", "--model", model, "--port", str(port), "--ctx-size", "2048", *options],
                env={**os.environ, **settings}, stdout=file, stderr=file, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        while not healthy(self.address):
            if self.process.poll() is not None:
                raise SystemExit(f"{binaries}/llama-server ended with {self.process.returncode}: {log} says why.")
            time.sleep(0.1)

    def ask(self) -> float:
        """Tokens a second of one answer, behind a prompt of one word: llama-bench decodes behind none."""
        (answer,) = measure.completions(self.address, None, TOKENS, 1, 1, 600)
        return float(answer["decode"])

    def read(self) -> float:
        """Tokens a second of one prompt."""
        (answer,) = measure.completions(self.address, None, 1, 64, 1, 600)
        return float(answer["prompt"])


@contextlib.contextmanager
def serving(*arguments: Any) -> Iterator[Server]:
    server = Server(*arguments)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait()


def environment(arm: Arm) -> tuple[dict[str, str], dict[str, str]]:
    """The server's settings and those of glibc for an arm."""
    settings = {
        "LLAMA_ARG_THREADS": str(arm["threads"]),
        "LLAMA_ARG_LOAD_MODE": arm["load_mode"],
        "LLAMA_ARG_FLASH_ATTN": "on" if arm["flash_attention"] else "off",
    }
    return settings, {"GLIBC_TUNABLES": THP if arm["huge_pages"] == "thp" else HEAP}


def reading(probe: Path) -> float:
    """GB/s of all cores from memory, over a third of a second or so."""
    # All repetitions read as many bytes, so that bytes over seconds is the harmonic mean of the rates.
    return float(harmonic_mean(measure.probe(str(probe), 256, 24)["whole"]["gb_s"]))


def benched(words: list[str], environment: dict[str, str]) -> float:
    """Tokens a second of llama-bench."""
    return float(llama_bench.run(words, environment).tests[0]["tokens_per_second"][0])


def sweep(tuner: Tuner) -> tuple[list[Measurement], float]:
    """Measurements of every arm, and the seconds that they took."""
    began, found = time.monotonic(), []
    for step in search.exhaustive(tuner.space):
        found += tuner.measure(step, [])
    return found, time.monotonic() - began


def waited() -> float:
    """Seconds since the start of the machine in which a task waited for a CPU."""
    return int(Path("/proc/pressure/cpu").read_text().split("total=")[1].split()[0]) / 1e6


def wait_until_quiet(patience: float) -> None:
    """Return when nobody waits for a CPU (less than 5 % of two seconds), or when patience ends."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        before = waited()
        time.sleep(2)
        if waited() - before < 0.1:
            return
    print(f"this machine was not quiet within {patience:.0f} s: what follows is noise", file=sys.stderr)


def key_of(entry: Arm) -> tuple[search.Load, int, bool]:
    return search.load_of(entry), entry["threads"], entry["flash_attention"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=24)
    cache = Path(os.environ.get("LLAMATOWER_CACHE") or Path.home() / ".cache/llamatower")
    parser.add_argument("--work", type=Path, default=cache / "benchmark", help="where model and builds are kept")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a quiet machine, each time")
    parser.add_argument("--c-flags", default="", help="of the build for this CPU, as --c-flags=-fprefetch-loop-arrays")
    given = parser.parse_args()
    # Without this, its server would outlive it.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    work: Path = given.work
    work.mkdir(parents=True, exist_ok=True)
    plain, generic = (build(cpu, {}, cache, work) for cpu in ("native", "x86-64-v3"))
    native = build("native", {"CMAKE_C_FLAGS": given.c_flags}, cache, work) if given.c_flags else plain
    model, probe = work / "benchmark-Q6_K.gguf", work / "read_probe"
    if not model.exists():
        make(model)
    flags = ["-std=gnu11", "-O3", "-march=native", "-pthread"]
    subprocess.run(["gcc", *flags, REPO / "roles/benchmark/files/read_probe.c", "-o", probe], check=True)
    active = summary([read_header(*file_reader(str(model)))])["active_bytes"]

    unit: Unit = {
        "name": "none", "active": False, "maps_model": False, "prefix": [], "binaries": str(native),
        "model": str(model), "address": "", "key_file": None, "settings": {"LLAMA_ARG_LOAD_MODE": "dio"},
        "environment": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
    }  # fmt: skip
    stored = work / "tuning.json"
    for old in work.glob("tuning.json*"):
        old.unlink()
    tuner = Tuner(unit, str(stored), str(work / "lock"), {}, lambda line: print(line, file=sys.stderr))
    wait_until_quiet(given.patience)
    began, lost = time.monotonic(), waited()
    document = tuner.search()
    searched = time.monotonic() - began
    swept, seconds = sweep(tuner)
    rates: dict[tuple[search.Load, int, bool], list[float]] = {}
    for entry in swept:
        if not entry["prompt"]:
            rates.setdefault(key_of(entry), []).extend(entry["tokens_per_second"])
    winner, best = document["winner"], max(rates, key=lambda arm: median(rates[arm]))
    best_arm = search.arm_of(*best)

    settings, tunables = environment(winner)
    bench_settings, bench_tunables = environment(best_arm)
    words = llama_bench.command(str(native / "llama-bench"), str(model), bench_settings, 1, TOKENS)
    again, without = (
        llama_bench.command(str(place / "llama-bench"), str(model), settings, 1, TOKENS) for place in (native, plain)
    )
    rounds: list[dict[str, float]] = []
    with open(model, "rb") as file:
        drop(file.fileno())
    options = ["--threads-batch", str(winner["threads_batch"])]
    for number in range(given.rounds):
        wait_until_quiet(given.patience)
        samples: dict[str, float] = {}
        before = reading(probe)
        # Started for each round, like llama-bench and the probe: all have new pages, lucky or not.
        with serving(native, model, work / "tuned.log", {**settings, **tunables}, options) as server:
            samples |= {"service": server.ask(), "service_prompt": server.read()}
        samples["bench"] = benched(words, bench_tunables)
        with serving(generic, model, work / "generic.log", {}, []) as server:
            samples |= {"generic": server.ask(), "generic_prompt": server.read()}
        samples["winner"] = benched(again, tunables)
        if given.c_flags:
            samples["plain"] = benched(without, tunables)
        samples["roofline"] = (before + reading(probe)) / 2 * 1e9 / active
        rounds.append(samples)
        print(f"round {number + 1} of {given.rounds}: {samples}", file=sys.stderr)

    lost = (waited() - lost) / (time.monotonic() - began)
    table: dict[str, list[float]] = {
        "stored winner / best arm of the sweep, in the sweep": [median(rates[key_of(winner)]) / median(rates[best])],
        "time of the search / time of the sweep": [searched / seconds],
    }
    for title, above, below in (
        ("stored winner / best arm of the sweep, in the rounds", "winner", "bench"),
        ("running service / best llama-bench", "service", "bench"),
        ("running service / llama-bench with the same settings", "service", "winner"),
        ("running service / roofline", "service", "roofline"),
        *([("with the flags / without, decoding", "winner", "plain")] if given.c_flags else []),
        ("native and tuned / generic and untuned, decoding", "service", "generic"),
        ("native and tuned / generic and untuned, prompts", "service_prompt", "generic_prompt"),
    ):
        table[title] = [entry[above] / entry[below] for entry in rounds]
    for title, ratios in table.items():
        print(f"{title:<56}{median(ratios):>7.3f}", end="")
        if len(ratios) > 1:
            first, _middle, last = quantiles(ratios, n=4)
            print(f"   half of the rounds {first:.3f} to {last:.3f}", end="")
        print()
    print(f"{len(rates)} arms; {active / 1e6:.0f} MB a token; somebody waited for a CPU {lost:.0%} of the time")
    print(
        json.dumps(
            {
                "winner": winner, "confidence": document["confidence"], "best": best_arm,
                "search_seconds": searched, "sweep_seconds": seconds, "ratios": table, "rounds": rounds,
                "waited": lost,
                "arms": {", ".join(map(str, arm)): values for arm, values in rates.items()},
            },
            indent=1,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
