# SPDX-License-Identifier: MIT
"""memory_channels of boards that are described in a few words."""

from __future__ import annotations

from typing import Any

from plugins.module_utils.memory.channels import describe
from plugins.module_utils.memory.document import MemoryChannels
from plugins.module_utils.memory.smbios import read_table
from tests.boards.board import BOARD, table

# Of each scheme: a CPU, and sockets, channels and slots of a board for it.
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
GOLD = "Intel(R) Xeon(R) Gold 6426Y"
CORE = "Intel(R) Core(TM) i7-10700K CPU @ 3.80GHz"


def described(scheme: str = "gigabyte-p-letter", **changes: Any) -> Any:
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


def named(*names: tuple[str, str], cpu: str, sockets: int = 1, **changes: Any) -> Any:
    """memory_channels of a machine whose slots all have a DIMM and these names."""
    board = BOARD | {"vendor": "Some Vendor", "cpu": {"brand": cpu, "family": 6, "model": 0}, "empty": []}
    board |= {"sockets": sockets, "channels_per_socket": len(names) // sockets, "slots_per_channel": 1}
    board["scheme"] = lambda s, c, d, n: names[s * n + c]
    return describe(read_table(table(board | changes)), "dmi-table")


def counts(found: MemoryChannels) -> list[int | None]:
    return [socket["channels_populated"] for socket in found["sockets"] or []]


def codes(found: MemoryChannels) -> list[str]:
    return [entry["code"] for entry in found["advice"]]
