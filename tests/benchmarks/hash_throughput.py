#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How fast models are verified, against as many ``openssl dgst -sha256`` at once, on the same files.

    python3 -m tests.benchmarks.hash_throughput [--dir DIR] [--workers N] [--size MB] [--rounds N]

Both read files that were dropped from the page cache before (a memory file system, such as /dev/shm, has them
always, and shows what the hashing alone costs). They take turns, and the best round of each counts, since a machine
that does other work as well is only ever slower. Processor time is compared, too: it hardly depends on who else
wants the processors. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

from plugins.module_utils.model.uncached import drop, sha256_files


def by_openssl(paths: list[str], workers: int) -> dict[str, str]:
    """The hashes by ``workers`` processes at once."""
    shares = [paths[number::workers] for number in range(workers)]
    running = [
        subprocess.Popen(["openssl", "dgst", "-sha256", "-r", *share], stdout=subprocess.PIPE, text=True)
        for share in shares
        if share
    ]
    lines = [line for process in running for line in process.communicate()[0].splitlines()]
    return {path: digest for digest, path in (line.split(" *", 1) for line in lines)}


def processor_seconds() -> float:
    """Of this process, and of all that it has started and waited for."""
    used = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


class Round(NamedTuple):
    """Seconds by the clock and of processor time, and the hashes by path."""

    clock: float
    processor: float
    hashes: dict[str, str]


def timed(hashing: Callable[[], dict[str, str]], paths: list[str]) -> Round:
    """One round, with no byte of the files in the page cache before."""
    for path in paths:
        with open(path, "rb") as file:
            drop(file.fileno())
    start, used = time.perf_counter(), processor_seconds()
    found = hashing()
    return Round(time.perf_counter() - start, processor_seconds() - used, found)


def measure(directory: str, workers: int, size: int, rounds: int) -> dict[str, float]:
    """Bytes a second of both with that many workers, of one openssl, and how openssl's time compares with ours."""
    with tempfile.TemporaryDirectory(dir=directory) as place:
        paths = [f"{place}/{number}" for number in range(workers)]
        for path in paths:
            with open(path, "wb") as file:
                for _ in range(size // 2**20):
                    file.write(os.urandom(2**20))
        ours, theirs, one = [], [], []
        for _ in range(rounds):
            ours.append(timed(lambda: sha256_files(paths, workers, lambda _done: None), paths))
            theirs.append(timed(lambda: by_openssl(paths, workers), paths))
            one.append(timed(lambda: by_openssl(paths[:1], 1), paths))
            if ours[-1].hashes != theirs[-1].hashes:
                raise SystemExit(f"The hashes differ: {ours[-1].hashes} and {theirs[-1].hashes}.")
    our_time, their_time, one_time = (min(found.clock for found in of) for of in (ours, theirs, one))
    our_work, their_work = (min(found.processor for found in of) for of in (ours, theirs))
    total = size // 2**20 * 2**20
    return {
        "workers": workers,
        "bytes": total * workers,
        "bytes_per_second": workers * total / our_time,
        "openssl_bytes_per_second": workers * total / their_time,
        "one_openssl_bytes_per_second": total / one_time,
        "ratio": their_time / our_time,
        "ratio_of_processor_time": their_work / our_work,
        "ratio_to_one_times_workers": one_time / our_time,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dir", default="/var/tmp", help="where to put the files")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--size", type=int, default=512, help="megabytes a worker")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(json.dumps(measure(given.dir, given.workers, given.size * 10**6, given.rounds), indent=2))


if __name__ == "__main__":
    main()
