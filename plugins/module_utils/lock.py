# SPDX-License-Identifier: MIT
"""One at a time: a lock whose holder is named to those who wait for it, and can be stopped.

The kernel gives a lock up when its holder ends, however that is. A lock is for root only, since whoever may read a file
may lock it, and keep others waiting.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Callable, Optional, TypedDict, cast

from .files import make_directory, read_json
from .text import clean, utc

# The one for all changes of what a tower serves: deployments, the pool of huge pages, measurements that stop the
# service. What takes hours and disturbs no service (a fetch, a build) has a lock of its own.
CHANGE = "/run/llamatower/change.lock"
# How long a change that cannot show what it waits for does so.
PATIENCE_SECONDS = 60.0
# A holder that was asked to end has so long to do so.
END_SECONDS = 10.0


class Holder(TypedDict):
    """What is in a lock: what is done, who wants it, as which process of this machine, and since when (UTC)."""

    what: str
    by: str
    pid: int
    since: str


class HeldError(Exception):
    """Somebody else has the lock; the text says who, and since when."""


def words(holder: Optional[Holder]) -> str:
    """A holder in a sentence: ``the fetch of glm-4.6 by ann@desk, process 812 since 2026-01-31T12:00:00Z``."""
    if not holder:
        return "a run that has just begun"
    by = f" by {holder['by']}" if holder["by"] else ""
    return clean(f"{holder['what']}{by}, process {holder['pid']} since {holder['since']}")


def held_problem(error: HeldError) -> str:
    """The sentence of a run that is refused."""
    return f"Another change of this tower goes on ({error}): wait for it."


def nobody_waits(_holder: str) -> None:
    """For who shows nothing while waiting."""


@contextlib.contextmanager
def locked(
    path: str,
    what: str,
    seconds: float,
    waiting: Callable[[str], None] = nobody_waits,
    pause: float = 0.1,
    by: str = "",
) -> Iterator[int]:
    """Hold the lock at a path while ``what`` is done, after waiting for another holder for at most so many seconds.

    ``waiting`` hears who that is meanwhile. Raises :class:`HeldError` where it goes on for longer. What is yielded is
    the lock's descriptor: a process that inherits it holds the lock, too.
    """
    deadline, descriptor = time.monotonic() + seconds, -1
    with contextlib.ExitStack() as stack:
        # One that is removed while somebody waits for it is no lock any more: others take the one that is there.
        while descriptor < 0 or not _is_at(descriptor, path):
            stack.close()
            make_directory(os.path.dirname(path))
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            lock = stack.enter_context(os.fdopen(descriptor, "r+", encoding="utf-8"))
            # Also one that was made for all.
            os.fchmod(descriptor, 0o600)
            while not _taken(descriptor):
                other = words(_read(path))
                if time.monotonic() > deadline:
                    raise HeldError(other)
                waiting(other)
                time.sleep(pause)
        holder: Holder = {"what": what, "by": by, "pid": os.getpid(), "since": utc()}
        lock.truncate()
        json.dump(holder, lock)
        lock.flush()
        yield descriptor


@contextlib.contextmanager
def changing(what: str) -> Iterator[None]:
    """Hold the lock of all changes. Raises :class:`HeldError` where another change takes longer than a minute."""
    with locked(CHANGE, what, PATIENCE_SECONDS):
        yield


def _is_at(descriptor: int, path: str) -> bool:
    """Whether a file that was opened still has its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _taken(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(path: str) -> Optional[Holder]:
    found = read_json(path)
    known = isinstance(found, dict) and Holder.__annotations__.keys() <= found.keys()
    return cast(Holder, found) if known else None


def held(path: str) -> Optional[bool]:
    """Whether somebody holds a lock; None for who may not know: locks are their owner's, and root's."""
    try:
        with open(path, encoding="utf-8") as lock:
            return not _taken(lock.fileno(), fcntl.LOCK_SH)
    except PermissionError:
        return None
    except OSError:
        return False


def holder(path: str) -> Optional[Holder]:
    """Who holds a lock; None where nobody does, or who that is cannot be known."""
    return _read(path) if held(path) else None


def holding(path: str) -> list[int]:
    """The processes that hold a lock: the one that took it, and those that it gave its descriptor to.

    The kernel says so of each descriptor (fdinfo), so that neither who waits nor who got an old number is among them.
    """
    try:
        lock = os.stat(path)
    except OSError:
        return []
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        # A process may end at any moment, and others' are not ours to see.
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                opened = os.stat(f"/proc/{pid}/fd/{name}")
                if (opened.st_dev, opened.st_ino) == (lock.st_dev, lock.st_ino):
                    with open(f"/proc/{pid}/fdinfo/{name}", encoding="ascii", errors="replace") as file:
                        if "\nlock:" in file.read():
                            found.append(int(pid))
                            break
    return found


def end(path: str, seconds: float = END_SECONDS) -> Optional[Holder]:
    """End who holds a lock: who that was, None where nobody did. Who waits gets the lock then, and keeps it.

    Raises :class:`HeldError` where one does not end, or is not ours to end.
    """
    before = _read(path)
    if not held(path):
        return None
    ours = set(holding(path))
    for how in (signal.SIGTERM, signal.SIGKILL):
        for pid in ours:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)
        deadline = time.monotonic() + seconds
        while ours and time.monotonic() < deadline:
            time.sleep(0.05)
            ours &= set(holding(path))
    if ours or (held(path) and _read(path) == before):
        raise HeldError(words(before))
    return before or {"what": "a job", "by": "", "pid": 0, "since": utc()}
