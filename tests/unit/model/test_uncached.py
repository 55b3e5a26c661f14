# SPDX-License-Identifier: MIT
"""Large files are hashed as fast as openssl does it, and leave no page behind."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from pathlib import Path

import pytest

from plugins.module_utils.model import uncached
from plugins.module_utils.model.uncached import sha256_files, sha256_uncached
from tests.benchmarks.hash_throughput import measure
from tests.page_cache import resident_pages


def write(path: Path, size: int) -> Path:
    path.write_bytes(random.Random(size).randbytes(size))
    return path


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**20 + 1, 70_000_001])
def test_the_hash_is_that_of_the_file_and_no_page_stays(tmp_path: Path, size: int) -> None:
    path, told = write(tmp_path / "file", size), list[int]()
    assert sha256_uncached(str(path), told.append) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sha256_uncached(str(path), told.append)
    assert told[-1] == size
    assert size == 0 or resident_pages(path) == 0


@pytest.mark.parametrize("workers", [1, 3])
def test_several_files_are_hashed_at_once_and_told_together(tmp_path: Path, workers: int) -> None:
    paths = [write(tmp_path / str(size), size) for size in (5, 66_000_000, 3_000_000, 67_500_000)]
    told, threads = [], set()

    def tell(done: int) -> None:
        told.append(done)
        threads.add(threading.get_ident())

    found = sha256_files([str(path) for path in paths], workers, tell)
    assert found == {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    assert told == sorted(told) and told[-1] == sum(path.stat().st_size for path in paths)
    assert len(threads) <= workers and threading.get_ident() not in threads
    assert list(found) == [str(path) for path in paths]


def test_as_many_workers_hash_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, all_at_work = [write(tmp_path / str(size), size) for size in (1, 2, 3)], threading.Barrier(3, timeout=60)
    monkeypatch.setattr(uncached, "sha256_uncached", lambda path, _tell: f"{all_at_work.wait()} {path}")
    assert len(sha256_files([str(path) for path in paths], 3, lambda _done: None)) == 3


def test_a_file_system_that_knows_no_fsync_is_read_all_the_same() -> None:
    """ISO 9660 and squashfs, on which models are carried, know none; this one is always there."""
    path = "/proc/version"
    assert sha256_uncached(path, lambda _done: None) == hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    present, absent = write(tmp_path / "present", 9), tmp_path / "absent"
    with pytest.raises(FileNotFoundError) as caught:
        sha256_files([str(present), str(absent)], 2, lambda _done: None)
    assert caught.value.filename == str(absent)
    assert sha256_files([], 2, lambda _done: None) == {}


def test_hashing_costs_no_more_than_that_of_openssl(tmp_path: Path) -> None:
    """Processor time, on files in memory: who else uses the disk and the processors of this machine is not asked."""
    place = "/dev/shm" if os.path.isdir("/dev/shm") else str(tmp_path)
    found = measure(place, workers=2, size=128_000_000, rounds=11)
    print(found)
    assert found["ratio_of_processor_time"] >= 0.9
