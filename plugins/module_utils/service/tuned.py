# SPDX-License-Identifier: MIT
"""The settings that the tuner found fastest, as they are stored on the tower, and whether they are of this service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional, TypedDict, cast

from ..files import read_document
from ..tower_document import Tower
from .document import Hardware, Winner

# Raised when a key of tuning-INSTANCE.json is renamed, removed or changes its meaning.
SCHEMA_VERSION = 1


class TunedModel(TypedDict):
    """A model that was measured: its name and the hashes of its files, or of one without a manifest its file's name and
    sizes and times."""

    name: str
    sha256: list[str]


class Tuned(TypedDict):
    """What the service reads of that file, all of which is :class:`benchmark.document.Tuning`: the key of the build,
    the model, the tower (its hardware is compared, its kernel and BIOS are not), and the fastest settings."""

    build: str
    model: TunedModel
    conditions: Hardware
    winner: Winner


def read_tuned(path: str) -> Optional[Tuned]:
    """What tuning-INSTANCE.json holds; None where it is not there or no document of this schema."""
    document = read_document(path, SCHEMA_VERSION)
    return cast(Tuned, document) if document and Tuned.__required_keys__ <= document.keys() else None


def hardware_of(tower: Tower) -> Hardware:
    """What must be the same for a measurement to hold."""
    return {
        "cpu": tower["cpu"]["model"],
        "cores": tower["cores"],
        "threads_per_core": (tower["cpus"] or 0) // (tower["cores"] or 1),
        "nodes": len(tower["nodes"]),
    }


def stored_winner(found: Optional[Tuned], build: Optional[str], sha256: list[str], tower: Tower) -> Optional[Winner]:
    """The winner in what the tuner stored, where it is of this build, this model and this hardware; else None.

    A new kernel or BIOS version does not make it void: that would change the service by itself, with the next update.
    """
    if not found or build is None or found["build"] != build or found["model"]["sha256"] != sha256:
        return None
    measured: Mapping[str, object] = found["conditions"]
    if any(measured.get(name) != value for name, value in hardware_of(tower).items()):
        return None
    return found["winner"]
