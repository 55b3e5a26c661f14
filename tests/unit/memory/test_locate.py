# SPDX-License-Identifier: MIT
"""Which channel a DIMM is in, on boards and with DIMMs that no dump shows: an answer is right, or there is none."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.memory.channels import describe
from plugins.module_utils.memory.smbios import read_table
from tests.boards.board import BOARD, structures
from tests.boards.described import CORE, GOLD, counts, named
from tests.boards.namings import CPUS, L


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
    assert counts(one_cpu(again)) == [6, None]


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


def half_empty(*slots: str, cpu: str, vendor: str = "Vendor", **changes: Any) -> Any:
    """memory_channels of a machine that lists these slots; those that end in ``-`` are empty."""
    empty = [" ".join(reversed(names_of(slot[:-1]))).strip() for slot in slots if slot.endswith("-")]
    return listed(vendor, cpu, *(slot.rstrip("-") for slot in slots), empty=empty, **changes)


def test_nodes_that_are_halves_of_sockets_are_no_sockets() -> None:
    """Letters go on over two CPUs, whose nodes are 1 and 2, 3 and 4: each letter, node and record says the same."""
    second = [f"DIMM_{letter}1 ~ NO DIMM-" for letter in "ABCD"]
    second += [f"DIMM_{letter}1 ~ NODE {3 + 'EFGH'.index(letter) // 2}" for letter in "EFGH"]
    assert counts(half_empty(*second, cpu="e5", sockets=2)) == [0, 4]
    each = [name for letter, node in zip("BDFH", "1234", strict=True) for name in ("", f"DIMM_{letter}1 ~ NODE {node}")]
    each = [name or f"NO DIMM ~ NO DIMM {index}-" for index, name in enumerate(each)]
    assert counts(half_empty(*each, cpu="e5", sockets=2)) == [2, 2]
    # One letter on the wrong node, or a record on the wrong half of the list, and nothing is sure.
    assert counts(half_empty(*each[:3], "DIMM_D1 ~ NODE 3", *each[4:], cpu="e5", sockets=2)) == [None, None]
    assert counts(half_empty(*each[4:], *each[:4], cpu="e5", sockets=2)) == [None, None]


def test_channels_that_a_board_does_not_wire_are_not_empty() -> None:
    """Firmware for eight channels lists all of them on a board for four: every second one has no slot."""
    slots = [f"DIMM 0 ~ P0 CHANNEL {letter}" for letter in "ABCDEFGH"]
    four = [slot if index % 2 == 0 else f"{slot}-" for index, slot in enumerate(slots)]
    found = half_empty(*four, cpu="threadripper")
    assert (counts(found), found["sockets"][0]["empty_channels"], found["confidence"]) == ([4], [], "certain")
    two = [slot if index in (0, 4) else f"{slot}-" for index, slot in enumerate(slots)]
    assert half_empty(*two, cpu="threadripper")["sockets"][0]["empty_channels"] == ["C", "G"]
    assert counts(half_empty(*slots[:2], *(f"{slot}-" for slot in slots[2:]), cpu="threadripper")) == [None]


def test_slots_of_a_second_cpu_that_the_board_has_no_socket_for_are_not_empty() -> None:
    slots = [f"DIMM_{letter}1 ~ NODE {1 + index // 2}" for index, letter in enumerate("ABCDEFGH")]
    found = half_empty(*slots[:3], *(f"{slot}-" for slot in slots[3:]), cpu="e5")
    assert (counts(found), found["sockets"][0]["empty_channels"]) == ([3], ["D"])
    assert counts(half_empty(f"{slots[0]}-", *slots[1:5], *(f"{slot}-" for slot in slots[5:]), cpu="e5")) == [None]


def test_the_bank_may_name_cpu_and_channel_where_numbers_repeat() -> None:
    slots = [
        f"DIMM_{number} ~ CPU{cpu}_{letter}{slot}{'' if letter in 'AB' and slot == 0 else '-'}"
        for cpu in (1, 2)
        for number, (letter, slot) in enumerate((letter, slot) for letter in "ABCD" for slot in (0, 1))
    ]
    found = half_empty(*slots, cpu="e5", sockets=2)
    assert (counts(found), found["sockets"][1]["empty_channels"]) == ([2, 2], ["C", "D"])


def test_numbers_with_gaps_are_channels_where_the_board_has_one_slot_for_each() -> None:
    slots = [f"CPU0-DIMM{number} ~ CPU0" for number in (1, 3, 6, 8)]
    found = half_empty(*slots[:3], f"{slots[3]}-", cpu="e5")
    assert (counts(found), found["sockets"][0]["empty_channels"]) == ([3], ["CPU0-DIMM8"])


def test_second_slots_of_some_channels_are_told_by_their_records() -> None:
    """Eight slots for six channels: 3 and 7, 4 and 8 share one. In the order of the numbers nothing tells which do."""
    order = (3, 7, 5, 1, 4, 8, 6, 2)
    slots = [f"CPU{cpu}_DIMM_{n} ~ NODE {cpu}{'' if n in (3, 4, 5, 7) else '-'}" for cpu in (1, 2) for n in order]
    assert counts(half_empty(*slots, cpu="clx", sockets=2)) == [3, 3]
    assert counts(half_empty(*sorted(slots), cpu="clx", sockets=2)) == [None, None]


def test_a_letter_with_many_numbers_is_a_socket_whatever_the_vendor() -> None:
    """A rebranded server. Filled so that neighbors would be more channels, the numbers may mean that."""
    first = [f"A{number}{'' if number <= 8 else '-'}" for number in range(1, 17)]
    assert counts(half_empty(*first, cpu="milan", vendor="Appliance")) == [8]
    pairs = [f"A{number}{'' if number in (1, 9) else '-'}" for number in range(1, 17)]
    assert counts(half_empty(*pairs, cpu="milan", vendor="Appliance")) == [None]
    assert counts(half_empty(*pairs, cpu="milan", vendor="Dell Inc.")) == [1]


def test_numbers_without_the_empty_slots_mean_nothing() -> None:
    """DIMM 1 and 2 share a channel where the firmware counts 32 slots and lists four."""
    slots = [f"PROC {cpu} DIMM {number}" for cpu in (1, 2) for number in (1, 2)]
    found = listed("HPE", "spr", *slots, sockets=2, counted=32)
    assert (counts(found), found["confidence"]) == ([None, None], "none")
    assert [socket["channels_bounds"] for socket in found["sockets"]] == [[1, 2], [1, 2]]
