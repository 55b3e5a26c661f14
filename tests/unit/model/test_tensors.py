# SPDX-License-Identifier: MIT
"""The types of tensors are those of the package gguf that the engine carries; and what a token reads of tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.model.tensors import FILE_TYPES, TYPES, Tensor, loaded_metadata, weights_read

# Of the engine that is pinned, as test_architectures.py has it.
ENGINE = json.loads((Path(__file__).resolve().parents[2] / "engine_architectures.json").read_text())


def test_types_are_those_of_the_package() -> None:
    assert {int(number): tuple(entry) for number, entry in ENGINE["types"].items()} == TYPES


def test_file_types_are_those_of_the_package() -> None:
    assert {int(number): name for number, name in ENGINE["file_types"].items()} == FILE_TYPES


def read(metadata: dict[str, Any], tensors: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """What a token reads, and what layers that predict ahead have, where every weight is a byte."""
    sizes = dict.fromkeys(tensors, 1)
    for name, shape in tensors.items():
        for dimension in shape:
            sizes[name] *= dimension
    made = [Tensor(name, shape, "I8", 0, sizes[name]) for name, shape in tensors.items()]
    name = metadata.get("architecture", "llama")
    keys = {f"{name}.{key}": value for key, value in {"block_count": 2, **metadata}.items() if key != "architecture"}
    found = {"general.architecture": name, **keys}
    return weights_read(loaded_metadata(found, made), made)


def test_a_token_reads_one_row_of_the_embedding_and_the_experts_in_use() -> None:
    metadata = {"expert_count": 8, "expert_used_count": 2}
    tensors = {"token_embd.weight": (256, 100), "blk.0.ffn_up_exps.weight": (256, 4, 8)}
    assert read(metadata, tensors) == (256 * 100 + 256 * 4 * 2, 0)  # the embedding is the output matrix, too
    assert read(metadata, {**tensors, "output.weight": (256, 100)}) == (256 * 100 + 256 * 4 * 2 + 256, 0)


def test_experts_in_use_may_be_others_in_each_layer() -> None:
    tensors = {f"blk.{layer}.ffn_up_exps.weight": (16, 4, 8) for layer in range(3)}
    assert read({"block_count": 3, "expert_count": 8, "expert_used_count": [1, 8, 4]}, tensors) == (16 * 4 * 13, 0)


def test_a_layer_that_predicts_ahead_is_told_apart() -> None:
    tensors = {"blk.0.ffn_up.weight": (256, 10), "per_layer_token_embd.weight": (256, 100)}
    ahead = {**tensors, "blk.1.ffn_up.weight": (256, 20)}
    assert read({"nextn_predict_layers": 1}, ahead) == (256 * 10 + 256, 256 * 20)


@pytest.mark.parametrize(("more", "expected"), [({}, (30, 0)), ({"blk.1.nextn.eh_proj.weight": (5,)}, (10, 25))])
def test_a_layer_that_is_said_to_predict_ahead_and_does_not_is_read(
    more: dict[str, tuple[int, ...]], expected: tuple[int, int]
) -> None:
    tensors: dict[str, tuple[int, ...]] = {"blk.0.ffn_up.weight": (10,), "blk.1.ffn_up.weight": (20,), **more}
    assert read({"architecture": "deepseek4", "nextn_predict_layers": 1}, tensors) == expected


def test_layers_that_a_token_goes_through_again_are_read_again() -> None:
    tensors: dict[str, tuple[int, ...]] = {"blk.0.ffn_up.weight": (10,), "blk.1.ffn_up.weight": (20,)}
    assert read({"architecture": "nanbeige", "num_loops": 3}, tensors) == (90, 0)
    cycles = {"hrm.layers_per_stack": 1, "hrm.h_cycles": 2, "hrm.l_cycles": 3, "block_count": 8}
    assert read({"architecture": "hrm_text", **cycles}, tensors) == (2 * 3 * 10 + 2 * 20, 0)
