# SPDX-License-Identifier: MIT
"""How models get to several towers: each from its source, or once over the internet and then over the LAN."""

from __future__ import annotations

import hashlib
from typing import Any

from ..text import duration
from .declaration import file_names
from .document import DistributionPlan, PlanEntry, ResolvedModel, SharedModel

WAYS = ("auto", "direct", "rsync", "swarm")
# Bytes of a piece. A tower passes on what it has whole, so there should be a thousand; a torrent of 300 GB has 18 000
# of the largest, and 360 kB.
LEAST_PIECE, MOST_PIECE, PIECES = 2**18, 2**24, 1024
# Bytes a second that TCP brings over 1 Gb/s Ethernet: 1538 bytes on the wire carry 1448.
GIGABIT = 125e6 * 1448 / 1538


def _same(model: PlanEntry) -> tuple[str, ...]:
    return (model["name"], *(entry["sha256"] for entry in model["files"]))


def distribution_plan(
    towers: dict[str, list[PlanEntry]], wanted: str = "auto", seed: str | None = None, forks: int = 20
) -> DistributionPlan:
    """How the models that towers lack get to them.

    ``towers`` has the model_store_plan of each, in the order of the play.
    Raises ValueError with one sentence where ``wanted`` is no way.
    """
    if wanted not in WAYS:
        raise ValueError(f"model_store_distribution is {wanted}: set it to one of {', '.join(WAYS)}.")
    groups: dict[tuple[str, ...], list[tuple[str, PlanEntry]]] = {}
    for tower, models in towers.items():
        for model in models:
            groups.setdefault(_same(model), []).append((tower, model))
    shared: list[SharedModel] = []
    size = missing = 0
    for members in groups.values():
        donors = [tower for tower, model in members if model["state"] == "present"]
        lacking = [(tower, model) for tower, model in members if model["state"] != "present"]
        if not lacking:
            continue
        missing += 1
        # A file that is on every tower, such as a mounted share, needs no other tower.
        local = "path" in lacking[0][1]["source"]
        if len(members) < 2 or (local and wanted == "auto"):
            continue
        names = [tower for tower, _model in members]
        first = seed if seed in names else (donors or names)[0]
        shared.append({"name": lacking[0][1]["name"], "seed": first, "towers": names, "donors": donors})
        size += lacking[0][1]["bytes"]
    most = max((len(model["towers"]) for model in shared), default=0)
    if not missing:
        return {"way": "direct", "reason": "nothing to distribute: every tower has its models", "models": []}
    if wanted == "direct":
        return {"way": "direct", "reason": "direct: model_store_distribution says so", "models": []}
    if not shared:
        return {"way": "direct", "reason": "direct: no other tower needs or has these models", "models": []}
    if most > forks:
        reason = f"direct: {most} towers share, and Ansible works on {forks} at once: set forks to {most} for a swarm"
        return {"way": "direct", "reason": reason, "models": []}
    one_by_one = (most - 1) * size / GIGABIT
    # For two, BitTorrent costs three times the processor time of rsync and saves nothing.
    if wanted == "rsync" or (wanted == "auto" and most == 2):
        reason = f"rsync: {most} towers, 1 Gb/s: about {duration(one_by_one)} over the LAN from one tower"
        return {"way": "rsync", "reason": reason, "models": shared}
    # All seed to all: each receives once, while the seed sends little more than once.
    reason = (
        f"swarm: {most} towers, 1 Gb/s: about {duration(1.1 * size / GIGABIT)} over the LAN instead of "
        f"{duration(one_by_one)} from one tower to the others in turn"
    )
    return {"way": "swarm", "reason": reason, "models": shared}


def piece_bytes(size: int) -> int:
    """Bytes of a piece of a model of so many bytes: a power of two."""
    return min(max(1 << (size // PIECES).bit_length(), LEAST_PIECE), MOST_PIECE)


class Pieces:
    """A digest that gives the SHA-1 of each piece of everything it is fed, file after file, as BitTorrent v1 does."""

    def __init__(self, size: int) -> None:
        self.size, self.room = size, size
        self.done: list[bytes] = []
        self._digest = hashlib.sha1()

    def update(self, block: Any) -> None:
        view = memoryview(block)
        while len(view):
            self._digest.update(view[: self.room])
            taken = min(self.room, len(view))
            view, self.room = view[taken:], self.room - taken
            if not self.room:
                self._finish()

    def _finish(self) -> None:
        self.done.append(self._digest.digest())
        self._digest, self.room = hashlib.sha1(), self.size

    def digest(self) -> bytes:
        """All of them, one after the other."""
        if self.room < self.size:
            self._finish()
        return b"".join(self.done)


def bencode(value: Any) -> bytes:
    """The encoding of BEP 3, of whole numbers, bytes, text, lists and dictionaries."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l%se" % b"".join(map(bencode, value))
    pairs = sorted((key.encode(), content) for key, content in value.items())
    return b"d%se" % b"".join(bencode(key) + bencode(content) for key, content in pairs)


def torrent(model: ResolvedModel, pieces: bytes, size: int) -> bytes:
    """The metadata of a model: the same for the same files, so that a later run goes on with what is there."""
    files = [{"length": entry["size"], "path": [name]} for entry, name in zip(model["files"], file_names(model))]
    name = f".{model['name']}.swarm"
    return bencode({"info": {"files": files, "name": name, "piece length": size, "pieces": pieces, "private": 1}})
