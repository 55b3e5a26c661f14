# SPDX-License-Identifier: MIT
"""What a server takes of the memory, part by part; test_container_memory_budget.py holds it against the engine."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.service.memory_budget import (
    Serving,
    Weighed,
    memory_budget,
    memory_problem,
    serving,
    weighed,
)
from tests.llama_server import GB, settings, tower

KV: Any = {"elements": 250_000, "window_elements": 0, "window": 0, "state_bytes": 0}
WINDOWED: Any = KV | {"elements": 0, "window_elements": 250_000, "window": 1024}
COMPUTE: Any = {
    "heads": 128,
    "width": 1024,
    "feed_forward": 4096,
    "mixing": 4096,
    "vocabulary": 1000,
    "nodes": 1024,
    "token_nodes": 0,
    "flash_attention": True,
}
MODEL: Any = {"name": "tiny", "bytes": 100 * GB, "gguf": {"kv": KV, "compute": COMPUTE}}


def budget(model: Any = MODEL, flash: bool | None = None, **changes: Any) -> Any:
    return memory_budget(weighed(model), serving(settings(**{"context": 8192, **changes}), flash, tower()))


def problem(gigabytes: int, model: Any = MODEL, **changes: Any) -> str | None:
    given = settings(**{"context": 8192, "reserve_bytes": GB, **changes})
    machine = tower(1, gigabytes)
    return memory_problem(model, given, machine, memory_budget(weighed(model), serving(given, None, machine)))


def test_the_total_is_the_sum_of_the_parts() -> None:
    found = budget()
    assert sum(value for key, value in found.items() if key != "total") == found["total"]
    assert (found["weights"], found["kv_cache"], found["checkpoints"]) == (100 * GB, 8192 * 500_000, 0)


def test_the_memory_must_hold_all_of_it_and_the_reserve() -> None:
    assert problem(106) is None
    assert problem(105) == (
        "Model tiny does not fit the memory: 100.0 GB of weights, 4.1 GB of KV cache for 8192 tokens, 41 MB of compute "
        "buffers, 48 MB of the process and whole pages, and 1.0 GB of reserve are more than 105.0 GB: choose a smaller "
        "model or quantization, or a smaller llama_service_context."
    )


def test_a_windowed_cache_is_no_larger_than_its_windows() -> None:
    windowed = {**MODEL, "gguf": {"kv": WINDOWED, "compute": COMPUTE}}
    assert budget(windowed, context=131_072)["kv_cache"] == 1536 * 500_000
    assert budget(windowed, context=131_072, parallel=4)["kv_cache"] == 4 * 1536 * 500_000


def test_all_checkpoints_of_all_requests_are_counted() -> None:
    windowed = {**MODEL, "gguf": {"kv": WINDOWED, "compute": COMPUTE}}
    assert budget(windowed, checkpoints=3, parallel=2)["checkpoints"] == 3 * 2 * 1024 * 500_000
    assert budget(windowed, checkpoints=0)["checkpoints"] == 0


@pytest.mark.parametrize(
    ("context", "gigabytes"),
    [
        pytest.param(8192, 3.2, id="8192"),
        pytest.param(32768, 12.9, id="32768"),
        pytest.param(131072, 51.5, id="131072"),
    ],
)
def test_without_flash_attention_every_head_has_its_scores(context: int, gigabytes: float) -> None:
    """In F32, of which the engine allocated 2.1, 8.3 and 34.6 GB for 128 heads, and in F16 to multiply them."""
    off, on = (budget(flash=flash, context=context)["compute"] for flash in (False, True))
    assert off / GB == pytest.approx(gigabytes, rel=0.05)
    assert on / GB < 0.2


def test_without_flash_attention_values_are_as_long_as_the_longest() -> None:
    uneven = {**MODEL, "gguf": {"kv": KV | {"value_padding": 50_000}, "compute": COMPUTE}}
    assert budget(uneven, flash=True)["kv_cache"] == 8192 * 500_000
    assert budget(uneven, flash=False)["kv_cache"] == 8192 * 600_000


def test_an_architecture_without_flash_attention_has_the_scores_whatever_is_set() -> None:
    without = {**MODEL, "gguf": {"kv": KV, "compute": COMPUTE | {"flash_attention": False}}}
    assert budget(without, flash=True)["compute"] == budget(without, flash=False)["compute"]


@pytest.mark.parametrize(
    ("name", "value", "part", "bytes_"),
    [
        ("LLAMA_ARG_CACHE_RAM", 8192, "prompt_cache", 8192 * 2**20),
        ("LLAMA_ARG_CACHE_TYPE_K", "q8_0", "kv_cache", 8192 * 500_000),
        ("LLAMA_ARG_CACHE_TYPE_V", "f32", "kv_cache", 8192 * 1_000_000),
    ],
)
def test_what_the_user_adds_is_counted(name: str, value: Any, part: str, bytes_: int) -> None:
    assert budget(extra={name: value})[part] == bytes_


def test_a_larger_batch_computes_in_more() -> None:
    assert budget(extra={"LLAMA_ARG_UBATCH": 2048})["compute"] > 3 * budget()["compute"]


def test_a_window_that_is_kept_whole_has_no_checkpoints() -> None:
    windowed = {**MODEL, "gguf": {"kv": WINDOWED, "compute": COMPUTE}}
    found = budget(windowed, extra={"LLAMA_ARG_SWA_FULL": True})
    assert (found["kv_cache"], found["checkpoints"]) == (8192 * 500_000, 0)


def test_one_cache_for_all_requests_has_one_window_for_them() -> None:
    windowed = {**MODEL, "gguf": {"kv": WINDOWED, "compute": COMPUTE}}
    found = budget(windowed, parallel=2, extra={"LLAMA_ARG_KV_UNIFIED": 1})
    assert found["kv_cache"] == (2 * 1024 + 512) * 500_000


def test_a_prompt_cache_without_a_limit_is_refused() -> None:
    assert "sets the prompt cache no limit" in str(problem(500, extra={"LLAMA_ARG_CACHE_RAM": -1}))


def test_every_buffer_takes_whole_pages_of_a_pool() -> None:
    page = 2**30
    found = memory_budget(Weighed(5 * page + 1, KV, COMPUTE), Serving(8192, pool_page_bytes=page))
    in_pages = found["weights"] + found["kv_cache"] + found["compute"] + found["rounding"]
    # Six for the weights, four for the cache, one to compute in, and four for what begins and ends within one.
    assert in_pages == (6 + 4 + 1 + 4) * page


def test_what_may_stay_in_the_heap_is_more_with_a_pool() -> None:
    served = Serving(8192, flash_attention=False)
    without, pooled = (memory_budget(weighed(MODEL), each) for each in (served, served._replace(pool_page_bytes=2**21)))
    assert pooled["compute"] - without["compute"] == (32 - 4) * 2**20


def test_what_is_not_known_is_not_refused() -> None:
    assert problem(1, None) is None
    unknown: Any = {**tower(), "memory_bytes": None}
    assert memory_problem(MODEL, settings(), unknown, budget()) is None
