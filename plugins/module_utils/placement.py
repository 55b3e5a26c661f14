# SPDX-License-Identifier: MIT
"""Where the memory of a running llama-server lies: bytes per NUMA node, page sizes, policy.

Reads the text of /proc/PID/numa_maps and /proc/PID/smaps. Both walk the page tables of the
process, which takes a second or so for 300 GB: read each once, never in a loop.

What counts is every mapping of a model file, and every anonymous mapping of at least
``LARGE_BYTES``: with the load modes that read into memory, llama.cpp puts the weights into such
buffers, and the KV cache into others beside them, which the kernel may merge into one mapping.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

# Smaller anonymous mappings are stacks, heaps and libraries' buffers (glibc arenas are 64 MiB of
# address space of which little is touched).
LARGE_BYTES = 32 * 2**20

# Huge pages do not strictly take turns: nodes were up to 5 of them (2 MB each) apart after loading a model of 283 MB,
# which is 4 % of that one and nothing of 300 GB. So many bytes apart is even, whatever the model's size.
GRANULE_BYTES = 16 * 2**21


class Mapping(NamedTuple):
    """One line of numa_maps; ``nodes`` maps a node's number to bytes."""

    address: int
    policy: str
    file: str | None
    nodes: dict[int, int]


def parse_numa_maps(text: str) -> list[Mapping]:
    """The mappings of /proc/PID/numa_maps that hold pages, in address order."""
    mappings = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or not re.fullmatch(r"[0-9a-f]+", words[0]):
            continue
        fields = dict(word.split("=", 1) for word in words[2:] if "=" in word)
        # N0=… counts pages of kernelpagesize_kB; a transparent huge page counts as 512 of 4 kB.
        page = int(fields.get("kernelpagesize_kB", "4")) * 1024
        nodes = {int(key[1:]): int(value) * page for key, value in fields.items() if re.fullmatch(r"N\d+", key)}
        # The kernel gives anonymous static huge pages a file of its own making.
        file = None if fields.get("file", "").startswith("/anon_hugepage") else fields.get("file")
        if nodes:
            mappings.append(Mapping(int(words[0], 16), words[1], file, nodes))
    return mappings


def parse_smaps(text: str) -> dict[int, dict[str, int]]:
    """The sizes in /proc/PID/smaps in bytes, by the start address of the mapping."""
    sizes: dict[int, dict[str, int]] = {}
    current: dict[str, int] = {}
    for line in text.splitlines():
        start = re.match(r"([0-9a-f]+)-[0-9a-f]+ ", line)
        if start:
            current = sizes.setdefault(int(start.group(1), 16), {})
            continue
        size = re.match(r"(\w+):\s+(\d+) kB", line)
        if size:
            current[size.group(1)] = int(size.group(2)) * 1024
    return sizes


def imbalance(nodes: dict[int, int], expected: list[int]) -> float | None:
    """How far the nodes are apart: the largest minus the smallest share over the mean.

    0.0 is an even spread, 2.0 everything on one node of two. ``expected`` names the nodes that
    should hold pages; one node or none is balanced by definition, nothing to weigh is None.
    """
    if len(expected) < 2:
        return 0.0
    shares = [nodes.get(node, 0) for node in expected]
    total = sum(nodes.values())
    if not total:
        return None
    return (max(shares) - min(shares)) * len(expected) / total


def summarize(numa_maps: str, smaps: str, model_suffix: str = ".gguf") -> dict[str, Any]:
    """Bytes of weights and large buffers per node, their page sizes and policies.

    ``huge_bytes`` counts what lies in huge pages of any kind; ``swapped_bytes`` what is swapped
    out; ``policies`` the kernel's policy strings with the bytes under each.
    """
    chosen = [
        mapping
        for mapping in parse_numa_maps(numa_maps)
        if (mapping.file or "").endswith(model_suffix)
        or (mapping.file is None and sum(mapping.nodes.values()) >= LARGE_BYTES)
    ]
    sizes = parse_smaps(smaps)
    nodes: dict[int, int] = {}
    policies: dict[str, int] = {}
    huge = swapped = 0
    for mapping in chosen:
        for node, count in mapping.nodes.items():
            nodes[node] = nodes.get(node, 0) + count
        policies[mapping.policy] = policies.get(mapping.policy, 0) + sum(mapping.nodes.values())
        size = sizes.get(mapping.address, {})
        huge += sum(
            size.get(kind, 0)
            for kind in (
                "AnonHugePages",
                "FilePmdMapped",
                "ShmemPmdMapped",
                "Private_Hugetlb",
                "Shared_Hugetlb",
            )
        )
        swapped += size.get("Swap", 0)
    return {
        "nodes": {str(node): nodes[node] for node in sorted(nodes)},
        "bytes": sum(nodes.values()),
        "huge_bytes": huge,
        "swapped_bytes": swapped,
        "policies": policies,
        "files": sorted({mapping.file for mapping in chosen if mapping.file}),
        "mappings": len(chosen),
    }


def placement_problem(placement: dict[str, Any], expected: list[int], tolerance: float) -> str | None:
    """One sentence where the weights are not spread over the expected nodes, else None."""
    spread = imbalance({int(node): count for node, count in placement["nodes"].items()}, expected)
    held = ", ".join(f"node {node}: {count / 1e9:.2f} GB" for node, count in placement["nodes"].items())
    if spread is None:
        return "No weights were found in the memory of the server; it has loaded no model, read its journal."
    shares = [placement["nodes"].get(str(node), 0) for node in expected] or [0]
    if spread > tolerance and max(shares) - min(shares) > GRANULE_BYTES:
        return (
            f"The weights are not spread evenly over the memory nodes ({held}; "
            f"{spread:.1%} apart, at most {tolerance:.1%} is accepted): stop whatever else fills a node's memory "
            "and restart the service, which drops the stale page cache and loads the model again."
        )
    if placement["swapped_bytes"]:
        return (
            f"{placement['swapped_bytes'] / 1e9:.2f} GB of the weights are swapped out: "
            "turn swap off (swapoff -a) or choose a smaller model."
        )
    return None
