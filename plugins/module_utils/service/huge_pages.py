# SPDX-License-Identifier: MIT
"""A pool of huge pages for the weights: how many pages on which node, what a node could not give, and how to boot it.

llama-server takes its buffers from the pool through glibc (glibc.malloc.hugetlb), which rounds every buffer up to whole
pages: the memory budget, which the pool is as large as, counts that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Optional

from ..limits import usable
from ..model.fit import named
from ..sysfs import NODES, kernel_before, node_meminfo, read_int
from ..text import size
from ..tower_document import Tower
from .document import PoolInstance, PoolPlan, PoolSettings
from .memory_budget import memory_budget, serving, weighed
from .numa_policy import bindable_nodes, given_weights, launch, memory_nodes

SIZES = {"2M": 2**21, "1G": 2**30}
# Pages by node, by bytes of a page.
Pools = dict[int, dict[int, int]]
AT_BOOT_PATH = "/sys/devices/system/node/node{}/hugepages/hugepages-{}kB/nr_hugepages"
# What a pool leaves of each node for the system.
RESERVE = 0.08
# Compaction moves what it can at the moment; what was pinned then may be movable a moment later.
ATTEMPTS = 3
COMPACT = Path("/proc/sys/vm/compact_memory")


def pool_pages(
    needed_bytes: int,
    page_bytes: int,
    tower: Tower,
    policy: str = "interleave",
    node: Optional[int] = None,
    weights: Optional[dict[int, int]] = None,
) -> dict[int, int]:
    """Pages for each memory node of the tower, where the policy puts the server's memory; 0 where it puts none."""
    everywhere = dict.fromkeys(memory_nodes(tower), 0)
    pages = -(-needed_bytes // page_bytes)
    if policy == "per_node":
        return {**everywhere, **{entry["node"]: pages for entry in bindable_nodes(tower)}}
    shares = {entry: (weights or {}).get(entry, 1) for entry in launch(policy, tower, node).nodes}
    if policy != "weighted":
        shares = dict.fromkeys(shares, 1)
    return {**everywhere, **{entry: -(-pages * share // sum(shares.values())) for entry, share in shares.items()}}


def room_problem(pages: dict[int, int], page_bytes: int, tower: Tower) -> Optional[str]:
    """One sentence where a node has less memory than its part of the pool, else None."""
    has = {node["node"]: node["memory_bytes"] for node in tower["nodes"]}
    short = [
        f"node {node} has {size(has[node])} and needs {size(count * page_bytes)}"
        for node, count in pages.items()
        if count * page_bytes > has[node]
    ]
    if not short:
        return None
    return f"The pool of huge pages is larger than the memory ({'; '.join(short)}): choose a smaller model or context."


def could_give(meminfo: dict[str, int], pool: int, page_bytes: int) -> int:
    """The largest pool that a node can have: its pool now, and what is free or only cached but for a reserve.

    ``meminfo`` is the node's, in bytes. Without the reserve the kernel gives its last page, and kills what needs one:
    on a tower with 3 GB a node, 97 % of it as huge pages ended the ssh server.
    """
    cached = meminfo.get("Active(file)", 0) + meminfo.get("Inactive(file)", 0)
    room = meminfo.get("MemFree", 0) + cached - RESERVE * meminfo.get("MemTotal", 0)
    return pool + max(0, int(room // page_bytes))


def shortfall(wanted: dict[int, int], found: dict[int, int], page_bytes: int) -> Optional[str]:
    """One sentence with what each node did not give, else None."""
    page = "1 GB" if page_bytes == 2**30 else "2 MB"
    short = [
        f"node {node} gave {found.get(node, 0)} of {count}"
        for node, count in sorted(wanted.items())
        if found.get(node, 0) < count
    ]
    if not short:
        return None
    return (
        f"There is no room for all huge pages of {page}: {', '.join(short)}. Memory is too fragmented or too full: "
        "stop what else uses it, restart the tower, or reserve them at boot (hugepages_reserve: boot); the pool "
        "was put back as it was."
    )


class Pool:
    """The huge pages of one size on these nodes of the running kernel."""

    def __init__(self, page_bytes: int, nodes: Iterable[int], base: Path = NODES, compact: Path = COMPACT) -> None:
        self.page_bytes, self.base, self.compact = page_bytes, base, compact
        self.files = {
            node: base / f"node{node}/hugepages/hugepages-{page_bytes // 1024}kB/nr_hugepages" for node in nodes
        }

    def missing_problem(self, wanted: dict[int, int]) -> Optional[str]:
        """One sentence where a node has no huge pages of that size, else None."""
        missing = [path for node, path in self.files.items() if wanted[node] and not path.exists()]
        if not missing:
            return None
        return f"{missing[0]} is not there: this CPU or kernel has no huge pages of that size; use 2M."

    def counts(self) -> dict[int, int]:
        """Pages of each node."""
        return {node: read_int(path) or 0 for node, path in self.files.items()}

    def reserve(self, pages: dict[int, int]) -> None:
        """Ask the kernel for so many pages of each node; it gives as many as it can."""
        for node, count in pages.items():
            if self.counts()[node] != count:
                self.files[node].write_text(f"{count}\n", encoding="ascii")

    def never_problem(self, wanted: dict[int, int]) -> Optional[str]:
        """One sentence where a node could not give its part if nothing else were on it, else None."""
        total = {node: node_meminfo(node, self.base).get("MemTotal", 0) for node in self.files}
        most = {node: int((1 - RESERVE) * size // self.page_bytes) for node, size in total.items()}
        return shortfall(wanted, {node: min(count, most[node]) for node, count in wanted.items()}, self.page_bytes)

    def lacks_room(self, wanted: dict[int, int], freed: Optional[dict[int, int]] = None) -> bool:
        """Whether a node has less free memory than the pool is to grow by, when so many bytes become free on it."""
        before = self.counts()
        return any(
            (wanted[node] - before[node]) * self.page_bytes
            > node_meminfo(node, self.base).get("MemFree", 0) + (freed or {}).get(node, 0)
            for node in self.files
        )

    def resize(self, wanted: dict[int, int]) -> dict[int, int]:
        """Have so many pages on each node; returns what each could give, and gives none where one could not.

        A pool that takes the last page of a node has the kernel kill others for it: that is not even tried.
        """
        before = self.counts()
        could = {node: could_give(node_meminfo(node, self.base), before[node], self.page_bytes) for node in self.files}
        found = {node: min(count, could[node]) for node, count in wanted.items()}
        for _attempt in range(ATTEMPTS if found == wanted else 0):
            if any(wanted[node] > count for node, count in self.counts().items()):
                self.compact.write_text("1\n", encoding="ascii")
            self.reserve(wanted)
            found = self.counts()
            if found == wanted:
                return found
        self.reserve(before)
        return found


def boot_parameters(pages: dict[int, int], page_bytes: int) -> str:
    """The words of the kernel command line that reserve the pool: ``hugepagesz=1G hugepages=0:150,1:150``."""
    page = "1G" if page_bytes == 2**30 else "2M"
    counts = ",".join(f"{node}:{count}" for node, count in sorted(pages.items()) if count)
    return f"hugepagesz={page} hugepages={counts}"


def boot_text(pools: Pools) -> str:
    """The file of tmpfiles.d that reserves pools early at each boot, while memory is in one piece."""
    lines = [
        f"w {AT_BOOT_PATH.format(node, page_bytes // 1024)} - - - - {count}"
        for page_bytes, pages in sorted(pools.items())
        for node, count in sorted(pages.items())
    ]
    return "\n".join(["# The pool of huge pages, by the role hugepages.", *lines]) + "\n"


def read_boot_text(text: str) -> Pools:
    """The pools that such a file reserves."""
    pools: Pools = {}
    for node, kilobytes, count in re.findall(AT_BOOT_PATH.format(r"(\d+)", r"(\d+)") + r" - - - - (\d+)", text):
        pools.setdefault(int(kilobytes) * 1024, {})[int(node)] = int(count)
    return pools


def _policy(instance: PoolInstance) -> str:
    return "interleave" if instance["numa_policy"] == "auto" else instance["numa_policy"]


def _instance_pages(tower: Tower, settings: PoolSettings, instance: PoolInstance, needed: int) -> dict[int, int]:
    """The pages of each node that an instance takes of the pool."""
    policy = _policy(instance)
    weights = given_weights(instance["numa_weights"])
    return pool_pages(needed, SIZES[settings["size"]], tower, policy, instance["numa_node"], weights)


def _needed(tower: Tower, settings: PoolSettings, instance: PoolInstance) -> int:
    """The memory budget of the model of an instance; 0 where it is not known."""
    model = weighed(named(settings["models"], instance["model"]))
    served = serving(instance, instance["flash_attention"], tower, SIZES[settings["size"]])
    return memory_budget(model, served)["total"]


def _instance_problem(instance: PoolInstance) -> Optional[str]:
    """One sentence where nothing of an instance would be in a pool, or no pool can be laid out for it, else None."""
    if instance["load_mode"] in ("mmap", "mmap+mlock") or instance["numa_policy"] == "distribute":
        return (
            "Nothing would use a pool of huge pages: the weights stay in the page cache with "
            f"llama_service_load_mode {instance['load_mode']} and the policy {_policy(instance)}. Set the load mode to "
            "auto and another policy, or hugepages_mode to none."
        )
    if instance["numa_policy"] == "weighted" and not instance["numa_weights"]:
        return (
            "A pool for the policy weighted is laid out by the weights, which a benchmark would change later: "
            "set llama_service_numa_weights."
        )
    return None


def _hugetlb_problem(tower: Tower, settings: PoolSettings, needed: list[int], pages: dict[int, int]) -> Optional[str]:
    """One sentence where a pool cannot be reserved, or nothing would use it, else None."""
    problem = next(filter(None, map(_instance_problem, settings["instances"])), None)
    if problem:
        return problem
    if not needed or not all(needed):
        return "The pool cannot be sized without a model: declare one in model_store_models, or set hugepages_bytes."
    if settings["reserve"] == "boot" and not settings["boot_consent"]:
        return (
            "hugepages_reserve boot changes the kernel command line: set hugepages_boot_consent to true, and "
            "restart the tower afterwards."
        )
    if settings["reserve"] == "boot" and kernel_before(tower["kernel"], 5, 16):
        # Older ones read 0:150,1:150 as 0 (Linux commit b5389086ad7b, "support node allocation").
        return (
            f"Linux {tower['kernel']} cannot reserve huge pages by node at boot, which came with 5.16: set "
            "hugepages_reserve to runtime, or install a newer kernel."
        )
    return room_problem(pages, SIZES[settings["size"]], tower)


def _thp_problem(tower: Tower) -> Optional[str]:
    """One sentence where nothing would get transparent huge pages, else None."""
    enabled = tower["thp"]["enabled"] if tower["thp"] else "never"
    # A container cannot change its host's setting.
    if enabled != "never" or tower["container"] is not None:
        return None
    return (
        "Transparent huge pages are off in this kernel, so hugepages_mode thp would have no effect. Set "
        "kernel_tuning_thp to madvise and run ansible-playbook llamatower.tower.prepare, or set hugepages_mode to none."
    )


def pool_plan(tower: Tower, settings: PoolSettings) -> PoolPlan:
    """What the role has to do."""
    tower = usable(tower)
    page_bytes, hugetlb = SIZES[settings["size"]], settings["mode"] == "hugetlb"
    pages: dict[int, int] = dict.fromkeys(memory_nodes(tower), 0)
    problem = _thp_problem(tower) if settings["mode"] == "thp" else None
    if hugetlb:
        served = settings["instances"]
        needed = [settings["bytes"] or _needed(tower, settings, entry) for entry in served]
        for instance, count in zip(served, needed):
            for node, more in _instance_pages(tower, settings, instance, count).items():
                pages[node] += more
        problem = _hugetlb_problem(tower, settings, needed, pages)
    parameters = boot_parameters(pages, page_bytes) if hugetlb and settings["reserve"] == "boot" else None
    return {
        "problem": problem,
        "page_bytes": page_bytes,
        "pages": pages,
        "boot_parameters": parameters,
    }
