# SPDX-License-Identifier: MIT
"""A pool of huge pages grows for a deployment, beside what other instances have, and never shrinks for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from plugins.module_utils.service import pool
from plugins.module_utils.service.huge_pages import boot_text
from plugins.module_utils.service.pool import grow_pool, pool_of_all
from plugins.module_utils.service.unit import UnitError

SIZE = 2**21


class Kernel:
    """The pool of two nodes, as many pages of which it can give."""

    page_bytes = SIZE
    most = 100
    have: ClassVar[dict[int, int]] = {0: 10, 1: 10}
    free = 30

    def __init__(self, _page_bytes: int, nodes: Any) -> None:
        self.nodes = list(nodes)

    def missing_problem(self, _wanted: Any) -> None:
        return None

    def counts(self) -> dict[int, int]:
        return {node: self.have[node] for node in self.nodes}

    def lacks_room(self, wanted: dict[int, int]) -> bool:
        return any(wanted[node] - self.have[node] > self.free for node in wanted)

    def resize(self, wanted: dict[int, int]) -> dict[int, int]:
        given = {node: min(count, self.most) for node, count in wanted.items()}
        if given == wanted:
            type(self).have = {**self.have, **wanted}
        return given


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    class OfThisTest(Kernel):
        pass

    monkeypatch.setattr(pool, "Pool", OfThisTest)
    monkeypatch.setattr(pool, "AT_BOOT", str(tmp_path / "boot.conf"))
    monkeypatch.setattr(pool, "pools_of_others", lambda _instance: [])
    return OfThisTest


def deployment(**pages: int) -> Any:
    return {"instance": "main", "pool": {"page_bytes": SIZE, "pages": {name[1:]: n for name, n in pages.items()}}}


def test_it_grows_to_what_is_needed_and_is_reserved_at_boot_where_it_was(kernel: Any, tmp_path: Path) -> None:
    (tmp_path / "boot.conf").write_text("as it was")
    grow_pool(deployment(n0=40, n1=20), lambda: pytest.fail("there was room"))
    assert kernel.have == {0: 40, 1: 20}
    assert (tmp_path / "boot.conf").read_text() == boot_text(SIZE, {0: 40, 1: 20})
    assert "node1/hugepages/hugepages-2048kB/nr_hugepages - - - - 20\n" in boot_text(SIZE, {0: 40, 1: 20})


def test_it_is_not_made_smaller_since_the_one_before_may_come_back(kernel: Any, tmp_path: Path) -> None:
    grow_pool(deployment(n0=4, n1=4), lambda: pytest.fail("there was room"))
    assert kernel.have == {0: 10, 1: 10}
    assert not (tmp_path / "boot.conf").exists()


def test_servers_make_room_only_where_there_is_none(kernel: Any) -> None:
    asked = []
    grow_pool(deployment(n0=90, n1=20), lambda: asked.append("stop"))
    assert (asked, kernel.have) == (["stop"], {0: 90, 1: 20})


def test_pages_of_other_instances_are_not_taken_from_them(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "pools_of_others", lambda _instance: [{"page_bytes": SIZE, "pages": {"0": 15}}])
    grow_pool(deployment(n0=20, n1=5), lambda: pytest.fail("there was room"))
    assert kernel.have == {0: 35, 1: 10}
    assert pool_of_all([{"page_bytes": 2**30, "pages": {0: 5}}], SIZE) == {}


def test_what_the_kernel_cannot_give_is_a_sentence(kernel: Any) -> None:
    with pytest.raises(UnitError, match=r"node 0 gave 100 of 200"):
        grow_pool(deployment(n0=200, n1=5), lambda: None)
    assert kernel.have == {0: 10, 1: 10}


def test_a_deployment_without_a_pool_asks_for_none(kernel: Any) -> None:
    grow_pool(json.loads('{"instance": "main", "pool": null}'), lambda: pytest.fail("nothing is needed"))
