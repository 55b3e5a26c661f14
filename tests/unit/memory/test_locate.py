# SPDX-License-Identifier: MIT
"""Which channel a DIMM is in, on boards and with DIMMs that no dump shows: an answer is right, or there is none."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from plugins.module_utils.memory.channels import describe
from plugins.module_utils.memory.smbios import read_table
from tests.boards.board import BOARD, structures
from tests.boards.described import CORE, GOLD, counts, named

L = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Fujitsu's, which has no I.
WITHOUT_I = L.replace("I", "")
CPUS = {
    "genoa": ("AMD EPYC 9654 96-Core Processor", 12),
    "milan": ("AMD EPYC 7543 32-Core Processor", 8),
    "spr": ("Intel(R) Xeon(R) Gold 6430", 8),
    "clx": ("Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz", 6),
    "e5": ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", 4),
    "westmere": ("Intel(R) Xeon(R) CPU           X5670  @ 2.93GHz", 3),
    "core": ("13th Gen Intel(R) Core(TM) i7-13700K", 2),
    "strange": ("Mystery 9000", 8),
}
SERVERS = ("genoa", "milan", "spr", "clx", "e5")
SLOT = tuple[int, int, int]


class Naming(NamedTuple):
    """How a board prints its slots: from socket, channel, slot, channels of a socket and slots of a channel.

    ``complete`` says that whatever slots are filled, the names tell their channels.
    """

    vendor: str
    cpus: tuple[str, ...]
    sockets: tuple[int, ...]
    slots: tuple[int, ...]
    name: Callable[[int, int, int, int, int], tuple[str, str]]
    complete: bool = True


# fmt: off
NAMINGS = {
    "supermicro": Naming("Supermicro", (*SERVERS, "strange"), (2,), (1, 2), lambda s, c, d, n, e: (
        f"P{s + 1}-DIMM{L[c]}{d + 1}", f"P{s}_Node0_Channel{c:X}_Dimm{d}")),
    "supermicro, banks repeat": Naming("Supermicro", ("spr", "clx"), (1,), (1, 2), lambda s, c, d, n, e: (
        f"DIMM{L[c]}{d + 1}", f"P0_Node{c // 2 % 2}_Channel{c % 2}_Dimm{d}")),
    "supermicro, letters go on": Naming("Supermicro", ("e5",), (2,), (1, 2, 3), lambda s, c, d, n, e: (
        f"P{s + 1}_DIMM{L[s * n + c]}{d + 1}", f"P{s}_Node{s}_Channel{c}_Dimm{d}")),
    "supermicro, digit first": Naming("Supermicro", ("westmere",), (2,), (1, 2, 3), lambda s, c, d, n, e: (
        f"P{s + 1}-DIMM{c + 1}{L[d]}", f"BANK {c * e + d}")),
    "gigabyte": Naming("Giga Computing", ("genoa", "milan", "clx"), (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"DIMM_P{s}_{L[s * n + c]}{d}", f"BANK {d}")),
    "agesa": Naming("Other", ("genoa", "milan", "strange"), (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"DIMM {d}", f"P{s} CHANNEL {L[c]}")),
    "cpu and letter": Naming("ASUSTeK", (*SERVERS, "strange"), (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"CPU{s + 1}_DIMM_{L[c]}{d + 1}", f"NODE {s * 2 + c // 3}")),
    "letters of each controller": Naming("ODM", SERVERS, (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"CPU{s}_MC{c // 2}_DIMM_{L[c % 2]}{d}", f"NODE {s}")),
    "letters of each node": Naming("ODM", SERVERS, (2,), (1, 2), lambda s, c, d, n, e: (
        f"DIMM_{L[c]}{d + 1}", f"NODE {s}")),
    "letters of half a CPU": Naming("ODM", ("spr", "clx"), (2,), (1, 2), lambda s, c, d, n, e: (
        f"DIMM_{L[c % (n // 2)]}{d + 1}", f"NODE {s * 2 + c // (n // 2)}"), complete=False),
    "letters go on": Naming("ASUSTeK", ("clx", "e5"), (1, 2), (1, 2, 3), lambda s, c, d, n, e: (
        f"DIMM_{WITHOUT_I[s * n + c]}{d + 1}", f"NODE {s + 1}")),
    "in full": Naming("ODM", (*SERVERS, "strange"), (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"CPU{s + 1}_CH{c + 1}_D{d}", f"NODE {s}")),
    "in full with letters": Naming("ODM", SERVERS, (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"CPU{s}_CH_{L[c]}_DIMM_{d}", f"NODE {s}")),
    "in full by the bank": Naming("ODM", SERVERS, (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"J{s * 100 + c * 4 + d}", f"SOCKET {s} CHANNEL {c} DIMM {d}")),
    "nodes in full": Naming("ODM", ("spr", "clx"), (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"J{s * 100 + c * 4 + d}", f"NODE {s * 2 + c // (n // 2)} CHANNEL {c % (n // 2)} DIMM {d}"), complete=False),
    "banks alone, which repeat": Naming("ODM", ("spr",), (1,), (1, 2), lambda s, c, d, n, e: (
        f"SLOT {c * e + d}", f"P0_Node{c // 2 % 2}_Channel{c % 2}_Dimm{d}"), complete=False),
    "dell": Naming("Dell Inc.", ("spr", "milan", "clx", "e5"), (1, 2), (1, 2, 3), lambda s, c, d, n, e: (
        f"{L[s]}{d * n + c + 1}", "Not Specified")),
    "letter of the socket": Naming("ODM", ("e5", "spr"), (2,), (2,), lambda s, c, d, n, e: (
        f"{L[s]}{c * e + d}", "Not Specified"), complete=False),
    "hpe": Naming("HPE", ("spr", "milan", "clx", "e5"), (1, 2), (1, 2, 3), lambda s, c, d, n, e: (
        f"PROC {s + 1} DIMM {c * e + d + 1}", "Not Specified")),
    "lenovo": Naming("Lenovo", ("spr", "milan", "clx"), (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"DIMM {(s * n + c) * e + d + 1}", f"CPU {s + 1}")),
    "huawei": Naming("Huawei", ("milan", "clx"), (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"DIMM{s}{c}{d}({L[c]})", f"_Node{s}_Channel{c}_Dimm{d}")),
    "oracle": Naming("Oracle", ("e5", "spr"), (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"D{c * e + d}", f"/SYS/MB/P{s}"), complete=False),
    "two controllers with letters": Naming("MSI", ("core",), (1,), (1, 2), lambda s, c, d, n, e: (
        f"Controller{c}-DIMM{L[c]}{d + 1}", f"BANK {d}")),
    "two controllers with one letter": Naming("MSI", ("core",), (1,), (1, 2), lambda s, c, d, n, e: (
        f"Controller{c}-DIMMA{d + 1}", f"BANK {d}")),
    "one letter for all slots": Naming("Other", ("core",), (1,), (1, 2), lambda s, c, d, n, e: (
        f"A{c * e + d}", f"Bank{2 * (c * e + d)}/{2 * (c * e + d) + 1}"), complete=False),
    "numbers alone": Naming("HP", ("core",), (1,), (1, 2), lambda s, c, d, n, e: (
        f"DIMM{c * e + d + 1}", "Not Specified"), complete=False),
}
# fmt: on


def populations(slots: list[SLOT], seed: int) -> Iterator[set[SLOT]]:
    """All slots, each first, each last, all but one, a few, some of one socket, and any."""
    chance = random.Random(seed)
    last = max(slot[2] for slot in slots)
    yield set(slots)
    yield {slot for slot in slots if slot[2] == 0}
    yield {slot for slot in slots if slot[2] == last}
    for _ in range(2):
        yield {*slots} - {chance.choice(slots)}
        yield {*chance.sample(slots, min(3, len(slots)))}
        yield {slot for slot in slots if slot[0] == 0 and chance.random() < 0.7} or {slots[0]}
        yield {slot for slot in slots if chance.random() < 0.5} or {slots[-1]}


@pytest.mark.parametrize("title", NAMINGS)
def test_whatever_slots_are_filled_an_answer_is_right(title: str) -> None:
    naming = NAMINGS[title]
    nulls = []
    for seed, (cpu, sockets, each) in enumerate(
        (cpu, sockets, each) for cpu in naming.cpus for sockets in naming.sockets for each in naming.slots
    ):
        brand, channels = CPUS[cpu]
        slots = [(s, c, d) for s in range(sockets) for c in range(channels) for d in range(each)]
        names = {slot: naming.name(*slot, channels, each) for slot in slots}
        for filled in populations(slots, seed):
            empty = [f"{names[slot][1]} {names[slot][0]}" for slot in slots if slot not in filled]
            found = named(*names.values(), cpu=brand, sockets=sockets, vendor=naming.vendor, empty=empty)
            truth = [len({c for s, c, _d in filled if s == socket}) for socket in range(sockets)]
            evidence = f"{cpu}, {sockets} sockets, {each} slots a channel, rule {found['rule']}, empty: {empty}"
            for count, socket, true in zip(counts(found), found["sockets"], truth, strict=True):
                assert count in (None, true), evidence
                low, high = socket["channels_bounds"] or (0, channels)
                assert low <= true <= high, evidence
            if None in counts(found):
                nulls.append(evidence)
    assert not (naming.complete and nulls), nulls[0]
    assert naming.complete or nulls, "it is complete, after all"


def uneven(*filled: str) -> Any:
    """A Dell R540, on which only four of the first CPU's six channels have a second slot."""
    names = [f"A{number}" for number in range(1, 11)] + [f"B{number}" for number in range(1, 7)]
    slots = [(name, "Not Specified") for name in names]
    empty = [f"Not Specified {name}" for name in names if name not in filled]
    return named(*slots, cpu=CPUS["clx"][0], sockets=2, vendor="Dell Inc.", product="PowerEdge R540", empty=empty)


def test_first_slots_are_told_where_not_every_channel_has_a_second() -> None:
    first = [f"{letter}{number}" for letter in "AB" for number in range(1, 7)]
    assert counts(uneven(*first[:5], *first[6:])) == [5, 6]
    assert uneven(*first[:5], *first[6:])["sockets"][0]["empty_channels"] == ["A6"]
    assert counts(uneven(*first, "A7", "A10")) == [6, 6]
    assert counts(uneven("A1", "A7", "B1"))[0] is None


def test_letters_that_count_from_zero_are_not_dells() -> None:
    """Where the vendor is left out: A0 and A2 are two channels, or two slots of one."""
    slots = [(f"A{number}", "Not Specified") for number in range(8)]
    empty = [f"Not Specified A{number}" for number in (1, 3, 5, 7)]
    assert counts(named(*slots, cpu=CPUS["e5"][0], vendor="Quanta", empty=empty)) == [None]


def names_of(slot: str) -> tuple[str, str]:
    locator, _, bank = slot.partition(" ~ ")
    return locator, bank or "Not Specified"


def listed(vendor: str, cpu: str, *slots: str, sockets: int = 1, **changes: Any) -> Any:
    """memory_channels of a machine that lists only these slots, each as locator or "locator ~ bank"."""
    return named(*map(names_of, slots), cpu=CPUS[cpu][0], sockets=sockets, vendor=vendor, **changes)


@pytest.mark.parametrize(
    ("vendor", "slots"),
    [
        ("Dell Inc.", ["A1", "A2", "A9"]),
        ("HPE", [f"PROC 1 DIMM {number}" for number in (1, 2, 5, 6, 9, 10, 13, 14)]),
        ("Lenovo", [f"DIMM {number} ~ CPU 1" for number in (1, 2, 5, 6, 9, 10, 13, 14)]),
        ("ODM", [f"CPU1_DIMM{number}" for number in (1, 2, 5, 6, 9, 10, 13, 14)]),
    ],
)
def test_numbers_with_gaps_are_not_numbered_anew(vendor: str, slots: list[str]) -> None:
    """Firmware that lists only filled slots: the eighth that is listed is not the eighth channel."""
    found = listed(vendor, "spr", *slots)
    assert (counts(found), found["confidence"]) == ([None], "none")


def test_dells_numbers_name_the_channel_though_some_slots_hold_other_memory() -> None:
    """A7 and A10 of a Dell R640 with Optane, which is left out."""
    slots = [f"A{number}" for number in range(1, 13) if number not in (7, 10)]
    empty = [f"Not Specified A{number}" for number in (2, 8, 9, 11, 12)]
    found = listed("Dell Inc.", "clx", *slots, empty=empty)
    assert (counts(found), found["sockets"][0]["empty_channels"]) == ([5], ["A2+8"])


def test_numbers_of_dells_workstations_are_told_where_the_records_agree() -> None:
    """DIMM1 and DIMM5 share a channel, and follow each other; a list in the order of the numbers says nothing."""
    for cpus in (["_CPU1", "_CPU2"], [""]):
        sockets = len(cpus)
        pairs = [f"DIMM{number}{cpu}" for cpu in cpus for number in (1, 5, 3, 7, 2, 6, 4, 8)]
        empty = [f"Not Specified {slot}" for slot in pairs if int(slot[4]) > 3]
        changes: dict[str, Any] = {"product": "Precision Tower 7910", "empty": empty, "sockets": sockets}
        found = listed("Dell Inc.", "e5", *pairs, **changes)
        assert counts(found) == [3] * sockets
        assert found["sockets"][0]["empty_channels"] == ["DIMM4_CPU1+DIMM8_CPU1" if cpus[0] else "DIMM4+8"]
        assert counts(listed("Dell Inc.", "e5", *sorted(pairs), **changes)) == [None] * sockets
        assert counts(listed("Dell Inc.", "spr", *sorted(pairs), **changes)) == [3] * sockets
    empty = ["Not Specified DIMM3", "Not Specified DIMM4"]
    for order, count in (("3142", 2), ("1234", None)):
        slots = [f"DIMM{number}" for number in order]
        assert counts(listed("Dell Inc.", "core", *slots, product="Precision 3630", empty=empty)) == [count]


def test_a_node_that_is_half_a_cpu_is_not_the_absent_cpu() -> None:
    """Nodes 0 and 1 of the only CPU in a board for two, which lists no slots of the absent one."""
    letters = [f"DIMM_{L[channel]}1 ~ NODE {channel // 3}" for channel in range(6)]
    assert counts(listed("ODM", "clx", *letters, sockets=2)) == [3, 3]
    assert counts(one_cpu(letters)) == [6, None]
    again = [f"DIMM_{L[channel % 3]}1 ~ NODE {channel // 3}" for channel in range(6)]
    assert counts(one_cpu(again)) == [None, None]


def test_digit_and_letter_name_channels_on_servers_only() -> None:
    """DIMM1A and DIMM1B are two slots of a channel of three, and a pair on boards of two channels."""
    slots = ["P1-DIMM1A", "P1-DIMM1B", "P1-DIMM2A", "P1-DIMM2B"]
    empty = ["Not Specified P1-DIMM2A", "Not Specified P1-DIMM2B"]
    for cpu in ("core", "strange"):
        assert counts(listed("Supermicro", cpu, *slots, empty=empty)) == [None]
    assert counts(listed("Supermicro", "westmere", *slots, empty=empty)) == [1]


def test_channels_of_the_bank_may_have_no_socket() -> None:
    slots = [f"DIMM {slot} ~ CHANNEL {letter}" for letter in "AB" for slot in (0, 1)]
    empty = ["CHANNEL B DIMM 0", "CHANNEL B DIMM 1"]
    assert counts(listed("Gigabyte", "core", *slots, empty=empty)) == [1]
    slots = [f"SODIMM{2 * (letter == 'B') + slot} ~ CHANNEL {letter} DIMM{slot}" for letter in "AB" for slot in (0, 1)]
    empty = ["CHANNEL B DIMM0 SODIMM2", "CHANNEL B DIMM1 SODIMM3"]
    assert counts(listed("Intel", "core", *slots, empty=empty)) == [1]


def one_cpu(slots: list[str]) -> Any:
    """memory_channels of a board for two CPUs with one, whose slots all have a DIMM."""
    board = BOARD | {"vendor": "ODM", "cpu": {"brand": CPUS["clx"][0], "family": 6, "model": 85}}
    board["scheme"] = lambda s, c, d, n: names_of(slots[c])
    board |= {"sockets": 1, "channels_per_socket": len(slots), "slots_per_channel": 1, "empty": []}
    records = structures(board)
    absent = [data for kind, data in structures(board | {"sockets": 2, "absent": [1]}) if kind == 4]
    return describe(read_table(b"".join([*(data for kind, data in records if kind != 4), *absent])), "dmi-table")


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
