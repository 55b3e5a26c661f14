# SPDX-License-Identifier: MIT
"""What identifies a build of llama.cpp."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from .cpu_features import LEVELS, SWITCHES
from .document import BuildSource

SCHEMA_VERSION = 1
BINARIES = ("llama-server", "llama-bench", "llama-cli", "llama-quantize", "llama-gguf-split")
HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
HEX_COMMIT = re.compile(r"[0-9a-f]{40}")

# The keys of a source, by its type; all are required.
SOURCE_KEYS = {
    "sdist": {"package", "version", "sha256"},
    "archive": {"location", "sha256"},
    "git": {"url", "tag", "commit"},
}


def source_problem(source: Mapping[str, Any]) -> str | None:
    """One sentence where ``llama_build_source`` cannot be used, else None."""
    kind = source.get("type")
    if kind not in SOURCE_KEYS:
        return f"llama_build_source has the type {kind!r}: write sdist, archive or git."
    given = {key for key, value in source.items() if value is not None} - {"type"}
    missing, unknown = SOURCE_KEYS[kind] - given, given - SOURCE_KEYS[kind]
    if missing:
        return f"llama_build_source of the type {kind} lacks {', '.join(sorted(missing))}: add it."
    if unknown:
        return f"llama_build_source of the type {kind} has no {', '.join(sorted(unknown))}: remove it."
    if kind == "git" and not HEX_COMMIT.fullmatch(str(source["commit"])):
        return (
            f"The commit {source['commit']} of llama_build_source is not a full one: write all 40 hexadecimal digits."
        )
    if kind != "git" and not HEX_DIGEST.fullmatch(str(source["sha256"])):
        return f"The SHA-256 {source['sha256']} of llama_build_source is not one: write its 64 hexadecimal digits."
    return None


def source_digest(source: BuildSource) -> str:
    """What pins the content of a source: its SHA-256, or its commit."""
    return str(source["commit"] if source["type"] == "git" else source["sha256"])


def cmake_options(cpu: str, extra: dict[str, Any]) -> dict[str, str]:
    """The options that cmake is given, without -D. ``extra`` wins, so that anything can be changed."""
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        # One file a program: it runs wherever its few system libraries are, and nothing can be mixed up.
        "BUILD_SHARED_LIBS": "OFF",
        "LLAMA_BUILD_TESTS": "OFF",
        "LLAMA_BUILD_EXAMPLES": "OFF",
        # The web page of the server would be fetched from the internet during the build.
        "LLAMA_BUILD_UI": "OFF",
        "LLAMA_USE_PREBUILT_UI": "OFF",
        "GGML_NATIVE": "ON" if cpu == "native" else "OFF",
    }
    if cpu != "native":
        options.update({f"GGML_{switch}": "ON" if switch in LEVELS[cpu] else "OFF" for switch in SWITCHES})
    for name, value in extra.items():
        options[name] = ("ON" if value else "OFF") if isinstance(value, bool) else str(value)
    return options


def build_key(source: str, options: dict[str, str], compiler: str, features: list[str]) -> str:
    """The name of a build: the digest of all that decides what comes out."""
    inputs = {
        "source": source,
        "options": options,
        "compiler": compiler,
        "features": features,
        "schema": SCHEMA_VERSION,
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def sha256_file(path: str) -> str:
    """The SHA-256 of a file of a few megabytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()
