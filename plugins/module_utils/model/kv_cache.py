# SPDX-License-Identifier: MIT
"""Bytes of the KV cache, of any geometry and type: one way for the memory check, the forecast and the catalog.

kv_geometry.py reads the :class:`document.KvGeometry` from the metadata of a GGUF file. Source: src/llama-kv-cache.cpp,
src/llama-kv-cache-iswa.cpp and src/llama-kv-cache-dsv4.cpp of llama.cpp.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

from .document import KvGeometry

# Bytes a number; --cache-type-k and -v of llama-server. A block is 32 numbers, with the size that ggml gives it.
TYPES = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
    "iq4_nl": 18 / 32,
}
# A window holds the tokens of one batch besides its own, and its length is padded.
UBATCH, PADDING = 512, 256


def padded(cells: int) -> int:
    """Tokens that a cache has room for, where so many were asked for."""
    return -(-cells // PADDING) * PADDING


def request_cells(context: int, parallel: int = 1) -> int:
    """Tokens of the context that each of the requests has for itself (src/llama-context.cpp, n_ctx_seq)."""
    return padded(padded(context) // max(1, parallel))


def window_cells(window: int, context: int, ubatch: int = UBATCH) -> int:
    """Tokens that a layer with a sliding window keeps for one request of so many tokens of context."""
    return padded(min(context, window + ubatch))


def cells(geometry: KvGeometry, context: int, parallel: int = 1, ubatch: int = UBATCH) -> tuple[int, int]:
    """Tokens kept for each request by layers that see all of its context, and by those with a window."""
    own = request_cells(context, parallel)
    window = window_cells(geometry["window"], own, ubatch) if geometry["window_elements"] else 0
    return own if geometry["elements"] else 0, window


def bytes_per_token(geometry: KvGeometry) -> dict[str, int]:
    """Bytes that one token of context takes in a cache of each type, at most, which is where no window is full."""
    numbers = geometry["elements"] + geometry["window_elements"]
    compressed = sum(cache["elements"] / cache["ratio"] for cache in geometry.get("compressed", []))
    return {kind: round((numbers + compressed) * size) for kind, size in TYPES.items()}


def _parts(geometry: KvGeometry, seen: tuple[int, int], compressed: list[int], kv_type: str) -> list[int]:
    """Bytes that so many cells take of layers that see all, of those with a window, and of each compressed cache, and
    those of recurrent layers."""
    numbers = [geometry["elements"] * seen[0], geometry["window_elements"] * seen[1]]
    numbers += [cache["elements"] * cells for cache, cells in zip(geometry.get("compressed", []), compressed)]
    return [*(round(each * TYPES[kv_type]) for each in numbers), geometry["state_bytes"]]


def _compressed(geometry: KvGeometry, tokens: int) -> list[int]:
    """What so many tokens become in each compressed cache (dsv4_comp_size)."""
    return [-(-tokens // cache["ratio"]) for cache in geometry.get("compressed", [])]


def kv_bytes(geometry: Optional[KvGeometry], context: int, kv_type: str = "f16") -> int:
    """Bytes that so many tokens of one request take; 0 where the geometry is unknown."""
    if not geometry or not context:
        return 0
    seen = (context, window_cells(geometry["window"], context))
    return sum(_parts(geometry, seen, _compressed(geometry, context), kv_type))


def kv_buffers(
    geometry: Optional[KvGeometry], context: int, kv_type: str = "f16", parallel: int = 1, ubatch: int = UBATCH
) -> list[int]:
    """Bytes of each of the buffers that are made for ``context`` tokens, which ``parallel`` requests divide; [] where
    the geometry is unknown."""
    if not geometry or not context:
        return []
    compressed = [padded(count) for count in _compressed(geometry, request_cells(context, parallel))]
    each = _parts(geometry, cells(geometry, context, parallel, ubatch), compressed, kv_type)
    return [parallel * part for part in each if part]


def checkpoint_bytes(geometry: Optional[KvGeometry], context: int, kv_type: str = "f16", parallel: int = 1) -> int:
    """Bytes of one checkpoint of a request: what cannot be rolled back, which is its windows and states as they were
    (LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY); 0 for a model that has neither."""
    if not geometry:
        return 0
    window = min(geometry["window"], request_cells(context, parallel))
    return round(geometry["window_elements"] * window * TYPES[kv_type]) + geometry["state_bytes"]


def longest(takes: Callable[[int], int], room: int, most: int) -> int:
    """The longest context of which ``takes`` says no more than ``room`` bytes, at most ``most``; 0 where none fits."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if takes(middle) <= room else (low, middle)
    return low
