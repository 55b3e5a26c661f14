# SPDX-License-Identifier: MIT
"""What slows the CPUs of a machine down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.strain import strain
from tests.boards.machine import write

RAPL, HSMP = "sys/class/powercap/intel-rapl", "sys/class/hwmon/hwmon3"
LONG = "some avg10=2.50 avg60=31.25 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0"


def test_a_machine_that_shows_nothing_has_nothing(tmp_path: Path) -> None:
    assert strain(tmp_path) == {"cpu_wait": None, "hot": None, "watts": None, "most_watts": None}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"sys/fs/cgroup/llama.slice/cpu.pressure": LONG}, {"cpu_wait": 0.3125}),
        ({"sys/fs/cgroup/llama.slice/cpu.pressure": LONG.replace("2.50", "40.00")}, {"cpu_wait": 0.4}),
        (
            {f"sys/devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count": str(cpu) for cpu in (0, 2, 3)},
            {"hot": 5},
        ),
        (
            {f"{RAPL}:{cpu}/constraint_0_power_limit_uw": str(cpu * 10**8) for cpu in (1, 2)}
            | {f"{RAPL}:{cpu}/constraint_0_max_power_uw": str(2 * 10**8) for cpu in (1, 2)},
            {"watts": 100.0, "most_watts": 200.0},
        ),
        (
            {f"{HSMP}/power1_cap": "240000000", f"{HSMP}/power1_cap_max": "400000000"},
            {"watts": 240.0, "most_watts": 400.0},
        ),
        ({f"{RAPL}:0/energy_uj": "5"}, {"watts": None, "most_watts": None}),
    ],
    ids=["load", "load just now", "heat", "Intel's limit", "AMD's limit", "a counter alone"],
)
def test_what_the_machine_shows_is_told(files: Any, said: dict[str, Any], tmp_path: Path) -> None:
    found = strain(write(tmp_path, files))
    assert {name: value for name, value in found.items() if name in said} == said
