# SPDX-License-Identifier: MIT
"""The pools of huge pages of a running tower: what the deployments need of them, at every moment of a switch.

A pool grows before the deployment that needs it starts, when the servers of its instance make room for that, and what
nobody needs any more is given back when one has proven itself. In between, the deployment before may come back.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Callable, Optional

from ..files import sync_directory, write_beside
from .deployment import INSTANCES, Deployment, UnreadableError, current_deployments, instances, needed_deployments
from .document import DeployedPool
from .huge_pages import SIZES, Pool, Pools, boot_text, read_boot_text, shortfall
from .unit import UnitError

# What is reserved at each boot.
AT_BOOT = "/etc/tmpfiles.d/llamatower-hugepages.conf"


def pool_of_all(deployments: list[Deployment], page_bytes: int) -> dict[int, int]:
    """Pages by node that these deployments need together, of one page size."""
    pools: list[DeployedPool] = [deployment["pool"] for deployment in deployments if deployment["pool"]]
    total: dict[int, int] = {}
    for pool in pools:
        for node, count in pool["pages"].items() if pool["page_bytes"] == page_bytes else ():
            total[int(node)] = total.get(int(node), 0) + count
    return total


def targets(page_bytes: int, wanted: dict[int, int], instead_of: Iterable[int], deployments: list[Deployment]) -> Pools:
    """The pools to have: what is wanted, instead of those of other sizes, and what these deployments need at least."""

    def no_less(size: int, pages: dict[int, int]) -> dict[int, int]:
        needed = pool_of_all(deployments, size)
        return {node: max(count, needed.get(node, 0)) for node, count in pages.items()}

    none = dict.fromkeys(wanted, 0)
    return {page_bytes: no_less(page_bytes, wanted), **{size: no_less(size, none) for size in instead_of}}


def at_boot(pools: Pools) -> Optional[str]:
    """What :data:`AT_BOOT` says to reserve these pools; None where there is nothing to reserve."""
    reserved = {page_bytes: pages for page_bytes, pages in pools.items() if any(pages.values())}
    return boot_text(reserved) if reserved else None


def read_at_boot() -> Optional[str]:
    """What :data:`AT_BOOT` says; None where it is not there."""
    return Path(AT_BOOT).read_text(encoding="utf-8") if os.path.exists(AT_BOOT) else None


def write_at_boot(text: Optional[str]) -> None:
    """Have :data:`AT_BOOT` say that, or not be there. Raises OSError."""
    if text == read_at_boot():
        return
    if text is None:
        os.unlink(AT_BOOT)
        sync_directory(os.path.dirname(AT_BOOT))
    else:
        write_beside(AT_BOOT, text)


def _reserved_at_boot() -> Pools:
    """What is reserved at each boot, and how many of these pages there are now."""
    return {size: Pool(size, pages).counts() for size, pages in read_boot_text(read_at_boot() or "").items()}


def _give_back(sizes: Iterable[int], path: str, but: Collection[str]) -> None:
    """Keep no more pages of these sizes than the current deployments of all instances but these need, of the pools that
    were reserved for one; and all, where nobody knows what one needs."""
    try:
        needed_deployments(path, but)
    except UnreadableError:
        return
    deployments, known = current_deployments(path, but), [each for one in instances(path) for each in one.needed()]
    reserved = read_boot_text(read_at_boot() or "")
    for size in sizes:
        pool = Pool(size, {*reserved.get(size, {}), *pool_of_all(known, size)})
        needed = pool_of_all(deployments, size)
        pool.reserve({node: min(count, needed.get(node, 0)) for node, count in pool.counts().items()})


def grow_pool(deployment: Deployment, make_room: Callable[[], object], path: str = INSTANCES) -> None:
    """Have at least the pages that a deployment needs, beside those of others. Raises UnitError and OSError."""
    wanted = deployment["pool"]
    if wanted is None:
        return
    page_bytes, others = wanted["page_bytes"], current_deployments(path, but=[deployment["instance"]])
    needed = pool_of_all([deployment, *others], page_bytes)
    pool = Pool(page_bytes, needed)
    problem = pool.missing_problem(needed)
    if problem:
        raise UnitError(problem)
    before = pool.counts()
    pages = {node: max(count, before[node]) for node, count in needed.items()}
    if pages == before:
        return
    if pool.lacks_room(pages):
        make_room()
        # The deployment before may have pages of another size: there is no memory for both.
        _give_back({*SIZES.values()} - {page_bytes}, path, [deployment["instance"]])
    problem = shortfall(pages, pool.resize(pages), page_bytes)
    if problem:
        raise UnitError(problem)
    write_at_boot(at_boot({**_reserved_at_boot(), page_bytes: pages}))


def trim_pools(path: str = INSTANCES, but: Collection[str] = ()) -> None:
    """Give back what no current deployment needs, those of these instances left out. Raises OSError."""
    _give_back(SIZES.values(), path, but)
    write_at_boot(at_boot(_reserved_at_boot()))
