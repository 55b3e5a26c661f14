# SPDX-License-Identifier: MIT
"""The state of one recurrent layer for one request, by its kind (n_embd_r and n_embd_s of src/llama-hparams.cpp).

It is in F32, whatever the type of the cache, and no context makes it larger.
"""

from __future__ import annotations

from typing import Optional

from .header_values import HeaderValues


def _sums(values: HeaderValues, grouped: bool) -> int:
    """The last inputs of a convolution, and what they came to: Mamba, without groups, and all that came after it."""
    inner, state = values.number("ssm.inner_size"), values.number("ssm.state_size")
    groups = values.number("ssm.group_count") if grouped else 0
    return max(0, values.number("ssm.conv_kernel") - 1) * (inner + 2 * groups * state) + state * inner


def _delta(values: HeaderValues, heads: int) -> int:
    """Kimi's delta attention: the last inputs of queries, keys and values, and a matrix for each head."""
    size = values.number("kda.head_dim")
    return 3 * max(0, values.number("ssm.conv_kernel", 4) - 1) * heads * size + size * size * heads


def state_numbers(kind: Optional[str], values: HeaderValues, heads: int, key: int) -> int:
    """Numbers of the state; ``heads`` and ``key`` are the heads of the first layer and the length of their keys."""
    width = values.number("embedding_length")
    if kind in ("sums", "grouped"):
        return _sums(values, kind == "grouped")
    if kind == "delta":
        return _delta(values, heads)
    if kind == "short convolution":
        return width * max(0, values.number("shortconv.l_cache") - 1)
    if kind == "wkv":
        size = values.number("wkv.head_size")
        return width * (values.number("token_shift_count", 2) + size) if size else 0
    if kind == "lightning":
        return key * key * heads
    return 0


def history_numbers(values: HeaderValues) -> int:
    """The last inputs of embeddings of several tokens (PLE), which one layer keeps: Qwen4 has them."""
    if not isinstance(values.get("ple.layers"), list) or not values.get("ple.layers"):
        return 0
    kernel, tokens = values.number("ple.conv_kernel"), values.number("ple.ngram_size")
    return max(0, kernel - 1) * tokens * values.number("hyper_connection.count") * values.number("embedding_length")
