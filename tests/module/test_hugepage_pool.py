# SPDX-License-Identifier: MIT
"""The pool of huge pages on a machine that has only as much memory as it has."""

from __future__ import annotations

import errno
import functools
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic

from plugins.module_utils import sysfs
from plugins.module_utils.service import pool
from plugins.module_utils.service.huge_pages import Pool, read_boot_text
from plugins.modules import hugepage_pool
from tests.run_module import run_module

SIZE_2M, SIZE_1G = 2**21, 2**30


class Machine:
    """Two nodes of 100 GiB; what the pools leave is free, and systemctl knows one unit."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place, self.monkeypatch = place, monkeypatch
        self.did: list[str] = []
        self.running = True
        self.served: list[Any] = []
        self.at_boot = place / "boot.conf"
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
        if words[1] == "list-units" and self.running:
            return 0, "llama-server@main.service loaded active running llama.cpp server\n", ""
        if words[1] != "list-units":
            self.did.append(words[1])
        return 0, "", ""

    def run(self, **options: Any) -> dict[str, Any]:
        with self.monkeypatch.context() as patch:
            patch.setattr(basic.AnsibleModule, "run_command", lambda _module, words, **_options: self.command(words))
            patch.setattr(basic.AnsibleModule, "warn", lambda _module, text: self.warned.append(text))
            patch.setattr(sysfs, "parse_meminfo", self.meminfo)
            here = functools.partial(Pool, base=self.place, compact=self.place / "compact_memory")
            patch.setattr(hugepage_pool, "Pool", here)
            patch.setattr(hugepage_pool, "current_deployments", lambda: self.served)
            patch.setattr(pool, "AT_BOOT", str(self.at_boot))
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
    machine.running = False
    machine.run(page_bytes=SIZE_2M, pages={"0": 40000, "1": 40000})
    refused = machine.run(page_bytes=SIZE_1G, pages={"0": 78, "1": 78})
    assert "node 0 gave 13 of 78" in refused["msg"]
    assert machine.pools(SIZE_2M) == [40000, 40000]
    assert machine.run(page_bytes=SIZE_1G, pages={"0": 78, "1": 78}, instead_of=[SIZE_2M])["changed"]
    assert (machine.pools(SIZE_2M), machine.pools(SIZE_1G)) == ([0, 0], [78, 78])


def test_one_that_is_reserved_at_boot_does_too(machine: Machine) -> None:
    machine.run(page_bytes=SIZE_2M, pages={"0": 40000, "1": 40000}, at_boot=True)
    assert read_boot_text(machine.at_boot.read_text()) == {SIZE_2M: {0: 40000, 1: 40000}}
    assert machine.run(page_bytes=SIZE_1G, pages={"0": 78, "1": 78}, at_boot=True)["changed"]
    assert (machine.pools(SIZE_2M), machine.pools(SIZE_1G)) == ([0, 0], [78, 78])
    assert read_boot_text(machine.at_boot.read_text()) == {SIZE_1G: {0: 78, 1: 78}}
    assert machine.run(page_bytes=SIZE_1G, pages={"0": 0, "1": 0}, at_boot=True)["changed"]
    assert not machine.at_boot.exists()


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC], ids=["read-only", "full"])
def test_a_directory_that_cannot_be_written_is_named(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fails(path: str, *_arguments: Any) -> None:
        raise OSError(number, os.strerror(number), path)

    with monkeypatch.context() as patch:
        patch.setattr(pool, "write_beside", fails)
        refused = machine.run(page_bytes=SIZE_1G, pages={"0": 50, "1": 40}, at_boot=True)
    assert refused["msg"].startswith("The pool of huge pages cannot be changed (")
    assert os.strerror(number) in refused["msg"] and str(machine.at_boot) in refused["msg"]
    assert machine.run(page_bytes=SIZE_1G, pages={"0": 50, "1": 40}, at_boot=True)["changed"], "once it is mended"
    assert read_boot_text(machine.at_boot.read_text()) == {SIZE_1G: {0: 50, 1: 40}}


def test_a_server_in_the_way_is_not_stopped(machine: Machine) -> None:
    machine.run(page_bytes=SIZE_2M, pages={"0": 40000, "1": 40000})
    deferred = machine.run(page_bytes=SIZE_1G, pages={"0": 78, "1": 78}, at_boot=True)
    assert (deferred["changed"], deferred["deferred"], machine.did) == (False, True, [])
    assert "llama-server@main.service has the memory" in machine.warned[-1]
    assert (machine.pools(SIZE_2M), machine.pools(SIZE_1G)) == ([40000, 40000], [0, 0])
    assert not machine.at_boot.exists()


def test_what_a_deployment_needs_is_not_taken_from_it(machine: Machine) -> None:
    machine.run(page_bytes=SIZE_2M, pages={"0": 40, "1": 40})
    machine.served = [{"pool": {"page_bytes": SIZE_2M, "pages": {"0": 30, "1": 30}}}]
    assert machine.run(page_bytes=SIZE_2M, pages={"0": 20, "1": 35})["changed"]
    assert machine.pools(SIZE_2M) == [30, 35]


@pytest.mark.parametrize("running", [True, False])
def test_a_pool_that_can_never_be_leaves_the_former_one_as_it_was(machine: Machine, running: bool) -> None:
    machine.run(page_bytes=SIZE_2M, pages={"0": 40000, "1": 40000})
    machine.running = running
    refused = machine.run(page_bytes=SIZE_1G, pages={"0": 99, "1": 90}, instead_of=[SIZE_2M])
    assert "node 0 gave 92 of 99" in refused["msg"]
    assert (machine.pools(SIZE_2M), machine.pools(SIZE_1G), machine.did) == ([40000, 40000], [0, 0], [])
