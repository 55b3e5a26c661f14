# SPDX-License-Identifier: MIT
"""What the page cache holds of a file."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path


def resident_pages(path: Path) -> int:
    """Pages of a file in the page cache, by mincore; a memory file system, such as /dev/shm, has them all there."""
    size = path.stat().st_size
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    length, states = ctypes.c_size_t(size), (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    with path.open("rb") as file:
        mapped = libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), ctypes.c_long(0))
    address = ctypes.c_void_p(mapped)
    assert libc.mincore(address, length, states) == 0, ctypes.get_errno()
    libc.munmap(address, length)
    return sum(state & 1 for state in states)
