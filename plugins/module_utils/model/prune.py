# SPDX-License-Identifier: MIT
"""Remove models from a store: by name, and never one that is declared or in use."""

from __future__ import annotations

import contextlib
import os
import shutil

from ..files import bytes_of, sync_directory
from ..text import size
from .declaration import NAME
from .document import Held

# The model, what fetches and other towers left of it, and what the last of them or this left when it was killed.
PLACES = ("{}", ".{}.partial", ".{}.swarm", ".{}.old", ".{}.pruned")


def places(store: str, name: str) -> list[str]:
    """The directories that a store has of a model."""
    paths = [os.path.join(store, place.format(name)) for place in PLACES]
    return [path for path in paths if os.path.isdir(path)]


def found(store: str, names: list[str]) -> list[Held]:
    """Each of these models that the store has anything of."""
    sizes = {name: bytes_of(places(store, name)) for name in names if places(store, name)}
    return [{"name": name, "bytes": size} for name, size in sizes.items()]


def removed_text(models: list[Held]) -> str:
    """The models as a diff shows them."""
    return "".join(f"{model['name']}, {size(model['bytes'])}\n" for model in models)


def processes(directory: str) -> list[str]:
    """``llama-server (1234)`` for each process that maps or has opened a file in the directory."""
    known = set()
    for parent, _directories, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                held = os.stat(os.path.join(parent, name))
                known.add((held.st_dev, held.st_ino))
    using = []
    for pid in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
        # A process may end at any moment, and then uses nothing.
        with contextlib.suppress(OSError):
            if _opens(f"/proc/{pid}", known) or _maps(f"/proc/{pid}", directory):
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                    using.append(f"{file.read().strip()} ({pid})")
    return using


def _opens(process: str, known: set[tuple[int, int]]) -> bool:
    for descriptor in os.listdir(f"{process}/fd"):
        with contextlib.suppress(OSError):
            # Through the link to the file itself, whatever its path is for that process.
            found = os.stat(f"{process}/fd/{descriptor}")
            if (found.st_dev, found.st_ino) in known:
                return True
    return False


def _maps(process: str, directory: str) -> bool:
    # By path: the device and the inode that are told here are not those of stat() on btrfs and overlayfs.
    root = os.path.realpath(directory).encode() + b"/"
    with open(f"{process}/maps", "rb") as file:
        return any(root in line for line in file)


def prune_problem(
    name: str, declared: list[str], served: list[str], deployed: list[str], using: list[str], link: str | None = None
) -> str | None:
    """One sentence where a model must stay, else None."""
    if not NAME.fullmatch(name):
        return f"model_store_prune has {name!r}, which is no name of a model: remove it."
    if name in declared:
        return f"Model {name} is in model_store_models and in model_store_prune: take it out of one of them."
    if name in served:
        return (
            f"Model {name} is what llama_service_model or llama_service_instances name: serve another one, or take it "
            "out of model_store_prune."
        )
    if deployed:
        return (
            f"Model {name} is what {', '.join(deployed)} served or serves: serve another one first, as often as "
            "llama_service_keep says, with ansible-playbook llamatower.tower.serve."
        )
    if using:
        return (
            f"Model {name} is in use by {', '.join(using[:4])}: stop that first, or take it out of model_store_prune."
        )
    if link:
        return f"Model {name} is a link to {link}: remove that by hand, and take it out of model_store_prune."
    return None


def remove_model(store: str, name: str) -> None:
    """Remove all that a store has of a model. It is gone at once; half of it is never seen under its name."""
    final, pruned = (os.path.join(store, PLACES[index].format(name)) for index in (0, -1))
    if os.path.isdir(final):
        if os.path.isdir(pruned):  # of a run that was killed
            shutil.rmtree(pruned)
        os.rename(final, pruned)
        sync_directory(store)
    for path in places(store, name):
        shutil.rmtree(path)
