# SPDX-License-Identifier: MIT
"""Filters over what benchmarks and the tuner found; each is described in the file of its name beside this one."""

from __future__ import annotations

from typing import Any

from ..module_utils.benchmark.terminal import benchmark_text, tuning_text


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {
            "benchmark_text": benchmark_text,
            "tuning_text": tuning_text,
        }
