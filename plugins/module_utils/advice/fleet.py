# SPDX-License-Identifier: MIT
"""Which towers of a fleet differ from their siblings.

Siblings have the same board and the same kind of CPU. What more than half of them have is usual, and a tower that has
something else is an odd one; where nothing is usual, as with two towers, each is told what the others have. A value
that a tower does not show is neither usual nor different.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Optional

from .document import Difference, NamedTower, OddTower
from .facts import Facts, facts

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

# The fact numa_option; several words of the command line have the same effect.
NUMA_OPTIONS = {
    "off": "NUMA turned off by the command line",
    "fake": "nodes made up by the command line",
    "none": "NUMA left as it is by the command line",
}


def _nodes(known: Facts) -> Optional[str]:
    count = known["nodes_per_socket"]
    # Without the command line, nodes may be those of numa=fake as well as the BIOS's.
    if count is None or known["numa_option"] is None:
        return None
    if known["cpu"] == "AMD" and known["l3_as_numa"] == "yes":
        return f"an L3 cache a node ({count} nodes a socket)"
    if known["nps"] is not None:
        return f"NPS{count}"
    return f"{count} node{'s' if count > 1 else ''} a socket" if count else "one node for all sockets"


def _channels(known: Facts) -> Optional[str]:
    if known["channels_populated"] is None:
        return None
    return f"{known['channels_populated']} of {known['channels'] or 'unknown'} channels"


def traits(document: NamedTower) -> dict[str, Optional[str]]:
    """What towers are compared by: name of the trait -> what this tower has, None where it does not show."""
    tower, known = document["tower"], facts(document["tower"], document["memory_channels"])
    memory = document["memory_channels"]
    dimms = [dimm for dimm in (memory and memory["dimms"]) or [] if dimm["populated"]]
    sizes = sorted({dimm["size_bytes"] or 0 for dimm in dimms})
    each = len(dimms) / known["channels_populated"] if known["channels_populated"] else None

    def said(template: str, value: object) -> Optional[str]:
        return None if value is None else template.format(value)

    return {
        "sockets": said("{} sockets in use", known["sockets"]),
        "nodes": _nodes(known),
        "numa option": NUMA_OPTIONS.get(known["numa_option"] or ""),
        "channels": _channels(known),
        "DIMM sizes": said("DIMMs of {} GiB", " and ".join(f"{size / 2**30:.0f}" for size in sizes) or None),
        "DIMMs a channel": said("{:g} DIMMs a channel", each),
        "memory speed": said("{} MT/s", known["configured_mts"]),
        "SMT": said("SMT {}", known["smt"]),
        "CPUs": said("{} logical CPUs", known["cpus"]),
        "driver": said("frequency driver {}", known["frequency_driver"]),
        "governor": said("governor {}", known["governor"]),
        "preference": said("energy preference {}", known["epp"]),
        "boost": said("boost {}", known["boost"]),
        "IOMMU": said("IOMMU {}", known["iommu"]),
        "BIOS": said("BIOS {}", tower["bios"]["version"]),
        "kernel": said("kernel {}", tower["kernel"]),
    }


def _kind(document: NamedTower) -> tuple[Optional[str], ...]:
    tower = document["tower"]
    return (tower["board"]["vendor"], tower["board"]["name"], tower["cpu"]["model"])


def _count(number: int) -> str:
    return NUMBERS[number] if number < len(NUMBERS) else str(number)


def fleet_differences(documents: Sequence[NamedTower]) -> list[OddTower]:
    """The odd ones, by name; towers whose CPU is unknown are left out."""
    kinds: dict[tuple[Optional[str], ...], list[NamedTower]] = {}
    for document in sorted(documents, key=lambda one: str(one["host"])):
        if document["tower"] and document["tower"]["cpu"]["model"]:
            kinds.setdefault(_kind(document), []).append(document)
    found = []
    for family in kinds.values():
        own = {document["host"]: traits(document) for document in family}
        for host, mine in own.items():
            differences = _differences(mine, list(own.values()))
            if differences:
                found.append(_odd(host, len(own) - 1, differences))
    return sorted(found, key=lambda entry: str(entry["host"]))


def _differences(mine: dict[str, Optional[str]], family: list[dict[str, Optional[str]]]) -> list[Difference]:
    """What a tower has in another way than is usual, or than any other where nothing is usual."""
    found: list[Difference] = []
    for what, here in mine.items():
        values = Counter(other[what] for other in family if other[what] is not None)
        if here is None or len(values) < 2:
            continue
        most, times = values.most_common(1)[0]
        usual = most if 2 * times > sum(values.values()) else None
        if here != usual:
            found.append({"what": what, "here": here, "usual": usual})
    return found


def _odd(host: str, siblings: int, differences: list[Difference]) -> OddTower:
    who = "its sibling" if siblings == 1 else f"its {_count(siblings)} siblings"
    usual = [entry["usual"] for entry in differences if entry["usual"]]
    message = f"{host} differs from {who}: {', '.join(entry['here'] for entry in differences)}."
    if usual:
        message += f" Usual: {', '.join(usual)}."
    return {"host": host, "siblings": siblings, "differences": differences, "message": message}
