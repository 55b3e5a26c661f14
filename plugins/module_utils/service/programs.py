# SPDX-License-Identifier: MIT
"""What a tower runs by itself (checks, timers, the launcher of other commands): whole wings of this package, as files.

The controller reads them out of the collection (:func:`read_programs`), the tower writes them below
/usr/local/lib/llamatower (:func:`install_programs`), and units run them from there, as
``python3 -m llamatower.WING.NAME``.
"""

from __future__ import annotations

import os
import shutil

from ..files import make_directory, write_beside

PACKAGE = "llamatower"
# The ground files, and the wings that entry points are in or that those import.
WINGS = ("", "memory", "model", "build", "service")
# What Python itself writes beside a program.
CACHE = "__pycache__"


def read_programs(module_utils: str) -> dict[str, str]:
    """The text of each file of the wings, by its path below the package's directory."""
    found = {}
    for wing in WINGS:
        directory = os.path.join(module_utils, wing)
        for name in sorted(os.listdir(directory)):
            if name.endswith(".py"):
                with open(os.path.join(directory, name), encoding="utf-8") as file:
                    found[os.path.join(wing, name)] = file.read()
    return found


def install_programs(path: str, programs: dict[str, str], check: bool = False) -> tuple[list[str], list[str]]:
    """Make the package below a directory these programs and nothing else; with ``check``, only tell.

    Returns what was written, for its text or its mode, and what was removed, by paths below the directory.
    Raises OSError.
    """
    package = os.path.join(path, PACKAGE)
    directories = {path, package, *(os.path.join(package, os.path.dirname(name)) for name in programs if "/" in name)}
    wanted = {os.path.join(package, name): text for name, text in programs.items()}
    stale = _stale(package, {*wanted, *directories})
    written = [name for name in sorted(wanted) if not _is(name, wanted[name])]
    moded = [name for name in sorted(directories) if os.path.isdir(name) and os.stat(name).st_mode & 0o7777 != 0o755]
    if not check:
        for name in stale:
            shutil.rmtree(name) if os.path.isdir(name) and not os.path.islink(name) else os.unlink(name)
        for name in sorted(directories):
            make_directory(name)
        for name in moded:
            os.chmod(name, 0o755)
        for name in written:
            write_beside(name, wanted[name])
    return [os.path.relpath(name, path) for name in moded + written], [os.path.relpath(name, path) for name in stale]


def _stale(directory: str, wanted: set[str]) -> list[str]:
    """What is there and not wanted, below a directory that is; a directory with all that is in it."""
    found = []
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name) if os.path.isdir(directory) else []:
        if entry.path not in wanted:
            found += [] if entry.name == CACHE else [entry.path]
        elif entry.is_dir(follow_symlinks=False):
            found += _stale(entry.path, wanted)
    return found


def _is(path: str, text: str) -> bool:
    """Whether a file has this text and may be read by everybody."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return os.fstat(file.fileno()).st_mode & 0o7777 == 0o644 and file.read() == text
    except OSError:
        return False
