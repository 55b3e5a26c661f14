# SPDX-License-Identifier: MIT
"""The documents of builds of llama.cpp. All hashes are SHA-256 in lower-case hex."""

from __future__ import annotations

from typing import TypedDict


class _Typed(TypedDict):
    type: str


class BuildSource(_Typed, total=False):
    """``llama_build_source``: its ``type`` and the keys that :data:`key.SOURCE_KEYS` has for it.

    ``sdist`` has ``package``, ``version`` and ``sha256``; ``archive`` a ``location`` (URL, or file on the builder) and
    ``sha256``; ``git`` a ``url``, a ``tag`` and the ``commit`` that it must be, in 40 hexadecimal digits.
    """

    package: str
    version: str
    sha256: str
    location: str
    url: str
    tag: str
    commit: str


class BuildPlan(TypedDict):
    """Which build is wanted, as llama_build_info says it.

    ``key`` is its name, ``archive`` the path of the build archive on the builder and ``present`` whether that is there;
    ``cpu`` is the level asked for, ``options`` what cmake is given without -D, ``compiler`` the first line of its
    version, and ``cpu_features`` are named as in /proc/cpuinfo. Key, archive and compiler are null where a check run
    finds no compiler yet.
    """

    key: str | None
    archive: str | None
    present: bool
    cpu: str
    source: BuildSource
    options: dict[str, str]
    compiler: str | None
    cpu_features: list[str]


class BuildManifest(TypedDict):
    """``manifest.json`` of a build archive and of the release that it becomes.

    ``schema_version`` is :data:`key.SCHEMA_VERSION`. Written by llama_build. ``llama_version`` is null where the
    builder cannot run what it built; ``cpu_features`` are those of the commands that were really run; ``binaries`` has
    the hash of each file in ``bin/`` by its name.
    """

    schema_version: int
    key: str
    source: BuildSource
    cpu: str
    options: dict[str, str]
    compiler: str
    cpu_features: list[str]
    llama_version: str | None
    binaries: dict[str, str]
