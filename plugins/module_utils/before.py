# SPDX-License-Identifier: MIT
"""What a machine was before the first run: packages, accounts, and the values of kernel files that roles change.

It is written down once, by the role that changes something first, since nothing else tells it afterwards.
"""

from __future__ import annotations

import glob
import os
import subprocess
from collections.abc import Iterator
from typing import NamedTuple, Optional, TypedDict, cast

from .files import make_directory, read_document, sync_directory, write_json
from .sysfs import read_text, selected

# Raised when a key of the record is renamed, removed or changes its meaning.
SCHEMA_VERSION = 1
RECORD = "/var/lib/llamatower/before.json"
# What was changed before there was a record of it: what such a machine was is not known, and is not written down late.
TRACES = ("/etc/sysctl.d/90-llamatower.conf", "/usr/local/lib/llamatower", "/var/lib/llamatower/instances")


class Before(TypedDict):
    """``before.json``: the names of the packages and accounts that there were, and values by the paths of their files,
    in the order in which they are to be written again."""

    schema_version: int
    packages: list[str]
    accounts: list[str]
    values: dict[str, str]


class Value(NamedTuple):
    """What a file of the kernel's has, and is to have."""

    path: str
    now: str
    wanted: str


def read_record() -> Optional[Before]:
    """The record; None where there is none of this version."""
    return cast(Optional[Before], read_document(RECORD, SCHEMA_VERSION))


def kernel_values(patterns: list[str]) -> dict[str, str]:
    """What the files of these patterns have; of a choice, ``always [madvise] never``, the one in brackets."""
    texts = {path: read_text(path) for pattern in patterns for path in sorted(glob.glob(pattern))}
    return {path: selected(text) or text for path, text in texts.items() if text is not None}


def record(patterns: list[str], unless: list[str]) -> tuple[Optional[Before], bool]:
    """The record with the values of these files, as far as it lacks them, and whether that is new.

    Where one of the files ``unless`` is there, the machine was changed already, and what it was is not known.
    """
    found = read_record()
    if any(os.path.lexists(path) for path in (unless if found else [*unless, *TRACES])):
        return found, False
    known: Before = found or {
        "schema_version": SCHEMA_VERSION,
        "packages": packages(),
        "accounts": accounts(),
        "values": {},
    }
    values = {**kernel_values(patterns), **known["values"]}
    return {**known, "values": values}, found is None or values != known["values"]


def keep(before: Before) -> None:
    """Write the record. Raises OSError."""
    make_directory(os.path.dirname(RECORD))
    write_json(RECORD, before)


def forget() -> None:
    """Remove the record, and its directory where nothing else is in it. Raises OSError."""
    directory = os.path.dirname(RECORD)
    os.unlink(RECORD)
    sync_directory(directory)
    # A link and a mount point are somebody's.
    if not os.listdir(directory) and not os.path.islink(directory) and not os.path.ismount(directory):
        os.rmdir(directory)


def changed_values(patterns: list[str], default: Optional[str]) -> Iterator[Value]:
    """Those of these files that have another value than before the first run, in the order of the record.

    What was not recorded had the ``default``; with None it is not known, and left alone.
    """
    before, now = read_record(), kernel_values(patterns)
    known = before["values"] if before else {}
    wanted = {path: known.get(path, default) for path in [*known, *now] if path in now}
    for path, value in wanted.items():
        if value is not None and now[path] != value:
            yield Value(path, now[path], value)


def restore(values: list[Value]) -> list[str]:
    """Write them; returns the paths of those that the kernel refused."""
    refused = []
    for value in values:
        try:
            with open(value.path, "w", encoding="ascii") as file:
                file.write(f"{value.wanted}\n")
        except OSError:
            refused.append(value.path)
    return refused


def packages() -> list[str]:
    """The names of the installed packages of Debian; none on another system."""
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\\n"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return []
    return sorted({line.split()[1] for line in told.splitlines() if line.startswith("installed ")})


def accounts() -> list[str]:
    """The names of the accounts of this machine."""
    with open("/etc/passwd", encoding="utf-8", errors="replace") as file:
        return sorted(line.split(":", 1)[0] for line in file if ":" in line)
