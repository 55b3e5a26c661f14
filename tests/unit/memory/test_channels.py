# SPDX-License-Identifier: MIT
"""Which channels are populated: described boards, real machines, and vendors never seen."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.memory import channels as memory_population
from plugins.module_utils.memory.channels import RULES, describe, place_of
from plugins.module_utils.memory.cpus import cpu_memory
from plugins.module_utils.memory.drawing import draw
from plugins.module_utils.memory.smbios import Machine, read_table, read_text
from tests.boards.board import SCHEMES, structure, structures, table
from tests.unit.memory.test_smbios import BOARD

CORPUS = os.environ.get("SMBIOS_CORPUS")
needs_corpus = pytest.mark.skipif(not CORPUS, reason="SMBIOS_CORPUS names no directory of dumps of real machines")

CPUS = {
    "gigabyte-p-letter": ({"brand": "AMD EPYC 9654 96-Core Processor", "family": 25, "model": 17}, 2, 12, 1),
    "supermicro": ({"brand": "Intel(R) Xeon(R) Gold 6426Y", "family": 6, "model": 143}, 2, 8, 2),
    "agesa": ({"brand": "AMD EPYC 7402 24-Core Processor", "family": 23, "model": 49}, 2, 8, 1),
    "dell": ({"brand": "AMD EPYC 7352 24-Core Processor", "family": 23, "model": 49}, 2, 8, 2),
    "hpe": ({"brand": "INTEL(R) XEON(R) GOLD 6526Y", "family": 6, "model": 207}, 2, 8, 2),
    "lenovo": ({"brand": "AMD EPYC 7642 48-Core Processor", "family": 23, "model": 49}, 2, 8, 2),
    "tyan": ({"brand": "AMD EPYC 7413 24-Core Processor", "family": 25, "model": 1}, 2, 8, 1),
    "intel-client": ({"brand": "Intel(R) Core(TM) i7-10700K CPU @ 3.80GHz", "family": 6, "model": 165}, 1, 2, 2),
}


RYZEN: dict[str, Any] = {
    "cpu": {"brand": "AMD Ryzen 9 7950X 16-Core Processor", "family": 25, "model": 97},
    "sockets": 1,
    "channels_per_socket": 2,
    "slots_per_channel": 2,
}


def described(scheme: str = "gigabyte-p-letter", **changes: Any) -> dict[str, Any]:
    """memory_channels of a described board."""
    cpu, sockets, channels, slots = CPUS.get(scheme, CPUS["intel-client"])
    vendor = {"dell": "Dell Inc.", "hpe": "HPE", "lenovo": "Lenovo"}.get(scheme, "Some Vendor")
    board = BOARD | {
        "vendor": vendor,
        "scheme": scheme,
        "cpu": cpu,
        "sockets": sockets,
        "channels_per_socket": channels,
        "slots_per_channel": slots,
        "empty": [],
    }
    l3_domains = changes.pop("l3_domains", None)
    previous = changes.pop("previous", None)
    return describe(read_table(table(board | changes)), "dmi-table", l3_domains, previous)


def codes(found: dict[str, Any]) -> list[str]:
    return [entry["code"] for entry in found["advice"]]


@pytest.mark.parametrize("scheme", CPUS)
def test_a_full_board_has_every_channel_populated(scheme: str) -> None:
    found = described(scheme)
    channels = CPUS[scheme][2]
    assert [socket["channels_populated"] for socket in found["sockets"]] == [channels] * CPUS[scheme][1]
    assert all(socket["empty_channels"] == [] for socket in found["sockets"])
    assert found["confidence"] in ("certain", "high")


@pytest.mark.parametrize(
    ("scheme", "empty", "populated", "name"),
    [
        ("gigabyte-p-letter", ["DIMM_P1_R0"], [12, 11], "R"),
        ("supermicro", ["P2-DIMMC1", "P2-DIMMC2"], [8, 7], "C"),
        ("agesa", ["P1 CHANNEL D DIMM 0"], [8, 7], "D"),
        ("dell", ["B3", "B11"], [8, 7], "B3+11"),
        ("hpe", ["PROC 2 DIMM 5", "PROC 2 DIMM 6"], [8, 7], "PROC 2 DIMM 5+6"),
        ("lenovo", ["DIMM 17", "DIMM 18"], [8, 7], "DIMM 17+18"),
        ("tyan", ["P1_UMC2_CH_C0"], [8, 7], "C"),
        ("intel-client", ["ChannelB-DIMM0", "ChannelB-DIMM1"], [1], "B"),
    ],
)
def test_an_empty_channel_is_named_as_the_board_names_it(
    scheme: str, empty: list[str], populated: list[int], name: str
) -> None:
    found = described(scheme, empty=empty)
    assert [socket["channels_populated"] for socket in found["sockets"]] == populated
    assert found["sockets"][-1]["empty_channels"] == [name]
    assert "empty-channel" in codes(found)


def test_one_empty_slot_of_a_channel_with_two_leaves_the_channel_populated() -> None:
    assert [socket["channels_populated"] for socket in described("supermicro", empty=["P2-DIMMC2"])["sockets"]] == [
        8,
        8,
    ]


def test_an_absent_cpu_takes_its_slots_with_it() -> None:
    found = described(absent=[1])
    assert [socket["populated"] for socket in found["sockets"]] == [True, False]
    assert found["sockets"][0]["channels_populated"] == 12
    assert found["sockets"][1]["channels_populated"] is None
    assert "socket-empty" in codes(found)


def test_names_that_tell_nothing_give_bounds() -> None:
    found = described("nameless", empty=["DIMM2", "DIMM4"])
    assert found["sockets"][0]["channels_populated"] is None
    assert found["sockets"][0]["channels_bounds"] == [1, 2]
    assert found["confidence"] == "none"


def test_a_full_board_is_certain_whatever_the_names() -> None:
    assert described("nameless")["sockets"][0]["channels_populated"] == 2


def test_an_unknown_cpu_stays_unknown() -> None:
    found = described(cpu={"brand": "Mystery 9000", "family": 99, "model": 1})
    assert [socket["channels_total"] for socket in found["sockets"]] == [None, None]
    assert found["bandwidth"]["theoretical_gb_s"] is None


def test_an_engineering_sample_is_known_by_its_signature() -> None:
    sample = cpu_memory("AMD Eng Sample: 100-000000475-04", 25, 17)
    assert sample is not None
    assert sample.channels == 12
    assert cpu_memory("Some CPU", 25, 17) is None


def test_flash_is_no_memory() -> None:
    assert described(dimm=BOARD["dimm"] | {"type": "Flash"})["dimms"] == []


def test_a_clock_printed_as_a_rate_is_doubled() -> None:
    found = described(dimm=BOARD["dimm"] | {"configured_mts": 2400})
    assert {dimm["configured_mts"] for dimm in found["dimms"]} == {4800}


def test_bandwidth_of_the_threads_build() -> None:
    found = described(cpu=BOARD["cpu"], l3_domains=[4, 4])
    assert found["bandwidth"] == {
        "theoretical_gb_s": 921.6,
        "populated_gb_s": 921.6,
        "reachable_gb_s": [399.2, 528.0],
        "reachable_source": "estimate: 8 dies, each as measured on other CPUs of zen4",
        "limited_by": "ccd-links",
    }
    assert "ccd-links" in codes(found)


def test_twelve_dies_are_limited_by_the_channels() -> None:
    found = described(l3_domains=[12, 12])
    assert found["bandwidth"]["limited_by"] == "channels"
    assert "ccd-links" not in codes(found)


def test_the_most_costly_problem_comes_first() -> None:
    found = described(empty=["DIMM_P1_R0", "DIMM_P0_A0", "DIMM_P0_B0"])
    costs = [entry["gb_s"] for entry in found["advice"] if entry["severity"] == "problem"]
    assert costs == sorted(costs, reverse=True)
    assert found["advice"][0]["message"] == "Channels A, B of socket 0 are empty, which costs 76.8 GB/s."


def test_unbalanced_sockets_are_said() -> None:
    assert "unbalanced-sockets" in codes(described(empty=["DIMM_P1_R0"]))
    assert "unbalanced-sockets" not in codes(described())


def test_slow_dimms_are_advice_and_two_a_channel_are_not() -> None:
    slow = BOARD["dimm"] | {"rated_mts": 4800, "configured_mts": 4000}
    (entry,) = [entry for entry in described(dimm=slow)["advice"] if entry["code"] == "below-rated"]
    assert entry["severity"] == "advice"
    (entry,) = [entry for entry in described("supermicro", dimm=slow)["advice"] if entry["code"] == "below-rated"]
    assert entry["severity"] == "info"


def test_a_dimm_that_is_gone_since_last_time_is_named() -> None:
    found = described(empty=["DIMM_P1_R0"], previous=described())
    (entry,) = [entry for entry in found["advice"] if entry["code"] == "dimm-lost"]
    assert "DIMM_P1_R0" in entry["message"]


def test_errors_and_missing_memory_of_the_controllers_are_said() -> None:
    machine = read_table(table(BOARD | {"empty": []}))
    whole = 24 * 16 * 2**30
    fine = describe(machine, "dmi-table", edac={"size_bytes": whole, "corrected": 0, "uncorrected": 0})
    assert not {"memory-errors", "edac-disagrees"} & set(codes(fine))
    bad = describe(machine, "dmi-table", edac={"size_bytes": whole - 16 * 2**30 * 2, "corrected": 7, "uncorrected": 0})
    messages = {entry["code"]: entry["message"] for entry in bad["advice"]}
    assert "7 corrected" in messages["memory-errors"]
    assert messages["edac-disagrees"] == "The DIMMs have 384 GiB, the memory controllers use 352."


@pytest.mark.parametrize("scheme", [*CPUS, "nameless"])
def test_the_drawing_fits_a_terminal(scheme: str) -> None:
    lines = draw(described(scheme)).splitlines()
    assert lines
    assert max(map(len, lines)) <= 80


def test_the_drawing_marks_the_empty_channel() -> None:
    assert "R:[--]" in draw(described(empty=["DIMM_P1_R0"]))


def named(*names: tuple[str, str], cpu: str, sockets: int = 1, **changes: Any) -> dict[str, Any]:
    """memory_channels of a machine whose slots all have a DIMM and these names."""
    board = BOARD | {"vendor": "Some Vendor", "cpu": {"brand": cpu, "family": 6, "model": 0}, "scheme": "names"}
    board |= {"sockets": sockets, "channels_per_socket": len(names) // sockets, "slots_per_channel": 1, "empty": []}
    SCHEMES["names"] = lambda s, c, d, n: names[s * n + c]
    return describe(read_table(table(board | changes)), "dmi-table")


def counts(found: dict[str, Any]) -> list[int | None]:
    return [socket["channels_populated"] for socket in found["sockets"]]


GOLD = "Intel(R) Xeon(R) Gold 6426Y"
CORE = "Intel(R) Core(TM) i7-10700K CPU @ 3.80GHz"


def test_two_slots_of_one_name_are_no_answer() -> None:
    found = named(*[("DIMM_A1", "NODE 1")] * 2, *[("DIMM_B1", "NODE 1")] * 2, cpu=GOLD)
    assert counts(found) != [2]
    assert found["rule"] != "letter-node-socket"


def test_a_channel_with_more_slots_than_boards_have_is_no_answer() -> None:
    slots = [*((f"DIMM_A{slot}", "BANK 0") for slot in range(5)), ("DIMM_B0", "BANK 0")]
    found = named(*slots, cpu=CORE, empty=["DIMM_A2", "DIMM_A3", "DIMM_A4", "DIMM_B0"])
    assert counts(found) == [None]
    assert found["confidence"] == "none"


def test_numbers_that_are_not_in_the_order_of_their_records_are_no_answer() -> None:
    numbers = [1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15, 8, 16]
    slots = [(f"CPU0-DIMM{number}", "CPU0") for number in numbers]
    found = named(*slots, cpu=GOLD, empty=["CPU0-DIMM1", "CPU0-DIMM2"])
    assert (counts(found), found["sockets"][0]["channels_bounds"]) == ([None], [7, 8])


def test_letters_are_sockets_only_on_dells_servers() -> None:
    slots = [("DIMM_A1", ""), ("DIMM_A2", ""), ("DIMM_B1", ""), ("DIMM_B2", "")]
    slots = [(locator, "BANK") for locator, _bank in slots]
    desktop = named(*slots, cpu=CORE, vendor="Dell Inc.", empty=["DIMM_B1", "DIMM_B2"])
    assert (counts(desktop), desktop["sockets"][0]["empty_channels"]) == ([1], ["B"])


def test_banks_that_repeat_channels_give_way_to_letters() -> None:
    slots = [
        (f"DIMM{letter}1", f"P0_Node{index // 2 % 2}_Channel{index % 2}_Dimm0")
        for index, letter in enumerate("ABCDEFGH")
    ]
    assert counts(named(*slots, cpu=GOLD)) == [8]


@pytest.mark.parametrize(
    ("vendor", "product"),
    [
        ("VMware, Inc.", "VMware7,1"),
        ("QEMU", "Standard PC (Q35 + ICH9, 2009)"),
        ("Microsoft Corporation", "Virtual Machine"),
        ("Amazon EC2", "m5.large"),
        ("Google", "Google Compute Engine"),
    ],
)
def test_a_guest_knows_nothing_of_channels(vendor: str, product: str) -> None:
    found = described("gigabyte-p-letter", vendor=vendor, product=product)
    assert counts(found) == [None, None]
    assert [socket["channels_total"] for socket in found["sockets"]] == [None, None]
    assert found["confidence"] == "none"


def test_bare_metal_of_a_cloud_is_a_machine() -> None:
    assert counts(described(vendor="Amazon EC2", product="m7a.metal-48xl")) == [12, 12]


def test_sockets_are_ranked_by_their_numbers() -> None:
    records = structures(BOARD)
    cpus = [data for kind, data in records if kind == 4]
    others = [data for kind, data in records if kind != 4]
    assert counts(describe(read_table(b"".join(cpus[::-1] + others)), "dmi-table")) == [12, 11]
    assert counts(describe(read_table(b"".join(cpus[:1] * 2 + others)), "dmi-table")) == [12, 11]


def test_more_sockets_than_any_machine_are_a_guests() -> None:
    assert set(counts(described(sockets=64, channels_per_socket=1, scheme="hpe"))) == {None}


def test_soldered_memory_counts_by_its_width() -> None:
    chip = BOARD["dimm"] | {"type": "LPDDR5", "data_width": 16}
    slots = [("Motherboard", "Not Specified")] * 8
    found = named(*slots, cpu="13th Gen Intel(R) Core(TM) i7-1355U", dimm=chip)
    assert (counts(found), found["rule"], found["confidence"]) == ([2], "width", "high")
    half = named(*slots[:4], cpu="13th Gen Intel(R) Core(TM) i7-1355U", dimm=chip)
    assert (counts(half), half["confidence"]) == ([1], "low")


def test_memory_in_the_package_and_persistent_memory_are_on_no_channel() -> None:
    assert described(dimm=BOARD["dimm"] | {"type": "HBM2"})["dimms"] == []


def test_dimms_that_share_a_channel_are_told_where_to_go() -> None:
    found = described("agesa", **RYZEN, empty=["P0 CHANNEL B DIMM 0", "P0 CHANNEL B DIMM 1"])
    (entry,) = [entry for entry in found["advice"] if entry["code"] == "empty-channel"]
    assert entry["fix"] == "Move the DIMM in P0 CHANNEL A DIMM 1, which shares a channel, to P0 CHANNEL B DIMM 0."
    assert entry["gb_s"] == 38.4


def test_a_dimm_in_another_slot_than_the_others_is_told_where_to_go() -> None:
    empty = [f"P1-DIMM{letter}2" for letter in "ABCDEFG"] + ["P1-DIMMH1"]
    found = described("supermicro", empty=empty)
    (entry,) = [entry for entry in found["advice"] if entry["code"] == "wrong-slot"]
    assert "P1-DIMMH2" in entry["message"]
    assert entry["fix"] == "Move it to P1-DIMMH1."
    assert "wrong-slot" not in codes(described("supermicro"))


def test_channels_with_more_dimms_than_others_are_said() -> None:
    assert "unbalanced-channels" in codes(described("supermicro", empty=["P1-DIMMA2"]))
    assert "unbalanced-channels" not in codes(described("supermicro"))


def test_where_slots_are_numbered_through_either_slot_may_be_the_first() -> None:
    empty = [f"PROC 1 DIMM {number}" for number in (1, 2, 3, 5, 7, 10, 12, 14, 16)]
    found = described("hpe", empty=empty)
    assert "wrong-slot" not in codes(found)
    (entry,) = [entry for entry in found["advice"] if entry["code"] == "empty-channel"]
    assert entry["message"].startswith("Channel PROC 1 DIMM 1+2 of socket 0 is empty")
    assert entry["fix"].endswith("PROC 1 DIMM 1 or PROC 1 DIMM 2.")


def test_a_speed_that_is_the_cpus_is_no_loss() -> None:
    dimm = BOARD["dimm"] | {"rated_mts": 5600, "configured_mts": 4800}
    (entry,) = [entry for entry in described(dimm=dimm)["advice"] if entry["code"] == "below-rated"]
    assert (entry["severity"], entry["gb_s"]) == ("info", 0.0)
    assert "4800 MT/s is what EPYC 9004 (Genoa) is made for" in entry["fix"]


def test_what_runs_faster_than_the_cpu_is_made_for_is_no_loss() -> None:
    dimm = BOARD["dimm"] | {"rated_mts": 8800, "configured_mts": 8000}
    cpu = {"brand": "Intel(R) Xeon(R) 6787P", "family": 6, "model": 173}
    found = described("agesa", cpu=cpu, channels_per_socket=8, slots_per_channel=1, dimm=dimm)
    (entry,) = [entry for entry in found["advice"] if entry["code"] == "below-rated"]
    assert (entry["severity"], entry["gb_s"]) == ("info", 0.0)
    assert entry["fix"].startswith("That is more than the 6400 MT/s")


@pytest.mark.parametrize(
    ("kind", "rated", "printed", "speed"),
    [
        ("DDR5", 5600, 2800, 5600),
        ("DDR5", 5600, 2400, 4800),
        ("DDR5", 2400, 2400, 4800),
        ("DDR5", 4800, 3600, 3600),
        ("DDR4", 3200, 1600, 3200),
        ("DDR4", 3200, 1200, 2400),
        ("DDR4", 2400, 1333, 1333),
        ("DDR3", 1333, 1066, 1066),
    ],
)
def test_a_clock_is_told_from_a_rate(kind: str, rated: int, printed: int, speed: int) -> None:
    """It is half of what the DIMM is made for, or less than any DIMM of its kind runs at."""
    dimm = BOARD["dimm"] | {"type": kind, "rated_mts": rated, "configured_mts": printed}
    assert {dimm["configured_mts"] for dimm in described(dimm=dimm)["dimms"]} == {speed}


def test_empty_channels_without_a_speed_have_no_price() -> None:
    found = described(dimm=BOARD["dimm"] | {"rated_mts": 0, "configured_mts": 0}, empty=["DIMM_P1_R0"])
    (entry,) = [entry for entry in found["advice"] if entry["code"] == "empty-channel"]
    assert entry["message"] == "Channel R of socket 1 is empty."


@pytest.mark.parametrize(
    ("brand", "alone"),
    [
        ("AMD EPYC 9354 32-Core Processor", False),
        ("AMD EPYC 9354P 32-Core Processor", True),
        ("Intel(R) Xeon(R) Gold 6414U", True),
    ],
)
def test_a_cpu_that_works_alone_only_gets_no_second(brand: str, alone: bool) -> None:
    found = described(absent=[1], cpu=BOARD["cpu"] | {"brand": brand})
    (entry,) = [entry for entry in found["advice"] if entry["code"] == "socket-empty"]
    assert ("takes two others" in entry["fix"]) == alone


def test_an_earlier_result_may_be_anything() -> None:
    results: list[dict[str, Any]] = [
        {},
        {"dimms": None},
        {"dimms": [None, 3, {}]},
        {"dimms": [{"populated": True}] * 99},
    ]
    for result in results:
        described(previous=result)


def test_what_dies_let_through_is_unknown_without_their_number() -> None:
    bandwidth = described(cpu=BOARD["cpu"])["bandwidth"]
    assert (bandwidth["populated_gb_s"], bandwidth["reachable_gb_s"]) == (921.6, None)
    assert bandwidth["limited_by"] == "unknown"


@pytest.mark.parametrize(
    ("brand", "channels"),
    [
        ("Intel(R) Core(TM) i7-5960X CPU @ 3.00GHz", 4),
        ("Intel(R) Core(TM) i7-7740X CPU @ 4.30GHz", 2),
        ("Intel(R) Core(TM) i9-9900K CPU @ 3.60GHz", 2),
        ("Intel(R) Core(TM) i9-9900X CPU @ 3.50GHz", 4),
        ("Intel(R) Core(TM) i7 CPU         920  @ 2.67GHz", 3),
        ("Intel(R) Core(TM) i7 CPU         980  @ 3.33GHz", 3),
        ("Intel(R) Core(TM) i7 CPU       X 920  @ 2.00GHz", 2),
        ("Intel(R) Atom(TM) CPU D525   @ 1.80GHz", 1),
        ("Intel(R) Celeron(R) CPU  N2840  @ 2.16GHz", 2),
        ("AMD A9-9425 RADEON R5, 5 COMPUTE CORES 2C+3G", 1),
        ("AMD E-350 Processor", 1),
        ("Intel(R) N100", 1),
        ("Intel(R) Xeon(R) D-2146NT CPU @ 2.30GHz", 4),
        ("Intel(R) Xeon(R) CPU D-1541 @ 2.10GHz", 2),
        ("INTEL(R) XEON(R) GOLD 5520+", 8),
        ("Intel(R) Xeon(R) Gold 6348H CPU @ 2.30GHz", 6),
        ("Intel(R) Xeon(R) Gold 6348 CPU @ 2.60GHz", 8),
        ("Intel(R) Xeon(R) Platinum 8369HB CPU @ 3.30GHz", 6),
        ("Intel(R) Xeon(R) 6369P", 2),
        ("Intel(R) Xeon(R) 6726P-B", None),
        ("Intel(R) Xeon(R) Platinum 9242 CPU @ 2.30GHz", 12),
        ("Intel(R) Xeon(R) w5-2465X", 4),
        ("Intel(R) Xeon(R) w9-3495X", 8),
        ("Intel(R) Xeon(R) 6980P", 12),
        ("AMD EPYC 8434P 48-Core Processor", 6),
        ("AMD EPYC 9V64H", None),
        ("AMD EPYC 9754 128-Core Processor", 12),
        ("AMD EPYC 4564P 16-Core Processor", 2),
        ("AMD Ryzen Threadripper 7960X 24-Cores", 4),
        ("AMD Ryzen Threadripper PRO 7965WX 24-Cores", 8),
        ("AMD Ryzen 3 7320U with Radeon Graphics", 1),
        ("AMD EPYC-Rome Processor", None),
        ("AMD EPYC Processor (with IBPB)", None),
        ("QEMU Virtual CPU version 2.5+", None),
        ("Cortex-A76 4", None),
        ("", None),
    ],
)
def test_channels_of_a_cpu(brand: str, channels: int | None) -> None:
    memory = cpu_memory(brand)
    assert (memory.channels if memory else None) == channels


@pytest.mark.parametrize(
    ("brand", "speed"),
    [
        ("Intel(R) Xeon(R) CPU E5-2620 v4 @ 2.10GHz", 2133),
        ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", 2400),
        ("Intel(R) Xeon(R) CPU E5-2630L v3 @ 1.80GHz", 1866),
        ("Intel(R) Xeon(R) CPU E5-2609 v3 @ 1.90GHz", 1600),
        ("Intel(R) Xeon(R) CPU           E5620  @ 2.40GHz", 1066),
        ("Intel(R) Xeon(R) Gold 5122 CPU @ 3.60GHz", 2666),
        ("Intel(R) Xeon(R) Gold 5118 CPU @ 2.30GHz", 2400),
        ("Intel(R) Xeon(R) Gold 5222 CPU @ 3.80GHz", 2933),
        ("Intel(R) Xeon(R) Gold 6262V CPU @ 1.90GHz", 2400),
        ("Intel(R) Xeon(R) Gold 6330 CPU @ 2.00GHz", 2933),
        ("Intel(R) Xeon(R) Gold 6330N CPU @ 2.20GHz", 2666),
        ("Intel(R) Xeon(R) Gold 6342 CPU @ 2.80GHz", 3200),
        ("INTEL(R) XEON(R) GOLD 6530", 4800),
        ("INTEL(R) XEON(R) GOLD 6542Y", 5200),
        ("AMD Ryzen 7 7700X 8-Core Processor", 5200),
        ("AMD Ryzen 7 7730U with Radeon Graphics", None),
    ],
)
def test_the_fastest_memory_of_a_cpu(brand: str, speed: int | None) -> None:
    memory = cpu_memory(brand)
    assert memory is not None
    assert memory.mts_1dpc == speed


def test_every_rule_reads_its_own_example() -> None:
    for rule in RULES:
        locator, _, bank = rule.example.split(" … ")[0].partition("~")
        device = read_table(
            structure(17, 1, bytes(0x10 - 4) + b"\1\2", locator.strip(), bank.strip() or "Not Specified")
        ).devices[0]
        assert place_of(rule, device) or rule.name == "letter-many-numbers", rule.name


PROFILES = Path(__file__).resolve().parents[2] / "virtual_tower/profiles"


@pytest.mark.parametrize(
    ("profile", "expected"), [("mz73-lm1-full", [12, 12]), ("mz73-lm1", [12, 11]), ("desktop", [1])]
)
def test_the_boards_of_the_virtual_towers(profile: str, expected: list[int]) -> None:
    board = yaml.safe_load((PROFILES / f"{profile}.yml").read_text())["board"]
    found = describe(read_table(table(board)), "dmi-table")
    assert (counts(found), found["confidence"]) == (expected, "certain")


# --- real machines ---------------------------------------------------------------------------------------


def machines() -> list[tuple[dict[str, str], Machine]]:
    assert CORPUS
    found = []
    with Path(CORPUS, "INDEX.tsv").open(encoding="utf-8") as index:
        for row in csv.DictReader(index, delimiter="\t"):
            path = Path(CORPUS, row["file"])
            text = path.suffix == ".txt"
            found.append((row, read_text(path.read_text(errors="replace")) if text else read_table(path.read_bytes())))
    return found


def verdict(row: dict[str, str], found: dict[str, Any]) -> str:
    """right, null, wrong, or unknown where the machine's answer is not known."""
    expected = row["expected_populated_channels"].split(",")
    if expected == ["?"]:
        return "unknown"
    counts = [socket["channels_populated"] for socket in found["sockets"] if socket["populated"]]
    if len(counts) < len(expected):
        # The index counts sockets without a CPU there.
        counts = [socket["channels_populated"] if socket["populated"] else 0 for socket in found["sockets"]]
    if None in counts:
        return "null"
    return "right" if [str(count) for count in counts] == expected else "wrong"


@needs_corpus
def test_no_real_machine_is_answered_wrongly(capsys: pytest.CaptureFixture[str]) -> None:
    results = []
    for row, machine in machines():
        found = describe(machine, "dump")
        counts = [socket["channels_populated"] for socket in found["sockets"] if socket["populated"]]
        results.append(
            (
                verdict(row, found),
                row["file"],
                counts,
                row["expected_populated_channels"],
                found["rule"],
                found["confidence"],
            )
        )
    with capsys.disabled():
        print()
        for verdict_, file, counts, expected, rule, confidence in results:
            print(f"{verdict_:<8} {file[:60]:<60} {','.join(map(str, counts)):<12} {expected:<12} {rule} {confidence}")
        print(
            {kind: sum(1 for result in results if result[0] == kind) for kind in ("right", "null", "wrong", "unknown")}
        )
    assert [result for result in results if result[0] == "wrong"] == []
    known = [result for result in results if result[0] != "unknown"]
    assert sum(1 for result in known if result[0] == "right") >= 0.95 * len(known)


@needs_corpus
def test_text_and_table_of_a_machine_give_the_same_answer() -> None:
    assert CORPUS
    for row, machine in machines():
        twin = Path(CORPUS, "derived", Path(row["file"]).with_suffix(".bin").name)
        if row["file"].endswith(".txt") and twin.exists():
            answers = [describe(each, "dump") for each in (machine, read_table(twin.read_bytes()))]
            first, second = ([socket["channels_populated"] for socket in answer["sockets"]] for answer in answers)
            assert first == second, row["file"]


@needs_corpus
def test_a_vendor_never_seen_is_answered_rightly_or_not_at_all(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leave one vendor out: without the rules that only its machines need, its machines must not be wrong."""
    corpus = machines()
    rules = memory_population.RULES
    used: dict[str, set[str]] = {}
    for row, machine in corpus:
        vendor = row["file"].split("_", 1)[0]
        used.setdefault(str(describe(machine, "dump")["rule"]), set()).add(vendor)
    table_ = {}
    for vendor in sorted({row["file"].split("_", 1)[0] for row, _machine in corpus}):
        monkeypatch.setattr(
            memory_population, "RULES", tuple(rule for rule in rules if used.get(rule.name) != {vendor})
        )
        verdicts = [
            verdict(row, describe(machine, "dump")) for row, machine in corpus if row["file"].startswith(f"{vendor}_")
        ]
        table_[vendor] = {kind: verdicts.count(kind) for kind in ("right", "null", "wrong", "unknown")}
    with capsys.disabled():
        print()
        for vendor, counts in table_.items():
            print(f"{vendor:<14} {counts}")
    assert {vendor for vendor, counts in table_.items() if counts["wrong"]} == set()
