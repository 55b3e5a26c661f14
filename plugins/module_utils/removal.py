# SPDX-License-Identifier: MIT
"""Remove what roles made: by name, never through a link, and never while a job has its lock there."""

from __future__ import annotations

import glob
import os
import shutil

from .progress import job_running

LOCK = ".lock"


def matching(patterns: list[str]) -> list[str]:
    """What there is of these patterns, links that lead nowhere included."""
    found = {path for pattern in patterns for path in glob.glob(pattern)}
    return sorted(found | {pattern for pattern in patterns if os.path.lexists(pattern)})


def held_locks(paths: list[str]) -> list[str]:
    """The locks at these paths, or right below, that a running job has."""
    below = [os.path.join(path, name) for path in paths if _is_directory(path) for name in os.listdir(path)]
    locks = [path for path in [*paths, *below] if path.endswith(LOCK)]
    return [path for path in sorted(locks) if job_running(path[: -len(LOCK)])]


def left_in(directory: str, removed: list[str]) -> list[str]:
    """What a directory has besides what is removed."""
    names = sorted(os.listdir(directory)) if _is_directory(directory) else []
    gone = {os.path.normpath(path) for path in removed}
    return [path for path in (os.path.join(directory, name) for name in names) if os.path.normpath(path) not in gone]


def emptied(directories: list[str], removed: list[str]) -> list[str]:
    """Those of the directories that have nothing besides what is removed, the inner ones first; a link and a mount
    point are somebody's."""
    found: list[str] = []
    for path in sorted(directories, key=len, reverse=True):
        if _is_directory(path) and not os.path.ismount(path) and not left_in(path, [*removed, *found]):
            found.append(path)
    return found


def remove(paths: list[str]) -> None:
    """Remove files, links, and directories with all that is in them. Raises OSError."""
    for path in paths:
        if _is_directory(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
