# SPDX-License-Identifier: MIT
"""The pool of huge pages of a running tower: it grows for a deployment, when its servers make room for that."""

from __future__ import annotations

import os
from typing import Callable, Optional

from ..files import write_beside
from .deployment import INSTANCES, Deployment, instances
from .document import DeployedPool
from .huge_pages import Pool, shortfall
from .unit import UnitError

# What the role hugepages reserves at each boot.
AT_BOOT = "/etc/tmpfiles.d/llamatower-hugepages.conf"


def boot_text(page_bytes: int, pages: dict[int, int]) -> str:
    """The file of tmpfiles.d that reserves a pool early at each boot, while memory is in one piece."""
    path = "/sys/devices/system/node/node{}/hugepages/hugepages-{}kB/nr_hugepages"
    lines = [f"w {path.format(node, page_bytes // 1024)} - - - - {count}" for node, count in pages.items()]
    return "\n".join(["# The pool of huge pages, by the role hugepages.", *lines]) + "\n"


def pool_of_all(pools: list[DeployedPool], page_bytes: int) -> dict[int, int]:
    """Pages by node that these pools have together, of one page size."""
    total: dict[int, int] = {}
    for pool in pools:
        for node, count in pool["pages"].items() if pool["page_bytes"] == page_bytes else ():
            total[int(node)] = total.get(int(node), 0) + count
    return total


def pools_of_others(instance: str, path: str = INSTANCES) -> list[DeployedPool]:
    """The pools of the current deployments of all other instances."""
    found: list[Optional[Deployment]] = [
        other.read(other.named("current") or "") for other in instances(path) if other.name != instance
    ]
    return [deployment["pool"] for deployment in found if deployment and deployment["pool"]]


def grow_pool(deployment: Deployment, make_room: Callable[[], object]) -> None:
    """Have at least the pages that a deployment needs beside those of the other instances. A pool is not made smaller:
    the deployment before may come back. Raises UnitError and OSError."""
    wanted = deployment["pool"]
    if wanted is None:
        return
    needed = pool_of_all([wanted, *pools_of_others(deployment["instance"])], wanted["page_bytes"])
    pool = Pool(wanted["page_bytes"], needed)
    problem = pool.missing_problem(needed)
    if problem:
        raise UnitError(problem)
    before = pool.counts()
    pages = {node: max(count, before[node]) for node, count in needed.items()}
    if pages == before:
        return
    if pool.lacks_room(pages):
        make_room()
    problem = shortfall(pages, pool.resize(pages), pool.page_bytes)
    if problem:
        raise UnitError(problem)
    if os.path.exists(AT_BOOT):
        write_beside(AT_BOOT, boot_text(pool.page_bytes, pages))
