# SPDX-License-Identifier: MIT
"""The BIOS of a tower, set through its BMC: what was asked for is what Linux has then, and what site.yml goes on with.

The tower has two sockets of two memory nodes each, as NPS2 makes them. Its BMC restarts it, and then it has the memory
nodes that the new value means.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bmc.bmc import PASSWORD, USER, Bmc
from tests.integration.vm_site import REPO, Site, apart
from tests.virtual_tower.virtual_tower import Tower

NAME = "bios"
NPS = "Rome0075"
NODES = {"NPS1": ["2G", "2G"], "NPS2": ["1G", "1G", "1G", "1G"]}
TOLERANCE = 0.01


class Machine:
    """A tower and its BMC, which restarts it."""

    def __init__(self, directory: Path) -> None:
        self.tower = Tower(NAME, "mz73-lm1")
        self.bmc = Bmc("ami", directory)
        self.bmc.current[NPS] = "NPS2"
        self.bmc.on_reset = self.restart
        self.records = directory / "records"

    def restart(self, settings: dict[str, Any]) -> None:
        """Through its operating system; firmware begins anew when that is down."""
        self.tower.stop()
        self.tower.arrange(NODES[settings[NPS]])
        self.tower.power_on()

    def variables(self) -> dict[str, Any]:
        """Of bios.yml, with consent to write and to restart."""
        return {
            "bios_state": "applied",
            "bios_consent": [NAME],
            "bios_reboot_consent": [NAME],
            "bios_bmc_host": self.bmc.host,
            "bios_bmc_ca": str(self.bmc.ca),
            "bios_bmc_username": USER,
            "bios_bmc_password": PASSWORD,
            "bios_settings": {"nodes_per_socket": 1},
            "bios_record_dir": str(self.records),
            "bios_wait": 600,
        }


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A tower with four nodes, with its hub and a build that fits it."""
    stage = str(REPO / "tests/virtual_tower/stage")
    subprocess.run([stage, "down", NAME], check=True)
    one = Machine(tmp_path_factory.mktemp("bmc"))
    one.tower.create()
    one.tower.arrange(NODES["NPS2"])
    subprocess.run([stage, "up", NAME, "mz73-lm1"], check=True)
    yield one
    one.bmc.close()
    subprocess.run([stage, "down", NAME], check=True)


def test_nps2_becomes_nps1_and_site_goes_on_with_two_nodes(machine: Machine) -> None:
    site = Site(machine.tower)
    assert site.module("tower_info")["tower"]["nodes_per_socket"] == 2

    applied = site.playbook("playbooks/bios.yml", **machine.variables())
    assert applied.code == 0
    assert applied.finds(r"NUMA nodes per socket \(Rome0075\) is NPS2, to be NPS1")
    assert [body["Attributes"] for body in machine.bmc.writes] == [{NPS: "NPS1"}]
    assert [body for _method, path, body in machine.bmc.requests if path.endswith("Reset")] == [
        {"ResetType": "GracefulRestart"}
    ]
    tower = site.module("tower_info")["tower"]
    assert tower["nodes_per_socket"] == 1
    assert len(tower["nodes"]) == 2
    assert json.loads((machine.records / f"{NAME}.json").read_text())["previous"] == {NPS: "NPS2"}

    assert site.playbook("site.yml").code == 0
    site.ask()
    shares = site.shares()
    assert sum(shares.values()) > 250e6
    assert set(shares) == {0, 1}
    assert apart(shares) <= TOLERANCE
