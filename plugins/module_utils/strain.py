# SPDX-License-Identifier: MIT
"""What slows the CPUs of a machine down now: other work, heat, and limits of their power."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional

from .limits import SLICE
from .sysfs import read_int, read_text
from .tower_document import Strain

# Limits of a CPU's power, each with the file of the most that it can be set to, in microwatts: Intel's by the driver
# intel_rapl, AMD's by that of HSMP (Linux 6.15 and later, Documentation/arch/x86/amd_hsmp.rst).
LIMITS = (
    ("sys/class/powercap/intel-rapl:[0-9]", "constraint_0_power_limit_uw", "constraint_0_max_power_uw"),
    ("sys/class/hwmon/hwmon*", "power1_cap", "power1_cap_max"),
)


def strain(root: Path) -> Strain:
    """All of it; None is what the machine does not show."""
    counts = [read_int(file) for file in root.glob("sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count")]
    watts, most = _power(root)
    return {
        "cpu_wait": _wait(read_text(root / "sys/fs/cgroup" / SLICE / "cpu.pressure") or ""),
        "hot": sum(count or 0 for count in counts) if counts else None,
        "watts": watts,
        "most_watts": most,
    }


def _wait(pressure: str) -> Optional[float]:
    """The larger of two averages: an answer may have taken seconds of the last minute."""
    found = re.search(r"^some avg10=([\d.]+) avg60=([\d.]+)", pressure, re.M)
    return max(map(float, found.groups())) / 100 if found else None


def _power(root: Path) -> tuple[Optional[float], Optional[float]]:
    pairs = [
        (read_int(place / limit), read_int(place / most))
        for places, limit, most in LIMITS
        for place in root.glob(places)
    ]
    known = [(limit, most) for limit, most in pairs if limit and most]
    limit, most = min(known, key=lambda pair: pair[0] / pair[1], default=(None, None))
    return (limit / 1e6, most / 1e6) if limit and most else (None, None)
