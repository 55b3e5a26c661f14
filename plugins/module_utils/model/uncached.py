# SPDX-License-Identifier: MIT
"""Read and write large files without leaving them in the page cache.

A page stays on the memory node of whoever touched it first, so a model that was hashed on one node would be
mapped from that node ever after. Nothing here needs root, and nothing but the files themselves is dropped.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, Callable

# Hashed while it is still in the CPU's cache.
BLOCK = 2**20
# Asked of the disk ahead of what is being hashed: enough to keep an NVMe disk at work.
AHEAD = 16 * 2**20
# The kernel cuts one request to the larger of the disk's read-ahead and largest transfer (mm/readahead.c,
# force_page_cache_ra); 128 KiB is the smallest default.
REQUEST = 128 * 2**10
# Dropping is a system call over the range; every 64 MiB keeps little in the cache and costs nothing.
DROP = 64 * 2**20

Tell = Callable[[int], None]


def drop(descriptor: int) -> None:
    """Drop a file's pages. Dirty pages are not dropped, so they are written first."""
    try:
        os.fdatasync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # fsync(2): a file system without it, such as of a CD image, has nothing dirty
            raise
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def hash_uncached(path: str, digest: Any, tell: Tell) -> None:
    """Update a digest with a file as the disk has it; ``tell`` hears how many bytes are done."""
    with open(path, "rb", buffering=0) as file:
        descriptor = file.fileno()
        drop(descriptor)
        buffer = memoryview(bytearray(BLOCK))
        done = asked = dropped = 0
        while True:
            if asked < done + AHEAD // 2:
                for start in range(asked, done + AHEAD, REQUEST):
                    os.posix_fadvise(descriptor, start, REQUEST, os.POSIX_FADV_WILLNEED)
                asked = done + AHEAD
            count = file.readinto(buffer) or 0
            digest.update(buffer[:count])
            done += count
            if done - dropped >= DROP:
                os.posix_fadvise(descriptor, dropped, done - dropped, os.POSIX_FADV_DONTNEED)
                dropped = done
                tell(done)
            if not count:
                # All of it: a page that shares a folio with one that was not read yet stayed until now.
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                tell(done)
                return


def sha256_uncached(path: str, tell: Tell) -> str:
    """The SHA-256 of a file, read from the disk; ``tell`` hears how many bytes are done."""
    digest = hashlib.sha256()
    hash_uncached(path, digest, tell)
    return digest.hexdigest()


def sha256_files(paths: list[str], workers: int, tell: Tell) -> dict[str, str]:
    """The SHA-256 of each file, ``workers`` at once, in threads, since hashlib holds no lock while it works.

    ``tell`` hears how many bytes of all files are done, from one thread at a time. Raises the OSError of the first
    file that cannot be read.
    """
    lock, done, stop = threading.Lock(), dict.fromkeys(paths, 0), threading.Event()

    def work(path: str) -> str:
        def count(read: int) -> None:
            if stop.is_set():
                raise InterruptedError(f"{path} was not read to its end")
            with lock:
                done[path] = read
                tell(sum(done.values()))

        return sha256_uncached(path, count)

    with ThreadPoolExecutor(max_workers=workers) as pool:
        # The largest first, so that none is left for the end alone.
        futures = {path: pool.submit(work, path) for path in sorted(done, key=os.path.getsize, reverse=True)}
        try:
            finished, pending = wait(futures.values(), return_when=FIRST_EXCEPTION)
            for future in [*finished, *pending]:
                future.result()
        finally:
            stop.set()
            for future in futures.values():
                future.cancel()
    return {path: futures[path].result() for path in paths}
