# SPDX-License-Identifier: MIT
"""Caches and states are as large as llama.cpp itself makes them, for each architecture that it has a header for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plugins.module_utils.model.kv_cache import kv_buffers
from plugins.module_utils.model.kv_geometry import geometry
from tests.engine_caches import CONTEXT, KEPT, REQUESTS

ENGINE = json.loads(KEPT.read_text())
ARCHITECTURES = json.loads(Path(KEPT.parent / "engine_architectures.json").read_text())


def test_the_figures_are_those_of_the_engine_that_is_pinned() -> None:
    """A new llama_build_source ends here: measure again (tests/engine_caches.py says how)."""
    assert ENGINE["source"] == ARCHITECTURES["source"]
    assert len(ENGINE["models"]) > 100


@pytest.mark.parametrize("architecture", ENGINE["models"])
def test_caches_are_as_large_as_the_engine_makes_them(architecture: str) -> None:
    model = ENGINE["models"][architecture]
    keys = {**ENGINE["common"], **model["keys"]}
    metadata = {f"{architecture}.{key}": value for key, value in keys.items() if value is not None}
    found = geometry({"general.architecture": architecture, **metadata})
    assert found
    counted = sum(kv_buffers(found, CONTEXT, parallel=REQUESTS)) / 2**20
    print(found, "counted:", counted, "MiB, allocated:", model["mib"], "MiB")
    # The log has two decimals, of each buffer.
    assert counted == pytest.approx(model["mib"], rel=0.01, abs=0.02)
