# SPDX-License-Identifier: MIT
"""The lock file: every declared model by commit, and every file of it by size and SHA-256.

It is a YAML file beside the inventory, ``{schema_version: 1, models: [...]}``, whose entries are what
:func:`sources.resolve` says. It is written by llamatower.tower.lock only, read by whoever deploys, and made to
be reviewed: the models are in the order of their names, and the same models always give the same text.
"""

from __future__ import annotations

from typing import Any, cast

from ..text import without_secrets
from .declaration import source_of
from .document import Declaration, LockDocument, ResolvedModel

SCHEMA_VERSION = 1
HEADER = """\
# Written by `ansible-playbook llamatower.tower.lock`, and replaced by it: the models of this inventory by commit, size
# and SHA-256. site.yml deploys exactly these. Keep it with the inventory; what a new lock changes is worth a review.
"""


class LockError(Exception):
    """The lock cannot be made or used; the text is one sentence."""


def entries(document: Any) -> list[ResolvedModel]:
    """The entries of a lock file that was read as YAML; none of one that is not there (null or empty)."""
    if not document:
        return []
    models = document.get("models") if isinstance(document, dict) else None
    if not isinstance(models, list) or document.get("schema_version") != SCHEMA_VERSION:
        raise LockError(
            "The lock file is none of this version: remove it, and run ansible-playbook llamatower.tower.lock."
        )
    for entry in models:
        files = entry.get("files") if isinstance(entry, dict) else None
        whole = isinstance(files, list) and all({"file", "size", "sha256"} <= set(file) for file in files)
        if not whole or not ResolvedModel.__required_keys__ <= set(entry):
            name = entry.get("name") if isinstance(entry, dict) else entry
            raise LockError(
                f"The lock file's entry of model {name} is not whole: run ansible-playbook llamatower.tower.lock."
            )
    # Those of before have the source as it was declared.
    return cast(list[ResolvedModel], without_secrets(models))


def _of(model: Declaration, models: list[ResolvedModel]) -> ResolvedModel | None:
    return next((entry for entry in models if entry["name"] == model["name"]), None)


def locked_entry(model: Declaration, models: list[ResolvedModel]) -> ResolvedModel | None:
    """The entry of a declared model; None where it has none. Raises LockError where it is of another declaration."""
    entry = _of(model, models)
    if entry is not None and entry["source"] != source_of(model):
        raise LockError(
            f"Model {model['name']} is declared otherwise than it was locked: run ansible-playbook "
            "llamatower.tower.lock, and review what it changes."
        )
    if entry is None and model.get("path") and not model.get("sha256"):
        raise LockError(
            f"Model {model['name']} has a path and no sha256, and is not locked: run ansible-playbook "
            "llamatower.tower.lock, which hashes its files on the tower, or write its sha256."
        )
    return entry


def declared(towers: dict[str, list[Declaration]]) -> list[Declaration]:
    """The models that the towers declare, each once, in the order of their names."""
    found: dict[str, tuple[str, Declaration]] = {}
    for tower, models in towers.items():
        for model in models:
            first, same = found.setdefault(model["name"], (tower, model))
            if source_of(same) != source_of(model):
                raise LockError(
                    f"Model {model['name']} is declared in one way for {first} and in another for {tower}: "
                    "declare it alike, or give one of them another name."
                )
    return [found[name][1] for name in sorted(found)]


def read_on_towers(towers: dict[str, list[ResolvedModel]]) -> dict[str, ResolvedModel]:
    """What the towers said of their files and URLs, by name of the model; they must all have said the same."""
    found: dict[str, tuple[str, ResolvedModel]] = {}
    for tower, models in towers.items():
        for entry in models:
            first, same = found.setdefault(entry["name"], (tower, entry))
            if same["files"] != entry["files"]:
                raise LockError(
                    f"Model {entry['name']} has other files on {tower} than on {first}: put the same there, or give "
                    "one of them another name."
                )
    return {name: entry for name, (_tower, entry) in found.items()}


def kept(model: Declaration, before: list[ResolvedModel]) -> ResolvedModel:
    """The entry so far of a model that lies on a tower which was left out of this run."""
    entry = _of(model, before)
    if entry is None or entry["source"] != source_of(model):
        raise LockError(
            f"Model {model['name']} is read on its tower, which this run leaves out: run it without --limit."
        )
    return entry


def lock_text(models: list[ResolvedModel]) -> str:
    """The lock file of resolved models."""
    import yaml  # Ansible's own, on the controller

    ordered: list[ResolvedModel] = [
        {
            "name": entry["name"],
            "source": entry["source"],
            "commit": entry["commit"],
            "bytes": entry["bytes"],
            "files": entry["files"],
            "gguf": entry["gguf"],
        }
        for entry in sorted(models, key=lambda entry: entry["name"])
    ]
    document: LockDocument = {"schema_version": SCHEMA_VERSION, "models": ordered}
    # Its aliases would be right, and hard to review.
    dumper = type("Dumper", (yaml.SafeDumper,), {"ignore_aliases": lambda *_: True})
    return HEADER + str(yaml.dump(document, Dumper=dumper, sort_keys=False, width=160, allow_unicode=True))


def moved(before: list[ResolvedModel], after: list[ResolvedModel]) -> list[str]:
    """One line for each model that the new lock adds, leaves out, or moves."""
    old, new = ({entry["name"]: entry for entry in models} for models in (before, after))
    lines = []
    for name in sorted({*old, *new}):
        was, now = old.get(name), new.get(name)
        if was is None or now is None:
            lines.append(f"{name}: {'is locked now' if was is None else 'is declared no more'}")
            continue
        hashes = {entry["sha256"] for entry in was["files"]}
        files = sum(entry["sha256"] not in hashes for entry in now["files"])
        if was["commit"] != now["commit"]:
            lines.append(f"{name}: {was['commit']} -> {now['commit']}, {files} of {len(now['files'])} files changed")
        elif was["source"] != now["source"] or files or len(was["files"]) != len(now["files"]):
            lines.append(f"{name}: {files} of {len(now['files'])} files changed")
    return lines
