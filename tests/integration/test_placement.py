# SPDX-License-Identifier: MIT
"""NUMA policies and huge pages on towers with two and eight memory nodes, after everything that moves pages."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.benchmarks.benchmark_model import Size, make
from tests.integration.vm_site import (
    DEPLOYMENTS,
    REPO,
    UNIT,
    Site,
    active,
    cache_on_one_node,
    drop_caches,
    last_words,
    pid,
    restart,
)
from tests.virtual_tower.virtual_tower import Tower
from tests.waiting import wait_until

STAGE = REPO / "tests" / "virtual_tower" / "stage"
# Emulated CPUs share fewer real ones: eight threads that wait for each other in a loop, as libgomp has them do, decoded
# 0.08 tokens a second of the model of 283 MB on two cores, and 0.29 where they sleep.
EMULATED = {"llama_service_extra": {"OMP_WAIT_POLICY": "passive"}, "llama_service_check_tokens": 4}
# Eight nodes of 1 GB each.
SMALL_NODES = {"llama_service_memory_reserve_bytes": 2**28}
# 64 MB.
SMALL_MODEL = Size(blocks=4, width=1024, feed_forward=4096, vocabulary=8192)
# Emulated, each check of a server takes half a minute or more: those of eight servers, every half minute, leave no CPU.
CHECKS = "/etc/systemd/system/llama-server-check@.timer.d"
RARE_CHECKS = "[Timer]\nOnActiveSec=\nOnUnitInactiveSec=\nOnActiveSec=1h\nOnUnitInactiveSec=1h\n"


def serve(site: Site, **variables: Any) -> None:
    """Change variables of the service; the playbook itself fails where the placement is wrong."""
    assert site.playbook("playbooks/serve.yml", **variables).code == 0


class Stand(NamedTuple):
    """A tower, with the variables that declare one of the two models on it, and those that declare the other."""

    site: Site
    model: dict[str, Any]
    other_model: dict[str, Any]


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Emulated, a server that starts with the 283 MB of the hub's model takes five minutes, and warms up for two."""
    file = tmp_path_factory.mktemp("models") / "small.gguf"
    make(file, SMALL_MODEL)
    return file


def with_models(site: Site, file: Path) -> Stand:
    """A tower that has a model under two names."""
    kept = f"/srv/{file.name}"
    site.module("ansible.builtin.copy", src=str(file), dest=kept)
    source = {"path": kept, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    models = [{"name": name, **source} for name in ("small", "other")]
    assert site.playbook("playbooks/models.yml", model_store_models=models).code == 0
    model, other = ({"model_store_models": [model]} for model in models)
    return Stand(site, model, other)


@pytest.fixture(scope="module")
def two_nodes(site: Site, small_model: Path) -> Stand:
    """The tower of this level."""
    return with_models(site, small_model)


@pytest.fixture(scope="module")
def eight_nodes(small_model: Path) -> Iterator[Stand]:
    """A tower with eight memory nodes, which is removed afterwards (not with KEEP=1)."""
    name = "nps4"
    subprocess.run([STAGE, "up", name], check=True)
    try:
        site = Site(Tower(name))
        site.module("ansible.builtin.file", path=CHECKS, state="directory")
        site.module("ansible.builtin.copy", content=RARE_CHECKS, dest=f"{CHECKS}/rare.conf")
        stand = with_models(site, small_model)
        assert site.playbook("site.yml", **stand.model).code == 0
        yield stand
    finally:
        if not os.environ.get("KEEP"):
            subprocess.run([STAGE, "down", name], check=True)


def shares(site: Site, unit: str = UNIT) -> dict[int, float]:
    """The part of the memory on each node, counted here and not by the project."""
    counts = site.shares(unit)
    return {node: count / sum(counts.values()) for node, count in counts.items()}


def nodes(site: Site) -> int:
    return len(site.tower.profile["nodes"])


def restarted(stand: Stand, units: list[str]) -> None:
    assert restart(stand.site, *units) == "", last_words(stand.site, units[0])


def cold(stand: Stand, units: list[str]) -> None:
    drop_caches(stand.site)
    restarted(stand, units)


def cached_on_one_node(stand: Stand, units: list[str]) -> None:
    cache_on_one_node(stand.site, served_model(stand.site))
    restarted(stand, units)


def verified(stand: Stand, units: list[str]) -> None:
    assert stand.site.playbook("playbooks/verify.yml", **stand.model).code == 0
    restarted(stand, units)


def rebooted(stand: Stand, units: list[str]) -> None:
    stand.site.tower.stop()
    stand.site.tower.start()
    for unit in units:
        # While all of them start, an emulated tower may not answer.
        running = f"systemctl is-active --quiet {unit}"
        wait_until(lambda running=running: not stand.site.tower.fails(running), f"{unit} is active", 600)


def evenly(site: Site) -> None:
    found = shares(site)
    assert len(found) == nodes(site)
    assert (max(found.values()) - min(found.values())) * len(found) <= 0.01


def by_weight(site: Site) -> None:
    """The first node twice as much as each of the others."""
    found, parts = shares(site), nodes(site) + 1
    expected = {node: (1 if node else 2) / parts for node in range(nodes(site))}
    assert found == pytest.approx(expected, rel=0.01)


def wholly_on_one(site: Site) -> None:
    assert list(shares(site).values()) == [1.0]


def each_on_its_own(site: Site) -> None:
    for node in range(nodes(site)):
        assert shares(site, f"llama-server@main-node{node}.service") == {node: 1.0}
    assert not active(site, UNIT)


def on_all(site: Site) -> None:
    """Threads take the next piece of work when they are done with one, so that some bring more pages than others."""
    found = shares(site)
    assert len(found) == nodes(site)
    assert min(found.values()) * len(found) >= 0.5


def anywhere(site: Site) -> None:
    assert sum(shares(site).values()) == pytest.approx(1)


def arranged(site: Site, sizes: list[str]) -> None:
    """Have the tower these memory nodes, as another NPS of its BIOS would."""
    if len(sizes) != nodes(site):
        site.tower.stop()
        site.tower.arrange(sizes)
        site.tower.start()


def served_model(site: Site) -> str:
    """The first file of it."""
    deployment = json.loads(site.ssh(f"sudo cat {DEPLOYMENTS}/current/deployment.json"))
    return f"{deployment['model']['directory']}/{deployment['model']['files'][0]}"


def check_promise(stand: Stand, promise: Callable[[Site], None], policy: str, **settings: Any) -> None:
    """That the placement is as promised after everything that could change it."""
    site = stand.site
    variables = {"llama_service_numa_policy": policy, **EMULATED, **settings}
    units = [UNIT] if policy != "per_node" else [f"llama-server@main-node{node}.service" for node in range(nodes(site))]
    serve(site, **variables, **stand.other_model)
    other = served_model(site)
    promise(site)
    serve(site, **variables, **stand.model)
    assert served_model(site) != other
    promise(site)
    for condition in (restarted, cold, cached_on_one_node, verified, rebooted):
        print(f"{policy}: {condition.__name__}")
        condition(stand, units)
        promise(site)
    assert site.playbook("playbooks/serve.yml", **variables, **stand.model).changes() == []


@pytest.mark.parametrize(
    ("policy", "load_mode", "promise"),
    [
        # Pages of the mapped file: the hardest, since those that are cached stay on their node.
        ("interleave", "mmap", evenly),
        ("bind", "dio", wholly_on_one),
        ("distribute", "auto", on_all),
        ("none", "dio", anywhere),
        ("per_node", "dio", each_on_its_own),
    ],
)
def test_a_policy_keeps_its_promise_whatever_came_before(
    two_nodes: Stand, policy: str, load_mode: str, promise: Callable[[Site], None]
) -> None:
    check_promise(two_nodes, promise, policy, llama_service_load_mode=load_mode)


@pytest.mark.parametrize(
    ("policy", "load_mode", "threads", "promise"),
    [
        ("interleave", "mmap", 2, evenly),
        ("bind", "dio", 1, wholly_on_one),
        # One on each node.
        ("distribute", "auto", 8, on_all),
        ("none", "dio", 2, anywhere),
        ("per_node", "dio", 1, each_on_its_own),
    ],
)
def test_a_policy_keeps_its_promise_on_eight_nodes(
    eight_nodes: Stand,
    policy: str,
    load_mode: str,
    threads: int,
    promise: Callable[[Site], None],
) -> None:
    numbers = {"llama_service_threads": threads, "llama_service_threads_batch": threads}
    check_promise(eight_nodes, promise, policy, llama_service_load_mode=load_mode, **numbers, **SMALL_NODES)


@pytest.mark.parametrize("arrangement", [["1G"] * 8, ["4G"] * 2], ids=["NPS4", "NPS1"])
def test_weighted_interleave_follows_the_bandwidth_that_was_measured(
    eight_nodes: Stand, arrangement: list[str]
) -> None:
    site = eight_nodes.site
    arranged(site, arrangement)
    rates = {f"read_node{node}_node{node}": {"median": 40.0 if node else 80.0} for node in range(nodes(site))}
    run = {"schema_version": 1, "started": "2026-01-01T00:00:00Z", "conditions": {}, "results": rates}
    kept = "/var/lib/llamatower/benchmarks"
    site.ssh(f"sudo mkdir -p {kept}; echo {shlex.quote(json.dumps(run))} | sudo tee {kept}/planted.json")
    settings = {"llama_service_load_mode": "mmap", "llama_service_threads": 2, "llama_service_threads_batch": 2}
    try:
        check_promise(eight_nodes, by_weight, "weighted", **settings, **SMALL_NODES)
    finally:
        site.ssh(f"sudo rm {kept}/planted.json")
        arranged(site, ["1G"] * 8)


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
    assert site.playbook("playbooks/serve.yml").changes() == []
    assert pid(site) == process
    serve(site, llama_service_context=1024)
    assert pid(site) != process
    starts = site.ssh(f"sudo journalctl -o cat -u {UNIT} --since -3min | grep -c '^Started'")
    assert int(starts) == 1
    serve(site)


def test_transparent_huge_pages_are_used_and_missed_when_they_are_off(site: Site) -> None:
    variables = {
        "hugepages_mode": "thp",
        "llama_service_placement_tolerance": 0.1,
        "llama_service_placement_failure": "fail",
    }
    serve(site, **variables)
    huge = site.ssh(f"sudo grep AnonHugePages /proc/{pid(site)}/smaps_rollup").split()[1]
    assert int(huge) * 1024 > 130e6
    thp = "/sys/kernel/mm/transparent_hugepage/enabled"
    site.ssh(f"echo never | sudo tee {thp}")
    said = restart(site)
    site.ssh(f"echo madvise | sudo tee {thp}")
    assert "FAILED" in said
    assert re.search(r"Only 0 B of \S+ [MG]B lie in huge pages", last_words(site))
    assert restart(site) == ""


def test_a_pool_is_as_computed_used_released_and_its_shortage_told(site: Site) -> None:
    variables: dict[str, Any] = {
        "hugepages_mode": "hugetlb",
        "hugepages_bytes": 640 * 2**20,
        "llama_service_placement_tolerance": 0.1,
        "llama_service_placement_failure": "fail",
    }
    numbers = "cat /sys/devices/system/node/node*/hugepages/hugepages-2048kB/nr_hugepages"
    assert site.playbook("playbooks/prepare.yml", **variables).code == 0
    assert site.ssh(numbers).split() == ["160", "160"]
    assert site.playbook("playbooks/prepare.yml", **variables).changes() == []
    serve(site, **variables)
    pool = site.ssh(f"sudo grep Private_Hugetlb /proc/{pid(site)}/smaps_rollup").split()[1]
    assert int(pool) * 1024 > 134e6
    # Half of what the weights need: glibc falls back to small pages without a word.
    site.ssh(f"sudo systemctl stop {UNIT}; sudo sysctl --quiet vm.nr_hugepages=32")
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
    assert int(locked) * 1024 > 130e6
    serve(site)
