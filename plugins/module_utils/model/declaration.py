# SPDX-License-Identifier: MIT
"""Models as they are declared, planned and kept: what is wanted, what is there, what is missing.

A declaration has a ``name`` and one source: ``repo`` with ``revision`` and ``files`` on the hub, ``url`` with
``sha256``, or ``path`` (a file, the first of its shards, a directory or a pattern on the tower), with ``sha256``
where it is one file and not locked. A plan adds what the source or the lock says: every file with its size and
SHA-256. A manifest is what the store keeps beside a model whose hashes were proven, and ``verified.json`` what
they were when they were last computed again.
All sizes are bytes.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import re
import urllib.parse
from typing import Any

from ..text import size
from .kv_cache import kv_bytes

SCHEMA_VERSION = 1
# What each kind of source needs, and what else it may have.
SOURCES: dict[str, tuple[set[str], set[str]]] = {
    "repo": ({"repo", "revision", "files"}, set()),
    "path": ({"path"}, {"sha256"}),
    "url": ({"url", "sha256"}, set()),
}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
TOKEN = re.compile(r"[!-~]+")
SHA256 = re.compile(r"[0-9a-f]{64}")
# What the store keeps beside a model's files.
OWN_NAMES = {"manifest.json", "verified.json", "proven.json", "quarantine"}
# src/llama.cpp: "%s-%05d-of-%05d.gguf", counted from 1.
SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


def declaration_problems(models: list[dict[str, Any]]) -> list[str]:
    """One sentence for each way in which ``model_store_models`` cannot be used."""
    problems = []
    names = [str(model.get("name")) for model in models]
    for model in models:
        name = model.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            problems.append(
                f"A model has the name {name!r}: use letters, digits, '.', '_' and '-', a letter or digit first."
            )
            continue
        if names.count(name) > 1:
            problems.append(f"Two models have the name {name}: give each its own.")
            names = [other for other in names if other != name]
        kinds = [kind for kind in SOURCES if model.get(kind)]
        if len(kinds) != 1:
            problems.append(
                f"Model {name} needs exactly one of repo, path and url; it has {', '.join(kinds) or 'none'}."
            )
            continue
        given = {key for key, value in model.items() if value is not None} - {"name"}
        needed, possible = SOURCES[kinds[0]]
        missing, unknown = needed - given, given - needed - possible
        if missing:
            problems.append(f"Model {name} has a {kinds[0]} and lacks {', '.join(sorted(missing))}: add it.")
        if unknown:
            problems.append(
                f"Model {name} has a {kinds[0]}, and {', '.join(sorted(unknown))} does not belong to it: remove it."
            )
        numbers = [key for key in sorted(given) if not isinstance(model[key], str)]
        if numbers:
            problems.append(f"The {numbers[0]} of model {name} is no text: write it in quotes.")
            continue
        if "sha256" in given and not SHA256.fullmatch(str(model["sha256"])):
            problems.append(f"The sha256 of model {name} is not one: write its 64 hexadecimal digits in lower case.")
    return problems


def source_of(model: dict[str, Any]) -> dict[str, Any]:
    """The declaration without its name and without keys that are null."""
    return {key: value for key, value in model.items() if key != "name" and value is not None}


def choose_files(pattern: str, names: list[str]) -> list[str]:
    """The GGUF files of a repository that a pattern names; ``Q6_K/*`` and ``*Q6_K*`` both mean what they look like."""
    return sorted(name for name in names if fnmatch.fnmatch(name, pattern) and name.endswith(".gguf"))


def shard_problem(names: list[str]) -> str | None:
    """One sentence where files are not one model: one file, or every shard of one set."""
    if len(names) == 1 and not SHARD.fullmatch(names[0]):
        return None
    # With their directories: the same set may lie in two of them.
    matches = [SHARD.fullmatch(name) for name in names]
    sets = {(match["stem"], match["count"]) if match else (name, "") for match, name in zip(matches, names)}
    if len(sets) > 1:
        found = ", ".join(sorted(stem for stem, _count in sets)[:4])
        return f"its files belong to {len(sets)} models ({found}): write a pattern that matches one."
    present = {int(match["number"]) for match in matches if match}
    count = int(next(match["count"] for match in matches if match))
    extra = sorted(present - set(range(1, count + 1)))
    if extra:
        return f"there is no shard {extra[0]} of {count} in a whole model: write a pattern that leaves it out."
    missing = sorted(set(range(1, count + 1)) - present)
    if missing:
        return (
            f"shard {', '.join(map(str, missing[:8]))} of {count} is missing: write a pattern that matches all of them."
        )
    return None


def shards_of(name: str) -> list[str]:
    """The file names of a model, from that of one of its files."""
    match = SHARD.fullmatch(name)
    if not match:
        return [name]
    return [f"{match['stem']}-{number:05}-of-{match['count']}.gguf" for number in range(1, int(match["count"]) + 1)]


def file_names(model: dict[str, Any]) -> list[str]:
    """The names that the files of a resolved model have in the store."""
    url = "url" in model["source"]
    return [
        os.path.basename(urllib.parse.urlsplit(entry["file"]).path if url else entry["file"])
        for entry in model["files"]
    ]


def name_problem(names: list[str]) -> str | None:
    """One sentence where a file of a source cannot have its name in the store, or in the settings of a server."""
    for name in names:
        if not name.strip(".") or not name.isprintable() or name in OWN_NAMES:
            return f"one of its files has the name {name!r}, which a file of the store cannot have: use another source."
    return None


def clean_token(token: str | None) -> str | None:
    """A token of the hub without the newline that a vault or a file ends with; None where there is none.

    Raises ValueError with a sentence where no header can have it: HTTP libraries would refuse it too, and print it.
    """
    token = (token or "").strip()
    if token and not TOKEN.fullmatch(token):
        raise ValueError("model_store_hf_token has a blank or another character that no token has: correct it.")
    return token or None


def read_manifest(directory: str) -> dict[str, Any] | None:
    """The manifest of a model; None where there is none that could be used."""
    try:
        with open(os.path.join(directory, "manifest.json"), encoding="utf-8") as file:
            manifest = json.load(file)
    except (OSError, ValueError):
        return None
    usable = isinstance(manifest, dict) and manifest.get("schema_version") == SCHEMA_VERSION
    return manifest if usable else None


def read_verified(directory: str) -> dict[str, Any]:
    """What the last verification found: ``time`` (seconds since 1970; null where there was none) and ``wrong``,
    by file the SHA-256 that it had instead of its own."""
    try:
        with open(os.path.join(directory, "verified.json"), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        found = None
    usable = isinstance(found, dict) and found.get("schema_version") == SCHEMA_VERSION
    return found if usable else {"time": None, "wrong": {}}


def intact_files(manifest: dict[str, Any] | None, directory: str) -> list[dict[str, Any]]:
    """The files that are those of the manifest, whose hashes were proven: by their size and time, reading none;
    without those that a verification found wrong since."""
    intact = []
    wrong = read_verified(directory)["wrong"]
    for entry in manifest["files"] if manifest else []:
        try:
            found = os.stat(os.path.join(directory, entry["file"]))
        except OSError:
            continue
        if (found.st_size, found.st_mtime_ns) == (entry["size"], entry["mtime_ns"]) and entry["file"] not in wrong:
            intact.append(entry)
    return intact


def tree_bytes(directory: str) -> int:
    """The space that all files below a directory take."""
    total = 0
    for parent, _directories, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(parent, name)).st_blocks * 512
    return total


def partial_bytes(store: str, name: str) -> int:
    """What an unfinished fetch has of a model: whole files, beginnings of files, and what other towers sent."""
    partial, swarm = (os.path.join(store, f".{name}.{kind}") for kind in ("partial", "swarm"))
    # Wrong files are of no use.
    return tree_bytes(partial) - tree_bytes(os.path.join(partial, "quarantine")) + tree_bytes(swarm)


def state_of(
    model: dict[str, Any], manifest: dict[str, Any] | None, directory: str, wanted: dict[str, Any] | None = None
) -> tuple[str, str | None]:
    """``present``, ``absent`` or ``changed`` with the reason; ``wanted`` is what the lock, or else the source, says."""
    if manifest is None:
        return "absent", None
    if manifest["source"] != source_of(model):
        return "changed", "it is declared otherwise now"
    if wanted and manifest["commit"] != wanted["commit"]:
        return "changed", f"commit {wanted['commit']} is wanted, and {manifest['commit']} is here"
    if wanted and [entry["sha256"] for entry in manifest["files"]] != [entry["sha256"] for entry in wanted["files"]]:
        return "changed", "other files are wanted than are here"
    intact = intact_files(manifest, directory)
    for entry in manifest["files"]:
        if entry["file"] in read_verified(directory)["wrong"]:
            return "changed", f"{entry['file']} had another SHA-256 when it was verified"
        if entry not in intact:
            return "changed", f"{entry['file']} is gone, or was changed after it was verified"
    return "present", None


def make_plan(stored: list[dict[str, Any]], sources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry a model, from what the store holds and, where it does not hold it, what the lock or its source says."""
    resolved = {entry["name"]: entry for entry in sources}
    plan = []
    for model in stored:
        present = model["state"] == "present"
        known = model["manifest"] if present else model["locked"] or resolved[model["name"]]
        missing = sum(entry["size"] for entry in known["files"] if entry["sha256"] not in model["intact"])
        plan.append(
            {
                "name": model["name"],
                "state": model["state"],
                "reason": model["reason"],
                "locked": model["locked"] is not None,
                "verified": model["verified"],
                **{key: known.get(key) for key in ("source", "commit", "files", "bytes", "gguf")},
                "missing_bytes": 0 if present else max(0, missing - model["partial_bytes"]),
            }
        )
    return plan


def disk_problem(plan: list[dict[str, Any]], directory: str, free_bytes: int, reserve_bytes: int) -> str | None:
    """One sentence where the missing models do not fit the disk, else None."""
    missing = sum(model["missing_bytes"] for model in plan)
    if not missing or missing + reserve_bytes <= free_bytes:
        return None
    return (
        f"The disk of {directory} has {size(free_bytes)} free, and {size(missing)} of models and a reserve "
        f"of {size(reserve_bytes)} are to go there: make room, or set model_store_dir to a larger disk."
    )


def model_memory(plan: list[dict[str, Any]], name: str | None, context: int, parallel: int = 1) -> int:
    """Bytes of the weights of a model and of its KV cache for so many tokens; 0 where it is not declared."""
    model = next((model for model in plan if model["name"] == name), None)
    if model is None:
        return 0
    return int(model["bytes"]) + kv_bytes((model["gguf"] or {}).get("kv"), context, parallel=parallel)


def memory_problem(
    plan: list[dict[str, Any]],
    name: str | None,
    memory_bytes: int,
    context: int,
    reserve_bytes: int,
    parallel: int = 1,
) -> str | None:
    """One sentence where the model of that name is not declared or does not fit the memory, else None."""
    model = next((model for model in plan if model["name"] == name), None)
    if model is None:
        declared = ", ".join(entry["name"] for entry in plan) or "none"
        return f"llama_service_model is {name}, and model_store_models declares {declared}: name one of those."
    cache = kv_bytes((model["gguf"] or {}).get("kv"), context, parallel=parallel)
    if model["bytes"] + cache + reserve_bytes <= memory_bytes:
        return None
    return (
        f"Model {name} does not fit the memory: {size(model['bytes'])} of weights, {size(cache)} of KV cache "
        f"for {context} tokens and {size(reserve_bytes)} of reserve are more than {size(memory_bytes)}: "
        "choose a smaller model or quantization, or a smaller llama_service_context."
    )


def models_that_fit(catalog: list[dict[str, Any]], memory_bytes: int, reserve_bytes: int) -> list[dict[str, Any]]:
    """The models of the catalog that fit with 8192 tokens of context, the largest first."""
    fitting = [
        model for model in catalog if model["bytes"] + kv_bytes(model["kv"], 8192) + reserve_bytes <= memory_bytes
    ]
    return sorted(fitting, key=lambda model: -int(model["bytes"]))


def suggestion(catalog: list[dict[str, Any]], memory_bytes: int, reserve_bytes: int, most: int = 3) -> str:
    """What to say where no model is declared: a few that fit, and the lines to paste."""
    fitting = models_that_fit(catalog, memory_bytes, reserve_bytes)[:most]
    if not fitting:
        smallest = min(model["bytes"] for model in catalog)
        return (
            f"No model is declared, and none of the catalog fits {size(memory_bytes)} of memory (the smallest has "
            f"{size(smallest)}): declare one of your own in model_store_models."
        )
    lines = ["No model is declared; nothing was touched. These fit this machine:", ""]
    for model in fitting:
        lines.append(
            f"  {model['name']:<24} {size(model['bytes']):>9} of {size(memory_bytes)}, "
            f"{size(model['active_bytes'])} read a token"
        )
    lines += ["", "Paste the lines of one into inventory/group_vars/towers.yml, and run this again:"]
    for model in fitting:
        lines += ["", "model_store_models:", f"  - name: {model['name']}", f"    repo: {model['repo']}"]
        lines += ["    revision: main", f'    files: "{model["files"]}"']
    return "\n".join(lines)
