# SPDX-License-Identifier: MIT
"""Advice on the BIOS, from files of machines of many kinds: exactly what each shows, and nothing it does not."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugins.module_utils.advice.bios_rules import (
    advise,
    holds,
    rule_problems,
)
from plugins.module_utils.advice.document import SettingAdvice
from plugins.module_utils.advice.facts import FACTS, facts, vendor_of
from plugins.module_utils.memory.channels import describe
from plugins.module_utils.memory.smbios import read_table
from plugins.module_utils.service.numa_policy import MAX_CPUS, MAX_NODES
from plugins.module_utils.tower import l3_domains, read_tower
from tests.boards.machine import DEFAULTS, GENOA, files, write

REPO = Path(__file__).resolve().parents[3]
TABLE: Any = yaml.safe_load((REPO / "catalog/bios.yml").read_text())
# What the BIOS of an EPYC server is asked for without being seen.
UNSEEN = ["unseen-memory-interleaving", "unseen-apbdis", "unseen-determinism", "unseen-df-cstates"]
UNSEEN_2S = [*UNSEEN, "unseen-xgmi"]


def board(**changes: Any) -> dict[str, Any]:
    return DEFAULTS["board"] | changes


def epyc(number: str, cores: int) -> dict[str, Any]:
    return GENOA | {"brand": f"AMD EPYC {number} {cores}-Core Processor"}


ONE_SOCKET = board(sockets=1, product="MZ33-AR0-000")
GENOA_8 = board(cpu=epyc("9554", 64))
GENOA_12 = board(cpu=epyc("9654", 96))
XEON = board(
    vendor="Dell Inc.",
    product="0VRF3T",
    scheme="dell",
    channels_per_socket=8,
    cpu={"brand": "INTEL(R) XEON(R) PLATINUM 8558", "family": 6, "model": 207, "manufacturer": "GenuineIntel"},
    dimm={"size_gib": 64, "type": "DDR5", "rated_mts": 5600, "configured_mts": 5200, "ranks": 2},
)
DELL = {"system": ["Dell Inc.", "PowerEdge R760"], "bios": ["Dell Inc.", "2.1.5"]}
SLOW = copy.deepcopy(DEFAULTS["board"])
SLOW["dimm"]["configured_mts"] = 3600
DESKTOP: dict[str, Any] = {
    "board": board(
        vendor="ASUSTeK COMPUTER INC.",
        product="ROG STRIX X670E-E GAMING WIFI",
        scheme="agesa",
        sockets=1,
        channels_per_socket=2,
        cpu={"brand": "AMD Ryzen 9 7950X 16-Core Processor", "family": 25, "model": 97},
        dimm=DEFAULTS["board"]["dimm"] | {"rated_mts": 5200, "configured_mts": 5200, "registered": False},
    ),
    "system": ["ASUS", "System Product Name"],
    "l3": 8,
    "memory_gib": 32,
}
ALTRA: dict[str, Any] = {
    "board": board(
        vendor="Giga Computing",
        product="MP32-AR1-00",
        sockets=1,
        channels_per_socket=8,
        cpu={"brand": "Ampere(R) Altra(R) Processor", "family": 0, "model": 0},
        dimm=DEFAULTS["board"]["dimm"] | {"type": "DDR4", "rated_mts": 3200, "configured_mts": 3200},
    ),
    "arm": True,
    "cores": 80,
    "threads": 1,
    "l3": 80,
    "frequency": {"driver": "cppc_cpufreq", "governor": "performance"},
}
GUEST: dict[str, Any] = {
    "board": DESKTOP["board"] | {"vendor": "QEMU", "product": "Standard PC (Q35 + ICH9, 2009)", "scheme": "nameless"},
    "system": ["QEMU", "Standard PC (Q35 + ICH9, 2009)"],
    "bios": ["SeaBIOS", "1.16"],
    "flags": "fpu lm avx2 hypervisor",
    "frequency": None,
    "nodes": 4,
    "cores": 8,
    "l3": 8,
    "threads": 1,
}
TURIN = board(cpu={"brand": "AMD EPYC 9965 192-Core Processor", "family": 26, "model": 17})
RAPHAEL = {"brand": "AMD EPYC 4564P 16-Core Processor", "family": 25, "model": 97}
THREADRIPPER = board(
    sockets=1,
    channels_per_socket=8,
    cpu={"brand": "AMD Ryzen Threadripper PRO 7995WX 96-Cores", "family": 25, "model": 24},
)
XEON_6 = XEON | {
    "channels_per_socket": 12,
    "cpu": {"brand": "Intel(R) Xeon(R) 6980P", "family": 6, "model": 173, "manufacturer": "GenuineIntel"},
    "dimm": {"size_gib": 64, "type": "DDR5", "rated_mts": 6400, "configured_mts": 6400, "ranks": 2},
}
E7 = XEON | {
    "sockets": 4,
    "channels_per_socket": 4,
    "cpu": XEON["cpu"] | {"brand": "Intel(R) Xeon(R) CPU E7-8890 v4 @ 2.20GHz", "model": 79},
    "dimm": DEFAULTS["board"]["dimm"],
}
PASSIVE = {"driver": "acpi-cpufreq", "governor": "powersave"}
ACTIVE = {"driver": "amd-pstate-epp", "governor": "powersave", "epp": "balance_performance"}

# Fewer cores than the real ones have, for every CPU is five files.
# Kind of machine -> how it differs from a good 2-socket EPYC 9124, and the codes of all advice.
KINDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "two sockets, NPS1": ({}, ["ccd-links", *UNSEEN_2S]),
    "two sockets, NPS0": ({"nodes": 0}, ["ccd-links", "one-node", *UNSEEN_2S]),
    "two sockets, NPS2": ({"nodes": 2}, ["ccd-links", "nodes-per-socket", *UNSEEN_2S]),
    "two sockets, NPS4": ({"nodes": 4}, ["ccd-links", "nodes-per-socket", *UNSEEN_2S]),
    "one socket, NPS1": ({"board": ONE_SOCKET}, ["ccd-links", *UNSEEN]),
    "one socket, NPS4": ({"board": ONE_SOCKET, "nodes": 4}, ["ccd-links", "nodes-per-socket", *UNSEEN]),
    "four L3 caches as nodes": ({"nodes": "l3", "near": 11}, ["ccd-links", "l3-as-numa", *UNSEEN_2S]),
    "four L3 caches or NPS4, whose distances nobody knows": (
        {"nodes": 4, "near": 20},
        ["ccd-links", "nodes-per-socket-or-l3", *UNSEEN_2S],
    ),
    "eight L3 caches as nodes on one socket": (
        {"board": GENOA_8 | {"sockets": 1}, "cores": 16, "l3": 2, "nodes": "l3", "near": 11},
        ["l3-as-numa", *UNSEEN],
    ),
    "eight L3 caches as nodes": (
        {"board": GENOA_8, "cores": 16, "l3": 2, "nodes": "l3", "near": 11},
        ["ggml-nodes", "l3-as-numa", *UNSEEN_2S],
    ),
    "twelve L3 caches as nodes": (
        {"board": GENOA_12, "cores": 24, "l3": 2, "nodes": "l3", "near": 11},
        ["ggml-nodes", "l3-as-numa", *UNSEEN_2S],
    ),
    "twelve L3 caches, NPS4": (
        {"board": GENOA_12, "cores": 24, "l3": 2, "nodes": 4},
        ["nodes-per-socket", *UNSEEN_2S],
    ),
    "520 CPUs, SMT on": ({"board": GENOA_8, "cores": 130, "l3": 13}, ["ggml-cpus", *UNSEEN_2S]),
    "the same, SMT off": ({"board": GENOA_8, "cores": 130, "l3": 13, "threads": 1}, UNSEEN_2S),
    "SMT off": ({"threads": 1}, ["ccd-links", *UNSEEN_2S]),
    "numa=off": ({"nodes": 0, "command_line": "quiet numa=off"}, ["ccd-links", "numa-off", *UNSEEN_2S]),
    "numa=off, one socket": (
        {"board": ONE_SOCKET, "nodes": 1, "command_line": "numa=off"},
        ["ccd-links", "numa-off-one-socket", *UNSEEN],
    ),
    "numa=noacpi": ({"nodes": 0, "command_line": "numa=noacpi"}, ["ccd-links", "numa-off", *UNSEEN_2S]),
    "numa=off after numa=fake": (
        {"nodes": 0, "command_line": "numa=fake=2 numa=off"},
        ["ccd-links", "numa-off", *UNSEEN_2S],
    ),
    "numa=nohmat, which leaves the nodes": (
        {"nodes": 4, "command_line": "numa=nohmat"},
        ["ccd-links", "nodes-per-socket", *UNSEEN_2S],
    ),
    "numa=off in a guest": (GUEST | {"nodes": 0, "command_line": "numa=off"}, ["guest", "numa-off-guest"]),
    "numa=fake=4 in a container": ({"container": "lxc", "command_line": "numa=fake=4"}, ["ccd-links", "container"]),
    "numa=fake=4": ({"nodes": 2, "command_line": "numa=fake=4"}, ["ccd-links", "numa-fake", *UNSEEN_2S]),
    "governor of a Xeon without hardware P-states": (
        {"board": XEON, "l3": 16, "frequency": {"driver": "intel_pstate", "governor": "powersave"}, **DELL},
        ["below-rated", "governor-without-preference", "unseen-upi"],
    ),
    "intel_pstate=no_hwp": (
        {
            "board": XEON,
            "l3": 16,
            "frequency": {"driver": "intel_pstate", "governor": "powersave"},
            "flags": "fpu lm hwp",
            "command_line": "intel_pstate=no_hwp",
            **DELL,
        },
        ["below-rated", "governor-without-preference", "unseen-upi"],
    ),
    "intel_pstate, balanced preference": (
        {"board": XEON, "l3": 16, "frequency": ACTIVE | {"driver": "intel_pstate"}, "flags": "fpu lm hwp", **DELL},
        ["below-rated", "energy-preference", "unseen-upi"],
    ),
    "intel_cpufreq, schedutil": (
        {"board": XEON, "l3": 16, "frequency": {"driver": "intel_cpufreq", "governor": "schedutil"}, **DELL},
        ["below-rated", "governor", "unseen-upi"],
    ),
    "powersave governor": ({"frequency": PASSIVE}, ["ccd-links", "governor", *UNSEEN_2S]),
    "balanced preference": ({"frequency": ACTIVE}, ["ccd-links", "energy-preference", *UNSEEN_2S]),
    "preference for speed": ({"frequency": ACTIVE | {"epp": "performance"}}, ["ccd-links", *UNSEEN_2S]),
    "boost off": ({"boost": False}, ["ccd-links", "boost-off", *UNSEEN_2S]),
    "slow memory": ({"board": SLOW}, ["below-rated", "ccd-links", *UNSEEN_2S]),
    "an empty channel": (
        {"board": board(empty=["DIMM_P1_R0"])},
        ["empty-channel", "unbalanced-sockets", "ccd-links", *UNSEEN_2S],
    ),
    "a node without memory": (
        {"nodes": 4, "empty_nodes": [5]},
        ["ccd-links", "nodes-per-socket", "empty-node", *UNSEEN_2S],
    ),
    "a node whose memory the command line leaves out": (
        {"empty_nodes": [1], "command_line": "mem=192G"},
        ["ccd-links", *UNSEEN_2S],
    ),
    "CXL memory": ({"memory_only_nodes": 1}, ["ccd-links", "memory-only-nodes", *UNSEEN_2S]),
    "a node whose CPUs the command line leaves out": (
        {"memory_only_nodes": 1, "command_line": "nr_cpus=64"},
        ["ccd-links", *UNSEEN_2S],
    ),
    "Xeon Max, HBM in flat mode, SNC4": (
        {
            "board": XEON | {"cpu": XEON["cpu"] | {"brand": "Intel(R) Xeon(R) CPU Max 9480", "model": 143}},
            "l3": 16,
            "nodes": 4,
            "memory_only_nodes": 8,
            **DELL,
        },
        ["below-rated", "ggml-nodes", "memory-only-nodes", "sub-numa-clusters", "unseen-upi"],
    ),
    "four Xeons of an unknown kind, cluster on die": (
        {"board": E7, "l3": 8, "nodes": 2, **DELL},
        ["sub-numa-clusters", "unknown-cpu"],
    ),
    "Xeon, a node without memory": (
        {"board": XEON, "l3": 16, "empty_nodes": [1], **DELL},
        ["below-rated", "empty-node", "unseen-upi"],
    ),
    "four Xeons": ({"board": XEON | {"sockets": 4}, "l3": 16, **DELL}, ["below-rated", "unseen-upi"]),
    "eight Xeons, SNC2": (
        {"board": XEON | {"sockets": 8}, "l3": 16, "nodes": 2, **DELL},
        ["ggml-nodes", "below-rated", "sub-numa-clusters", "unseen-upi"],
    ),
    "Xeon 6, SNC3": ({"board": XEON_6, "cores": 18, "l3": 18, "nodes": 3}, ["sub-numa-clusters", "unseen-upi"]),
    "Xeon 6, SNC3, each with an L3 cache": (
        {"board": XEON_6, "cores": 18, "l3": 6, "nodes": 3},
        ["sub-numa-clusters", "unseen-upi"],
    ),
    "dense Turin, SMT on": ({"board": TURIN, "cores": 192, "l3": 16}, ["ggml-cpus", *UNSEEN_2S]),
    "dense Turin, SMT off": ({"board": TURIN, "cores": 192, "l3": 16, "threads": 1}, UNSEEN_2S),
    "dense Genoa, L3 caches as nodes": (
        {"board": board(cpu=epyc("9754", 128) | {"model": 160}), "cores": 32, "l3": 4, "nodes": "l3", "near": 11},
        ["ggml-nodes", "ccd-links", "l3-as-numa", *UNSEEN_2S],
    ),
    "Threadripper PRO, NPS4": (
        {"board": THREADRIPPER, "cores": 96, "l3": 8, "nodes": 4},
        ["nodes-per-socket", *UNSEEN],
    ),
    "an EPYC for desktops": (
        DESKTOP | {"board": DESKTOP["board"] | {"cpu": RAPHAEL}},
        [],
    ),
    "Xeon, SNC off": ({"board": XEON, "l3": 16, **DELL}, ["below-rated", "unseen-upi"]),
    "Xeon, SNC2": ({"board": XEON, "l3": 16, "nodes": 2, **DELL}, ["below-rated", "sub-numa-clusters", "unseen-upi"]),
    "Xeon, SNC4": ({"board": XEON, "l3": 16, "nodes": 4, **DELL}, ["below-rated", "sub-numa-clusters", "unseen-upi"]),
    "Xeon, node interleaving": (
        {"board": XEON, "l3": 16, "nodes": 0, **DELL},
        ["below-rated", "node-interleaving", "unseen-upi"],
    ),
    "two dies in a socket": (
        {
            "board": XEON
            | {"cpu": XEON["cpu"] | {"brand": "Intel(R) Xeon(R) Platinum 9242 CPU @ 2.30GHz", "model": 85}},
            "l3": 16,
            "nodes": 2,
        },
        ["below-rated", "unseen-upi"],
    ),
    "four dies that are nodes": (
        {
            "board": board(
                channels_per_socket=8, cpu={"brand": "AMD EPYC 7601 32-Core Processor", "family": 23, "model": 1}
            ),
            "nodes": 4,
        },
        [],
    ),
    "two EPYC 7001, interleaved over the sockets": (
        {
            "board": board(
                channels_per_socket=8, cpu={"brand": "AMD EPYC 7601 32-Core Processor", "family": 23, "model": 1}
            ),
            "nodes": 0,
        },
        ["node-interleaving"],
    ),
    "a CPU of the future": (
        {"board": board(cpu={"brand": "AMD EPYC 9H66 256-Core Processor", "family": 26, "model": 80}), "nodes": 4},
        ["unknown-cpu"],
    ),
    "a metal instance": (
        {"system": ["Amazon EC2", "m7a.metal-48xl"], "maker": "Amazon EC2"},
        ["ccd-links", *UNSEEN_2S],
    ),
    "a CPU of another maker": (
        {
            "board": board(cpu={"brand": "Hygon C86 7285", "family": 24, "model": 0, "manufacturer": "HygonGenuine"}),
            "nodes": 4,
        },
        ["other-cpu"],
    ),
    "desktop": (DESKTOP, []),
    "desktop, L3 caches as nodes": (DESKTOP | {"nodes": "l3", "near": 11}, ["l3-as-numa"]),
    "desktop, powersave": (DESKTOP | {"frequency": ACTIVE | {"epp": "balance_power"}}, ["energy-preference"]),
    "guest": (GUEST, ["guest"]),
    "guest with too many nodes": (GUEST | {"cores": 16, "nodes": 16}, ["ggml-nodes", "guest"]),
    "container": ({"container": "podman", "nodes": 4}, ["ccd-links", "container"]),
    "ARM": (ALTRA, ["other-cpu"]),
    "ARM, four nodes": (ALTRA | {"nodes": 4}, ["other-cpu"]),
    "255 CPUs": (
        {"board": board(cpu=epyc("9754", 128), sockets=1), "cores": 255, "threads": 1, "l3": 8},
        ["cpus-255", *UNSEEN],
    ),
    "255 CPUs, Xeon": (
        {"board": XEON | {"sockets": 1}, "cores": 255, "threads": 1, "l3": 255, **DELL},
        ["below-rated", "cpus-255-intel"],
    ),
}


def read(root: Path) -> tuple[Any, Any]:
    """What tower_info and memory_channels_info make of files below a directory."""
    dmi = root / "sys/firmware/dmi/tables/DMI"
    channels = describe(read_table(dmi.read_bytes()), "dmi-table", l3_domains(root / "sys")) if dmi.exists() else None
    return read_tower(root), channels


def advice(root: Path, most: str = "info") -> list[Any]:
    return advise(*read(root), TABLE, most)


def only(found: list[Any], code: str) -> Any:
    (entry,) = (entry for entry in found if entry["code"] == code)
    return entry


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_machine_gets_exactly_its_advice(kind: str, tmp_path: Path) -> None:
    changes, codes = KINDS[kind]
    found = advice(write(tmp_path, files(changes)))
    shown = "\n".join(f"{entry['severity']} {entry['code']}: {entry['message']}" for entry in found)
    assert sorted(entry["code"] for entry in found) == sorted(codes), shown
    order = [["problem", "advice", "info"].index(entry["severity"]) for entry in found]
    assert order == sorted(order)
    keys = SettingAdvice.__required_keys__
    assert all(entry.keys() == keys for entry in found), shown
    assert all(entry["why"] and entry["source"] for entry in found), shown
    assert all("None" not in str(entry["message"]) and "{" not in str(entry["fix"]) for entry in found), shown


def test_advice_says_what_is_seen_what_to_set_where_and_why(tmp_path: Path) -> None:
    found = only(advice(write(tmp_path, files({"nodes": 4}))), "nodes-per-socket")
    assert found["severity"] == "advice"
    assert found["message"] == "Each socket is 4 memory nodes (NPS4), each with its part of the channels."
    assert found["current"] == "NPS4"
    assert found["recommended"] == "NPS1"
    assert found["where"] == "AMD CBS > DF Common Options > Memory Addressing > NUMA nodes per socket"
    assert "ROCm" in found["source"]
    assert "10.9" in found["worth"]


def test_what_linux_cannot_see_is_said_to_be_unseen(tmp_path: Path) -> None:
    found = advice(write(tmp_path, files({})))
    unseen = [entry for entry in found if entry["code"].startswith("unseen-")]
    assert {(entry["visible"], entry["current"]) for entry in unseen} == {(False, None)}
    assert all(entry["visible"] for entry in found if entry not in unseen)
    assert {entry["severity"] for entry in unseen} == {"info"}


def test_the_menus_are_those_of_the_vendor(tmp_path: Path) -> None:
    found = only(advice(write(tmp_path, files({"board": XEON, "l3": 16, "nodes": 2, **DELL}))), "sub-numa-clusters")
    assert found["where"] == "Sub NUMA Cluster (SubNumaCluster)"


def test_a_xeon_is_sent_to_no_menu_of_amd(tmp_path: Path) -> None:
    """Boards of one vendor have CPUs of both makers."""
    board_of_gigabyte = XEON | {"vendor": "Giga Computing", "sockets": 8}
    found = advice(write(tmp_path, files({"board": board_of_gigabyte, "cores": 34, "l3": 17, "nodes": 2})))
    assert {"ggml-nodes", "ggml-cpus", "sub-numa-clusters"} <= {entry["code"] for entry in found}
    where = [entry["where"] for entry in found if entry["where"]]
    assert all("AMD" not in place or "on Intel" in place for place in where), where


def test_a_machine_that_is_not_known_to_be_real_is_told_apart_from_a_good_one(tmp_path: Path) -> None:
    """Boards with a device tree have no DMI names, and ARM has no flag of guests."""
    names = {path: text for path, text in files(ALTRA).items() if "/dmi/" not in path}
    assert [entry["code"] for entry in advice(write(tmp_path, names))] == ["unknown-machine"]


def test_dimms_that_are_faster_than_their_cpu_leave_nothing_to_set(tmp_path: Path) -> None:
    fast = board(dimm=DEFAULTS["board"]["dimm"] | {"rated_mts": 5600})
    found = only(advice(write(tmp_path, files({"board": fast}))), "below-rated")
    assert found["severity"] == "info"
    assert "nothing is lost" in found["fix"]
    assert (found["recommended"], found["where"], found["worth"]) == (None, None, None)


def test_nps_is_no_fact_where_others_than_the_bios_make_the_nodes(tmp_path: Path) -> None:
    for name, changes in (
        ("off", {"nodes": 0, "command_line": "numa=off"}),
        ("fake", {"nodes": 2, "command_line": "numa=fake=4"}),
        ("guest", {"nodes": 2, "flags": "fpu lm hypervisor"}),
    ):
        assert facts(read_tower(write(tmp_path / name, files(changes))))["nps"] is None
    assert facts(read_tower(write(tmp_path / "nps2", files({"nodes": 2}))))["nps"] == 2


def test_an_unknown_vendor_gets_the_usual_name_of_a_setting(tmp_path: Path) -> None:
    nobody = {"board": board(vendor="Nobody Ltd"), "system": ["Nobody Ltd", "X"], "bios": ["Nobody Ltd", "1"]}
    found = only(advice(write(tmp_path, files({"nodes": 4, **nobody}))), "nodes-per-socket")
    assert found["where"] == "NUMA nodes per socket (NPS)"


@pytest.mark.parametrize(
    ("names", "vendor"),
    [
        (("Dell Inc.", "Dell Inc.", "Dell Inc."), "dell"),
        (("HPE", "HPE", "HPE"), "hpe"),
        (("Lenovo", "Lenovo", "Lenovo"), "lenovo"),
        (("Supermicro", "Supermicro", "American Megatrends International, LLC."), "supermicro"),
        (("GIGABYTE", "GIGABYTE", "GIGABYTE"), "gigabyte"),
        (("To Be Filled By O.E.M.", "ASRockRack", "American Megatrends International, LLC."), "ami"),
        (("Nobody", None, None), None),
        ((None, None, None), None),
    ],
)
def test_vendors_are_known_by_their_names(names: tuple[str | None, ...], vendor: str | None) -> None:
    system, maker, firmware = names
    tower: Any = {"system": {"vendor": system}, "board": {"vendor": maker}, "bios": {"vendor": firmware}}
    assert vendor_of(tower) == vendor


def test_the_limits_of_ggml_are_those_that_refuse_a_tower(tmp_path: Path) -> None:
    for nodes, codes in ((MAX_NODES, []), (MAX_NODES + 1, ["ggml-nodes"])):
        root = write(tmp_path / str(nodes), files(GUEST | {"cores": nodes, "nodes": nodes, "l3": nodes}))
        assert [entry["code"] for entry in advice(root, "problem")] == codes
    for cpus, codes in ((MAX_CPUS, []), (MAX_CPUS + 1, ["ggml-cores"])):
        root = write(tmp_path / str(cpus), files(GUEST | {"cores": cpus, "nodes": 1, "l3": cpus}))
        assert [entry["code"] for entry in advice(root, "problem")] == codes
    whole = files(GUEST | {"cores": MAX_CPUS + 1, "nodes": 1, "l3": MAX_CPUS + 1})
    unknown = {path: text for path, text in whole.items() if "/smt/" not in path}
    assert [entry["code"] for entry in advice(write(tmp_path / "smt", unknown), "problem")] == ["ggml-cpus-unknown-smt"]


def test_memory_advice_is_explained_and_priced(tmp_path: Path) -> None:
    found = only(advice(write(tmp_path, files({"board": SLOW}))), "below-rated")
    assert found["message"] == "24 DIMMs rated 4800 MT/s run at 3600 MT/s."
    assert found["worth"] == "230 GB/s"
    assert found["recommended"] == "Auto, or the highest"
    assert found["where"] == "Memory speed, or memory target speed"


def test_less_severe_advice_can_be_left_out(tmp_path: Path) -> None:
    root = write(tmp_path, files({"nodes": 4}))
    assert {entry["severity"] for entry in advice(root, "advice")} == {"advice"}
    assert advice(root, "problem") == []


# --- The table -----------------------------------------------------------------------------------------


def test_the_table_is_well_formed() -> None:
    assert rule_problems(TABLE) == []


GOOD: dict[str, Any] = {
    "code": "a",
    "severity": "info",
    "when": ["nodes > 8"],
    "message": "m",
    "fix": "f",
    "why": "w",
    "source": "s",
}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"severity": "grave"}, "Rule 'a': its severity is none of problem, advice, info."),
        ({"when": ["nodes above 8"]}, "Rule 'a': 'nodes above 8' is not a fact, an operator and a value."),
        ({"when": ["nodes > many"]}, "Rule 'a': 'nodes > many' compares with what is no number."),
        ({"when": ["knots > 8"]}, "Rule 'a': there is no fact knots."),
        ({"message": "{cpus} CPUs"}, "Rule 'a': its message names {cpus}, which no condition makes sure of."),
        ({"setting": "nps"}, "Rule 'a': there is no setting nps."),
        ({"reason": "x"}, "Rule 'a' has reason, which is none of"),
    ],
)
def test_a_rule_that_is_wrong_is_refused_with_what_is_wrong(change: dict[str, Any], problem: str) -> None:
    assert any(found.startswith(problem) for found in rule_problems({"rules": [GOOD | change]}))


def test_a_rule_without_a_key_is_refused() -> None:
    assert rule_problems({"rules": [{key: GOOD[key] for key in GOOD if key != "fix"}]}) == ["Rule 'a' has no fix."]


@pytest.mark.parametrize(("told", "visible"), [({"current": "not visible from Linux"}, True), ({}, False)])
def test_a_rule_that_tells_what_is_now_sees_it_whatever_its_words(
    told: dict[str, str], visible: bool, tmp_path: Path
) -> None:
    tower = read_tower(write(tmp_path, files({"nodes": 4})))
    rule: Any = GOOD | {"when": ["nodes is known"]} | told
    (found,) = advise(tower, None, {"rules": [rule]})
    assert (found["visible"], found["current"]) == (visible, told.get("current"))


def test_two_rules_of_one_code_are_refused() -> None:
    assert "Rule 'a' is there 2 times." in rule_problems({"rules": [GOOD, GOOD]})


@pytest.mark.parametrize(
    ("condition", "value", "true"),
    [
        ("nodes > 8", 9, True), ("nodes > 8", 8, False), ("nodes < 2", 1, True), ("nodes is 2", 2, True),
        ("governor is not performance", "powersave", True), ("governor is not performance", "performance", False),
        ("governors contains performance", "performance,powersave", True), ("nps in 2, 4", 4, True),
        ("nps in 2, 4", 1, False), ("governors contains power", "powersave", False),
        ("cpu is known", "AMD", True), ("cpu is unknown", "AMD", False), ("cpu is unknown", None, True),
        ("nodes > 8", None, False), ("nodes < 2", None, False), ("governor is not performance", None, False),
        ("nps in 2, 4", None, False), ("cpu is known", None, False),
    ],
)  # fmt: skip
def test_conditions(condition: str, value: Any, true: bool) -> None:
    known = dict.fromkeys(FACTS) | {condition.split()[0]: value}
    assert holds(condition, known) is true


# --- What is missing is never claimed ------------------------------------------------------------------

# These say that something was not seen, or that the machine tells little.
OF_IGNORANCE = {"nodes-per-socket-or-l3", "unknown-cpu", "other-cpu", "guest", "container", "unknown-machine"}


@given(kind=st.sampled_from(sorted(kind for kind in KINDS if KINDS[kind][0].get("nodes") != 16)), data=st.data())
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_with_files_missing_nothing_new_is_claimed(kind: str, data: st.DataObject) -> None:
    """Files vanish one by one or by what they are called, as on kernels and in containers that lack a thing."""
    changes, _codes = KINDS[kind]
    whole = files(changes | {"cores": 8, "l3": 2, "threads": 1})
    with tempfile.TemporaryDirectory() as base:
        full = {entry["code"] for entry in advice(write(Path(base) / "whole", whole))}
        names = data.draw(st.sets(st.sampled_from(sorted({name.rsplit("/", 1)[1] for name in whole})), max_size=5))
        paths = data.draw(st.sets(st.sampled_from(sorted(whole)), max_size=20))
        # Only the container's own mark says that it is one.
        gone = {path for path in whole if path in paths or path.rsplit("/", 1)[1] in names - {"container"}}
        rest = {path: text for path, text in whole.items() if path not in gone - {"run/systemd/container"}}
        part = {entry["code"] for entry in advice(write(Path(base) / "part", rest | {"proc/version": "Linux"}))}
    # Without the table of DIMMs, or with fewer caches, there is less to say of bandwidth, too.
    assert part - full - OF_IGNORANCE == set(), sorted(set(whole) - set(rest))


def test_an_empty_directory_gets_no_advice(tmp_path: Path) -> None:
    assert advice(tmp_path) == []
    assert facts(read_tower(tmp_path)) == dict.fromkeys(FACTS)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "proc/1/status",
            "Cpus_allowed_list:\t0-7\nMems_allowed_list:\t0\n",
            "memory nodes 0 of 2",
        ),
        ("sys/fs/cgroup/llama.slice/cpu.max", "1600000 100000", "16 of 32 cores here, and memory nodes 0-1 of 2"),
        ("proc/1/status", "Cpus_allowed_list:\t0-9999\nMems_allowed_list:\t0-1\n", None),
    ],
)
def test_what_services_may_not_use_is_said(name: str, text: str, said: str | None, tmp_path: Path) -> None:
    write(tmp_path, files({}))
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
    entries = advise(read_tower(tmp_path), None, TABLE)
    found = [entry["message"] for entry in entries if entry["code"] == "kept-back"]
    assert len(found) == (said is not None)
    assert said is None or said in found[0]
