# SPDX-License-Identifier: MIT
"""A pool of huge pages grows for a deployment, beside what others have, and is given back when none needs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.service import pool
from plugins.module_utils.service.deployment import Instance, identity_of
from plugins.module_utils.service.huge_pages import read_boot_text
from plugins.module_utils.service.pool import grow_pool, targets, trim_pools
from plugins.module_utils.service.unit import UnitError

SIZE, LARGE = 2**21, 2**30
MOST = 100


class Kernel:
    """The pools of two nodes of :data:`MOST` pages of 2 MB; of one of 1 GB, 5 have the room of all of them."""

    def __init__(self) -> None:
        self.pools = {SIZE: {0: 10, 1: 10}, LARGE: {0: 0, 1: 0}}
        # Pages of 2 MB on each node that processes have.
        self.used = 60

    def free(self, node: int) -> int:
        return MOST - self.used - self.pools[SIZE][node] - 20 * self.pools[LARGE][node]

    def pool(self, page_bytes: int, nodes: Any) -> KernelPool:
        return KernelPool(self, page_bytes, list(nodes))


class KernelPool:
    def __init__(self, kernel: Kernel, page_bytes: int, nodes: list[int]) -> None:
        self.kernel, self.page_bytes, self.nodes = kernel, page_bytes, nodes
        self.each = 1 if page_bytes == SIZE else 20

    def missing_problem(self, _wanted: Any) -> None:
        return None

    def counts(self) -> dict[int, int]:
        return {node: self.kernel.pools[self.page_bytes][node] for node in self.nodes}

    def reserve(self, pages: dict[int, int]) -> None:
        self.kernel.pools[self.page_bytes].update(pages)

    def lacks_room(self, wanted: dict[int, int]) -> bool:
        before = self.counts()
        return any((wanted[node] - before[node]) * self.each > self.kernel.free(node) for node in wanted)

    def resize(self, wanted: dict[int, int]) -> dict[int, int]:
        before = self.counts()
        found = {n: min(count, before[n] + self.kernel.free(n) // self.each) for n, count in wanted.items()}
        if found == wanted:
            self.reserve(wanted)
        return found


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Kernel:
    found = Kernel()
    monkeypatch.setattr(pool, "Pool", found.pool)
    monkeypatch.setattr(pool, "AT_BOOT", str(tmp_path / "boot.conf"))
    return found


def deployment(instance: str = "main", size: int = SIZE, **pages: int) -> Any:
    found = {"page_bytes": size, "pages": {name[1:]: count for name, count in pages.items()}} if pages else None
    return {"schema_version": 1, "instance": instance, "pool": found}


def deploy(path: Path, found: Any) -> None:
    """Make it the current and good one of its instance."""
    instance, identity = Instance(found["instance"], str(path)), identity_of(found)
    directory = Path(instance.directory(identity))
    directory.mkdir(parents=True)
    (directory / "deployment.json").write_text(json.dumps(found))
    for link in ("current", "good"):
        instance.point(link, identity)


def at_boot() -> Any:
    return read_boot_text(pool.read_at_boot() or "")


def unasked() -> None:
    pytest.fail("there was room")


def test_it_grows_to_what_is_needed_now_and_at_boot(kernel: Kernel, tmp_path: Path) -> None:
    grow_pool(deployment(n0=40, n1=20), unasked, str(tmp_path))
    assert kernel.pools[SIZE] == {0: 40, 1: 20}
    assert at_boot() == {SIZE: {0: 40, 1: 20}}


def test_it_is_made_smaller_only_when_the_new_one_has_proven_itself(kernel: Kernel, tmp_path: Path) -> None:
    grow_pool(deployment(n0=40, n1=40), unasked, str(tmp_path))
    grow_pool(deployment(n0=4, n1=4), unasked, str(tmp_path))
    assert kernel.pools[SIZE] == {0: 40, 1: 40}
    deploy(tmp_path, deployment(n0=4, n1=4))
    trim_pools(str(tmp_path))
    assert (kernel.pools[SIZE], at_boot()) == ({0: 4, 1: 4}, {SIZE: {0: 4, 1: 4}})


def test_the_servers_of_the_instance_make_room_only_where_there_is_none(kernel: Kernel, tmp_path: Path) -> None:
    grow_pool(deployment(n0=90, n1=20), lambda: setattr(kernel, "used", 0), str(tmp_path))
    assert (kernel.used, kernel.pools[SIZE]) == (0, {0: 90, 1: 20})


def test_pages_of_other_instances_are_not_taken_from_them(kernel: Kernel, tmp_path: Path) -> None:
    deploy(tmp_path, deployment("other", n0=15))
    grow_pool(deployment(n0=20, n1=5), unasked, str(tmp_path))
    assert kernel.pools[SIZE] == {0: 35, 1: 10}
    trim_pools(str(tmp_path))
    assert kernel.pools[SIZE] == {0: 15, 1: 0}


def test_pages_of_another_size_make_room_and_come_back_with_the_deployment_before(
    kernel: Kernel, tmp_path: Path
) -> None:
    before, after = deployment(n0=80, n1=80), deployment(size=LARGE, n0=4, n1=4)
    kernel.used = 0
    grow_pool(before, unasked, str(tmp_path))
    deploy(tmp_path, before)
    grow_pool(after, lambda: None, str(tmp_path))
    assert kernel.pools == {SIZE: {0: 0, 1: 0}, LARGE: {0: 4, 1: 4}}
    # It did not prove itself.
    grow_pool(before, lambda: None, str(tmp_path))
    trim_pools(str(tmp_path))
    assert kernel.pools == {SIZE: {0: 80, 1: 80}, LARGE: {0: 0, 1: 0}}
    assert at_boot() == {SIZE: {0: 80, 1: 80}}


def test_what_the_kernel_cannot_give_is_a_sentence(kernel: Kernel, tmp_path: Path) -> None:
    with pytest.raises(UnitError, match=r"node 0 gave 40 of 200"):
        grow_pool(deployment(n0=200, n1=5), lambda: None, str(tmp_path))
    assert kernel.pools[SIZE] == {0: 10, 1: 10}


def test_a_deployment_without_a_pool_asks_for_none_and_gives_back_the_one_before(
    kernel: Kernel, tmp_path: Path
) -> None:
    grow_pool(deployment(n0=30, n1=30), unasked, str(tmp_path))
    grow_pool(deployment(), unasked, str(tmp_path))
    assert kernel.pools[SIZE] == {0: 30, 1: 30}
    deploy(tmp_path, deployment())
    trim_pools(str(tmp_path))
    assert (kernel.pools[SIZE], pool.read_at_boot()) == ({0: 0, 1: 0}, None)


def test_nothing_is_given_back_while_nobody_knows_what_another_instance_needs(kernel: Kernel, tmp_path: Path) -> None:
    grow_pool(deployment("other", n0=40, n1=40), unasked, str(tmp_path))
    deploy(tmp_path, {**deployment("other", n0=40, n1=40), "schema_version": 99})
    deploy(tmp_path, deployment())
    trim_pools(str(tmp_path))
    assert (kernel.pools[SIZE], at_boot()) == ({0: 40, 1: 40}, {SIZE: {0: 40, 1: 40}})
    trim_pools(str(tmp_path), but=["other"])
    assert kernel.pools[SIZE] == {0: 0, 1: 0}, "that instance is taken away"


def test_a_pool_of_others_stays(kernel: Kernel, tmp_path: Path) -> None:
    deploy(tmp_path, deployment())
    trim_pools(str(tmp_path))
    assert kernel.pools[SIZE] == {0: 10, 1: 10}


def test_no_less_is_wanted_than_a_deployment_needs() -> None:
    served = [deployment(n0=40, n1=40), deployment("other", size=LARGE, n0=2)]
    assert targets(SIZE, {0: 50, 1: 30}, [LARGE], served) == {SIZE: {0: 50, 1: 40}, LARGE: {0: 2, 1: 0}}
