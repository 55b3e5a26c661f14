# SPDX-License-Identifier: MIT
"""Models as they are wanted: what may be declared, and how the files of a model are named."""

from __future__ import annotations

import fnmatch
import os
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from ..text import has_user, without_secrets
from .document import Declaration, ResolvedModel

# What each kind of source needs, and what else it may have.
SOURCES: dict[str, tuple[set[str], set[str]]] = {
    "repo": ({"repo", "revision", "files"}, set()),
    "path": ({"path"}, {"sha256"}),
    "url": ({"url", "sha256"}, set()),
}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Of a directory's name, in which what it is pinned by follows.
LONGEST_NAME = 200
TOKEN = re.compile(r"[!-~]+")
SHA256 = re.compile(r"[0-9a-f]{64}")
# What the store keeps beside a model's files.
OWN_NAMES = {"manifest.json", "verified.json", "proven.json", "quarantine"}
# src/llama.cpp: "%s-%05d-of-%05d.gguf", counted from 1.
SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})(?P<of>-of-)(?P<count>\d{5})(?P<end>\.gguf)", re.I)
# Pieces of a file that somebody cut for the hub's limit of 50 GB: .gguf.part1of3, .gguf.split-a, .gguf.001
PIECE = re.compile(r".+\.gguf[.-](part|split|chunk|\d{2,})[^/]*", re.I)


def declaration_problems(models: Sequence[Mapping[str, Any]]) -> list[str]:
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
        if len(name) > LONGEST_NAME:
            problems.append(
                f"A model has a name of {len(name)} characters, {name[:20]}…: give it one of at most {LONGEST_NAME}."
            )
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
        problems += _source_problems(model)
        if "sha256" in given and not SHA256.fullmatch(str(model["sha256"])):
            problems.append(f"The sha256 of model {name} is not one: write its 64 hexadecimal digits in lower case.")
    return problems


def _source_problems(model: Mapping[str, Any]) -> list[str]:
    """One sentence at most where the place of a model cannot be meant so."""
    if str(model.get("path") or "").startswith("~"):
        return [f"The path of model {model['name']} begins with ~, which is another for each user: write it from / on."]
    if has_user(str(model.get("url") or "")):
        return [
            f"The url of model {model['name']} has a user name or password, which is not sent: serve the file without "
            "one, or take the URL that is signed."
        ]
    for key in ("path", "url"):
        problem = piece_problem([urllib.parse.urlsplit(str(model.get(key) or "")).path])
        if problem:
            return [f"The {key} of model {model['name']} names no GGUF file: {problem}"]
    return []


def source_of(model: Declaration) -> dict[str, str]:
    """The declaration without its name, without keys that are null, and without what may be a secret of a URL: the
    source is in the lock file, in manifests and in reports, and a URL that was signed anew is the same source."""
    return {key: without_secrets(str(value)) for key, value in model.items() if key != "name" and value is not None}


def choose_files(pattern: str, names: list[str]) -> list[str]:
    """The GGUF files of a repository that a pattern names; ``Q6_K/*`` and ``*Q6_K*`` both mean what they look like."""
    chosen = [name for name in names if fnmatch.fnmatchcase(_plain(name), _plain(pattern))]
    return sorted(filter(is_gguf, chosen))


def is_gguf(name: str) -> bool:
    return name.lower().endswith(".gguf")


def _plain(name: str) -> str:
    """A name or a pattern with the ending, and what counts the shards, as the engine writes and looks for them."""
    return re.sub(r"(-of-\d{5})?\.gguf$", lambda ending: ending[0].lower(), name, flags=re.I)


def piece_problem(names: list[str]) -> str | None:
    """One sentence where files are pieces of a file, which no engine loads, and which only look like shards."""
    pieces = sorted(name for name in names if PIECE.fullmatch(name))
    if not pieces:
        return None
    return (
        f"{pieces[0]} is a piece of a file and no shard: choose files whose names end with -00001-of-0000N.gguf, or "
        "join all pieces in their order (cat PIECES > MODEL.gguf), and declare that by its path."
    )


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


def shards_of(path: str) -> list[str]:
    """The files of a model, from one of them: that one, and its shards beside it."""
    directory, name = os.path.split(path)
    match = SHARD.fullmatch(name)
    if not match:
        return [path]
    names = [
        f"{match['stem']}-{number:05}{match['of']}{match['count']}{match['end']}"
        for number in range(1, int(match["count"]) + 1)
    ]
    return [os.path.join(directory, name) for name in names]


def file_names(model: ResolvedModel) -> list[str]:
    """The names that the files of a resolved model have in the store, where all are found by the first."""
    url = "url" in model["source"]
    return [
        _plain(os.path.basename(urllib.parse.urlsplit(entry["file"]).path if url else entry["file"]))
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
