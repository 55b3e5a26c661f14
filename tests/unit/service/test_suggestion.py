# SPDX-License-Identifier: MIT
"""Which models of the catalog a tower is told, where none is declared."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from plugins.module_utils.model.declaration import declaration_problems
from plugins.module_utils.model.document import ModelEntry
from plugins.module_utils.service.memory_budget import entry_weighed, memory_budget, serving
from plugins.module_utils.service.suggestion import models_that_fit, suggestion

GB = 10**9
SETTINGS: Any = {
    "context": 8192,
    "parallel": 1,
    "checkpoints": 8,
    "flash_attention": None,
    "huge_pages": "thp",
    "huge_page_bytes": 2**21,
    "reserve_bytes": GB,
    "extra": {},
}


def tower(memory: int) -> Any:
    return {"memory_bytes": memory, "cpus": 32}


@pytest.mark.parametrize("gigabytes", [4, 8, 16, 64, 384, 1024])
def test_suggestions_fit_and_can_be_pasted(catalog: list[ModelEntry], gigabytes: int) -> None:
    machine = tower(gigabytes * GB)
    fitting = models_that_fit(catalog, machine, SETTINGS)
    assert fitting
    served = serving(SETTINGS, None, machine)
    assert all(
        memory_budget(entry_weighed(model), served)["total"] + GB <= machine["memory_bytes"] for model in fitting
    )
    assert [model["bytes"] for model in fitting] == sorted((model["bytes"] for model in fitting), reverse=True)
    said = suggestion(catalog, machine, SETTINGS)
    pasted = yaml.safe_load(said[said.index("model_store_models:") :].partition("\n\n")[0])["model_store_models"]
    assert declaration_problems(pasted) == []
    assert pasted[0]["name"] == fitting[0]["name"]


@pytest.mark.parametrize("more", [{"context": 131072}, {"checkpoints": 256}, {"flash_attention": False}])
def test_what_the_settings_need_besides_the_weights_is_counted(catalog: list[ModelEntry], more: dict[str, Any]) -> None:
    gemma = [model for model in catalog if model["name"] == "gemma-3-27b"]
    machine = tower(32 * GB)
    assert models_that_fit(gemma, machine, SETTINGS) == gemma
    assert models_that_fit(gemma, machine, SETTINGS | {"context": 65536} | more) == []


def test_where_nothing_fits_that_is_said(catalog: list[ModelEntry]) -> None:
    assert "none of the catalog fits 500 MB" in suggestion(catalog, tower(GB // 2), SETTINGS | {"reserve_bytes": 0})
