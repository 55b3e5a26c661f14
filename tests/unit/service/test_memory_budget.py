# SPDX-License-Identifier: MIT
"""What a model needs of the memory."""

from __future__ import annotations

from typing import Any

from plugins.module_utils.service.memory_budget import memory_problem
from tests.llama_server import GB, settings, tower

KV = {"elements": 250_000, "window_elements": 0, "window": 0, "state_bytes": 0}
MODEL: Any = {"name": "tiny", "bytes": 100 * GB, "gguf": {"kv": KV}}


def problem(gigabytes: int, model: Any = MODEL, **changes: Any) -> str | None:
    return memory_problem(model, settings(**{"context": 8192, "reserve_bytes": GB, **changes}), tower(1, gigabytes))


def test_the_memory_must_hold_weights_cache_and_reserve() -> None:
    assert problem(106) is None
    assert problem(105) == (
        "Model tiny does not fit the memory: 100.0 GB of weights, 4.1 GB of KV cache for 8192 tokens and 1.0 GB of "
        "reserve are more than 105.0 GB: choose a smaller model or quantization, or a smaller llama_service_context."
    )


def test_a_windowed_cache_is_no_larger_than_its_window() -> None:
    windowed = {**MODEL, "gguf": {"kv": KV | {"elements": 0, "window_elements": 250_000, "window": 1024}}}
    assert problem(102, windowed, context=131_072) is None
    # Four requests have a window each: 4 x 1024 + 512 tokens.
    assert "2.3 GB of KV cache" in str(problem(102, windowed, context=131_072, parallel=4))


def test_what_is_not_known_is_not_refused() -> None:
    assert problem(1, None) is None
    unknown: Any = {**tower(), "memory_bytes": None}
    assert memory_problem(MODEL, settings(), unknown) is None
