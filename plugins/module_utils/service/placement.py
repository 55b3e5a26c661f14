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
from pathlib import Path
from typing import NamedTuple

from ..text import size
from .document import Intent, Placement

# Smaller anonymous mappings are stacks, heaps and libraries' buffers (glibc arenas are 64 MiB of
# address space of which little is touched).
LARGE_BYTES = 32 * 2**20

# At least so much of the memory in huge pages is as asked for: the rest of a buffer that is no multiple of a page, and
# transparent huge pages that the kernel could not find, stay small. A pool that is too small shows much less.
HUGE_SHARE = 0.8

# Huge pages do not strictly take turns: nodes were up to 5 of them (2 MB each) apart after loading a model of 283 MB,
# which is 4 % of that one and nothing of 300 GB. So many bytes apart is even, whatever the model's size.
GRANULE_BYTES = 16 * 2**21

# Every buffer in a pool begins with the first node, whatever came before it (mm/mempolicy.c, interleave_nid), and there
# are a few: weights, KV cache, compute buffers, the heap. So many pages each node may be off: with pages of 1 GB more
# than the tolerance.
POOL_PAGES = 6


# A space is escaped there (fs/seq_file.c, mangle_path).
DELETED = "\\040(deleted)"


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
        # The only policy whose name is two words (mm/mempolicy.c, policy_modes).
        words = line.replace(" weighted interleave:", " weighted_interleave:", 1).split()
        if len(words) < 2 or not re.fullmatch(r"[0-9a-f]+", words[0]):
            continue
        fields = dict(word.split("=", 1) for word in words[2:] if "=" in word)
        # N0=… counts pages of kernelpagesize_kB; a transparent huge page counts as 512 of 4 kB.
        page = int(fields.get("kernelpagesize_kB", "4")) * 1024
        nodes = {int(key[1:]): int(value) * page for key, value in fields.items() if re.fullmatch(r"N\d+", key)}
        # The kernel gives anonymous static huge pages a file of its own making.
        file = None if fields.get("file", "").startswith("/anon_hugepage") else fields.get("file")
        # A file that was removed, or replaced by a rename, is still what is mapped.
        file = file[: -len(DELETED)] if file and file.endswith(DELETED) else file
        if nodes:
            mappings.append(Mapping(int(words[0], 16), words[1].replace("_", " "), file, nodes))
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
        part = re.match(r"(\w+):\s+(\d+) kB", line)
        if part:
            current[part.group(1)] = int(part.group(2)) * 1024
    return sizes


def imbalance(nodes: dict[int, int], expected: list[int], weights: dict[int, int] | None = None) -> float | None:
    """How far the nodes are apart: the largest minus the smallest share over the mean.

    0.0 is an even spread, 2.0 everything on one node of two. ``expected`` names the nodes that
    should hold pages; one node or none is balanced by definition, nothing to weigh is None.
    With ``weights``, a share is the node's bytes over its weight (1 where it has none).
    """
    if len(expected) < 2:
        return 0.0
    shares = [nodes.get(node, 0) / (weights or {}).get(node, 1) for node in expected]
    total = sum(shares)
    if not sum(nodes.values()):
        return None
    return (max(shares) - min(shares)) * len(expected) / total if total else 2.0


def summarize(numa_maps: str, smaps: str, model_suffix: str = ".gguf") -> Placement:
    """Bytes of weights and large buffers per node, their page sizes and policies."""
    chosen = [
        mapping
        for mapping in parse_numa_maps(numa_maps)
        if (mapping.file or "").endswith(model_suffix)
        or (mapping.file is None and sum(mapping.nodes.values()) >= LARGE_BYTES)
    ]
    sizes = parse_smaps(smaps)
    nodes: dict[int, int] = {}
    policies: dict[str, int] = {}
    kinds = dict.fromkeys(
        ("AnonHugePages", "FilePmdMapped", "ShmemPmdMapped", "Private_Hugetlb", "Shared_Hugetlb", "Swap"), 0
    )
    for mapping in chosen:
        for node, count in mapping.nodes.items():
            nodes[node] = nodes.get(node, 0) + count
        policies[mapping.policy] = policies.get(mapping.policy, 0) + sum(mapping.nodes.values())
        for kind in kinds:
            kinds[kind] += sizes.get(mapping.address, {}).get(kind, 0)
    swapped = kinds.pop("Swap")
    return {
        "nodes": {str(node): nodes[node] for node in sorted(nodes)},
        "bytes": sum(nodes.values()),
        "huge_bytes": sum(kinds.values()),
        "pool_bytes": kinds["Private_Hugetlb"] + kinds["Shared_Hugetlb"],
        "swapped_bytes": swapped,
        "policies": policies,
        "files": sorted({mapping.file for mapping in chosen if mapping.file}),
        "mappings": len(chosen),
    }


def read_process(pid: int) -> Placement:
    """What the memory of a process is; raises OSError where it does not run."""
    return summarize(*(Path(f"/proc/{pid}/{name}").read_text() for name in ("numa_maps", "smaps")))


def placement_problem(placement: Placement, intent: Intent) -> str | None:
    """One sentence where the memory of a server is not what was intended, else None."""
    total = placement["bytes"]
    if not total:
        return "No weights were found in the memory of the server; it has loaded no model, read its journal."
    if placement["swapped_bytes"]:
        return (
            f"{size(placement['swapped_bytes'])} of the weights are swapped out: "
            "turn swap off (swapoff -a) or choose a smaller model."
        )
    return _page_problem(placement, intent) or _policy_problem(placement, intent) or _spread_problem(placement, intent)


def _page_problem(placement: Placement, intent: Intent) -> str | None:
    total = placement["bytes"]
    if intent["huge_pages"] == "hugetlb" and placement["pool_bytes"] < HUGE_SHARE * total:
        return (
            f"Only {size(placement['pool_bytes'])} of {size(total)} lie in huge pages of the pool, which was too "
            "small, or partly in use: run ansible-playbook llamatower.tower.prepare, which sizes it, and start the "
            "service again."
        )
    if intent["huge_pages"] == "thp" and placement["huge_bytes"] < HUGE_SHARE * total:
        return (
            f"Only {size(placement['huge_bytes'])} of {size(total)} lie in huge pages: where "
            "/sys/kernel/mm/transparent_hugepage/enabled is never, run ansible-playbook llamatower.tower.prepare; else "
            "free or defragment memory (echo 1 > /proc/sys/vm/compact_memory), or set hugepages_mode to none."
        )
    return None


def _policy_problem(placement: Placement, intent: Intent) -> str | None:
    wanted, total = intent["kernel_policy"], placement["bytes"]
    if wanted is None or placement["policies"].get(wanted, 0) >= 0.99 * total:
        return None
    found = ", ".join(f"{policy} ({size(count)})" for policy, count in placement["policies"].items())
    return (
        f"The memory of the server has the policy {found}, not {wanted}: it was started in another way than by its "
        "unit; restart the service."
    )


def _spread_problem(placement: Placement, intent: Intent) -> str | None:
    held = ", ".join(f"node {node}: {size(count)}" for node, count in placement["nodes"].items())
    nodes = {int(node): count for node, count in placement["nodes"].items()}
    stray = sum(count for node, count in nodes.items() if node not in intent["nodes"])
    fair = placement["bytes"] / (len(intent["nodes"]) or 1)
    least = (intent["least_share"] or 0) * fair
    poor = [node for node in intent["nodes"] if nodes.get(node, 0) < least]
    if poor:
        return (
            f"Node {poor[0]} has no part of the weights worth the name ({held}): the threads there read those of other "
            "nodes; restart the service, which drops the stale page cache and loads the model again."
        )
    if intent["tolerance"] is None:
        return None
    if stray > GRANULE_BYTES:
        where = ", ".join(str(node) for node in intent["nodes"])
        return (
            f"{size(stray)} of the memory do not lie on node {where} ({held}): free memory there "
            "and restart the service."
        )
    weights = {int(node): weight for node, weight in intent["weights"].items()}
    spread = imbalance(nodes, intent["nodes"], weights) or 0.0
    whole = sum(weights.get(node, 1) for node in intent["nodes"]) or 1
    off = [abs(nodes.get(node, 0) - placement["bytes"] * weights.get(node, 1) / whole) for node in intent["nodes"]]
    slack = max(GRANULE_BYTES / 2, POOL_PAGES * (intent["page_bytes"] or 0))
    if spread <= intent["tolerance"] or max(off) <= slack:
        return None
    shares = f", weighted {':'.join(str(weights.get(node, 1)) for node in intent['nodes'])}" if weights else ""
    return (
        f"The weights are not spread evenly over the memory nodes ({held}{shares}; "
        f"{spread:.1%} apart, at most {intent['tolerance']:.1%} is accepted): stop whatever else fills a node's memory "
        "and restart the service, which drops the stale page cache and loads the model again."
    )
