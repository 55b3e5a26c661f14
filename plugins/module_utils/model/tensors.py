# SPDX-License-Identifier: MIT
"""Tensors of a GGUF file: their types, and how much of them a token reads.

Source: ggml/include/ggml.h and include/llama.h of llama.cpp. The types are those of the package gguf that the
pinned engine carries (tests/unit/model/test_tensors.py).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from .header_values import HeaderValues, trunk

# Tensor type -> name, weights a block, bytes a block.
TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
    42: ("Q2_0", 64, 18),
}


# general.file_type -> name (include/llama.h, enum llama_ftype).
FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}


class Tensor(NamedTuple):
    """One tensor: its dimensions, the name of its type, and its place in the data section."""

    name: str
    dimensions: tuple[int, ...]
    type: str
    offset: int
    bytes: int


class Weights(NamedTuple):
    """Bytes of weights that a token reads, and those of the layers that predict tokens ahead, which it does not."""

    active: int
    ahead: int


def _passes(values: HeaderValues, layer: int) -> int:
    """How often a token goes through a layer: Nanbeige and HRM do so several times."""
    if values.architecture == "nanbeige":
        return values.number("num_loops", 1)
    if values.architecture == "hrm_text":
        low = layer < values.number("hrm.layers_per_stack")
        return values.number("hrm.h_cycles", 1) * (values.number("hrm.l_cycles", 1) if low else 1)
    return 1


def _rows(values: HeaderValues, tied: bool) -> dict[str, int]:
    """Tables of which a token reads so many rows. Without an output matrix of its own a model multiplies by the
    embedding, all of it."""
    several = values.number("ple.ngram_size") - 1
    rows = {
        "per_layer_token_embd.weight": max(1, several * values.number("ple.heads_per_ngram")),
        "position_embd.weight": 1,
    }
    return rows if tied else {**rows, "token_embd.weight": 1}


def weights_read(metadata: dict[str, Any], tensors: list[Tensor]) -> Weights:
    """What one token reads: of the experts those that are used, of the embedding one row."""
    values, layers = HeaderValues(metadata), trunk(metadata)
    used = values.each("expert_used_count", values.number("block_count")) or []
    rows = _rows(values, tied=all(tensor.name != "output.weight" for tensor in tensors))
    active = ahead = 0.0
    for tensor in tensors:
        found = re.match(r"blk\.(\d{1,9})\.", tensor.name)
        layer = int(found[1]) if found else None
        if layer is not None and layers and layer >= layers:
            ahead += tensor.bytes
            continue
        part = min(1.0, rows[tensor.name] / tensor.dimensions[-1]) if tensor.name in rows else 1.0
        if re.search(r"_(ch)?exps\b", tensor.name) and layer is not None and layer < len(used):
            part = min(1.0, used[layer] / tensor.dimensions[-1])
        active += tensor.bytes * part * (_passes(values, layer) if layer is not None else 1)
    return Weights(round(active), round(ahead))


def loaded_metadata(metadata: dict[str, Any], tensors: list[Tensor]) -> dict[str, Any]:
    """The metadata as the engine takes it: DeepSeek V4 says of layers that predict ahead, which its files may lack."""
    values, layers = HeaderValues(metadata), trunk(metadata)
    probe = f"blk.{layers}.nextn.eh_proj.weight"
    if values.architecture != "deepseek4" or any(tensor.name == probe for tensor in tensors):
        return metadata
    return {key: value for key, value in metadata.items() if key != "deepseek4.nextn_predict_layers"}
