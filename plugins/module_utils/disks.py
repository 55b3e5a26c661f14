# SPDX-License-Identifier: MIT
"""The file systems of a tower: what each is, its room, and the disk below it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .sysfs import read_int, read_text
from .tower_document import Disk


def _fs_uuid(root: Path, device: str) -> str | None:
    for link in sorted((root / "dev/disk/by-uuid").glob("*")):
        if os.path.basename(os.path.realpath(link)) == device:
            return link.name
    return None


def _filesystem(root: Path, place: Path) -> str | None:
    """The kind of file system that is mounted where a path is, such as ``ext4``."""
    found: tuple[int, str | None] = (-1, None)
    for line in (read_text(root / "proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        words = before.split()
        if len(words) < 5 or not after:
            continue
        # proc_pid_mountinfo(5): blanks and backslashes are octal numbers. Of two at one place the later one is seen.
        point = root / re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), words[4]).lstrip("/")
        if (place == point or point in place.parents) and len(point.parts) >= found[0]:
            found = (len(point.parts), after.split()[0])
    return found[1]


def disk_of(path: str, root: str | Path = "/") -> Disk:
    """The file system that holds a path, or will: the nearest existing parent answers.

    ``device`` is the block device of the file system, ``queue`` the sysfs directory of its
    request queue; both are None on file systems without one (overlay, tmpfs, NFS).
    """
    root = Path(root)
    place = root / path.lstrip("/")
    while not place.exists() and place != place.parent:
        place = place.parent
    numbers = os.stat(place).st_dev
    room = os.statvfs(place)
    block = Path(os.path.realpath(root / f"sys/dev/block/{os.major(numbers)}:{os.minor(numbers)}"))
    known = block.is_dir()
    partition = known and (block / "partition").exists()
    queue = (block.parent if partition else block) / "queue"
    return {
        "path": path,
        "filesystem": _filesystem(root, place.resolve()),
        "bytes": room.f_blocks * room.f_frsize,
        "free_bytes": room.f_bavail * room.f_frsize,
        "device": block.name if known else None,
        "partition": bool(partition),
        "fs_uuid": _fs_uuid(root, block.name) if known else None,
        "readahead_kb": read_int(queue / "read_ahead_kb") if known else None,
        "rotational": (read_int(queue / "rotational") == 1) if known else None,
    }
