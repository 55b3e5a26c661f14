# SPDX-License-Identifier: MIT
"""What the layers of a model keep, from the keys of its header, and what is said of an unknown architecture."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.model.document import KvGeometry
from plugins.module_utils.model.kv_cache import kv_bytes
from plugins.module_utils.model.kv_geometry import bounds, geometry
from tests.gguf_builder import LLAMA


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 2 * 2 * 2 * 128),
        ({"llama.attention.head_count_kv": [2, 0]}, 2 * 2 * 128),  # a layer without attention
        ({"llama.attention.key_length": 32, "llama.attention.value_length": 16}, 2 * 2 * 2 * 48),
        ({"llama.attention.key_length": 32}, 2 * 2 * 2 * (32 + 64)),  # values have the default length
        ({"llama.block_count": 3, "llama.nextn_predict_layers": 1}, 2 * 2 * 2 * 128),  # a layer that guesses ahead
        ({"llama.full_attention_interval": 4}, 2 * 2 * 2 * 128),  # what others mean by it, it does not
        ({"llama.nextn_predict_layers": 2}, None),
        ({"llama.attention.head_count_kv": [2]}, None),
        ({"llama.attention.head_count_kv": "many"}, None),
        ({"llama.block_count": 2**63}, None),
        ({"llama.block_count": 0}, None),
        ({"llama.embedding_length": 2**63}, None),
        ({"llama.attention.head_count": 0}, None),
    ],
)  # fmt: skip
def test_kv_bytes_come_from_the_geometry_or_not_at_all(change: dict[str, Any], expected: int | None) -> None:
    found = geometry({**LLAMA, **change})
    assert (found and 2 * found["elements"]) == expected


def test_kv_heads_are_the_heads_where_nothing_else_is_said() -> None:
    metadata = {key: value for key, value in LLAMA.items() if key != "llama.attention.head_count_kv"}
    found = geometry(metadata)
    assert found and found["elements"] == 2 * 8 * 128


def geometry_of(architecture: str, layers: int, **values: Any) -> KvGeometry | None:
    """Of 4 heads of 64, 2 of them for keys and values; ``_`` in a name of a value stands for a dot."""
    metadata = {"block_count": layers, "embedding_length": 256, "attention.head_count": 4, "attention.head_count_kv": 2}
    metadata |= {name.replace("__", "."): value for name, value in values.items()}
    return geometry(
        {"general.architecture": architecture, **{f"{architecture}.{key}": value for key, value in metadata.items()}}
    )


WINDOW = {"attention__sliding_window": 512}


@pytest.mark.parametrize(
    ("architecture", "layers", "values", "full", "windowed"),
    [
        ("llama", 6, WINDOW, 6, 0),  # a window that llama.cpp does not use for it
        ("gemma3", 12, WINDOW, 2, 10),
        ("gemma3", 12, WINDOW | {"attention__sliding_window": 0}, 12, 0),
        ("gemma3", 12, WINDOW | {"attention__sliding_window_pattern": 4}, 3, 9),
        ("gemma2", 4, {}, 2, 2),  # 4096, without being told
        ("gpt-oss", 4, WINDOW, 2, 2),
        ("cohere2moe", 5, WINDOW, 2, 3),  # the full one comes first
        ("llama4", 8, {}, 2, 6),
        ("llama4", 8, {"attention__sliding_window": 0}, 8, 0),
        ("gemma4", 3, WINDOW | {"attention__sliding_window_pattern": [True, False, True]}, 1, 2),
        (  # the last two use what the first two keep
            "gemma4",
            4,
            WINDOW | {"attention__sliding_window_pattern": [True, False] * 2, "attention__shared_kv_layers": 2},
            1,
            1,
        ),
    ],
)  # fmt: skip
def test_windows_are_where_llama_cpp_has_them(
    architecture: str, layers: int, values: dict[str, Any], full: int, windowed: int
) -> None:
    found = geometry_of(architecture, layers, **values)
    assert found
    assert (found["elements"], found["window_elements"]) == (full * 2 * 128, windowed * 2 * 128)
    assert bool(found["window"]) == bool(windowed)


@pytest.mark.parametrize(
    ("architecture", "values", "elements", "state"),
    [
        (  # 3 of 4 layers: 3 inputs of 256 + 2 x 2 x 16 channels, 16 x 256 sums
            "qwen3next",
            {"ssm__conv_kernel": 4, "ssm__inner_size": 256, "ssm__state_size": 16, "ssm__group_count": 2},
            2 * 128,
            3 * 4 * (3 * (256 + 64) + 16 * 256),
        ),
        (
            "lfm2",
            {"shortconv__l_cache": 3, "attention__head_count_kv": [0, 0, 2, 0]},
            2 * 128,
            3 * 4 * 256 * 2,
        ),
        (
            "kimi-linear",
            {
                "kda__head_dim": 32, "ssm__conv_kernel": 4, "attention__head_count_kv": [0, 0, 0, 1],
                "attention__key_length": 80, "attention__key_length_mla": 48,
            },
            80,
            3 * 4 * (3 * 3 * 4 * 32 + 32 * 32 * 4),
        ),
        (
            "falcon-h1",
            {"ssm__conv_kernel": 4, "ssm__inner_size": 128, "ssm__state_size": 8, "ssm__group_count": 1},
            4 * 2 * 128,
            4 * 4 * (3 * (128 + 16) + 8 * 128),
        ),
        (  # a feed-forward layer has neither
            "nemotron_h",
            {
                "ssm__conv_kernel": 4, "ssm__inner_size": 128, "ssm__state_size": 8, "ssm__group_count": 1,
                "attention__head_count_kv": [0, 2, 0, 0], "feed_forward_length": [0, 0, 512, 0],
            },
            2 * 128,
            2 * 4 * (3 * (128 + 16) + 8 * 128),
        ),
        ("deepseek32", {"attention__head_count_kv": 1, "attention__key_length": 80, "attention__key_length_mla": 48,
                        "attention__indexer__key_length": 32}, 4 * (80 + 32), 0),
    ],
)  # fmt: skip
def test_recurrent_layers_keep_a_state_and_sparse_ones_the_keys_of_their_index(
    architecture: str, values: dict[str, Any], elements: int, state: int
) -> None:
    found = geometry_of(architecture, 4, **values)
    assert found
    assert (found["elements"], found["state_bytes"]) == (elements, state)


def test_a_latent_is_kept_once_whatever_the_heads() -> None:
    found = geometry_of("deepseek2", 4, attention__head_count_kv=1, attention__key_length=80,
                        attention__value_length=64, attention__key_length_mla=48)  # fmt: skip
    assert found and (found["elements"], found["value_padding"]) == (4 * 80, 0)


DEEPSEEK4 = {
    "attention__sliding_window": 128,
    "attention__head_count_kv": 1,
    "attention__key_length": 512,
    "attention__indexer__key_length": 128,
    "attention__compress_ratios": [0, 0, 4, 128, 4, 128, 4],
}


def test_tokens_that_are_compressed_are_one_of_several() -> None:
    """DeepSeek V4: a window in every layer, and one key for 4 tokens with an indexer, or for 128, in most."""
    found = geometry_of("deepseek4", 7, **DEEPSEEK4)
    assert found
    assert (found["elements"], found["window_elements"], found["window"]) == (0, 7 * 512, 128)
    assert found["compressed"] == [{"ratio": 4, "elements": 3 * 640}, {"ratio": 128, "elements": 2 * 512}]
    # Keys and scores of two overlapping groups of 4 tokens, twice as long, and of one of 128.
    assert found["state_bytes"] == 4 * (3 * 2 * 8 * 2 * 640 + 2 * 2 * 128 * 512)


def test_a_compressed_cache_is_a_fraction_of_that_of_all_tokens() -> None:
    """At 128k tokens a model of 43 layers was once told to need 14 times what it takes."""
    layers: dict[str, Any] = {**DEEPSEEK4, "attention__compress_ratios": [0, 0, *[4, 128] * 20, 4]}
    found, whole = geometry_of("deepseek4", 43, **layers), 43 * 2 * 512 * 131072 * 2
    assert 10 < whole / kv_bytes(found, 131072) < 16


@pytest.mark.parametrize(
    ("architecture", "values", "indexed"),
    [
        ("deepseek32", {}, 8),
        ("glm-dsa", {"context_length": 202752}, 8),
        ("glm-dsa", {"context_length": 1048576}, 4),  # 0, 1, 2 and 6 of the trunk, by default
        ("glm-dsa", {"context_length": 1048576, "attention__indexer__types": [1, 0] * 4}, 4),
        ("hy_v4", {"attention__indexer__types": [1, 0, 0, 0] * 2, "attention__indexer__top_k": 8}, 2),
        ("hy_v4", {"attention__indexer__types": [1, 0, 0, 0] * 2}, 0),
    ],
)  # fmt: skip
def test_an_indexer_is_counted_where_a_layer_has_one(architecture: str, values: dict[str, Any], indexed: int) -> None:
    latent = {"attention__key_length": 80, "attention__key_length_mla": 48, "attention__head_count_kv": 1}
    found = geometry_of(architecture, 8, attention__indexer__key_length=32, **latent, **values)
    assert found and found["elements"] == 8 * 80 + indexed * 32


def test_keys_and_values_of_an_indexer_are_in_the_layers_after_the_dense_ones() -> None:
    found = geometry_of("minimax-m3", 6, attention__indexer__key_length=32, leading_dense_block_count=2)
    assert found and found["elements"] == 6 * 2 * 128 + 4 * (32 + 64)


def test_linear_attention_keeps_a_matrix_for_each_head() -> None:
    found = geometry_of("minimax-01", 16)
    assert found and (found["elements"], found["state_bytes"]) == (2 * 2 * 128, 14 * 4 * 64 * 64 * 4)


def test_a_model_without_attention_keeps_a_state_alone() -> None:
    metadata = {"block_count": 4, "embedding_length": 256, "wkv.head_size": 64}
    found = geometry({"general.architecture": "rwkv7", **{f"rwkv7.{key}": value for key, value in metadata.items()}})
    assert found and (found["elements"], found["state_bytes"]) == (0, 4 * 4 * 256 * (2 + 64))


def test_layers_that_predict_ahead_are_not_counted_but_where_the_engine_has_caches_of_them() -> None:
    plain = geometry_of("glm4moe", 5, nextn_predict_layers=1)
    assert plain and plain["elements"] == 4 * 2 * 128
    hybrid = geometry_of("bailingmoe3", 5, nextn_predict_layers=1, attention__head_count_kv=[0, 1, 0, 1, 1],
                         attention__key_length=80, attention__key_length_mla=48)  # fmt: skip
    assert hybrid and hybrid["elements"] == 3 * 80


def test_a_model_that_goes_through_its_layers_again_has_a_cache_for_each_time() -> None:
    found = geometry_of("nanbeige", 4, num_loops=2)
    assert found and found["elements"] == 2 * 4 * 2 * 128


def test_an_embedding_model_keeps_nothing() -> None:
    found = geometry_of("bert", 4)
    assert found and kv_bytes(found, 8192) == 0


@pytest.mark.parametrize(
    ("values", "least", "most"),
    [
        ({}, (4 * 2 * 64, 0), 4 * 2 * 128),
        ({"attention__sliding_window": 512}, (0, 4 * 2 * 64), 4 * 2 * 128),
        ({"attention__indexer__key_length": 32}, (4 * 2 * 64, 0), 4 * (2 * 128 + 3 * 32)),
        ({"full_attention_interval": 4}, (2 * 64, 0), 4 * 2 * 128),
    ],
)  # fmt: skip
def test_an_unknown_architecture_has_bounds_and_the_larger_is_counted(
    values: dict[str, Any], least: tuple[int, int], most: int
) -> None:
    prefixed = {f"unheard-of.{key.replace('__', '.')}": value for key, value in values.items()}
    metadata = {
        "general.architecture": "unheard-of",
        "unheard-of.block_count": 4,
        "unheard-of.embedding_length": 256,
        "unheard-of.attention.head_count": 4,
        "unheard-of.attention.head_count_kv": 2,
        **prefixed,
    }
    found = bounds(metadata)
    assert found
    assert (found[0]["elements"], found[0]["window_elements"]) == least
    assert found[1]["elements"] == most
    assert geometry(metadata) == found[1]


def test_what_is_known_has_no_bounds() -> None:
    assert bounds(LLAMA) is None
    assert bounds({}) is None
