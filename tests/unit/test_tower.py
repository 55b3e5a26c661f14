# SPDX-License-Identifier: MIT
"""What tower.py makes of /proc and /sys, on a small tree written here."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.module_utils.tower import disk_of, format_cpu_list, parse_cpu_list, parse_cpuinfo, read_tower, selected

TREE = {
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian GNU/Linux 12"\n',
    "proc/meminfo": "MemTotal:        8000000 kB\nSwapTotal:             0 kB\nHugePages_Total:       0\n",
    "proc/cpuinfo": "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9124\n"
    "stepping\t: 1\nflags\t\t: fpu avx2 avx512f\n\nprocessor\t: 1\nmodel name\t: another\n",
    "proc/cmdline": "quiet\n",
    "proc/sys/kernel/osrelease": "6.1.0-40-amd64\n",
    "proc/sys/kernel/numa_balancing": "1\n",
    "proc/sys/vm/swappiness": "60\n",
    "proc/sys/vm/zone_reclaim_mode": "0\n",
    "run/systemd/system/": "",
    "sys/class/dmi/id/board_vendor": "Giga Computing\n",
    "sys/class/dmi/id/board_name": "MZ73-LM1-000\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/kernel/mm/transparent_hugepage/defrag": "always defer defer+madvise [madvise] never\n",
    "sys/devices/system/cpu/online": "0-3\n",
    "sys/devices/system/cpu/smt/active": "1\n",
    "sys/devices/system/node/online": "0-1\n",
    "sys/devices/system/node/node0/cpulist": "0-1\n",
    "sys/devices/system/node/node0/distance": "10 32\n",
    "sys/devices/system/node/node0/meminfo": "Node 0 MemTotal:        4000000 kB\nNode 0 MemFree:  1000000 kB\n",
    "sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages": "7\n",
    "sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages": "5\n",
    "sys/devices/system/node/node1/cpulist": "2-3\n",
    "sys/devices/system/node/node1/distance": "32 10\n",
    "sys/devices/system/node/node1/meminfo": "Node 1 MemTotal:        4000000 kB\nNode 1 MemFree:  2000000 kB\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two sockets of one core with two threads each, two nodes."""
    files = dict(TREE)
    for cpu in range(4):
        topology = f"sys/devices/system/cpu/cpu{cpu}/topology"
        files[f"{topology}/physical_package_id"] = f"{cpu // 2}\n"
        files[f"{topology}/core_cpus_list"] = "0-1\n" if cpu < 2 else "2-3\n"
    for name, text in files.items():
        path = tmp_path / name
        if name.endswith("/"):
            path.mkdir(parents=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_topology_counts_cores_threads_and_sockets(tree: Path) -> None:
    tower = read_tower(tree)
    assert (tower["cpus"], tower["cores"], tower["sockets"], tower["smt_active"]) == (4, 2, 2, True)


def test_nodes_have_memory_cpus_distances_and_pools(tree: Path) -> None:
    first, second = read_tower(tree)["nodes"]
    assert first == {
        "node": 0,
        "cpus": [0, 1],
        "memory_bytes": 4000000 * 1024,
        "free_bytes": 1000000 * 1024,
        "distances": [10, 32],
        "hugepages": {"2048": {"total": 7, "free": 5}},
    }
    assert second["free_bytes"] == 2000000 * 1024


def test_operating_system_kernel_and_board(tree: Path) -> None:
    tower = read_tower(tree)
    assert tower["os"]["id"] == "debian"
    assert tower["os"]["systemd"] is True
    assert tower["kernel"] == "6.1.0-40-amd64"
    assert tower["board"] == {"vendor": "Giga Computing", "name": "MZ73-LM1-000"}
    assert tower["container"] is None


def test_running_settings(tree: Path) -> None:
    tower = read_tower(tree)
    assert tower["sysctl"]["kernel.numa_balancing"] == 1
    assert tower["thp"] == {"enabled": "madvise", "defrag": "madvise"}
    assert tower["frequency"] is None


def test_an_empty_directory_answers_with_the_same_keys_and_no_guess(tree: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    nothing = read_tower(empty)
    assert nothing.keys() == read_tower(tree).keys()
    assert nothing["memory_bytes"] is None
    assert nothing["nodes"] == []
    assert nothing["os"]["id"] is None


def test_only_the_first_processor_of_cpuinfo_is_read() -> None:
    assert parse_cpuinfo(TREE["proc/cpuinfo"]) == {
        "vendor": "AuthenticAMD",
        "model": "AMD EPYC 9124",
        "family": 25,
        "model_number": 17,
        "stepping": 1,
        "flags": ["avx2", "avx512f", "fpu"],
    }


@pytest.mark.parametrize(
    ("text", "numbers"), [("0-2,8", [0, 1, 2, 8]), ("", []), ("5", [5]), ("0-1\n", [0, 1]), ("0,2,4-5", [0, 2, 4, 5])]
)
def test_kernel_lists_are_read_and_written(text: str, numbers: list[int]) -> None:
    assert parse_cpu_list(text) == numbers
    assert format_cpu_list(numbers) == text.strip()


def test_the_chosen_word_is_the_bracketed_one() -> None:
    assert selected("always [madvise] never") == "madvise"
    assert selected("nothing chosen") is None
    assert selected(None) is None


def test_the_disk_of_a_directory_that_is_not_there_yet_is_that_of_its_parent(tmp_path: Path) -> None:
    present = disk_of(str(tmp_path))
    absent = disk_of(str(tmp_path / "models/not/yet"))
    assert absent["bytes"] == present["bytes"]
    assert absent["device"] == present["device"]
    assert absent["free_bytes"] > 0
