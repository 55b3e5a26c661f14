# SPDX-License-Identifier: MIT
"""NUMA policies and huge pages on a tower with two memory nodes, after everything that moves pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.vm_site import (
    SHARDS,
    UNIT,
    Site,
    active,
    cache_on_one_node,
    drop_caches,
    last_words,
    pid,
    restart,
    wait_until,
)


def serve(site: Site, **variables: Any) -> None:
    """Change variables of the service; the playbook itself fails where the placement is wrong."""
    assert site.playbook("playbooks/serve.yml", **variables).code == 0


def shares(site: Site, unit: str = UNIT) -> dict[int, float]:
    """The part of the memory on each node, counted here and not by the project."""
    counts = site.shares(unit)
    return {node: count / sum(counts.values()) for node, count in counts.items()}


def restarted(site: Site, units: list[str]) -> None:
    assert restart(site, *units) == "", last_words(site, units[0])


def cold(site: Site, units: list[str]) -> None:
    drop_caches(site)
    restarted(site, units)


def cached_on_one_node(site: Site, units: list[str]) -> None:
    cache_on_one_node(site)
    restarted(site, units)


def verified(site: Site, units: list[str]) -> None:
    assert site.playbook("playbooks/verify.yml").code == 0
    restarted(site, units)


def rebooted(site: Site, units: list[str]) -> None:
    site.tower.stop()
    site.tower.start()
    for unit in units:
        wait_until(lambda unit=unit: active(site, unit), f"{unit} is active", 300)


def evenly(site: Site) -> None:
    found = shares(site)
    assert abs(found[0] - found[1]) <= 0.01


def wholly_on_one(site: Site) -> None:
    assert list(shares(site).values()) == [1.0]


def each_on_its_own(site: Site) -> None:
    for node in (0, 1):
        assert shares(site, f"llama-server@main-node{node}.service") == {node: 1.0}
    assert not active(site, UNIT)


def on_both(site: Site) -> None:
    found = shares(site)
    assert min(found[0], found[1]) >= 0.25


def anywhere(site: Site) -> None:
    assert sum(shares(site).values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("policy", "load_mode", "promise"),
    [
        # Pages of the mapped file: the hardest, since those that are cached stay on their node.
        ("interleave", "mmap", evenly),
        ("bind", "dio", wholly_on_one),
        ("distribute", "auto", on_both),
        ("none", "dio", anywhere),
        ("per_node", "dio", each_on_its_own),
    ],
)
def test_a_policy_keeps_its_promise_whatever_came_before(
    site: Site, policy: str, load_mode: str, promise: Callable[[Site], None]
) -> None:
    variables = {"llama_service_numa_policy": policy, "llama_service_load_mode": load_mode}
    units = [UNIT] if policy != "per_node" else [f"llama-server@main-node{node}.service" for node in (0, 1)]
    serve(site, **variables)
    for condition in (restarted, cold, cached_on_one_node, verified, rebooted):
        condition(site, units)
        print(condition.__name__)
        promise(site)
    assert site.playbook("playbooks/models.yml", model_store_models=[SHARDS]).code == 0
    serve(site, model_store_models=[SHARDS], **variables)
    assert "shards" in site.ssh("sudo cat /etc/llama-server/*.env | grep LLAMA_ARG_MODEL=")
    promise(site)
    serve(site, **variables)
    promise(site)
    assert site.playbook("playbooks/serve.yml", **variables).recap("changed") == 0


def test_one_instance_a_node_gives_way_to_one_for_all(site: Site) -> None:
    serve(site, llama_service_numa_policy="per_node")
    serve(site)
    assert site.ssh("systemctl list-units --plain --no-legend 'llama-server@*.service'").split()[0] == UNIT


def test_weighted_interleave_is_refused_where_linux_is_too_old(site: Site) -> None:
    before = site.state()
    run = site.playbook("playbooks/serve.yml", llama_service_numa_policy="weighted")
    assert run.code != 0
    assert run.finds(r"Linux 6\.1\S* cannot interleave by weight, which came with 6\.9")
    assert site.state() == before


def test_a_setting_that_the_build_does_not_have_is_refused_before_the_restart(site: Site) -> None:
    before = site.state()
    run = site.playbook("playbooks/serve.yml", llama_service_extra={"LLAMA_ARG_NO_SUCH": 1})
    assert run.code != 0
    assert run.finds("does not know LLAMA_ARG_NO_SUCH")
    assert site.state() == before


def test_a_second_run_of_the_service_changes_nothing_and_one_changed_variable_restarts_once(site: Site) -> None:
    serve(site)
    process = pid(site)
    assert site.playbook("playbooks/serve.yml").recap("changed") == 0
    assert pid(site) == process
    serve(site, llama_service_context=1024)
    assert pid(site) != process
    starts = site.ssh(f"sudo journalctl -o cat -u {UNIT} --since -3min | grep -c '^Started'")
    assert int(starts) == 1
    serve(site)


def test_transparent_huge_pages_are_used_and_missed_when_they_are_off(site: Site) -> None:
    variables = {"hugepages_mode": "thp", "llama_service_placement_tolerance": 0.1}
    serve(site, **variables)
    huge = site.ssh(f"sudo grep AnonHugePages /proc/{pid(site)}/smaps_rollup").split()[1]
    assert int(huge) * 1024 > 250e6
    thp = "/sys/kernel/mm/transparent_hugepage/enabled"
    site.ssh(f"echo never | sudo tee {thp}")
    said = restart(site)
    site.ssh(f"echo madvise | sudo tee {thp}")
    assert "FAILED" in said
    assert re.search(r"Only 0\.00 of \S+ GB lie in huge pages", last_words(site))
    assert restart(site) == ""


def test_a_pool_is_as_computed_used_released_and_its_shortage_told(site: Site) -> None:
    variables: dict[str, Any] = {
        "hugepages_mode": "hugetlb",
        "hugepages_bytes": 640 * 2**20,
        "llama_service_placement_tolerance": 0.1,
    }
    numbers = "cat /sys/devices/system/node/node*/hugepages/hugepages-2048kB/nr_hugepages"
    assert site.playbook("playbooks/prepare.yml", **variables).code == 0
    assert site.ssh(numbers).split() == ["160", "160"]
    assert site.playbook("playbooks/prepare.yml", **variables).recap("changed") == 0
    serve(site, **variables)
    pool = site.ssh(f"sudo grep Private_Hugetlb /proc/{pid(site)}/smaps_rollup").split()[1]
    assert int(pool) * 1024 > 270e6
    # Half of what the weights need: glibc falls back to small pages without a word.
    site.ssh(f"sudo systemctl stop {UNIT}; sudo sysctl --quiet vm.nr_hugepages=64")
    assert "FAILED" in restart(site)
    assert "lie in huge pages of the pool" in last_words(site)
    # More than a node has free.
    run = site.playbook("playbooks/prepare.yml", **{**variables, "hugepages_bytes": 5800 * 2**20})
    assert run.code != 0
    assert run.finds(r"node [01] gave \d+ of 1450"), run.output
    assert site.playbook("playbooks/prepare.yml").code == 0
    serve(site)
    assert site.ssh(numbers).split() == ["0", "0"]
    assert site.ssh("cat /proc/sys/vm/nr_hugepages; ls /etc/tmpfiles.d").split()[0] == "0"


def test_a_pool_that_nothing_would_use_is_refused(site: Site) -> None:
    run = site.playbook("playbooks/prepare.yml", hugepages_mode="hugetlb", llama_service_load_mode="mmap")
    assert run.code != 0
    assert run.finds("Nothing would use a pool of huge pages")


def test_the_locked_model_is_locked_under_the_unit(site: Site) -> None:
    serve(site, llama_service_load_mode="mlock")
    locked = site.ssh(f"grep VmLck /proc/{pid(site)}/status").split()[1]
    assert int(locked) * 1024 > 250e6
    serve(site)
