# SPDX-License-Identifier: MIT
"""What forecasts are made of in tests: the catalog, and a tower as the modules describe it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from plugins.module_utils.forecast.catalog import from_tower
from plugins.module_utils.forecast.names import choose_model
from plugins.module_utils.forecast.purchase import DEFAULTS

CATALOG = Path(__file__).resolve().parents[1] / "catalog"
MODELS: list[Any] = yaml.safe_load((CATALOG / "models.yml").read_text(encoding="utf-8"))["models"]
HARDWARE: Any = yaml.safe_load((CATALOG / "hardware.yml").read_text(encoding="utf-8"))
MACHINES: list[Any] = HARDWARE["machines"]
MEMORY: Any = {**HARDWARE["memory"], "date": str(HARDWARE["memory"]["date"])}
OPTIONS: Any = {**DEFAULTS}
TODAY = "2026-11-30"
# What ansible-playbook gives where nothing is asked for: options, and names.
ASKED: Any = {**DEFAULTS, "budget": "", "memory_price": "", "memory": HARDWARE["memory"], "today": TODAY}
UNNAMED: Any = {"model": "", "models": [], "machine": "", "machines": []}


def machine(name: str) -> Any:
    return next(entry for entry in MACHINES if entry["name"] == name)


def memory_channels(populated: list[int], domains: int, cpu: str = "AMD EPYC 9124 16-Core Processor") -> Any:
    """What memory_channels_info says, of it what counts here."""
    sockets = [
        {
            "populated": True,
            "cpu": cpu,
            "channels_total": 12,
            "channels_populated": count,
            "empty_channels": ["K", "L"][: 12 - count],
            "l3_domains": domains,
        }
        for count in populated
    ]
    dimms = [{"populated": True, "configured_mts": 4800, "rated_mts": 5600}] * sum(populated)
    return {"sockets": [*sockets, {"populated": False}], "dimms": [*dimms, {"populated": False}]}


def run(**medians: float) -> Any:
    """A benchmark as it is stored."""
    results = {name: {"median": value, "spread": 0.02} for name, value in medians.items()}
    return {"schema_version": 1, "started": "2026-01-31T12:00:00Z", "results": results}


def model(name: str) -> Any:
    return choose_model(name, MODELS)


def tower(host: str, runs: list[Any] | None = None, guest: bool = False) -> Any:
    """A tower of the inventory, as a plan takes it."""
    cpu = {"model": "AMD EPYC 9124 16-Core Processor"}
    described: Any = {"cpu": cpu, "cores": 32, "memory_bytes": 400_000_000_000, "hypervisor": guest}
    return from_tower(host, described, memory_channels([12, 12], 4), runs or [])
