# SPDX-License-Identifier: MIT
"""Run any command with its memory interleaved over the memory nodes of this tower, in huge pages.

    interleave COMMAND [ARGUMENT…]

is ``numactl --interleave=NODES COMMAND …`` with the nodes that have memory, and GLIBC_TUNABLES=glibc.malloc.hugetlb=1.
It warns in one line where a file that an argument names lies in the page cache on one node: those pages stay there.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import random
import re
import stat
import sys
from collections.abc import Mapping
from typing import NoReturn, Optional

from ..sysfs import format_cpu_list, parse_cpu_list, read_text

# A smaller file is no model.
LARGE_BYTES = 16 * 2**20
# Pages that are looked at, anywhere: pages that take turns over two nodes are all of one node at every other place. Of
# those that lie evenly on two nodes, 3 of 4 on one is chance once in a million.
SAMPLES = 256
UNEVEN = 0.75
# With fewer of them cached, there is nothing to warn about.
FEWEST = SAMPLES // 8
LIBC = ctypes.CDLL(None)


def with_huge_pages(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with huge pages for large buffers, unless it says something of them itself."""
    tunables = environment.get("GLIBC_TUNABLES", "")
    if "glibc.malloc.hugetlb" in tunables:
        return dict(environment)
    return {**environment, "GLIBC_TUNABLES": f"{tunables}:glibc.malloc.hugetlb=1".lstrip(":")}


def files_in(arguments: list[str]) -> list[str]:
    """The large files that arguments name, also as ``--model=FILE``."""
    found = []
    for argument in arguments:
        for name in (argument, argument.partition("=")[2]):
            try:
                status = os.stat(name)
            except (OSError, ValueError):
                continue
            if stat.S_ISREG(status.st_mode) and status.st_size >= LARGE_BYTES:
                found.append(name)
    return found


def cached(descriptor: int, offset: int) -> bool:
    """Whether the page at an offset is in the page cache. Nothing waits for the disk.

    mincore(2) knows, but tells only those who own the file or may write it; others hear that each page is there. A read
    that must not wait tells anyone, but makes Linux read the page, and a virtual disk often brings it before it looks.
    """
    # ctypes has the address of a writable mapping only, and one of a whole model would be charged as memory.
    with mmap.mmap(descriptor, mmap.PAGESIZE, access=mmap.ACCESS_COPY, offset=offset) as content:
        page, state = ctypes.c_ubyte.from_buffer(content), ctypes.c_ubyte()
        failed = LIBC.mincore(ctypes.byref(page), ctypes.c_size_t(mmap.PAGESIZE), ctypes.byref(state))
        del page  # else the mapping could not be closed
    if not failed and not state.value & 1:
        return False
    try:
        return os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT) == 1
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP):
            return False
        raise


def pages_by_node(name: str) -> dict[int, int]:
    """How many of a sample of a file's cached pages lie on each node."""
    with open(name, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
        # Without these the kernel reads and maps the neighbors of each page, too.
        content.madvise(mmap.MADV_RANDOM)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        pages = random.sample(range(len(content) // mmap.PAGESIZE), SAMPLES)
        offsets = [page * mmap.PAGESIZE for page in pages]
        touched = sum(content[offset] >= 0 for offset in offsets if cached(file.fileno(), offset))
        text = read_text("/proc/self/numa_maps") or ""
    if not touched:
        return {}
    line = next((line for line in text.splitlines() if f"file={os.path.realpath(name)} " in line), "")
    return {int(node): int(count) for node, count in re.findall(r" N(\d+)=(\d+)", line)}


def warning(name: str, pages: dict[int, int], nodes: list[int]) -> Optional[str]:
    """One line where the cached pages of a file lie on one node, else None."""
    total = sum(pages.values())
    if len(nodes) < 2 or total < FEWEST:
        return None
    node = max(pages, key=lambda entry: pages[entry])
    if pages[node] <= max(UNEVEN, 1.5 / len(nodes)) * total:
        return None
    return (
        f"interleave: {pages[node] / total:.0%} of the cached pages of {name} are on node {node} and will stay there; "
        f"drop them first: dd if={name} iflag=nocache count=0"
    )


def main(arguments: list[str], nodes_file: str = "/sys/devices/system/node/has_memory") -> NoReturn:
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: interleave COMMAND [ARGUMENT…]", file=sys.stderr)
        sys.exit(0 if arguments else 2)
    nodes = parse_cpu_list(read_text(nodes_file) or "")
    for name in files_in(arguments):
        line = warning(name, pages_by_node(name), nodes)
        if line:
            print(line, file=sys.stderr)
    prefix = ["numactl", f"--interleave={format_cpu_list(nodes)}"] if len(nodes) > 1 else []
    command = [*prefix, *arguments]
    try:
        os.execvpe(command[0], command, with_huge_pages(os.environ))
    except OSError as error:
        hint = "apt-get install numactl" if prefix else "give a command that is there"
        print(f"interleave: {command[0]} cannot be run ({error.strerror}): {hint}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
