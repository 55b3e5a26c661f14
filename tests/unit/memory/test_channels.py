# SPDX-License-Identifier: MIT
"""Which channels are populated: described boards, real machines, and vendors never seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.memory import slot_names
from plugins.module_utils.memory.channels import describe
from plugins.module_utils.memory.document import MemoryChannels
from plugins.module_utils.memory.smbios import read_table
from tests.boards.board import BOARD, LETTERS, structures, table
from tests.boards.corpus import CORPUS, machines, needs_corpus
from tests.boards.described import CPUS, codes, counts, described, named


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


def test_an_unknown_cpu_stays_unknown() -> None:
    found = described(cpu={"brand": "Mystery 9000", "family": 99, "model": 1})
    assert [socket["channels_total"] for socket in found["sockets"]] == [None, None]
    assert found["bandwidth"]["theoretical_gb_s"] is None


def test_flash_is_no_memory() -> None:
    assert described(dimm=BOARD["dimm"] | {"type": "Flash"})["dimms"] == []


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


def test_a_guest_that_shows_its_hosts_names_knows_nothing_of_channels() -> None:
    slots = [(f"RAM slot #{number}", f"RAM slot #{number}") for number in range(4)]
    empty = [f"RAM slot #{number} RAM slot #{number}" for number in (1, 2, 3)]
    cpu = "Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz"
    found = named(*slots, cpu=cpu, vendor="Dell Inc.", product="PowerEdge R740", empty=empty)
    assert (counts(found), found["confidence"]) == ([None], "none")


def test_a_machine_that_lists_no_dimm_has_some_all_the_same() -> None:
    """Tables without memory devices, or with empty ones only: none is in use, says the list, and it is wrong."""
    board = BOARD | {"sockets": 1, "empty": []}
    records = [data for kind, data in structures(board) if kind != 17]
    for data in (b"".join(records), table(board | {"empty": [f"DIMM_P0_{letter}0" for letter in LETTERS[:12]]})):
        found = describe(read_table(data), "dmi-table")
        assert (counts(found), found["confidence"]) == ([None], "none")


def without_cpus(board: dict[str, Any]) -> MemoryChannels:
    """What a table says that lists no CPU, as some of ARM."""
    return describe(read_table(b"".join(data for kind, data in structures(board) if kind != 4)), "dmi-table")


def test_a_table_without_cpus_is_answered_where_names_tell_them() -> None:
    board = BOARD | {"channels_per_socket": 8, "empty": ["DIMM_P1_P0"]}
    found = without_cpus(board)
    assert (counts(found), found["confidence"]) == ([8, 7], "high")
    letters = BOARD | {"sockets": 1, "channels_per_socket": 8}
    letters["scheme"] = lambda s, c, d, n: (f"DDR4_{LETTERS[c]}1", f"Bank {c + 1}")
    letters["empty"] = ["DDR4_C1"]
    assert counts(without_cpus(letters | {"product": "ALTRAD8UD-1L2T"})) == [7]
    # Of any other board the letters may be those of several CPUs.
    assert without_cpus(letters)["sockets"] == []


@pytest.mark.parametrize(
    ("product", "brand", "channels"),
    [
        ("TRX50 AERO D", "AMD Ryzen Threadripper 9970X 32-Cores", 4),
        ("TRX50 AERO D", "AMD Ryzen Threadripper PRO 9975WX 32-Cores", 4),
        ("Pro WS WRX90E-SAGE SE", "AMD Ryzen Threadripper PRO 9975WX 32-Cores", 8),
    ],
)
def test_the_board_decides_how_many_channels_of_a_threadripper_are_wired(
    product: str, brand: str, channels: int
) -> None:
    slots = [("DIMM 0", f"P0 CHANNEL {letter}") for letter in "ACEG"]
    found = named(*slots, cpu=brand, product=product, empty=["P0 CHANNEL G DIMM 0"])
    assert (counts(found), found["sockets"][0]["channels_total"]) == ([3], channels)


def test_soldered_memory_of_256_bits_is_four_channels() -> None:
    chip = BOARD["dimm"] | {"type": "LPDDR5", "data_width": 32, "rated_mts": 8532, "configured_mts": 8000}
    slots = [("DIMM 0", f"P0 CHANNEL {letter}") for letter in "ABCDEFGH"]
    found = named(*slots, cpu="AMD RYZEN AI MAX+ 395 w/ Radeon 8060S", dimm=chip)
    assert (counts(found), found["rule"], found["confidence"]) == ([4], "width", "high")
    assert found["bandwidth"]["populated_gb_s"] == 256.0


PROFILES = Path(__file__).resolve().parents[2] / "virtual_tower/profiles"


@pytest.mark.parametrize(
    ("profile", "expected"), [("mz73-lm1-full", [12, 12]), ("mz73-lm1", [12, 11]), ("desktop", [1])]
)
def test_the_boards_of_the_virtual_towers(profile: str, expected: list[int]) -> None:
    board = yaml.safe_load((PROFILES / f"{profile}.yml").read_text())["board"]
    found = describe(read_table(table(board)), "dmi-table")
    assert (counts(found), found["confidence"]) == (expected, "certain")


def with_cpu(found: MemoryChannels) -> list[int | None]:
    """Channels in use of the sockets that have a CPU."""
    return [socket["channels_populated"] for socket in found["sockets"] or [] if socket["populated"]]


def verdict(row: dict[str, str], found: MemoryChannels) -> str:
    """right, null, wrong, or unknown where the machine's answer is not known."""
    expected = row["expected_populated_channels"].split(",")
    if expected == ["?"]:
        return "unknown"
    answer = with_cpu(found)
    if len(answer) < len(expected):
        # The index counts sockets without a CPU there.
        answer = [socket["channels_populated"] if socket["populated"] else 0 for socket in found["sockets"] or []]
    if None in answer:
        return "null"
    return "right" if [str(count) for count in answer] == expected else "wrong"


@needs_corpus
def test_no_real_machine_is_answered_wrongly(capsys: pytest.CaptureFixture[str]) -> None:
    results = []
    for row, machine in machines():
        found = describe(machine, "dump")
        results.append((verdict(row, found), row, found))
    verdicts = [result[0] for result in results]
    with capsys.disabled():
        print()
        for verdict_, row, found in results:
            answer, expected = ",".join(map(str, with_cpu(found))), row["expected_populated_channels"]
            sure = f"{found['rule']} {found['confidence']}"
            print(f"{verdict_:<8} {row['file'][:60]:<60} {answer:<12} {expected:<12} {sure}")
        print({kind: verdicts.count(kind) for kind in ("right", "null", "wrong", "unknown")})
    assert [row["file"] for verdict_, row, _found in results if verdict_ == "wrong"] == []
    assert verdicts.count("right") >= 0.95 * (len(verdicts) - verdicts.count("unknown"))


@needs_corpus
def test_text_and_table_of_a_machine_give_the_same_answer() -> None:
    assert CORPUS
    for row, machine in machines():
        twin = Path(CORPUS, "derived", Path(row["file"]).with_suffix(".bin").name)
        if row["file"].endswith(".txt") and twin.exists():
            table_ = read_table(twin.read_bytes())
            assert counts(describe(machine, "dump")) == counts(describe(table_, "dump")), row["file"]


@needs_corpus
def test_a_vendor_never_seen_is_answered_rightly_or_not_at_all(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leave one vendor out: without the rules that only its machines need, its machines must not be wrong."""
    corpus = machines()
    rules = slot_names.RULES
    used: dict[str, set[str]] = {}
    for row, machine in corpus:
        vendor = row["file"].split("_", 1)[0]
        used.setdefault(str(describe(machine, "dump")["rule"]), set()).add(vendor)
    found = {}
    for vendor in sorted({row["file"].split("_", 1)[0] for row, _machine in corpus}):
        monkeypatch.setattr(slot_names, "RULES", tuple(rule for rule in rules if used.get(rule.name) != {vendor}))
        verdicts = [
            verdict(row, describe(machine, "dump")) for row, machine in corpus if row["file"].startswith(f"{vendor}_")
        ]
        found[vendor] = {kind: verdicts.count(kind) for kind in ("right", "null", "wrong", "unknown")}
    with capsys.disabled():
        print()
        for vendor, outcome in found.items():
            print(f"{vendor:<14} {outcome}")
    assert {vendor for vendor, outcome in found.items() if outcome["wrong"]} == set()
