# SPDX-License-Identifier: MIT
"""Read and write large files without leaving them in the page cache.

A page stays on the memory node of whoever touched it first, so a model that was hashed on one node would be
mapped from that node ever after. Nothing here needs root, and nothing but the files themselves is dropped.
"""

from __future__ import annotations

import hashlib
import os
from typing import BinaryIO, Callable

BLOCK = 4 * 2**20
# Dropping is a system call over the range; every 64 MiB keeps little in the cache and costs nothing.
DROP = 64 * 2**20

Tell = Callable[[int], None]


def drop(descriptor: int) -> None:
    """Drop a file's pages. Dirty pages are not dropped, so they are written first."""
    os.fdatasync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def sha256_uncached(path: str, tell: Tell) -> str:
    """The SHA-256 of a file, read from the disk; ``tell`` hears how many bytes are done."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        drop(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        done = dropped = 0
        while True:
            block = file.read(BLOCK)
            digest.update(block)
            done += len(block)
            if done - dropped >= DROP or not block:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                dropped = done
                tell(done)
            if not block:
                return digest.hexdigest()


def copy_uncached(source: BinaryIO, target: BinaryIO) -> None:
    """Copy a stream to a file, from and to the disk."""
    done = dropped = 0
    while True:
        block = source.read(BLOCK)
        target.write(block)
        done += len(block)
        if done - dropped >= DROP or not block:
            target.flush()
            drop(target.fileno())
            if source.seekable():
                os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            dropped = done
        if not block:
            return


def sync_directory(path: str) -> None:
    """Make the names in a directory survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
