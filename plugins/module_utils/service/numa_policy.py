# SPDX-License-Identifier: MIT
"""How a NUMA policy is carried out on a tower: the words before the command, the server's settings, and the refusals.

The policies:

``interleave``
    pages take turns over the memory nodes: every core reads every node, at once and for good
``weighted``
    the same with more pages for nodes with more bandwidth (kernel 6.9, numactl 2.0.19)
``distribute``
    llama.cpp spreads its threads over the nodes, and each page of the file comes to the thread that reads it first
``bind``
    cores and memory of one node, for a model that fits there
``per_node``
    one server a node, each bound to its own
``none``
    whatever the kernel does

With one memory node all of them are the same, and nothing is added to the command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Optional

from ..sysfs import format_cpu_list, kernel_before, read_int
from ..text import size
from ..tower_document import Node, Tower

POLICIES = ("interleave", "weighted", "distribute", "bind", "per_node", "none")
NUMACTL = "/usr/bin/numactl"
# Of a node, for the whole machine. Linux 6.9 and later have a file for every node that there could be.
WEIGHT = "/sys/kernel/mm/mempolicy/weighted_interleave/node{}"

# ggml/src/ggml-cpu/ggml-cpu.c: GGML_NUMA_MAX_NODES and GGML_NUMA_MAX_CPUS; what lies beyond is
# silently left out.
MAX_NODES = 8
MAX_CPUS = 512


class Launch(NamedTuple):
    """``prefix``: the words before the command; ``settings``: the server's environment; ``kernel_policy``: what
    numa_maps then says of its memory, None where policies do not decide; ``nodes``: where its memory should be."""

    prefix: list[str]
    settings: dict[str, str]
    kernel_policy: Optional[str]
    nodes: list[int]


def memory_nodes(tower: Tower) -> list[int]:
    """The numbers of the nodes with memory: a socket without DIMMs is a node without."""
    return [node["node"] for node in tower["nodes"] if node["memory_bytes"]]


def bindable_nodes(tower: Tower) -> list[Node]:
    """The nodes with both cores and memory, the largest first: memory without cores (CXL) cannot be bound to."""
    both = [node for node in tower["nodes"] if node["memory_bytes"] and node["cpus"]]
    return sorted(both, key=lambda node: (-node["memory_bytes"], node["node"]))


def node_cores(tower: Tower, node: Optional[int]) -> int:
    """Physical cores of the tower, or of one node."""
    cores = tower["cores"] or tower["cpus"] or 1
    if node is None:
        return int(cores)
    own = next((len(entry["cpus"]) for entry in tower["nodes"] if entry["node"] == node), 0)
    return max(1, own * cores // (tower["cpus"] or cores))


def launch(policy: str, tower: Tower, node: Optional[int] = None) -> Launch:
    """What carries out a policy on the tower that tower_info described.

    ``node`` is the one of ``bind`` and ``per_node``; without it, ``bind`` takes the largest.
    Ask :func:`policy_problem` first: this function does not check whether the tower can.
    """
    nodes = memory_nodes(tower)
    if len(nodes) < 2 or policy == "none":
        return Launch([], {}, None, nodes)
    numbers = format_cpu_list(nodes)
    if policy == "interleave":
        return Launch([NUMACTL, f"--interleave={numbers}"], {}, f"interleave:{numbers}", nodes)
    if policy == "weighted":
        return Launch([NUMACTL, f"--weighted-interleave={numbers}"], {}, f"weighted interleave:{numbers}", nodes)
    if policy == "distribute":
        # Where a page lies is where the thread runs: memory without cores gets none.
        return Launch(
            [], {"LLAMA_ARG_NUMA": "distribute"}, None, sorted(node["node"] for node in bindable_nodes(tower))
        )
    if policy not in ("bind", "per_node"):
        raise ValueError(f"The NUMA policy {policy!r} is none of {', '.join(POLICIES)}.")
    if node is None and not bindable_nodes(tower):
        # Refused by policy_problem.
        return Launch([], {}, None, nodes)
    own = bindable_nodes(tower)[0]["node"] if node is None else node
    return Launch([NUMACTL, f"--cpunodebind={own}", f"--membind={own}"], {}, f"bind:{own}", [own])


def policy_problem(
    policy: str,
    tower: Tower,
    needed_bytes: int = 0,
    threads: Optional[int] = None,
    server_help: Optional[str] = None,
    numactl_help: Optional[str] = None,
    node: Optional[int] = None,
) -> Optional[str]:
    """One sentence why a policy cannot work on this tower, with what mends it, or None.

    ``needed_bytes`` is model, KV cache and what else must lie beside them; ``threads`` those that decode or read
    prompts, whichever are fewer, None for all cores; ``server_help`` and ``numactl_help`` are what ``--help`` prints.
    What is not given is not checked.
    """
    if len(memory_nodes(tower)) < 2 or policy == "none":
        return None
    if policy == "interleave":
        return _interleave_problem(tower, needed_bytes)
    if policy == "weighted":
        return _weighted_problem(tower, numactl_help)
    if policy == "distribute":
        return _distribute_problem(tower, threads, server_help)
    return _bind_problem(policy, tower, needed_bytes, node)


def _interleave_problem(tower: Tower, needed_bytes: int) -> Optional[str]:
    # A node that is full leaves its turn to the next (Documentation/admin-guide/mm/numa_memory_policy.rst): what was to
    # be even is not, and the check after the start would fail it.
    nodes = [node for node in tower["nodes"] if node["memory_bytes"]]
    smallest = min(nodes, key=lambda node: int(node["memory_bytes"]))
    share = needed_bytes / len(nodes)
    if share <= smallest["memory_bytes"]:
        return None
    return (
        f"The policy interleave needs {size(share)} on each memory node, and node {smallest['node']} has "
        f"{size(smallest['memory_bytes'])}: use the policy weighted, with llama_service_numa_weights by the memory "
        "of the nodes, or another."
    )


def given_weights(given: Optional[Mapping[Any, Any]]) -> dict[int, int]:
    """Weights as a variable has them, with text for numbers maybe; what is no number is left out, and refused."""
    pairs = ((str(node), str(weight)) for node, weight in (given or {}).items())
    return {int(node): int(weight) for node, weight in pairs if node.isdecimal() and weight.isdecimal()}


def weights_problem(weights: dict[int, int], tower: Tower) -> Optional[str]:
    """One sentence where the kernel would not take these weights of weighted interleave, else None."""
    nodes = memory_nodes(tower)
    wrong = [f"{node}: {weight}" for node, weight in weights.items() if node not in nodes or not 1 <= weight <= 255]
    if not wrong:
        return None
    return (
        f"llama_service_numa_weights has {', '.join(wrong)}: a weight is a number from 1 to 255, of one of the memory "
        f"nodes {format_cpu_list(nodes)}."
    )


def _weighted_problem(tower: Tower, numactl_help: Optional[str]) -> Optional[str]:
    # Weighted interleave came with Linux 6.9; its weights are in /sys/kernel/mm/mempolicy/weighted_interleave.
    if kernel_before(tower["kernel"], 6, 9):
        return (
            f"Linux {tower['kernel']} cannot interleave by weight, which came with 6.9: "
            "use the policy interleave, or Debian 13."
        )
    if numactl_help is not None and "--weighted-interleave" not in numactl_help:
        return (
            "This numactl has no --weighted-interleave, which came with 2.0.19: "
            "use the policy interleave, or Debian 13."
        )
    return None


def _distribute_problem(tower: Tower, threads: Optional[int], server_help: Optional[str]) -> Optional[str]:
    nodes = len(tower["nodes"])
    allowed = tower.get("allowed")
    if allowed and not allowed["whole"]:
        # ggml_numa_init counts what /sys shows, and each thread is pinned to its share of that.
        return (
            "The policy distribute spreads threads over the whole machine, and services may not use all CPUs and "
            "memory nodes here (a cpuset, isolcpus, or CPUAffinity): use interleave."
        )
    if nodes > MAX_NODES or (tower["cpus"] or 0) > MAX_CPUS:
        return (
            f"The policy distribute reaches {MAX_NODES} nodes and {MAX_CPUS} CPUs, and this tower has {nodes} and "
            f"{tower['cpus']}: use interleave, or set NPS1 and turn SMT off in the BIOS."
        )
    numbers = [node["node"] for node in tower["nodes"]]
    if numbers != list(range(nodes)):
        # ggml_numa_init (ggml/src/ggml-cpu/ggml-cpu.c) looks for node0, node1 and so on, until there is none.
        return (
            f"The policy distribute counts the nodes from 0 to the first that is missing, and this tower has "
            f"{format_cpu_list(numbers)}: use interleave."
        )
    if threads is not None and threads < nodes:
        return (
            f"The policy distribute needs a thread on each of the {nodes} nodes, and {threads} decode or read prompts: "
            "raise llama_service_threads and llama_service_threads_batch, or use interleave."
        )
    if server_help is not None and not re.search(r"--numa\b.*\n(?:.*\n){0,6}?.*\bdistribute\b", server_help):
        return "This llama-server has no --numa distribute: use the policy interleave, or another build."
    return None


def _bind_problem(policy: str, tower: Tower, needed_bytes: int, node: Optional[int]) -> Optional[str]:
    candidates = bindable_nodes(tower)
    if node is not None:
        candidates = [entry for entry in candidates if entry["node"] == node]
        if not candidates:
            return f"The policy {policy} cannot use node {node}, which has not both cores and memory: name another."
    if not candidates:
        return f"The policy {policy} needs a node with both cores and memory, and there is none: use interleave."
    smallest = candidates[0] if policy == "bind" else candidates[-1]
    if needed_bytes > smallest["memory_bytes"]:
        return (
            f"The policy {policy} needs {size(needed_bytes)} on node {smallest['node']}, which has "
            f"{size(smallest['memory_bytes'])}: use interleave, which takes from all nodes, or a smaller model."
        )
    return None


def kernel_weights(tower: Tower) -> dict[int, int]:
    """The weights of weighted interleave that the kernel has now; 1 before Linux 6.9, which has none."""
    return {node: read_int(WEIGHT.format(node)) or 1 for node in memory_nodes(tower)}


def weights(gb_s: dict[int, float]) -> dict[int, int]:
    """The weights of weighted interleave for the read bandwidth of each node.

    The smallest whole numbers that are each within 2 % of the right share, or the nearest up to 255, which is
    the kernel's limit: small ones, because pages take turns in runs of a node's weight.
    """
    top, total = max(gb_s.values()), sum(gb_s.values())
    best: tuple[float, dict[int, int]] = (float("inf"), dict.fromkeys(gb_s, 1))
    for largest in range(1, 256):
        tried = {node: max(1, round(rate / top * largest)) for node, rate in gb_s.items()}
        whole = sum(tried.values())
        error = max(abs(tried[node] / whole * total / rate - 1) for node, rate in gb_s.items())
        if error < best[0]:
            best = (error, tried)
        if error <= 0.02:
            break
    return best[1]
