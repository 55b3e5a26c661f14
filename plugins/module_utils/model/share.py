# SPDX-License-Identifier: MIT
"""Give a model to other towers, and get it from them, in one of the ways that there are.

What a tower receives becomes ``<store>/.<name>.partial/<file>.part``, which model_fetch proves and publishes.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from pathlib import Path
from typing import NamedTuple

from ..files import make_directory, sync_directory
from .declaration import file_names
from .document import ResolvedModel
from .uncached import drop


class ShareError(Exception):
    """The model cannot be shared; the text is one sentence."""


class Share(NamedTuple):
    """What is shared, and among whom.

    ``peers`` are the other towers with their addresses, ``givers`` the names of all towers that have the model, and
    ``receive`` says that this one, at ``address``, lacks it. ``patience`` is how many seconds without a byte or a
    finished tower the rest is waited for.
    """

    model: ResolvedModel
    store: Path
    address: str
    peers: dict[str, str]
    givers: list[str]
    receive: bool
    port: int
    patience: float

    def nothing_came(self, why: str = "") -> ShareError:
        why = f" ({why})" if why else ""
        return ShareError(
            f"No byte of {self.model['name']} came from {', '.join(self.peers)} for {self.patience:.0f} s{why}: see "
            "whether one of them stopped, and run the same command again; it goes on from there."
        )

    def disk_is_full(self) -> ShareError:
        return ShareError(
            f"The disk of {self.store} is full: make room, and run the same command again; it goes on from there."
        )


class Shared(NamedTuple):
    """Bytes of the model that came and went, and the towers that did not get all of it."""

    received_bytes: int
    uploaded_bytes: int
    unfinished: list[str]


def numeric(address: str) -> str:
    """The IP address of a tower."""
    try:
        return str(socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise ShareError(f"{address} cannot be resolved ({error}): set model_store_address of that tower.") from error


def own_address(given: Share) -> str:
    """The IP address of this tower, where the others reach it."""
    own = numeric(given.address)
    # What Debian's installer writes into /etc/hosts for a tower's own name is 127.0.1.1.
    if _is_loopback(own) and not all(_is_loopback(numeric(peer)) for peer in given.peers.values()):
        raise ShareError(
            f"{given.address} is {own} on this tower, where no other tower reaches it: set model_store_address of that "
            "tower to its address in the LAN."
        )
    return own


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def at_port(address: str, port: int) -> str:
    """An IP address and a port, as URLs and libtorrent have them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def forget(model: ResolvedModel, store: Path) -> None:
    """Drop the pages of a model that was read to be given away."""
    for name in file_names(model):
        with open(store / model["name"] / name, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def written(path: Path) -> None:
    """Have what came of a file, if anything, on the disk, and not in the page cache."""
    with contextlib.suppress(FileNotFoundError), open(path, "rb+") as file:
        drop(file.fileno())


class SwarmPlace:
    """Where the data of a receiver of pieces lies: in ``<store>/.<name>.swarm/`` until it is whole."""

    def __init__(self, store: Path, model: ResolvedModel) -> None:
        self.swarm, self.partial = (store / f".{model['name']}.{kind}" for kind in ("swarm", "partial"))
        self.names = file_names(model)

    def open(self) -> None:
        """Let the engine go on with what an earlier run has of the files, however it came here."""
        make_directory(str(self.swarm))
        for path in self.swarm.iterdir():
            if path.name not in self.names:  # of what the model was before: it would only take room
                path.unlink()
        for name in self.names:
            for kept in (self.partial / f"{name}.part", self.partial / name):
                if kept.exists() and not (self.swarm / name).exists():
                    kept.rename(self.swarm / name)

    def close(self, whole: bool) -> None:
        """Write to the disk what came, without leaving it in the page cache, and hand it over where it is whole."""
        for name in self.names:
            written(self.swarm / name)
        if not whole:
            return
        make_directory(str(self.partial))
        for name in self.names:
            (self.swarm / name).rename(self.partial / f"{name}.part")
        sync_directory(str(self.partial))
        self.swarm.rmdir()
