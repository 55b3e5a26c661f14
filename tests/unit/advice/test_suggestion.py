# SPDX-License-Identifier: MIT
"""Which models of the catalog a tower is told, where none is declared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.advice.suggestion import choices, declared, models_that_fit, suggestion
from plugins.module_utils.memory.channels import describe
from plugins.module_utils.memory.smbios import read_table
from plugins.module_utils.model.declaration import declaration_problems
from plugins.module_utils.model.document import ModelEntry
from plugins.module_utils.service.memory_budget import entry_weighed, memory_budget, serving
from plugins.module_utils.text import WIDTH
from plugins.module_utils.tower import l3_domains, read_tower
from tests.boards.machine import files, write

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


def test_the_largest_that_are_useful_are_chosen_and_the_fastest_comes_first(
    catalog: list[ModelEntry], tmp_path: Path
) -> None:
    write(tmp_path, files({"cores": 16}))
    machine = read_table((tmp_path / "sys/firmware/dmi/tables/DMI").read_bytes())
    found, memory = read_tower(tmp_path), describe(machine, "dmi-table", l3_domains(tmp_path / "sys"))
    chosen = choices(catalog, found, SETTINGS, memory)
    speeds = [choice.speed["expected"] if choice.speed else 0 for choice in chosen]
    print([choice.model["name"] for choice in chosen], speeds)
    assert len(speeds) == 3 and speeds == sorted(speeds, reverse=True) and min(speeds) >= 3
    assert "llama-3.1-405b" in [model["name"] for model in models_that_fit(catalog, found, SETTINGS)]
    said = suggestion(catalog, found, SETTINGS, memory)
    print(said)
    assert said.count("tokens/s, up to ") == 3
    assert max(map(len, said.splitlines())) <= WIDTH
    # Of a guest nothing of the kind is said.
    assert "tokens/s" not in suggestion(catalog, {**found, "hypervisor": True}, SETTINGS, memory)


def test_a_model_is_taken_by_its_name_as_people_write_it_and_a_near_one_is_told(catalog: list[ModelEntry]) -> None:
    assert declaration_problems([declared(catalog, "glm-4.6")]) == []
    assert declared(catalog, "GLM 4.6") == declared(catalog, "glm-4.6")
    with pytest.raises(KeyError, match=r"There is no model GLM 4.66 in the catalog: the nearest are glm-4.6, "):
        declared(catalog, "GLM 4.66")
