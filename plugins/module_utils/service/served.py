# SPDX-License-Identifier: MIT
"""How a unit of this tower runs its model, for who runs the same model in the same way beside it."""

from __future__ import annotations

import os

from .deployment import INSTANCES, current_unit
from .document import Unit
from .unit import RUNNING, Call, UnitError, call, maps_model, show


def read_unit(unit: str, run: Call = call, path: str = INSTANCES) -> Unit:
    """How a unit of this tower runs its model. Raises UnitError where it has none."""
    name = unit[unit.find("@") + 1 :].rpartition(".service")[0] or unit
    try:
        instance, identity, deployment, planned = current_unit(name, path)
    except LookupError as error:
        raise UnitError(f"{error} Or set benchmark_instance to one that there is.") from error
    settings = {key: value for key, value in planned["environment"].items() if key.startswith("LLAMA_ARG_")}
    for option, value in zip(deployment["options"], deployment["options"][1:]):
        if option == "--threads-batch":
            settings["LLAMA_ARG_THREADS_BATCH"] = value
    model = os.path.join(deployment["model"]["directory"], deployment["model"]["files"][0])
    shown = show(unit, "ActiveState", "MainPID", run=run)
    return {
        "name": unit,
        "active": shown["ActiveState"] in RUNNING,
        "maps_model": maps_model(int(shown.get("MainPID") or 0)),
        "prefix": planned["prefix"],
        "binaries": os.path.join(deployment["engine"]["directory"], "bin"),
        "model": model,
        "address": planned["url"],
        "key_file": instance.keys_path(identity),
        "settings": {**settings, "LLAMA_ARG_MODEL": model},
        "environment": {key: value for key, value in planned["environment"].items() if key == "GLIBC_TUNABLES"},
    }
