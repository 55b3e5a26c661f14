# SPDX-License-Identifier: MIT
"""The BIOS of a virtual tower, set through a BMC that restarts it, and site.yml on what Linux has then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from tests.bmc.bmc import PASSWORD, USER, Bmc
from tests.integration.vm_site import Run, Site

NPS = "Rome0075"
# What the values of that setting mean for a machine with two sockets.
NODES = {"NPS1": ["2G", "2G"], "NPS2": ["1G", "1G", "1G", "1G"]}


class Change(NamedTuple):
    """What happened, and what tower_info said before and after."""

    before: dict[str, Any]
    applied: Run
    writes: list[Any]
    resets: list[Any]
    record: dict[str, Any]
    after: dict[str, Any]
    settings: str
    site: Run


def kernel_settings(site: Site) -> str:
    """What the running kernel has of the settings of the roles, a line each."""
    return site.ssh(
        "sudo sysctl -n kernel.numa_balancing vm.zone_reclaim_mode vm.swappiness; "
        "cat /sys/kernel/mm/transparent_hugepage/enabled /sys/block/nvme0n1/queue/read_ahead_kb"
    )


def change_to_one_node(site: Site, directory: Path) -> Change:
    """From NPS2 to NPS1, with consent to write and to restart."""
    tower = site.tower
    bmc = Bmc("ami", directory)
    bmc.current[NPS] = "NPS2"

    def restart(settings: dict[str, Any]) -> None:
        """Through its operating system; firmware begins anew when that is down."""
        tower.stop()
        tower.arrange(NODES[settings[NPS]])
        tower.power_on()

    bmc.on_reset = restart
    found = site.module("llamatower.tower.tower_info")
    before = found["tower"]
    bmc.uuid = found["machine"]["uuid"]
    applied = site.playbook(
        "playbooks/bios.yml",
        bios_state="applied",
        bios_consent=[tower.name],
        bios_reboot_consent=[tower.name],
        bios_bmc_host=bmc.host,
        bios_bmc_ca=str(bmc.ca),
        bios_bmc_username=USER,
        bios_bmc_password=PASSWORD,
        bios_settings={"nodes_per_socket": 1},
        bios_record_dir=str(directory / "records"),
        bios_wait=600,
    )
    bmc.close()
    record = directory / "records" / f"{tower.name}.json"
    if len(tower.profile["nodes"]) != 2:
        # That has failed, and is one failure; the other tests still have the tower that they are about.
        restart({NPS: "NPS1"})
        tower.wait()
    return Change(
        before=before,
        applied=applied,
        writes=[body["Attributes"] for body in bmc.writes],
        resets=[body for _method, path, body in bmc.requests if path.endswith("Reset")],
        record=json.loads(record.read_text()) if record.exists() else {},
        after=site.module("llamatower.tower.tower_info")["tower"],
        settings=kernel_settings(site),
        site=site.playbook("site.yml"),
    )
