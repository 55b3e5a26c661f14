# SPDX-License-Identifier: MIT
"""How boards name their slots, by description: of each naming the channel of every slot is known by construction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from plugins.module_utils.memory.smbios import read_table
from tests.boards.board import BOARD, table
from tests.boards.depopulation import Board

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
    "threadripper": ("AMD Ryzen Threadripper 7960X 24-Cores", 4),
    "core": ("13th Gen Intel(R) Core(TM) i7-13700K", 2),
    "strange": ("Mystery 9000", 8),
}
SERVERS = ("genoa", "milan", "spr", "clx", "e5")
SLOT = tuple[int, int, int]


class Naming(NamedTuple):
    """How a board prints its slots: from socket, channel, slot, channels of a socket and slots of a channel.

    ``complete`` is whether the names tell the channels, whatever slots are filled; ``told_by_the_count`` whether
    they tell so little that only the firmware's count shows a full board.
    """

    vendor: str
    cpus: tuple[str, ...]
    sockets: tuple[int, ...]
    slots: tuple[int, ...]
    name: Callable[[int, int, int, int, int], tuple[str, str]]
    complete: bool = True
    told_by_the_count: bool = False


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
        f"DIMM_{L[c % (n // 2)]}{d + 1}", f"NODE {s * 2 + c // (n // 2)}"), told_by_the_count=True),
    "letters go on": Naming("ASUSTeK", ("clx", "e5"), (1, 2), (1, 2, 3), lambda s, c, d, n, e: (
        f"DIMM_{WITHOUT_I[s * n + c]}{d + 1}", f"NODE {s + 1}")),
    "in full": Naming("ODM", (*SERVERS, "strange"), (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"CPU{s + 1}_CH{c + 1}_D{d}", f"NODE {s}")),
    "in full with letters": Naming("ODM", SERVERS, (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"CPU{s}_CH_{L[c]}_DIMM_{d}", f"NODE {s}")),
    "in full by the bank": Naming("ODM", SERVERS, (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"J{s * 100 + c * 4 + d}", f"SOCKET {s} CHANNEL {c} DIMM {d}")),
    "nodes in full": Naming("ODM", ("spr", "clx"), (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"J{s * 100 + c * 4 + d}", f"NODE {s * 2 + c // (n // 2)} CHANNEL {c % (n // 2)} DIMM {d}"),
        told_by_the_count=True),
    "banks alone, which repeat": Naming("ODM", ("spr",), (1,), (1, 2), lambda s, c, d, n, e: (
        f"SLOT {c * e + d}", f"P0_Node{c // 2 % 2}_Channel{c % 2}_Dimm{d}"), complete=False, told_by_the_count=True),
    "dell": Naming("Dell Inc.", ("spr", "milan", "clx", "e5"), (1, 2), (1, 2, 3), lambda s, c, d, n, e: (
        f"{L[s]}{d * n + c + 1}", "Not Specified")),
    "letter of the socket": Naming("ODM", ("e5", "spr"), (2,), (2,), lambda s, c, d, n, e: (
        f"{L[s]}{c * e + d}", "Not Specified"), complete=False),
    "hpe": Naming("HPE", ("spr", "milan", "clx", "e5"), (1, 2), (1, 2, 3), lambda s, c, d, n, e: (
        f"PROC {s + 1} DIMM {c * e + d + 1}", "Not Specified"), told_by_the_count=True),
    "lenovo": Naming("Lenovo", ("spr", "milan", "clx"), (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"DIMM {(s * n + c) * e + d + 1}", f"CPU {s + 1}")),
    "huawei": Naming("Huawei", ("milan", "clx"), (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"DIMM{s}{c}{d}({L[c]})", f"_Node{s}_Channel{c}_Dimm{d}")),
    "oracle": Naming("Oracle", ("e5", "spr"), (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"D{c * e + d}", f"/SYS/MB/P{s}"), complete=False, told_by_the_count=True),
    "two controllers with letters": Naming("MSI", ("core",), (1,), (1, 2), lambda s, c, d, n, e: (
        f"Controller{c}-DIMM{L[c]}{d + 1}", f"BANK {d}")),
    "two controllers with one letter": Naming("MSI", ("core",), (1,), (1, 2), lambda s, c, d, n, e: (
        f"Controller{c}-DIMMA{d + 1}", f"BANK {d}")),
    "one letter for all slots": Naming("Other", ("core",), (1,), (1, 2), lambda s, c, d, n, e: (
        f"A{c * e + d}", f"Bank{2 * (c * e + d)}/{2 * (c * e + d) + 1}"), complete=False),
    "letters go on over half nodes": Naming("ODM", ("e5", "clx"), (2,), (1, 2, 3), lambda s, c, d, n, e: (
        f"DIMM_{L[s * n + c]}{d + 1}", f"NODE {s * 2 + c // (n // 2) + 1}"), told_by_the_count=True),
    "channels with letters go on": Naming("ASRockRack", ("milan", "e5"), (1, 2), (1, 2), lambda s, c, d, n, e: (
        f"Channel{L[s * n + c]}-DIMM{d}", f"NODE {s * 4 + c // 2}")),
    "letters in the bank": Naming("LENOVO", ("e5",), (2,), (1, 2), lambda s, c, d, n, e: (
        f"DIMM_{d * n + c + 1}", f"CPU{s + 1}_{L[c]}{d}")),
    "numbers alone": Naming("HP", ("core",), (1,), (1, 2), lambda s, c, d, n, e: (
        f"DIMM{c * e + d + 1}", "Not Specified"), complete=False, told_by_the_count=True),
}
# fmt: on


def built(naming: Naming, cpu: str, sockets: int, each: int) -> Board:
    """A board of a naming with a DIMM in every slot, and where its slots are."""
    brand, channels = CPUS[cpu]
    slots = [(s, c, d) for s in range(sockets) for c in range(channels) for d in range(each)]
    description = {
        "vendor": naming.vendor,
        "cpu": {"brand": brand, "family": 6, "model": 0},
        "sockets": sockets,
        "channels_per_socket": channels,
        "slots_per_channel": each,
        "empty": [],
        "scheme": lambda s, c, d, n: naming.name(s, c, d, n, each),
    }
    machine = read_table(table(BOARD | description))
    truth = {device.handle: slot[:2] for device, slot in zip(machine.devices, slots, strict=True)}
    return Board(f"{cpu}, {sockets} sockets, {each} slots a channel", machine, dict(truth))


def boards_of(naming: Naming) -> Iterator[Board]:
    for cpu in naming.cpus:
        for sockets in naming.sockets:
            for each in naming.slots:
                yield built(naming, cpu, sockets, each)
