# SPDX-License-Identifier: MIT
"""site.yml on a tower with two memory nodes: what it promises is read from the running system.

What survives a reboot and a power failure is in test_vm_bios.py and test_vm_models.py.
"""

from __future__ import annotations

from tests.integration.vm_site import MODEL, UNIT, Site, apart, cache_on_one_node, drop_caches

TOLERANCE = 0.02


def cached_bytes(site: Site) -> int:
    """Bytes of the model in the page cache."""
    return int(site.ssh(f"sudo fincore --bytes --noheadings --output RES {MODEL}"))


def test_weights_lie_evenly_on_both_nodes(site: Site) -> None:
    shares = site.shares()
    assert sum(shares.values()) > 130e6
    assert apart(shares) <= TOLERANCE


def test_a_model_cached_on_one_node_is_spread_again_by_a_restart(site: Site) -> None:
    cache_on_one_node(site)
    assert cached_bytes(site) > 130e6
    site.restart_service()
    # Buffers that no request has used yet lie nowhere.
    site.ask()
    assert apart(site.shares()) <= TOLERANCE


def test_a_second_run_changes_nothing_and_reads_no_byte_of_the_model(site: Site) -> None:
    drop_caches(site)
    assert cached_bytes(site) == 0
    process = site.ssh(f"systemctl show --value --property=MainPID {UNIT}")
    run = site.playbook("site.yml")
    assert run.code == 0
    assert run.changes() == []
    assert run.recap("ok") <= 49
    assert cached_bytes(site) == 0
    assert site.ssh(f"systemctl show --value --property=MainPID {UNIT}") == process
