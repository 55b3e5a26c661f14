# SPDX-License-Identifier: MIT
"""Bytes that llama.cpp computes in, beside weights and cache: a bound that :func:`geometry` makes of a file's header.

ggml plans one buffer for the largest batch before the server answers (src/llama-context.cpp, sched_reserve), in which
the results of a layer replace those of the one before it. How they lie in it is not followed here; what a batch needs
at once is bounded by the widest feed-forward, or the widest attention, and a few times the width of the model. Held
against the engine in tests/integration/test_container_memory_budget.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Optional

from .document import ComputeGeometry
from .header_values import HeaderValues
from .kv_cache import UBATCH

# Copies of the model's width that a batch holds at once, with what lies idle between results of different sizes: over
# 120 random shapes of eight architectures the engine took up to 8.
WIDTHS = 9
# A matrix's result is there together with what is made of it: gate, up and their product; queries before and after they
# are turned.
FEED_FORWARD, MIXING = 1.5, 2
# What is assumed of a model whose header is not at hand, as of a catalog's entry without these: the largest of all have
# 128 heads and this width.
UNKNOWN: ComputeGeometry = {
    "heads": 128,
    "width": 16384,
    "feed_forward": 65536,
    "mixing": 65536,
    "vocabulary": 262144,
    "nodes": 16384,
    "token_nodes": 0,
    "flash_attention": True,
}
# Nodes of the graph that there is room for, for each tensor and each token of a batch (llama_context::graph_max_nodes),
# and what the room for one takes, of what is touched: 31 MB were for 20480.
NODES: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("kimi-k3", "glm5-next"), (64, 160)),
    **dict.fromkeys(("qwen3next", "kimi-linear", "bailingmoe3", "qwen35", "qwen35moe", "qwen4exp"), (32, 40)),
    **dict.fromkeys(("deepseek4", "nanbeige", "minimax-01", "minimax-m3", "hy_v4"), (32, 40)),
    "hrm_text": (64, 80),
}
NODE_BYTES = 1600
# Smaller buffers are in the heap, where what is freed may stay (glibc's mmap_threshold, from service/settings.py). The
# second is with a pool of huge pages, of which each buffer outside the heap has a whole one.
HEAP_LIMIT, POOL_HEAP_LIMIT = 4 * 2**20, 32 * 2**20
# Whose scores are changed before the softmax (llama_init_from_model): flash attention is off, whatever is asked for.
WITHOUT_FLASH_ATTENTION = ("grok",)


class _Layer:
    """What comes out of the matrices of one layer, in numbers a token."""

    def __init__(self) -> None:
        self.up, self.down, self.mixing = 0, 0, 0

    def add(self, name: str, dimensions: tuple[int, ...], used: int) -> None:
        if len(dimensions) < 2 or "conv" in name or "gate_inp" in name:
            return
        if not name.startswith("ffn_"):
            self.mixing += dimensions[1] * (dimensions[2] if len(dimensions) > 2 else 1)
            return
        times = used if "_exps" in name else 1
        if "_down" in name:
            self.down += (dimensions[0] + dimensions[1]) * times
        else:
            self.up += dimensions[1] * times


def geometry(metadata: dict[str, Any], tensors: Iterable[tuple[str, tuple[int, ...]]]) -> Optional[ComputeGeometry]:
    """What a batch needs, from the metadata of a file and the names and dimensions of its tensors; None where they do
    not tell."""
    values = HeaderValues(metadata)
    name, width = values.architecture, values.number("embedding_length")
    used = values.each("expert_used_count", values.number("block_count")) or []
    layers: dict[str, _Layer] = {}
    vocabulary = count = 0
    for tensor, dimensions in tensors:
        count += 1
        own = re.match(r"blk\.(\d{1,9})\.(.+)", tensor)
        if own:
            experts = used[int(own[1])] if int(own[1]) < len(used) else 1
            layers.setdefault(own[1], _Layer()).add(own[2], dimensions, experts)
        elif tensor == "token_embd.weight":
            vocabulary = dimensions[-1]
    if not width or not layers:
        return None
    each, a_token = NODES.get(name, (8, 0))
    return {
        "heads": values.largest("attention.head_count"),
        "width": width,
        "feed_forward": round(max(max(FEED_FORWARD * layer.up, layer.down) for layer in layers.values())),
        "mixing": MIXING * max(layer.mixing for layer in layers.values()),
        "vocabulary": vocabulary,
        "nodes": max(1024, each * count),
        "token_nodes": a_token,
        "flash_attention": name not in WITHOUT_FLASH_ATTENTION,
    }


def compute_bytes(
    known: Optional[ComputeGeometry],
    cells: tuple[int, int],
    flash_attention: bool = True,
    parallel: int = 1,
    ubatch: int = UBATCH,
    heap_limit: int = HEAP_LIMIT,
) -> int:
    """Bytes of the compute buffer, of the scratch and the plan beside it, and of the logits.

    ``cells`` are those of one request's cache, of the layers that see all of it and of those with a window. With flash
    attention each token of a batch has a mask of them in F16. Without, the mask is F32, and there are the scores of
    every head besides, and again in F16: for 128 heads 3.2 GB at 8192 cells, and 52 GB at 131072.
    """
    geometry = known or UNKNOWN
    flash = flash_attention and geometry["flash_attention"]
    scores = 0 if flash else geometry["heads"] * max(cells)
    numbers = WIDTHS * geometry["width"] + max(geometry["feed_forward"], geometry["mixing"] + scores)
    token = 4 * numbers + (2 if flash else 4) * sum(cells)
    # A batch is turned into the type that it is multiplied with, at most F16 (ggml_graph_plan), and so are the scores.
    scratch = max(geometry["feed_forward"], geometry["mixing"], 2 * scores)
    nodes = max(geometry["nodes"], geometry["token_nodes"] * ubatch)
    # Logits are once in the buffer, and once for the server.
    # When the scratch grows, malloc keeps the smaller one before it, up to what it maps by itself.
    kept = min(ubatch * scratch, heap_limit)
    return ubatch * (token + scratch) + kept + 8 * geometry["vocabulary"] * parallel + NODE_BYTES * nodes
