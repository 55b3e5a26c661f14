# SPDX-License-Identifier: MIT
"""Keep the files of a model while somebody needs them, whatever becomes of the model's name in the store.

A pin is a directory ``<store>/.pinned/<name>-<digest of its files>/`` of hard links to a model's files and its
manifest: it takes no room while the model is there, and has the files when another model has come under the name.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Collection

from ..files import make_directory, sync_directory, write_json
from .document import Manifest

PINNED = ".pinned"
# A store that cannot have links, or is read only, has nothing replaced by us either.
UNLINKABLE = (errno.EPERM, errno.EROFS, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK)


def pinned_path(directory: str, manifest: Manifest) -> str:
    """Where the files of the model in a directory of the store are pinned."""
    digest = hashlib.sha256("".join(entry["sha256"] for entry in manifest["files"]).encode()).hexdigest()
    store, name = os.path.split(os.path.normpath(directory))
    return os.path.join(store, PINNED, f"{name}-{digest[:12]}")


def pin(directory: str, manifest: Manifest) -> str:
    """Pin the model that is in a directory of the store, and return where: there, or where it is, in a store that
    cannot have links. Raises OSError."""
    path = pinned_path(directory, manifest)
    partial = f"{path}.partial"
    try:
        if os.path.isdir(path):
            _mend(directory, path, manifest)
            return path
        shutil.rmtree(partial, ignore_errors=True)
        make_directory(os.path.dirname(path))
        make_directory(partial)
        for name in _names(manifest):
            os.link(os.path.join(directory, name), os.path.join(partial, name), follow_symlinks=False)
        write_json(os.path.join(partial, "manifest.json"), manifest)
        os.rename(partial, path)
        sync_directory(os.path.dirname(path))
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        if error.errno in UNLINKABLE:
            return directory
        raise
    return path


def _mend(directory: str, path: str, manifest: Manifest) -> None:
    """Take over files that have come anew under the same hashes, one after the other: a server may have them."""
    for name in _names(manifest):
        wanted, pinned = os.path.join(directory, name), os.path.join(path, name)
        if not _same(wanted, pinned):
            partial = os.path.join(path, f".{name}.partial")
            if os.path.lexists(partial):
                os.unlink(partial)
            os.link(wanted, partial, follow_symlinks=False)
            os.replace(partial, pinned)
            sync_directory(path)


def _names(manifest: Manifest) -> list[str]:
    return [entry["file"] for entry in manifest["files"]]


def _same(first: str, second: str) -> bool:
    try:
        return os.path.samestat(os.lstat(first), os.lstat(second))
    except OSError:
        return False


def store_of(directory: str) -> str:
    """The store of a model that is pinned, or is where it is."""
    parent = os.path.dirname(os.path.normpath(directory))
    return os.path.dirname(parent) if os.path.basename(parent) == PINNED else parent


def unpin(store: str, needed: Collection[str]) -> list[str]:
    """Remove the pins of a store but those at ``needed`` paths, and return them."""
    top = os.path.join(store, PINNED)
    if not os.path.isdir(top):
        return []
    paths = [os.path.join(top, name) for name in sorted(os.listdir(top))]
    removed = [path for path in paths if path not in needed]
    for path in removed:
        shutil.rmtree(path)
    if len(removed) == len(paths):
        os.rmdir(top)
    return removed
