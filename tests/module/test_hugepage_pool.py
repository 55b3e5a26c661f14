# SPDX-License-Identifier: MIT
"""The pool of huge pages on a machine that has only as much memory as it has."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic

from plugins.module_utils import sysfs
from plugins.module_utils.service.huge_pages import Pool
from plugins.modules import hugepage_pool
from tests.run_module import run_module

SIZE_2M, SIZE_1G = 2**21, 2**30


class Machine:
    """Two nodes of 100 GiB; what the pools leave is free, and systemctl knows one unit."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place, self.monkeypatch = place, monkeypatch
        self.did: list[str] = []
        self.warned: list[str] = []
        for node in (0, 1):
            for size in (SIZE_2M, SIZE_1G):
                pool = self.pool(node, size)
                pool.parent.mkdir(parents=True)
                pool.write_text("0\n")
            (place / f"node{node}/meminfo").write_text(f"{node}\n")
        (place / "compact_memory").touch()

    def pool(self, node: int, size: int) -> Path:
        return self.place / f"node{node}/hugepages/hugepages-{size // 1024}kB/nr_hugepages"

    def pools(self, size: int) -> list[int]:
        return [int(self.pool(node, size).read_text()) for node in (0, 1)]

    def meminfo(self, text: str) -> dict[str, int]:
        used = sum(self.pools(size)[int(text)] * size for size in (SIZE_2M, SIZE_1G))
        return {"MemTotal": 100 * SIZE_1G, "MemFree": 100 * SIZE_1G - used}

    def command(self, words: list[str]) -> tuple[int, str, str]:
        if words[1] == "list-units":
            return 0, "llama-server@main.service loaded active running llama.cpp server\n", ""
        self.did.append(words[1])
        return 0, "", ""

    def run(self, **options: Any) -> dict[str, Any]:
        with self.monkeypatch.context() as patch:
            patch.setattr(basic.AnsibleModule, "run_command", lambda _module, words, **_options: self.command(words))
            patch.setattr(basic.AnsibleModule, "warn", lambda _module, text: self.warned.append(text))
            patch.setattr(sysfs, "parse_meminfo", self.meminfo)
            here = functools.partial(Pool, base=self.place, compact=self.place / "compact_memory")
            patch.setattr(hugepage_pool, "Pool", here)
            return run_module("hugepage_pool", units="llama-server@*.service", **options)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_a_pool_is_reserved_once(machine: Machine) -> None:
    assert machine.run(page_bytes=SIZE_1G, pages={"0": 50, "1": 40})["changed"]
    assert machine.pools(SIZE_1G) == [50, 40]
    assert not machine.run(page_bytes=SIZE_1G, pages={"0": 50, "1": 40})["changed"]
    assert machine.did == []


def test_a_pool_of_another_page_size_makes_room_for_this_one(machine: Machine) -> None:
    machine.run(page_bytes=SIZE_2M, pages={"0": 40000, "1": 40000})
    refused = machine.run(page_bytes=SIZE_1G, pages={"0": 78, "1": 78})
    assert "node 0 gave 13 of 78" in refused["msg"]
    assert machine.pools(SIZE_2M) == [40000, 40000]
    reserved = machine.run(page_bytes=SIZE_1G, pages={"0": 78, "1": 78}, instead_of=[SIZE_2M])
    assert reserved["changed"]
    assert "llama-server@main.service had to make room" in machine.warned[-1]
    assert (machine.pools(SIZE_2M), machine.pools(SIZE_1G)) == ([0, 0], [78, 78])


def test_a_pool_that_cannot_be_had_leaves_the_former_one_and_the_service_as_they_were(machine: Machine) -> None:
    machine.run(page_bytes=SIZE_2M, pages={"0": 40000, "1": 40000})
    refused = machine.run(page_bytes=SIZE_1G, pages={"0": 99, "1": 99}, instead_of=[SIZE_2M])
    assert refused["failed"]
    assert (machine.pools(SIZE_2M), machine.pools(SIZE_1G)) == ([40000, 40000], [0, 0])
    assert machine.did == ["stop", "start"]
