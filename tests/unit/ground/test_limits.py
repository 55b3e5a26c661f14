# SPDX-License-Identifier: MIT
"""What a service may use of a machine, and that what is planned is no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.limits import usable
from plugins.module_utils.service.numa_policy import launch, memory_nodes, node_cores, policy_problem
from plugins.module_utils.tower import read_tower

GIB = 2**30
SLICE = "sys/fs/cgroup/llama.slice"


def written(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two nodes of eight cores with two threads each; the second thread of core N is CPU N + 16."""
    files = {"proc/meminfo": f"MemTotal: {512 * 2**20} kB\n", "sys/devices/system/cpu/online": "0-31\n"}
    files["sys/devices/system/node/online"] = "0-1\n"
    for node, cpus in enumerate(("0-7,16-23", "8-15,24-31")):
        files[f"sys/devices/system/node/node{node}/cpulist"] = f"{cpus}\n"
        files[f"sys/devices/system/node/node{node}/meminfo"] = f"Node {node} MemTotal: {256 * 2**20} kB\n"
    for cpu in range(32):
        files[f"sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list"] = f"{cpu % 16},{cpu % 16 + 16}\n"
        files[f"sys/devices/system/cpu/cpu{cpu}/topology/physical_package_id"] = f"{cpu % 16 // 8}\n"
    files["proc/1/status"] = "Name:\tsystemd\nCpus_allowed_list:\t0-31\nMems_allowed_list:\t0-1\n"
    written(tmp_path, **files)
    return tmp_path


def seen(root: Path) -> tuple[int | None, int, int, list[int], int]:
    """Cores of all and of each node, memory nodes, and GiB of memory, as plans take them."""
    tower = usable(read_tower(root))
    nodes = memory_nodes(tower)
    return tower["cores"], node_cores(tower, 0), node_cores(tower, 1), nodes, (tower["memory_bytes"] or 0) // GIB


def test_without_limits_it_is_the_machine(root: Path) -> None:
    tower = read_tower(root)
    assert usable(tower) == tower
    assert seen(root) == (16, 8, 8, [0, 1], 512)
    assert tower["allowed"] == {
        "whole": True, "cpus": list(range(32)), "cores": 16, "nodes": [0, 1], "quota": None, "memory_bytes": None,
    }  # fmt: skip


# Four whole cores of node 0 and two of node 1.
SIX = "0-3,16-19,8-9,24-25"


@pytest.mark.parametrize(
    "files",
    [
        # isolcpus=, CPUAffinity= of the manager, and the cpuset of a container.
        {"proc/1/status": f"Cpus_allowed_list:\t{SIX}\nMems_allowed_list:\t0-1\n"},
        {"sys/fs/cgroup/cpuset.cpus.effective": SIX},
        {f"{SLICE}/cpuset.cpus.effective": SIX},
        {"sys/fs/cgroup/cpuset/cpuset.effective_cpus": SIX},
        {"etc/systemd/system/llama.slice.d/few.conf": f"[Slice]\nAllowedCPUs={SIX}\n"},
        {"etc/systemd/system.control/llama.slice.d/50-AllowedCPUs.conf": "[Slice]\nAllowedCPUs=0-3 16-19 8-9 24-25\n"},
        {"etc/systemd/system/llama-server@.service.d/a.conf": "CPUAffinity=0-3 16-19\nCPUAffinity=8,9 24-25\n"},
        {"etc/systemd/system/llama.slice.d/a.conf": f"[Slice]\nAllowedCPUs=0\nAllowedCPUs=\nAllowedCPUs={SIX}\n"},
        # Together: what one allows and another does not is not allowed.
        {"proc/1/status": "Cpus_allowed_list:\t0-9,16-25\n", f"{SLICE}/cpuset.cpus.effective": "0-3,8-15,16-19,24-31"},
    ],
)
def test_threads_are_as_many_as_cores_that_may_be_used(root: Path, files: dict[str, str]) -> None:
    written(root, **files)
    assert seen(root) == (6, 4, 2, [0, 1], 512)


def test_a_login_with_fewer_cpus_says_nothing_of_a_service(root: Path) -> None:
    written(
        root, **{"proc/self/status": "Cpus_allowed_list:\t0\n", "sys/fs/cgroup/user.slice/cpuset.cpus.effective": "0"}
    )
    assert seen(root) == (16, 8, 8, [0, 1], 512)


def test_one_thread_of_each_core_is_as_many_cores(root: Path) -> None:
    written(root, **{"sys/fs/cgroup/cpuset.cpus.effective": "0-15"})
    assert seen(root) == (16, 8, 8, [0, 1], 512)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"sys/fs/cgroup/cpu.max": "400000 100000"}, 4),
        ({"sys/fs/cgroup/cpu.max": "max 100000", f"{SLICE}/cpu.max": "750000 100000"}, 7),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 2),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 16),
        ({"etc/systemd/system/llama.slice.d/q.conf": "[Slice]\nCPUQuota=50%\n"}, 1),
        ({"etc/systemd/system/llama.slice.d/q.conf": "[Slice]\nCPUQuota=6400%\n"}, 16),
    ],
)
def test_a_quota_keeps_no_more_threads_busy(root: Path, files: dict[str, str], cores: int) -> None:
    written(root, **files)
    assert seen(root)[0] == cores


@pytest.mark.parametrize(
    "files",
    [
        {"proc/1/status": "Cpus_allowed_list:\t0-31\nMems_allowed_list:\t1\n"},
        {"sys/fs/cgroup/cpuset.mems.effective": "1\n"},
        {"sys/fs/cgroup/cpuset/cpuset.effective_mems": "1\n"},
        {"etc/systemd/system/llama.slice.d/mems.conf": "[Slice]\nAllowedMemoryNodes=1\n"},
    ],
)
def test_a_node_that_may_not_be_used_is_in_no_plan(root: Path, files: dict[str, str]) -> None:
    """numactl refuses --interleave with one (numactl issues 67 and 223)."""
    written(root, **files)
    assert seen(root) == (16, 8, 8, [1], 256)
    tower = usable(read_tower(root))
    assert launch("interleave", tower).prefix == []
    assert policy_problem("interleave", tower, 200 * GIB) is None
    assert policy_problem("distribute", tower) is None, "with one node all policies are the same"


def test_of_three_nodes_the_two_that_may_be_used_are_interleaved(root: Path) -> None:
    written(
        root, **{"sys/devices/system/node/online": "0-2", "sys/devices/system/node/node2/meminfo": "MemTotal: 9 kB"}
    )
    written(root, **{"proc/1/status": "Mems_allowed_list:\t0-1\n"})
    assert launch("interleave", usable(read_tower(root))).prefix[-1] == "--interleave=0-1"


def test_threads_that_may_not_run_on_a_node_are_not_spread_over_it(root: Path) -> None:
    """llama.cpp counts all CPUs that /sys shows, and pins a thread to each in turn."""
    written(root, **{"proc/1/status": f"Cpus_allowed_list:\t{SIX}\n"})
    assert "may not use all CPUs and memory nodes" in str(policy_problem("distribute", usable(read_tower(root))))


def test_a_limit_of_memory_is_the_memory(root: Path) -> None:
    written(root, **{"sys/fs/cgroup/memory.max": f"{100 * GIB}\n"})
    assert seen(root)[4] == 100
    written(root, **{"sys/fs/cgroup/memory.max": "max\n"})
    assert seen(root)[4] == 512
    # Of a cgroup of version 1 without a limit.
    written(root, **{"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"})
    assert seen(root)[4] == 512


def test_what_an_earlier_version_read_is_taken_as_it_is(root: Path) -> None:
    tower: Any = {name: value for name, value in read_tower(root).items() if name != "allowed"}
    assert usable(tower) == tower
