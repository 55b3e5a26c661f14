# SPDX-License-Identifier: MIT
"""Which models fit a disk, and what the catalog says of its own."""

from __future__ import annotations

from typing import Any

from plugins.module_utils.forecast.roofline import model_of
from plugins.module_utils.model.declaration import declaration_problems
from plugins.module_utils.model.document import ModelEntry
from plugins.module_utils.model.fit import disk_problem, undeclared_problem
from plugins.module_utils.model.kv_cache import kv_bytes

GB = 10**9
KV = {"elements": 250_000, "window_elements": 0, "window": 0, "state_bytes": 0}
PLAN: Any = [{"name": "tiny", "bytes": 100 * GB, "missing_bytes": 100 * GB, "gguf": {"kv": KV}}]


def test_the_disk_must_hold_what_is_missing_and_the_reserve() -> None:
    assert disk_problem(PLAN, "/m", 102 * GB, 2 * GB) is None
    complete: Any = [{**PLAN[0], "missing_bytes": 0}]
    assert disk_problem(complete, "/m", 0, 2 * GB) is None
    assert disk_problem(PLAN, "/m", 101 * GB, 2 * GB) == (
        "The disk of /m has 101.0 GB free, and 100.0 GB of models and a reserve of 2.0 GB are to go there: make "
        "room, or set model_store_dir to a larger disk."
    )


def test_a_model_that_is_not_declared_cannot_be_served() -> None:
    assert undeclared_problem(PLAN, "tiny") is None
    assert undeclared_problem(PLAN, "other") == (
        "llama_service_model is other, and model_store_models declares tiny: name one of those."
    )


def test_every_model_of_the_catalog_can_be_declared(catalog: list[ModelEntry]) -> None:
    assert len(catalog) >= 12
    for model in catalog:
        declared: dict[str, Any] = {
            "name": model["name"],
            "repo": model["repo"],
            "revision": "main",
            "files": model["files"],
        }
        assert declaration_problems([declared]) == []
        assert 0 < model["active_bytes"] <= model["bytes"]
        assert model_of(model), model["name"]
        assert model["active_parameters"] <= model["parameters"]
        assert (model["context"] or 0) > 8192
        assert kv_bytes(model["kv"], 8192) > 0
