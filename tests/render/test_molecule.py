# SPDX-License-Identifier: MIT
"""One tower of molecule/default has another value for whatever has a place or a name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
INVENTORY = yaml.safe_load((REPO / "molecule/default/inventory/hosts.yml").read_text())["towers"]
CHANGED = {**INVENTORY["vars"], **INVENTORY["hosts"]["trixie"]}

NAMED = re.compile(r"_(port|user|instances?|model)$")
# What no tower in a container has.
NOT_THERE = {
    "bios": "a BMC",
    "forecast": "nothing: it forecasts on the controller",
    "llama_service_rollback_instance": "a need to name one, where there is one",
    "llama_service_tls_backend_port": "TLS, which is off unless a certificate is named",
    "status_access_file": "a file of the controller, which is asked for on the command line",
    "uninstall_instances": "a default, which names none: it is for the command line",
    "numa_advice_root": "a saved copy of another machine's /sys",
}


def places() -> dict[str, Any]:
    """The default of every variable of a role that is a path, a port, a user or a name."""
    found = {}
    for path in sorted(REPO.glob("roles/*/meta/argument_specs.yml")):
        role = path.parts[-3]
        defaults = yaml.safe_load((path.parents[1] / "defaults/main.yml").read_text()) or {}
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            for name, option in (entry.get("options") or {}).items():
                if (option["type"] == "path" or NAMED.search(name)) and not {role, name} & NOT_THERE.keys():
                    found[name] = defaults.get(name)
    return found


PLACES = places()


def is_changed(name: str) -> bool:
    """Whether the tower sets it, or it follows one that the tower sets."""
    if name in CHANGED:
        return bool(CHANGED[name] != PLACES.get(name))
    default = PLACES.get(name)
    return isinstance(default, str) and any(
        is_changed(other) for other in re.findall(r"\b\w+\b", default) if other in PLACES
    )


def test_the_search_finds_places_and_names() -> None:
    assert {"benchmark_dir", "llama_build_root", "llama_service_port", "llama_service_user", "report_dir"} <= set(
        PLACES
    )


@pytest.mark.parametrize("name", sorted(PLACES))
def test_one_tower_has_another_value(name: str) -> None:
    assert is_changed(name), f"give the host trixie of molecule/default another {name} than the default"
