# SPDX-License-Identifier: MIT
"""How far a long job is: a small JSON file beside a lock, and the line that is shown for it.

The job holds a lock on ``<path>.lock`` while it runs, so that whoever asks knows whether it still
does, whatever became of the process that started it; a second job waits for the first. Commands that
the job starts should inherit the lock (``pass_fds=[progress.fileno()]``), since they may outlive it.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from types import TracebackType
from typing import Optional, TypedDict

from .files import read_json, write_json
from .lock import Holder, held, locked, words
from .text import duration, size

# The file is for people who watch; more often than this is wasted work.
WRITE_SECONDS = 0.5

# A rate is told when it was measured for so long, or over so much of what there is to do: how a connection or a
# compiler starts says little.
SAMPLE_SECONDS, SAMPLE_SHARE = 5.0, 0.01


class ProgressState(TypedDict):
    """The document at the path: ``label``, and ``done`` of ``total`` ``unit``s (a plural noun or ``bytes``), of which
    ``first`` were done when the label was ``started``; ``started`` and ``updated`` are seconds since 1970."""

    label: str
    unit: str
    first: int
    done: int
    total: int
    started: float
    updated: float


class ProgressInfo(TypedDict):
    """What progress_info returns: whether a job holds the lock (None for who may not know) and whose that is, also
    in words, whether the wrapper of one has ended (None where it was not asked for), what the job last told, and the
    line for that."""

    running: Optional[bool]
    holder: Optional[Holder]
    held_by: Optional[str]
    ended: Optional[bool]
    progress: Optional[ProgressState]
    line: Optional[str]


def lock_of(path: str) -> str:
    """The lock of the job that tells at a path how far it is."""
    return f"{path}.lock"


class Progress:
    """The progress of this job. Use as a context manager: entering waits for the lock.

    ``what`` it does and ``by`` whom it is wanted, those are told who wait for it.
    ``done`` and ``total`` count ``unit``s, a plural noun or ``bytes``. The rate is measured from the first
    value told under a label, so what an earlier run had done already does not count as fast.
    """

    def __init__(self, path: str, what: str = "a job", by: str = "") -> None:
        self.path, self.lock_path = path, lock_of(path)
        self._lock = locked(self.lock_path, what, math.inf, by=by)
        self._descriptor = -1
        self._state: ProgressState | None = None
        self._written = 0.0

    def __enter__(self) -> Progress:
        self._descriptor = self._lock.__enter__()
        self._forget()  # what a job told that was killed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget()
        self._lock.__exit__(None, None, None)

    def _forget(self) -> None:
        if os.path.exists(self.path):
            os.unlink(self.path)

    def fileno(self) -> int:
        """The descriptor of the lock."""
        return self._descriptor

    def waiting(self, holder: str) -> None:
        """Tell whom the job waits for."""
        self.tell(f"waiting for {holder}")

    def tell(self, label: str, done: int = 0, total: int = 0, unit: str = "") -> None:
        """Write how far the job is; calls in quick succession under one label and unit are passed over."""
        now, state = time.time(), self._state
        same = state is not None and (state["label"], state["unit"]) == (label, unit)
        if same and now - self._written < WRITE_SECONDS and done < total:
            return
        first, started = (state["first"], state["started"]) if state and same else (done, now)
        self._state = {
            "label": label,
            "unit": unit,
            "first": first,
            "done": done,
            "total": total,
            "started": started,
            "updated": now,
        }
        self._written = now
        # On a full disk the job itself fails, and says so in its own words.
        with contextlib.suppress(OSError):
            write_json(self.path, self._state, sync=False)


def disk_failure(directory: str, error: OSError) -> str:
    """One sentence for a job that its disk stopped, such as one that the kernel has made read-only."""
    return (
        f"The disk of {directory} cannot be used ({error.strerror}, {error.filename or directory}): see what the "
        "kernel says of it, and run the same command again."
    )


def job_running(path: str) -> Optional[bool]:
    """Whether a job holds the lock; None for who may not know."""
    return held(lock_of(path))


def read(path: str) -> ProgressState | None:
    """What the job last told, or None."""
    state: ProgressState | None = read_json(path)
    return state if isinstance(state, dict) else None


def progress_line(state: ProgressState) -> str:
    """The line for a state: ``compiling 120 of 361, 33 %, 5 min left``."""
    label, unit, done, total = state["label"], state["unit"], state["done"], state["total"]
    if not total:
        return str(label)
    elapsed, gained = state["updated"] - state["started"], done - state["first"]
    known = gained > 0 and (elapsed >= SAMPLE_SECONDS or gained >= SAMPLE_SHARE * (total - state["first"]))
    rate = gained / elapsed if known and elapsed > 0 else 0.0
    if unit == "bytes":
        scale, name = next(((scale, name) for scale, name in ((1e9, "GB"), (1e6, "MB")) if total >= scale), (1e3, "kB"))
        line = f"{label} {done / scale:.1f} of {total / scale:.1f} {name}"
        line += f", {size(rate)}/s" if rate > 0 else ""
    else:
        line = f"{label} {done} of {total}, {done / total:.0%}".replace("%", " %")
    if rate > 0 and done < total:
        line += f", {duration((total - done) / rate)} left"
    return line


def waiting_line(holder: Holder, can_stop: bool) -> str:
    """The line for who waits for another's job."""
    stop = "; the same command with -e llamatower_abort=true stops it" if can_stop else ""
    return f"waits for {words(holder)}{stop}"


def killed_problem(module: str, stderr: str = "") -> str:
    """The sentence for a module that left no result, with the last of what was said meanwhile."""
    last = stderr.strip().rsplit("\n", 1)[-1]
    why = f" ({last})" if last else ""
    return f"{module} was killed before it ended{why}: run the same command again, and it goes on from there."
