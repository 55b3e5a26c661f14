# SPDX-License-Identifier: MIT
"""The models that a store holds: their manifests, what of them is there unchanged, and what is missing.

A manifest is kept beside a model whose hashes were proven, and ``verified.json`` says what they were when they were
last computed again. Nothing here reads a model's bytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..files import bytes_of, read_document
from ..text import without_secrets
from .declaration import source_of
from .document import Declaration, Manifest, PlanEntry, ResolvedModel, StoredFile, StoredModel, Verified

SCHEMA_VERSION = 1


def read_manifest(directory: str) -> Manifest | None:
    """The manifest of a model; None where there is none that could be used."""
    # Those of before have the source as it was declared.
    manifest: Manifest | None = without_secrets(read_document(os.path.join(directory, "manifest.json"), SCHEMA_VERSION))
    return manifest


def read_verified(directory: str) -> Verified:
    """What the last verification found, if there was one."""
    found: Verified | None = read_document(os.path.join(directory, "verified.json"), SCHEMA_VERSION)
    return found or {"schema_version": SCHEMA_VERSION, "time": None, "wrong": {}}


def intact_files(files: list[StoredFile], directory: str) -> list[StoredFile]:
    """Those of the files that are there as they were proven: by size and time, reading none; without those that a
    verification found wrong since."""
    intact = []
    wrong = read_verified(directory)["wrong"]
    for entry in files:
        try:
            found = os.stat(os.path.join(directory, entry["file"]))
        except OSError:
            continue
        if (found.st_size, found.st_mtime_ns) == (entry["size"], entry["mtime_ns"]) and entry["file"] not in wrong:
            intact.append(entry)
    return intact


def proven_files(directory: str) -> list[StoredFile]:
    """The files of the model that is there whose hashes were proven, and that have not changed since."""
    manifest = read_manifest(directory)
    return intact_files(manifest["files"] if manifest else [], directory)


def partial_bytes(store: str, name: str) -> int:
    """What an unfinished fetch has of a model: whole files, beginnings of files, and what other towers sent."""
    partial, swarm = (os.path.join(store, f".{name}.{kind}") for kind in ("partial", "swarm"))
    # Wrong files are of no use.
    return bytes_of([partial, swarm]) - bytes_of([os.path.join(partial, "quarantine")])


def store_warning(directory: str, filesystem: str | None) -> str | None:
    """One sentence where a file system keeps what it reads in memory whatever it is told, else None. All others, such
    as ext4, XFS, btrfs, NFS and overlays of these, keep nothing of what is fetched, hashed and loaded by dio."""
    if filesystem in ("tmpfs", "ramfs"):
        return (
            f"{directory} is in memory ({filesystem}), so each model takes its memory twice and is lost with a "
            "restart: set model_store_dir to a disk."
        )
    if filesystem == "zfs":
        return (
            f"{directory} is on ZFS, whose cache of what is read (ARC) takes memory from the server and lies on any "
            "node: limit it by zfs_arc_max, and set primarycache=metadata for that file system."
        )
    return None


def state_of(
    source: Mapping[str, Any], manifest: Manifest | None, directory: str, wanted: ResolvedModel | None = None
) -> tuple[str, str | None]:
    """``present``, ``absent`` or ``changed`` with the reason; ``wanted`` is what the lock, or else the source, says."""
    if manifest is None:
        return "absent", None
    if manifest["source"] != without_secrets(dict(source)):
        return "changed", "it is declared otherwise now"
    if wanted and manifest["commit"] != wanted["commit"]:
        return "changed", f"commit {wanted['commit']} is wanted, and {manifest['commit']} is here"
    if wanted and [entry["sha256"] for entry in manifest["files"]] != [entry["sha256"] for entry in wanted["files"]]:
        return "changed", "other files are wanted than are here"
    intact, wrong = intact_files(manifest["files"], directory), read_verified(directory)["wrong"]
    for entry in manifest["files"]:
        if entry["file"] in wrong:
            return "changed", f"{entry['file']} had another SHA-256 when it was verified"
        if entry not in intact:
            return "changed", f"{entry['file']} is gone, or was changed after it was verified"
    return "present", None


def find(store: str, model: Declaration, locked: ResolvedModel | None) -> StoredModel:
    """What a store has of a declared model, and of its entry in the lock file."""
    directory, source = os.path.join(store, model["name"]), source_of(model)
    manifest = read_manifest(directory)
    state, reason = state_of(source, manifest, directory, locked)
    return {
        "name": model["name"],
        "source": source,
        "state": state,
        "reason": reason,
        "locked": locked,
        "verified": read_verified(directory)["time"],
        "manifest": manifest,
        "intact": [entry["sha256"] for entry in proven_files(directory)],
        "partial_bytes": partial_bytes(store, model["name"]),
    }


def model_plan(stored: list[StoredModel], sources: list[ResolvedModel]) -> list[PlanEntry]:
    """One entry a model, from what the store holds and, where it does not hold it, what the lock or its source says."""
    resolved = {entry["name"]: entry for entry in sources}
    plan: list[PlanEntry] = []
    for model in stored:
        held = model["manifest"] if model["state"] == "present" else None
        known = held or model["locked"] or resolved[model["name"]]
        missing = sum(entry["size"] for entry in known["files"] if entry["sha256"] not in model["intact"])
        plan.append(
            {
                "name": model["name"],
                "state": model["state"],
                "reason": model["reason"],
                "locked": model["locked"] is not None,
                "verified": model["verified"],
                "source": known["source"],
                "commit": known["commit"],
                "files": known["files"],
                "bytes": known["bytes"],
                "gguf": known["gguf"],
                "missing_bytes": 0 if held else max(0, missing - model["partial_bytes"]),
            }
        )
    return plan
