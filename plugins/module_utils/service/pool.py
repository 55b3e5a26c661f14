# SPDX-License-Identifier: MIT
"""The pool of huge pages of a running tower: it grows for a deployment, when its servers make room for that."""

from __future__ import annotations

import os
from typing import Callable

from ..files import write_beside
from .deployment import INSTANCES, Deployment, others_current
from .document import DeployedPool
from .huge_pages import Pool, boot_text, shortfall
from .unit import UnitError

# What the role hugepages reserves at each boot.
AT_BOOT = "/etc/tmpfiles.d/llamatower-hugepages.conf"


def pool_of_all(pools: list[DeployedPool], page_bytes: int) -> dict[int, int]:
    """Pages by node that these pools have together, of one page size."""
    total: dict[int, int] = {}
    for pool in pools:
        for node, count in pool["pages"].items() if pool["page_bytes"] == page_bytes else ():
            total[int(node)] = total.get(int(node), 0) + count
    return total


def pools_of_others(instance: str, path: str = INSTANCES) -> list[DeployedPool]:
    """The pools of the current deployments of all other instances."""
    return [deployment["pool"] for deployment in others_current(instance, path) if deployment["pool"]]


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
