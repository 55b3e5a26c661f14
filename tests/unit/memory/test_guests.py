# SPDX-License-Identifier: MIT
"""What a guest shows of its CPUs' caches, family and model is its host's invention: their name counts, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugins.module_utils.memory.channels import describe
from plugins.module_utils.memory.smbios import read_table
from plugins.module_utils.tower import guest
from tests.boards.board import BOARD, table
from tests.boards.machine import DEFAULTS, files, write

# The sample build, as a guest shows it whose host has two large caches.
SAMPLE = read_table(table(BOARD | {"empty": []}))


def test_caches_of_a_guest_are_those_of_a_cpu_of_its_name() -> None:
    found = describe(SAMPLE, "dmi-table", [1, 1], guest=True)
    assert [socket["l3_domains"] for socket in found["sockets"] or []] == [4, 4]
    assert found["bandwidth"]["reachable_gb_s"] == [399.2, 528.0]


def test_a_guest_whose_cpu_nobody_measured_has_no_caches() -> None:
    cpu = {"brand": "AMD EPYC 9474F 48-Core Processor", "family": 25, "model": 17}
    found = describe(read_table(table(BOARD | {"cpu": cpu, "empty": []})), "dmi-table", [1, 1], guest=True)
    assert [socket["l3_domains"] for socket in found["sockets"] or []] == [None, None]
    assert found["bandwidth"]["reachable_gb_s"] is None


def test_a_guest_is_told_by_its_flags_beside_sysfs(tmp_path: Path) -> None:
    real = write(tmp_path / "real", files({}))
    virtual = write(tmp_path / "virtual", files({"flags": f"{DEFAULTS['flags']} hypervisor"}))
    assert (guest(real / "sys"), guest(virtual / "sys"), guest(tmp_path / "none")) == (False, True, False)


@pytest.mark.parametrize("brand", ["AMD EPYC 9124 16-Core Processor", "AMD EPYC 9654 96-Core Processor"])
def test_a_real_machine_has_the_caches_that_it_shows(brand: str) -> None:
    cpu = {"brand": brand, "family": 25, "model": 17}
    found = describe(read_table(table(BOARD | {"cpu": cpu, "empty": []})), "dmi-table", [2, 2])
    assert [socket["l3_domains"] for socket in found["sockets"] or []] == [2, 2]
