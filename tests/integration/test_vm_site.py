# SPDX-License-Identifier: MIT
"""site.yml on a tower with two memory nodes: what it promises is read from the running system."""

from __future__ import annotations

from tests.integration.vm_site import MODEL, UNIT, Site, apart, cache_on_one_node, drop_caches, wait_until

TOLERANCE = 0.02


def cached_bytes(site: Site) -> int:
    """Bytes of the model in the page cache."""
    return int(site.ssh(f"sudo fincore --bytes --noheadings --output RES {MODEL}"))


def test_weights_lie_evenly_on_both_nodes(site: Site) -> None:
    shares = site.shares()
    assert sum(shares.values()) > 250e6
    assert apart(shares) <= TOLERANCE


def test_a_model_cached_on_one_node_is_spread_again_by_a_restart(site: Site) -> None:
    cache_on_one_node(site)
    assert cached_bytes(site) > 250e6
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
    assert run.recap("changed") == 0
    assert run.recap("ok") <= 45
    assert cached_bytes(site) == 0
    assert site.ssh(f"systemctl show --value --property=MainPID {UNIT}") == process


def test_settings_and_service_survive_a_reboot(site: Site) -> None:
    site.tower.stop()
    site.tower.start()
    settings = site.ssh("sudo sysctl -n kernel.numa_balancing vm.zone_reclaim_mode vm.swappiness").split()
    assert settings == ["0", "0", "10"]
    assert "[madvise]" in site.ssh("cat /sys/kernel/mm/transparent_hugepage/enabled")
    assert site.ssh("cat /sys/block/nvme0n1/queue/read_ahead_kb") == "4096"
    wait_until(site.healthy, "llama-server answers on /health", 300)
    site.ask()
    assert apart(site.shares()) <= TOLERANCE
    assert site.playbook("playbooks/prepare.yml").recap("changed") == 0


def test_a_tower_whose_power_failed_comes_back_serving(site: Site) -> None:
    site.tower.stop(hard=True)
    site.tower.start()
    wait_until(site.healthy, "llama-server answers on /health", 300)
    site.ask()
    assert apart(site.shares()) <= TOLERANCE
