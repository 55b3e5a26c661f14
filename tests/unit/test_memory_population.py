# SPDX-License-Identifier: MIT
"""Which channels are populated: described boards, real machines, and vendors never seen."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import memory_population
from ansible.module_utils.cpu_memory import cpu_memory
from ansible.module_utils.memory_drawing import draw
from ansible.module_utils.memory_population import describe
from ansible.module_utils.smbios import Machine, read_table, read_text

from tests.boards.board import table
from tests.unit.test_smbios import BOARD

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
        ("dell", ["B3", "B11"], [8, 7], "B3+B11"),
        ("hpe", ["PROC 2 DIMM 5", "PROC 2 DIMM 6"], [8, 7], "PROC 2 DIMM 5+PROC 2 DIMM 6"),
        ("lenovo", ["DIMM 17", "DIMM 18"], [8, 7], "DIMM 17+DIMM 18"),
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
