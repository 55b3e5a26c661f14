# SPDX-License-Identifier: MIT
"""Compare the running kernel with the settings that kernel_tuning asks for."""

from __future__ import annotations

from typing import Any


def kernel_differences(tower: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """One phrase for each setting that the kernel has and that differs: ``vm.swappiness is 60, not 10``.

    ``tower`` is what tower_info returns; ``wanted`` has its keys ``sysctl``, ``thp`` and
    ``frequency``, and ``readahead_kb`` for the disk of ``readahead_path``. What the machine does
    not offer (a kernel without NUMA, a guest without frequency scaling, a governor its driver
    lacks) is no difference, nor is a wanted value of None.
    """
    frequency = tower["frequency"] or {}
    disk = tower["disks"].get(wanted["readahead_path"], {})
    pairs: list[tuple[str, Any | None, Any | None]] = [
        (name, tower["sysctl"].get(name), value) for name, value in wanted["sysctl"].items()
    ]
    for key in ("enabled", "defrag"):
        pairs.append(
            (
                f"transparent huge pages {key}",
                (tower["thp"] or {}).get(key),
                wanted["thp"][key],
            )
        )
    governor = wanted["frequency"]["governor"]
    if governor in frequency.get("governors", []):
        pairs.append(("the CPU frequency governor", frequency["governor"], governor))
    pairs.append(
        (
            "the energy/performance preference",
            frequency.get("energy_performance_preference"),
            wanted["frequency"]["energy_performance_preference"],
        )
    )
    if disk.get("fs_uuid"):
        pairs.append(
            (
                f"the read-ahead of {disk['device']} in kB",
                disk["readahead_kb"],
                wanted["readahead_kb"],
            )
        )
    return [
        f"{name} is {running}, not {value}"
        for name, running, value in pairs
        if running is not None and value is not None and str(running) != str(value)
    ]
