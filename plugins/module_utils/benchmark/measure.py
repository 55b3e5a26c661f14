# SPDX-License-Identifier: MIT
"""What a benchmark measures besides llama-bench: memory, disk, hashing, and the running service.

Each function returns samples, rates in GB/s (1e9 bytes a second) or tokens a second, and raises OSError, UnitError or
ServerError where it cannot measure.
"""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Optional

from ..service.client import ServerError, healthy, read_key, request
from ..service.unit import UnitError, call
from ..sysfs import node_available
from ..text import duration, size
from .document import Probe

# Reads of 4 MiB, eight at once, keep an NVMe disk as busy as a model that is loaded (llama.cpp's dio reads 64 MiB).
BLOCK, READERS = 4 * 2**20, 8
# Long enough that starting threads does not count.
HASHED_BYTES = 256 * 2**20
PROMPT = "The memory of this tower has many channels, and every token reads all of them once. "


def probe_problem(meminfo: dict[int, dict[str, int]], cores: int, mebibytes: int) -> Optional[str]:
    """One sentence where a node has no room for the buffers of so many cores, else None.

    ``meminfo`` is that of each node. The probe binds its buffers to one node after the other: beyond the memory that is
    free there the kernel would kill something, of a tower at work.
    """
    needed = cores * mebibytes * 2**20
    for node, memory in sorted(meminfo.items()):
        room = int(0.95 * node_available(memory))
        if needed > room:
            return (
                f"The read probe needs {size(needed)} on each memory node, {mebibytes} MiB for each of {cores} "
                f"cores, and node {node} has {size(room)} free: set benchmark_probe_mebibytes to at most "
                f"{room // cores // 2**20}, or stop the service meanwhile."
            )
    return None


def probe(path: str, mebibytes: int, repetitions: int) -> Probe:
    """What the read probe printed; see roles/benchmark/files/read_probe.c."""
    answer: Probe = json.loads(call([path, str(mebibytes), str(repetitions)]))
    return answer


def disk(paths: list[str], limit: int, repetitions: int) -> list[float]:
    """How fast these files are read past the page cache (O_DIRECT), at most ``limit`` bytes of them altogether.

    Every repetition reads a part of its own, so that no cache of the disk has it already.
    """
    blocks = [(path, at * BLOCK) for path in paths for at in range(os.path.getsize(path) // BLOCK)]
    blocks = blocks[: max(repetitions, limit // BLOCK)]
    each = len(blocks) // repetitions
    if not each:
        raise OSError(f"The model has less than {size(repetitions * BLOCK)}, which tells nothing of the disk")
    return [_read(blocks[number * each : (number + 1) * each]) for number in range(repetitions)]


def _read(blocks: list[tuple[str, int]]) -> float:
    local = threading.local()
    descriptors: dict[str, int] = {}

    def read(block: tuple[str, int]) -> int:
        if not hasattr(local, "buffer"):
            local.buffer = mmap.mmap(-1, BLOCK)  # aligned to a page, as O_DIRECT wants it
        return os.preadv(descriptors[block[0]], [local.buffer], block[1])

    try:
        for path in {path for path, _ in blocks}:
            descriptors[path] = os.open(path, os.O_RDONLY | os.O_DIRECT)
        with ThreadPoolExecutor(READERS) as pool:
            began = time.perf_counter()
            count = sum(pool.map(read, blocks))
            return count / (time.perf_counter() - began) / 1e9
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # open(2): what a file system says that knows no O_DIRECT.
        raise OSError(
            f"The file system of {os.path.dirname(blocks[0][0])} cannot be read past its cache (no O_DIRECT, as on "
            "tmpfs, some network file systems and older ZFS), so its speed is not measured"
        ) from error
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def hashing(workers: int, repetitions: int) -> list[float]:
    """How fast so many threads compute SHA-256 of what is in their cache: the most that verifying can reach."""
    block = bytes(2**20)

    def work(_number: int) -> None:
        digest = hashlib.sha256()
        for _ in range(HASHED_BYTES // len(block)):
            digest.update(block)

    samples = []
    with ThreadPoolExecutor(workers) as pool:
        for _ in range(repetitions):
            began = time.perf_counter()
            list(pool.map(work, range(workers)))
            samples.append(workers * HASHED_BYTES / (time.perf_counter() - began) / 1e9)
    return samples


def restart(unit: str, address: str, timeout: float, run: Callable[[list[str]], str] = call) -> float:
    """Restart a unit and return the seconds until its model was loaded."""
    began = time.monotonic()
    run(["systemctl", "restart", unit])
    while not healthy(address):
        if time.monotonic() - began > timeout:
            raise UnitError(f"{unit} does not answer {duration(timeout)} after its restart: read its journal.")
        time.sleep(0.2)
    return time.monotonic() - began


def completions(
    address: str, key_file: Optional[str], tokens: int, prompt_words: int, repetitions: int, timeout: float
) -> list[dict[str, float]]:
    """``decode`` and ``prompt``, tokens a second as the server counts them, of one request after the other.

    Each asks for exactly so many tokens, and nothing is taken from the prompt cache.
    """
    key = read_key(key_file)
    words = PROMPT.split()
    prompt = " ".join(words[index % len(words)] for index in range(prompt_words))
    body = {"prompt": prompt, "n_predict": tokens, "ignore_eos": True, "temperature": 0, "cache_prompt": False}
    found = []
    for _ in range(repetitions):
        answer = request(f"{address}/completion", key, body, timeout)
        try:
            timings = answer["timings"]
            found.append({"decode": timings["predicted_per_second"], "prompt": timings["prompt_per_second"]})
        except (KeyError, TypeError) as error:
            raise ServerError(f"The server's completion has no {error}: {json.dumps(answer)[:300]}") from error
    return found
