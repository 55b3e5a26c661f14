# SPDX-License-Identifier: MIT
"""Which type each tensor of a model gets when it is quantized, and so how large its file is.

Source: tensor_allows_quantization, tensor_type_fallback and llama_tensor_get_type_impl (src/llama-quant.cpp) of
llama.cpp, for files that are made with an importance matrix, as those on the hub are. Mixtures of eight experts, for
which it has rules of their own, are not among the families of families.py.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any, NamedTuple

from ..model.header_values import HeaderValues
from ..model.tensors import TYPES, Tensor
from .families import Shapes

BLOCKS = {name: (weights, size) for name, weights, size in TYPES.values()}
# The type of most tensors in a file of each kind.
MOST = {
    "Q8_0": "Q8_0",
    "Q6_K": "Q6_K",
    "Q5_K_M": "Q5_K",
    "Q4_K_M": "Q4_K",
    "IQ4_XS": "IQ4_XS",
    "Q3_K_M": "Q3_K",
    "Q2_K": "Q2_K",
    "MXFP4_MOE": "MXFP4",
}
# For rows that are no multiple of 256.
FALLBACK = {
    "Q6_K": "Q8_0",
    "Q5_K": "Q5_1",
    "Q4_K": "Q5_0",
    "IQ4_XS": "IQ4_NL",
    "Q3_K": "Q4_0",
    "Q2_K": "Q4_0",
}
# What is kept as it is, besides vectors.
SMALL = ("_norm.weight", "ffn_gate_inp.weight", "tid2eid", "ssm_conv1d", "indexer.k_proj", "indexer.q_proj")
# Parts with rules of their own.
PARTS = (
    (r"^output\.weight$", "output"),
    (r"^token_embd\.weight$", "embedding"),
    (r"attn_(v|qkv)\.weight$", "value"),
    (r"attn_output\.weight$", "mixed"),
    (r"ffn_down", "down"),
)


class Layout(NamedTuple):
    """A file whose experts have one type, and the rest another: what mixtures by hand come to."""

    experts: str
    rest: str

    def type_of(self, name: str, shape: tuple[int, ...]) -> str:
        return self.experts if "_exps" in name else self.rest


class _Name(NamedTuple):
    """What the name of a tensor says: its layer, whether it is kept as it is, and which part it is."""

    layer: int
    kept: bool
    part: str


@cache
def _named(name: str) -> _Name:
    found = re.match(r"blk\.(\d+)\.", name)
    kept = not name.endswith("weight") or any(part in name for part in SMALL)
    part = next((part for pattern, part in PARTS if re.search(pattern, name)), "")
    return _Name(int(found[1]) if found else 0, kept, part)


def _more_bits(number: int, count: int) -> bool:
    """The first eighth, the last one, and every third between."""
    return number < count // 8 or number >= 7 * count // 8 or (number - count // 8) % 3 == 2


class _Chooser:
    """Chooses the types for one file; ``value`` is which of the attention's values comes next, of ``values``."""

    def __init__(self, metadata: dict[str, Any], shapes: Shapes, kind: str) -> None:
        keys = HeaderValues(metadata)
        heads, kv_heads = keys.number("attention.head_count"), keys.number("attention.head_count_kv", 1)
        self.kind, self.most, self.layers = kind, MOST[kind], keys.number("block_count")
        self.tied = "output.weight" not in shapes
        self.grouped = heads // kv_heads
        # 70B of Llama: eight heads share values, which may cost more bits.
        self.seventy = keys.architecture == "llama" and self.layers == 80 and heads != kv_heads
        self.value, self.values = 0, sum(_named(name).part == "value" for name in shapes)

    def type_of(self, name: str, shape: tuple[int, ...]) -> str:
        layer, _kept, part = _named(name)
        if part == "output" or (self.tied and part == "embedding"):
            eight = self.kind in ("MXFP4_MOE", "Q8_0") or shape[0] % BLOCKS[self.most][0]
            return "Q8_0" if eight else "Q6_K"
        if self.kind == "MXFP4_MOE":
            return "MXFP4" if len(shape) > 2 else "Q8_0"
        if part == "value":
            return self._value_type()
        if part == "down":
            return self._down_type(layer)
        if part == "mixed":
            return {"Q2_K": "Q3_K", "Q3_K_M": "Q4_K"}.get(self.kind, self.most)
        return self.most

    def _value_type(self) -> str:
        """Of the values of attention, or of all its inputs in one matrix."""
        number, found = self.value, self.most
        self.value += 1
        if self.kind == "Q2_K":
            found = "Q4_K" if self.grouped >= 4 else "Q3_K"
        elif self.kind == "Q3_K_M":
            found = "Q5_K" if number < 2 else "Q4_K"
        elif self.kind == "IQ4_XS" and self.grouped >= 4:
            found = "Q5_K"
        elif self.kind in ("Q4_K_M", "Q5_K_M") and _more_bits(number, self.values):
            found = "Q6_K"
        return "Q5_K" if self.seventy and found in ("Q3_K", "Q4_K") else found

    def _down_type(self, layer: int) -> str:
        if self.kind == "Q2_K":
            return "Q3_K"
        if self.kind == "Q3_K_M":
            return "Q5_K" if layer < self.layers // 16 else "Q4_K"
        more = self.kind in ("Q4_K_M", "Q5_K_M") and _more_bits(layer, self.layers)
        return "Q6_K" if more else self.most


def quantized_tensors(metadata: dict[str, Any], shapes: Shapes, kind: str | Layout) -> list[Tensor]:
    """The tensors of a file of this kind: one of :data:`MOST`, or a :class:`Layout`."""
    choose = kind.type_of if isinstance(kind, Layout) else _Chooser(metadata, shapes, kind).type_of
    made = []
    for name, shape in shapes.items():
        wanted = "F32" if len(shape) < 2 or _named(name).kept else choose(name, shape)
        if shape[0] % BLOCKS[wanted][0]:
            wanted = FALLBACK.get(wanted, "F16")
            wanted = wanted if shape[0] % BLOCKS[wanted][0] == 0 else "F16"
        weights, size = BLOCKS[wanted]
        made.append(Tensor(name, shape, wanted, 0, math.prod(shape) // weights * size))
    return made
