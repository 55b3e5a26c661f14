# SPDX-License-Identifier: MIT
"""Ways of naming slots, on boards and with DIMMs that no dump shows: an answer is right, or there is none."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from ansible.module_utils.memory_population import describe
from ansible.module_utils.smbios import read_table

from tests.boards.board import structures, table
from tests.unit.test_memory_population import counts, named
from tests.unit.test_smbios import BOARD

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


def uneven(*filled: str) -> dict[str, Any]:
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


def test_slots_that_are_counted_and_not_listed_are_no_channels_of_their_own() -> None:
    """Firmware that lists only filled slots, whose names say nothing: six DIMMs may be three channels."""
    board = BOARD | {"scheme": "nameless", "sockets": 1, "slots_per_channel": 1, "empty": []}
    board |= {"cpu": {"brand": CPUS["milan"][0], "family": 25, "model": 1}}
    assert counts(describe(read_table(table(board | {"channels_per_socket": 6})), "dmi-table")) == [6]
    records = structures(board | {"channels_per_socket": 16})
    listed = b"".join(data for _kind, data in records[: -16 + 6])
    found = describe(read_table(listed), "dmi-table")
    assert (counts(found), found["sockets"][0]["channels_bounds"]) == ([None], [3, 6])


def test_letters_that_count_from_zero_are_not_dells() -> None:
    """Where the vendor is left out: A0 and A2 are two channels, or two slots of one."""
    slots = [(f"A{number}", "Not Specified") for number in range(8)]
    empty = [f"Not Specified A{number}" for number in (1, 3, 5, 7)]
    assert counts(named(*slots, cpu=CPUS["e5"][0], vendor="Quanta", empty=empty)) == [None]
