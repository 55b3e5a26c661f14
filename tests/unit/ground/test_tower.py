# SPDX-License-Identifier: MIT
"""What tower.py makes of /proc and /sys, on a small tree written here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.disks import disk_of
from plugins.module_utils.tower import edac, kernel_words, l3_domains, read_tower
from tests.boards.machine import files, write

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


def test_what_a_saved_file_says_instead_of_numbers_is_nothing(tmp_path: Path) -> None:
    """Copies of /sys may hold the complaint of the command that made them."""
    node = "sys/devices/system/node/node1"
    complaint = "cat: 0-x: Permission denied"
    broken = write(tmp_path, files({}) | {f"{node}/distance": complaint, f"{node}/cpulist": "0-x"})
    assert read_tower(broken)["nodes"][1]["distances"] == []
    assert read_tower(broken)["nodes_per_socket"] is None


def test_the_file_system_is_that_of_the_nearest_mount(tree: Path) -> None:
    lines = [
        "21 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw",
        r"30 21 0:50 / /srv/my\040models rw - zfs pool/models rw",
        "31 21 0:51 / /srv/models rw - autofs systemd-1 rw",
        "32 31 0:52 / /srv/models rw - nfs4 nas:/models rw,vers=4.2",
        "no mount at all",
    ]
    (tree / "proc/self").mkdir()
    (tree / "proc/self/mountinfo").write_text("\n".join(lines))
    (tree / "srv/models").mkdir(parents=True)
    (tree / "srv/my models").mkdir()
    kinds = {path: disk_of(path, tree)["filesystem"] for path in ("/var/x", "/srv/models/a", "/srv/my models", "/srv")}
    assert kinds == {"/var/x": "ext4", "/srv/models/a": "nfs4", "/srv/my models": "zfs", "/srv": "ext4"}
    assert disk_of("/proc/self")["filesystem"] == "proc"


def test_the_disk_of_a_directory_that_is_not_there_yet_is_that_of_its_parent(tmp_path: Path) -> None:
    present = disk_of(str(tmp_path))
    absent = disk_of(str(tmp_path / "models/not/yet"))
    assert absent["bytes"] == present["bytes"]
    assert absent["device"] == present["device"]
    assert absent["free_bytes"] > 0


def test_nodes_caches_and_threads_of_a_machine_with_four_nodes_a_socket(tmp_path: Path) -> None:
    tower = read_tower(write(tmp_path, files({"nodes": 4})))
    assert tower["nodes_per_socket"] == 4
    caches = tower["l3"] or []
    assert caches[:2] == [
        {"package": 0, "cpus": "0-3,32-35", "size_bytes": 32 * 2**20},
        {"package": 0, "cpus": "4-7,36-39", "size_bytes": 32 * 2**20},
    ]
    assert len(caches) == 8
    assert (tower["smt_control"], tower["x2apic"], tower["architecture"]) == ("on", True, "x86_64")


def test_one_node_over_two_sockets_is_none_of_each(tmp_path: Path) -> None:
    assert read_tower(write(tmp_path, files({"nodes": 0})))["nodes_per_socket"] == 0


@pytest.mark.parametrize("missing", ["node3/cpulist", "cpu5/topology/physical_package_id", "cpu/online"])
def test_a_topology_with_a_hole_is_unknown(missing: str, tmp_path: Path) -> None:
    whole = files({"nodes": 4})
    tower = read_tower(write(tmp_path, {path: text for path, text in whole.items() if not path.endswith(missing)}))
    assert tower["nodes_per_socket"] is None


def test_caches_are_unknown_where_a_cpu_shows_none(tmp_path: Path) -> None:
    whole = files({"threads": 1})
    rest = {path: text for path, text in whole.items() if "/cpu4/cache/" not in path}
    root = write(tmp_path, rest)
    assert read_tower(root)["l3"] is None
    assert l3_domains(root / "sys") is None


def test_memory_without_cpus_is_no_node_of_a_socket(tmp_path: Path) -> None:
    write(tmp_path, files({}))
    cxl = {"online": "0-2", "node2/cpulist": "", "node2/meminfo": "Node 2 MemTotal: 1048576 kB"}
    write(tmp_path, {f"sys/devices/system/node/{name}": text for name, text in cxl.items()})
    tower = read_tower(tmp_path)
    assert (len(tower["nodes"]), tower["nodes_per_socket"]) == (3, 1)


def test_firmware_frequency_and_iommu(tmp_path: Path) -> None:
    write(tmp_path, files({"frequency": {"driver": "amd-pstate-epp", "governor": "powersave", "epp": "power"}}))
    write(
        tmp_path,
        {
            "sys/devices/system/cpu/amd_pstate/status": "active",
            "sys/kernel/iommu_groups/0/type": "DMA-FQ",
            "sys/kernel/iommu_groups/1/type": "identity",
        },
    )
    tower = read_tower(tmp_path)
    assert tower["bios"] == {"vendor": "American Megatrends International, LLC.", "version": "R10_F22", "date": None}
    assert tower["system"] == {"vendor": "Giga Computing", "product": "R283-Z90-AAE1-000"}
    assert tower["frequency"] == {
        "driver": "amd-pstate-epp",
        "governor": "powersave",
        "governors": ["performance", "powersave"],
        "energy_performance_preference": "power",
        "boost": True,
        "amd_pstate": "active",
        "intel_pstate": None,
    }
    assert tower["iommu"] == {"units": 1, "groups": 2, "types": ["DMA-FQ", "identity"]}


def test_turbo_of_intel_pstate_is_the_other_way_around(tmp_path: Path) -> None:
    whole = files({"frequency": {"driver": "intel_pstate", "governor": "powersave"}})
    del whole["sys/devices/system/cpu/cpufreq/boost"]
    write(tmp_path, whole | {"sys/devices/system/cpu/intel_pstate/no_turbo": "1"})
    frequency = read_tower(tmp_path)["frequency"]
    assert frequency is not None
    assert (frequency["boost"], frequency["intel_pstate"]) == (False, None)


def test_hsmp_shows_the_clocks_of_each_socket(tmp_path: Path) -> None:
    assert read_tower(tmp_path)["hsmp"] is None
    ports = {
        f"sys/devices/platform/AMDI0097:0{socket}/{name}": text
        for socket in (0, 1)
        for name, text in (("protocol_version", "7"), ("fclk_input", "2000"), ("mclk_input", "2400"))
    }
    write(tmp_path, ports | {"dev/hsmp": ""})
    assert read_tower(tmp_path)["hsmp"] == {"protocol": 7, "fabric_mhz": [2000, 2000], "memory_mhz": [2400, 2400]}


@pytest.mark.parametrize(
    ("changes", "guest"),
    [
        ({}, False),
        ({"flags": "lm hypervisor"}, True),
        ({"system": ["QEMU", "Standard PC"], "arm": True}, True),
        ({"system": ["Amazon EC2", "c7g.metal"], "arm": True, "maker": "Amazon EC2"}, False),
        ({"system": ["Amazon EC2", "c7g.large"], "arm": True}, True),
    ],
)
def test_guests_are_known_by_flag_or_name(changes: dict[str, Any], guest: bool, tmp_path: Path) -> None:
    assert read_tower(write(tmp_path, files(changes)))["hypervisor"] is guest


def test_nodes_without_cpus_are_of_another_kind_unless_cpus_are_offline(tmp_path: Path) -> None:
    whole = files({"nodes": 2, "threads": 1, "cores": 8, "smt_control": "notsupported"})
    system = "sys/devices/system"
    whole |= {f"{system}/node/node{node}/cpulist": "" for node in (1, 3)}
    whole |= {f"{system}/cpu/present": "0-15", f"{system}/cpu/online": "0-3,8-11"}
    assert read_tower(write(tmp_path / "offline", whole))["nodes_per_socket"] is None
    whole[f"{system}/cpu/present"] = "0-3,8-11"
    assert read_tower(write(tmp_path / "memory", whole))["nodes_per_socket"] == 1


def test_caches_are_not_counted_while_cores_are_offline_and_second_threads_are_no_cores(tmp_path: Path) -> None:
    system = "sys/devices/system/cpu"
    first = files({"threads": 1, "cores": 8}) | {f"{system}/present": "0-31"}
    some = write(tmp_path / "maxcpus", first | {f"{system}/smt/control": "on"})
    assert l3_domains(some / "sys") is None
    assert read_tower(some)["l3"] is None
    nosmt = write(tmp_path / "nosmt", first | {f"{system}/smt/control": "forceoff"})
    assert l3_domains(nosmt / "sys") == [2, 2]
    assert len(read_tower(nosmt)["l3"] or []) == 4


@pytest.mark.parametrize(
    ("path", "text", "kind"),
    [
        (".dockerenv", "", "docker"),
        ("run/.containerenv", "", "podman"),
        ("run/systemd/container", "lxc", "lxc"),
        ("run/secrets/kubernetes.io/serviceaccount/namespace", "default", "kubernetes"),
        ("proc/1/cgroup", "12:cpu:/kubepods/burstable/pod1/2", "kubernetes"),
        ("proc/1/cgroup", "0::/init.scope", None),
    ],
)
def test_containers_are_known_by_what_their_managers_leave(
    path: str, text: str, kind: str | None, tmp_path: Path
) -> None:
    assert read_tower(write(tmp_path, {path: text}))["container"] == kind


def test_what_nothing_tells_is_unknown(tmp_path: Path) -> None:
    nothing = read_tower(tmp_path)
    for key in ("hypervisor", "sockets", "l3", "nodes_per_socket", "x2apic", "iommu", "hsmp", "architecture"):
        assert nothing[key] is None, key


def test_memory_controllers_are_added_up(tmp_path: Path) -> None:
    controllers = {
        f"sys/devices/system/edac/mc/mc{number}/{name}": value
        for number in (0, 1)
        for name, value in (("size_mb", "196608"), ("ce_count", "3"), ("ue_count", str(number)))
    }
    assert edac(tmp_path / "sys") is None
    found = edac(write(tmp_path, controllers) / "sys")
    assert found == {"size_bytes": 384 * 2**30, "corrected": 6, "uncorrected": 1}


@pytest.mark.parametrize(
    ("command_line", "words"),
    [
        (None, None),
        ("BOOT_IMAGE=/vmlinuz root=UUID=1b2c ro quiet", ""),
        ("rd.luks.key=s3cret numa=off intel_pstate=no_hwp mem=192G", "numa=off intel_pstate=no_hwp mem=192G"),
        ("hugepagesz=1G hugepages=0:150,1:150 transparent-hugepage=never amd_iommu=off iommu=pt",) * 2,
        ('ds=nocloud;h="numa=off s3cret" nosmt auth=numa=s3cret', "nosmt"),
        ("nosmt -- numa=s3cret", "nosmt"),
        ("-- numa=s3cret", ""),
    ],
)
def test_of_the_kernel_command_line_only_what_matters_is_told(command_line: str | None, words: str | None) -> None:
    assert kernel_words(command_line) == words
