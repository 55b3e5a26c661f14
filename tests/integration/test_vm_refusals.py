# SPDX-License-Identifier: MIT
"""What cannot work on this tower is refused before it is touched; the other refusals are tested in containers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.vm_site import Site

MODEL = {"name": "gemma-3-270m", "repo": "demo/gemma-3-270m-GGUF", "revision": "main", "files": "*-Q6_K.gguf"}
PATH = "/var/lib/llama-models/gemma-3-270m/gemma-3-270m-Q6_K.gguf"


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"model_store_models": [{"name": "other", "path": PATH, "sha256": "0" * 64}]}, r"0{64}"),
        ({"llama_service_memory_reserve_bytes": 7 * 2**30}, r"does not fit"),
        ({"model_store_models": [{**MODEL, "name": "other"}], "model_store_reserve_bytes": 2**45}, r"free"),
    ],
    ids=["sha256", "memory", "disk"],
)
def test_refused_in_one_sentence(site: Site, variables: dict[str, Any], sentence: str) -> None:
    before = site.state()
    run = site.playbook("site.yml", **variables)
    assert run.code != 0
    assert run.finds(sentence), run.output
    assert site.state() == before
