# SPDX-License-Identifier: MIT
"""The BIOS of a tower, set through its BMC: what was asked for is what Linux has then, and what site.yml goes on with.

The tower was made with two sockets of two memory nodes each, as NPS2 has them, and converged so. All other tests of
this level are about what site.yml made of it after the change to NPS1.
"""

from __future__ import annotations

from tests.integration.vm_bios import NPS, Change
from tests.integration.vm_site import Site, apart

TOLERANCE = 0.01


def test_the_setting_is_written_and_the_tower_restarted_once(nodes_per_socket: Change) -> None:
    assert nodes_per_socket.before["nodes_per_socket"] == 2
    assert nodes_per_socket.applied.code == 0
    assert nodes_per_socket.applied.finds(r"NUMA nodes per socket \(Rome0075\) is NPS2, to be NPS1")
    assert nodes_per_socket.writes == [{NPS: "NPS1"}]
    assert nodes_per_socket.resets == [{"ResetType": "GracefulRestart"}]
    assert nodes_per_socket.record["previous"] == {NPS: "NPS2"}


def test_linux_has_two_nodes_then(nodes_per_socket: Change) -> None:
    assert nodes_per_socket.after["nodes_per_socket"] == 1
    assert len(nodes_per_socket.after["nodes"]) == 2


def test_the_kernel_settings_survive_a_reboot(nodes_per_socket: Change) -> None:
    *sysctl, huge_pages, readahead = nodes_per_socket.settings.splitlines()
    assert sysctl == ["0", "0", "10"]
    assert "[madvise]" in huge_pages
    assert readahead == "4096"


def test_site_goes_on_with_two_nodes(nodes_per_socket: Change, site: Site) -> None:
    assert nodes_per_socket.site.code == 0
    site.ask()
    shares = site.shares()
    assert sum(shares.values()) > 130e6
    assert set(shares) == {0, 1}
    assert apart(shares) <= TOLERANCE
