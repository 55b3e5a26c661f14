# SPDX-License-Identifier: MIT
"""What differs between the running kernel and the wanted settings."""

from __future__ import annotations

from typing import Any

from plugins.module_utils.advice.kernel import kernel_differences

WANTED: Any = {
    "sysctl": {"kernel.numa_balancing": 0, "vm.swappiness": 10},
    "thp": {"enabled": "madvise", "defrag": "madvise"},
    "frequency": {"governor": "performance", "energy_performance_preference": "performance"},
    "readahead_kb": 4096,
    "readahead_path": "/models",
}


def tower(**changes: Any) -> Any:
    return {
        "sysctl": {"kernel.numa_balancing": 0, "vm.swappiness": 10},
        "thp": {"enabled": "madvise", "defrag": "madvise"},
        "frequency": {
            "governor": "performance",
            "governors": ["performance", "powersave"],
            "energy_performance_preference": "performance",
        },
        "disks": {"/models": {"device": "nvme0n1p2", "fs_uuid": "1234", "readahead_kb": 4096}},
    } | changes


def test_a_tuned_kernel_has_no_difference() -> None:
    assert kernel_differences(tower(), WANTED) == []


def test_each_difference_names_the_running_and_the_wanted_value() -> None:
    found = kernel_differences(
        tower(
            sysctl={"kernel.numa_balancing": 1, "vm.swappiness": 60},
            disks={"/models": {"device": "nvme0n1p2", "fs_uuid": "1234", "readahead_kb": 128}},
        ),
        WANTED,
    )
    assert found == [
        "kernel.numa_balancing is 1, not 0",
        "vm.swappiness is 60, not 10",
        "the read-ahead of nvme0n1p2 in kB is 128, not 4096",
    ]


def test_what_the_machine_does_not_offer_is_no_difference() -> None:
    bare = tower(
        sysctl={"kernel.numa_balancing": None, "vm.swappiness": 10},
        thp=None,
        frequency=None,
        disks={"/models": {"device": None, "fs_uuid": None, "readahead_kb": None}},
    )
    assert kernel_differences(bare, WANTED) == []


def test_a_governor_that_the_driver_lacks_is_no_difference() -> None:
    frequency = {"governor": "powersave", "governors": ["powersave"], "energy_performance_preference": None}
    assert kernel_differences(tower(frequency=frequency), WANTED) == []


def test_a_wanted_null_leaves_the_setting_alone() -> None:
    wanted = WANTED | {"frequency": {"governor": None, "energy_performance_preference": None}, "readahead_kb": None}
    frequency = {
        "governor": "powersave",
        "governors": ["performance"],
        "energy_performance_preference": "balance_power",
    }
    assert kernel_differences(tower(frequency=frequency), wanted) == []
