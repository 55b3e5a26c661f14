# SPDX-License-Identifier: MIT
"""Files that are whole or as they were: written beside, synced, renamed; modes are set and never left to a umask."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterable
from typing import Any, Optional


def sync_directory(path: str) -> None:
    """Make the names in a directory survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # fsync(2): a file system that syncs no directory, such as a share of a host
            raise
    finally:
        os.close(descriptor)


def write_beside(
    path: str, text: str, mode: int = 0o644, sync: bool = True, owner: Optional[os.stat_result] = None
) -> None:
    """Give a file this text: whole or not at all, also when the power fails (not without ``sync``). Raises OSError.

    The ``owner`` is that of what was statted. Nothing is written or given away through a link that is in the way, which
    may be of whoever the directory is.
    """
    partial = f"{path}.partial"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if owner:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            os.fchmod(descriptor, mode)
            file.write(text)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        if os.path.exists(partial):
            os.unlink(partial)
        raise
    if sync:
        sync_directory(os.path.dirname(path) or ".")


def write_problem(path: Any, error: OSError) -> str:
    """The sentence for a file that could not be written."""
    return f"{path} cannot be written ({error.strerror}): make room there, or mend the disk."


def removal_problem(error: OSError) -> str:
    """The sentence for a file that could not be removed."""
    return f"{error.filename} cannot be removed ({error.strerror}): mend that, and run the same command again."


def write_json(path: str, document: Any, mode: int = 0o644, sync: bool = True) -> None:
    """The same of a document. Raises OSError, and TypeError for what JSON cannot hold."""
    write_beside(path, json.dumps(document, indent=2) + "\n", mode, sync)


def read_json(path: str) -> Any:
    """The document in a file; None where there is none, or none that can be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def read_document(path: str, version: int) -> Any:
    """The same; None also where it has another ``schema_version``."""
    document = read_json(path)
    return document if isinstance(document, dict) and document.get("schema_version") == version else None


def make_directory(path: str, mode: int = 0o755) -> None:
    """Make a directory and those above it that are missing, all of this mode. Raises OSError."""
    if path and not os.path.isdir(path):
        make_directory(os.path.dirname(path), mode)
        os.mkdir(path)
        os.chmod(path, mode)


def point(link: str, target: str) -> None:
    """Point a symbolic link to a target, in one step that survives a power failure. Raises OSError."""
    partial = f"{link}.partial"
    if os.path.lexists(partial):
        os.unlink(partial)
    os.symlink(target, partial)
    os.replace(partial, link)
    sync_directory(os.path.dirname(link) or ".")


def bytes_of(paths: Iterable[str]) -> int:
    """The space that files take, and those in whole directories; once for a file that has several names."""
    sizes: dict[tuple[int, int], int] = {}
    for path in paths:
        names = [path]
        if os.path.isdir(path) and not os.path.islink(path):
            names = [os.path.join(parent, name) for parent, _directories, files in os.walk(path) for name in files]
        for name in names:
            with contextlib.suppress(OSError):
                found = os.lstat(name)
                sizes[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(sizes.values())
