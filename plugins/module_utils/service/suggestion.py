# SPDX-License-Identifier: MIT
"""Which models of the catalog a tower could serve with its settings, and what is said where none is declared."""

from __future__ import annotations

from ..limits import usable
from ..model.document import ModelEntry
from ..text import size
from ..tower_document import Tower
from .document import Settings
from .memory_budget import entry_weighed, fits, memory_budget, page_bytes, serving

# More would not be read.
MOST = 3


def models_that_fit(catalog: list[ModelEntry], tower: Tower, settings: Settings) -> list[ModelEntry]:
    """The models of the catalog that fit the memory, the largest first."""
    served = serving(settings, settings["flash_attention"], tower, page_bytes(settings))
    fitting = [model for model in catalog if fits(memory_budget(entry_weighed(model), served), settings, tower)]
    return sorted(fitting, key=lambda model: -model["bytes"])


def suggestion(catalog: list[ModelEntry], tower: Tower, settings: Settings) -> str:
    """What to say where no model is declared: a few that fit, and the lines to paste."""
    tower = usable(tower)
    fitting, memory = models_that_fit(catalog, tower, settings)[:MOST], size(tower["memory_bytes"])
    if not fitting:
        smallest = min(model["bytes"] for model in catalog)
        return (
            f"No model is declared, and none of the catalog fits {memory} of memory (the smallest has "
            f"{size(smallest)}): declare one of your own in model_store_models."
        )
    lines = ["No model is declared; nothing was touched. These fit this machine:", ""]
    for model in fitting:
        lines.append(
            f"  {model['name']:<24} {size(model['bytes']):>9} of {memory}, {size(model['active_bytes'])} read a token"
        )
    lines += ["", "Paste the lines of one into group_vars/towers.yml beside the inventory, and run this again:"]
    for model in fitting:
        lines += ["", "model_store_models:", f"  - name: {model['name']}", f"    repo: {model['repo']}"]
        lines += ["    revision: main", f'    files: "{model["files"]}"']
    return "\n".join(lines)
