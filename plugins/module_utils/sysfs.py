# SPDX-License-Identifier: MIT
"""The small files of /proc and /sys: how they are read, and what their formats mean."""

from __future__ import annotations

import re
from pathlib import Path

from .tower_document import Cpu

NODES = Path("/sys/devices/system/node")


def read_text(path: str | Path) -> str | None:
    """The stripped text of a small file, or None where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def read_int(path: str | Path) -> int | None:
    """The integer in a small file, or None."""
    text = read_text(path)
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def parse_cpu_list(text: str) -> list[int]:
    """The numbers of a kernel list: ``"0-2,8"`` is ``[0, 1, 2, 8]``; an empty string is ``[]``."""
    numbers: list[int] = []
    for part in text.replace("\n", "").split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit() and (last or first).isdigit():
            numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


def format_cpu_list(numbers: list[int]) -> str:
    """The kernel's short form of a list of numbers: ``[0, 1, 2, 8]`` is ``"0-2,8"``."""
    parts: list[str] = []
    ordered = sorted(set(numbers))
    start = 0
    for index in range(1, len(ordered) + 1):
        if index == len(ordered) or ordered[index] != ordered[index - 1] + 1:
            first, last = ordered[start], ordered[index - 1]
            parts.append(str(first) if first == last else f"{first}-{last}")
            start = index
    return ",".join(parts)


def kernel_before(release: str | None, major: int, minor: int) -> bool:
    """Whether a kernel, such as ``6.1.0-42-amd64``, is older than a version; not where it does not say."""
    version = re.match(r"(\d+)\.(\d+)", release or "")
    return version is not None and (int(version[1]), int(version[2])) < (major, minor)


def selected(text: str | None) -> str | None:
    """The bracketed word of a sysfs choice: ``"always [madvise] never"`` is ``"madvise"``."""
    match = re.search(r"\[([^\]]+)\]", text or "")
    return match.group(1) if match else None


def parse_os_release(text: str) -> dict[str, str]:
    """The fields of /etc/os-release, unquoted."""
    fields = {}
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator and not key.startswith("#"):
            fields[key.strip()] = value.strip().strip("\"'")
    return fields


def parse_meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo (or a node's meminfo) as bytes; counters without a unit stay plain numbers."""
    values = {}
    for line in text.splitlines():
        match = re.match(r"(?:Node \d+ )?(\w+(?:\(\w+\))?):\s+(\d+)( kB)?", line)
        if match:
            values[match.group(1)] = int(match.group(2)) * (1024 if match.group(3) else 1)
    return values


def node_available(meminfo: dict[str, int]) -> int:
    """Bytes that a process can have on a node: what is free, and files that are cached but that nobody maps."""
    cached = meminfo.get("FilePages", 0) - meminfo.get("Mapped", 0) - meminfo.get("Shmem", 0)
    return meminfo.get("MemFree", 0) + max(0, cached)


def node_meminfo(node: int, nodes: Path = NODES) -> dict[str, int]:
    """What a node has, in bytes; {} where it does not say."""
    return parse_meminfo(read_text(nodes / f"node{node}/meminfo") or "")


def parse_cpuinfo(text: str) -> Cpu:
    """The first processor of /proc/cpuinfo; ARM's ``Features`` count as flags."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, separator, value = line.partition(":")
        if separator:
            fields.setdefault(key.strip(), value.strip())

    def number(name: str) -> int | None:
        try:
            return int(fields[name], 0)
        except (KeyError, ValueError):
            return None

    return {
        "vendor": fields.get("vendor_id") or fields.get("CPU implementer"),
        "model": fields.get("model name"),
        "family": number("cpu family"),
        "model_number": number("model"),
        "stepping": number("stepping"),
        "flags": sorted((fields.get("flags") or fields.get("Features") or "").split()),
    }
