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
from .store import read_manifest

PINNED = ".pinned"
# A store that cannot have links, or is read only, has nothing replaced by us either.
UNLINKABLE = (errno.EPERM, errno.EROFS, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK)


class PinError(Exception):
    """Another model has come under the name; the text is one sentence."""


def pinned_path(directory: str, manifest: Manifest) -> str:
    """Where the files of the model in a directory of the store are pinned."""
    digest = hashlib.sha256("".join(_hashes(manifest)).encode()).hexdigest()
    store, name = os.path.split(os.path.normpath(directory))
    return os.path.join(store, PINNED, f"{name}-{digest[:12]}")


def pin(directory: str, manifest: Manifest) -> str:
    """Pin the model that is in a directory of the store, and return where: there, or where it is, in a store that
    cannot have links. Raises OSError, and PinError where the model there is another one by now."""
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
        _see_same(directory, manifest)
        write_json(os.path.join(partial, "manifest.json"), manifest)
        os.rename(partial, path)
        sync_directory(os.path.dirname(path))
    except (OSError, PinError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in UNLINKABLE:
            return directory
        raise
    return path


def _see_same(directory: str, manifest: Manifest) -> None:
    """A fetch gives the name to another model at any moment, its manifest with it: what was linked before this is of
    the one that is meant."""
    there = read_manifest(directory)
    if not there or _hashes(there) != _hashes(manifest):
        raise PinError(f"{directory} has another model since it was looked at: run the same command again.")


def _mend(directory: str, path: str, manifest: Manifest) -> None:
    """Take over files that have come anew under the same hashes, one after the other: a server may have them."""
    for name in _names(manifest):
        wanted, pinned = os.path.join(directory, name), os.path.join(path, name)
        if not _same(wanted, pinned):
            partial = os.path.join(path, f".{name}.partial")
            if os.path.lexists(partial):
                os.unlink(partial)
            os.link(wanted, partial, follow_symlinks=False)
            _see_same(directory, manifest)
            os.replace(partial, pinned)
            sync_directory(path)


def _hashes(manifest: Manifest) -> list[str]:
    return [entry["sha256"] for entry in manifest["files"]]


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
    # A store may have several paths, by links.
    stay = set(map(os.path.realpath, needed))
    removed = [path for path in paths if os.path.realpath(path) not in stay]
    for path in removed:
        shutil.rmtree(path)
    if len(removed) == len(paths):
        os.rmdir(top)
    return removed
