# SPDX-License-Identifier: MIT
"""One at a time: a lock whose holder is named to those who wait for it.

The kernel gives a lock up when its holder ends, however that is. A lock is for root only, since whoever may read a file
may lock it, and keep others waiting.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from typing import Callable, Optional

from .files import make_directory
from .text import utc


class HeldError(Exception):
    """Somebody else has the lock; the text says who, and since when."""


def nobody_waits(_holder: str) -> None:
    """For who shows nothing while waiting."""


@contextlib.contextmanager
def locked(
    path: str, what: str, seconds: float, waiting: Callable[[str], None] = nobody_waits, pause: float = 0.1
) -> Iterator[int]:
    """Hold the lock at a path for ``what`` is done, after waiting for another holder for at most so many seconds.

    ``waiting`` hears who that is meanwhile. Raises :class:`HeldError` where it goes on for longer. What is yielded is
    the lock's descriptor: a process that inherits it holds the lock, too.
    """
    make_directory(os.path.dirname(path))
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+", encoding="utf-8") as lock:
        os.fchmod(descriptor, 0o600)
        deadline = time.monotonic() + seconds
        while not _taken(descriptor):
            lock.seek(0)
            holder = lock.read() or "it has just begun"
            if time.monotonic() > deadline:
                raise HeldError(holder)
            waiting(holder)
            time.sleep(pause)
        lock.seek(0)
        lock.truncate()
        lock.write(f"{what}, process {os.getpid()} since {utc()}")
        lock.flush()
        yield descriptor


def _taken(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def held(path: str) -> Optional[bool]:
    """Whether somebody has the lock; None for who may not know: locks are their owner's, and root's."""
    try:
        with open(path, encoding="utf-8") as lock:
            return not _taken(lock.fileno(), fcntl.LOCK_SH)
    except PermissionError:
        return None
    except OSError:
        return False
