# SPDX-License-Identifier: MIT
"""Compare the running kernel with the settings that kernel_tuning asks for."""

from __future__ import annotations

from typing import Optional, TypedDict

from ..tower_document import Tower


class HugePageWords(TypedDict):
    """What /sys/kernel/mm/transparent_hugepage is to say."""

    enabled: Optional[str]
    defrag: Optional[str]


class Clocks(TypedDict):
    """How the CPUs are to pick their clocks."""

    governor: Optional[str]
    energy_performance_preference: Optional[str]


class KernelSettings(TypedDict):
    """What roles/kernel_tuning asks for; None leaves a setting alone.

    ``sysctl`` is by names with dots, and ``readahead_kb`` is for the disk of ``readahead_path``, one of the paths whose
    disks tower_info was asked for.
    """

    sysctl: dict[str, Optional[int]]
    thp: HugePageWords
    frequency: Clocks
    readahead_kb: Optional[int]
    readahead_path: str


def kernel_differences(tower: Tower, wanted: KernelSettings) -> list[str]:
    """One phrase for each setting that the kernel has and that differs: ``vm.swappiness is 60, not 10``.

    What the machine does not offer (a kernel without NUMA, a guest without frequency scaling, a governor its driver
    lacks) is no difference.
    """
    pairs: list[tuple[str, object, object]] = [
        (name, tower["sysctl"].get(name), value) for name, value in wanted["sysctl"].items()
    ]
    pages, clocks, frequency = tower["thp"], wanted["frequency"], tower["frequency"]
    if pages:
        pairs += [
            ("transparent huge pages enabled", pages["enabled"], wanted["thp"]["enabled"]),
            ("transparent huge pages defrag", pages["defrag"], wanted["thp"]["defrag"]),
        ]
    if frequency:
        if clocks["governor"] in frequency["governors"]:
            pairs.append(("the CPU frequency governor", frequency["governor"], clocks["governor"]))
        preference = frequency["energy_performance_preference"]
        pairs.append(("the energy/performance preference", preference, clocks["energy_performance_preference"]))
    disk = tower["disks"].get(wanted["readahead_path"])
    if disk and disk["fs_uuid"]:
        name = f"the read-ahead of {disk['device']} in kB"
        pairs.append((name, disk["readahead_kb"], wanted["readahead_kb"]))
    return [
        f"{name} is {running}, not {value}"
        for name, running, value in pairs
        if running is not None and value is not None and str(running) != str(value)
    ]
