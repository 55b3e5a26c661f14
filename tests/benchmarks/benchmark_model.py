#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make a model for benchmarks: a llama architecture in Q6_K with random weights.

    python3 tests/benchmarks/benchmark_model.py PATH

How fast a model decodes does not depend on its weights, only on their number and types: this one has 507 MB, all of
it in Q6_K but the norms, as llama-quantize makes it of a model whose width is a multiple of 256. It has a vocabulary of
made-up words, so that a server runs it like any other. Nothing is downloaded.
"""

from __future__ import annotations

import random
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.gguf_builder import F32, Q6_K, gguf

BLOCKS, WIDTH, FEED_FORWARD, HEADS, KV_HEADS, VOCABULARY = 8, 2048, 8192, 32, 8, 32000
# Kinds of tokens in GGUF: normal, unknown, control, byte.
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


def metadata() -> dict[str, object]:
    """All of it, with a SentencePiece vocabulary: three special tokens, the 256 bytes, and words."""
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256]
    more = VOCABULARY - len(words)
    return {
        "general.architecture": "llama",
        "general.name": "benchmark",
        "general.file_type": 18,  # mostly Q6_K
        "llama.block_count": BLOCKS,
        "llama.context_length": 4096,
        "llama.embedding_length": WIDTH,
        "llama.feed_forward_length": FEED_FORWARD,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": WIDTH // HEADS,
        "llama.vocab_size": VOCABULARY,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [*words, *(f"\u2581w{number}" for number in range(more))],
        "tokenizer.ggml.scores": [0.0] * len(words) + [-float(number) for number in range(more)],
        # An array of signed numbers, which the builder has no Python type for.
        "tokenizer.ggml.token_type": struct.pack(f"<IIQ{VOCABULARY}i", 9, 5, VOCABULARY, *kinds, *[NORMAL] * more),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }


def tensors() -> list[tuple[str, list[int], int]]:
    kv = WIDTH // HEADS * KV_HEADS
    shapes: dict[str, list[int]] = {"token_embd": [WIDTH, VOCABULARY], "output": [WIDTH, VOCABULARY]}
    shapes["output_norm"] = [WIDTH]
    for block in range(BLOCKS):
        own = {"attn_norm": [WIDTH], "ffn_norm": [WIDTH]}
        own.update(
            {"attn_q": [WIDTH, WIDTH], "attn_k": [WIDTH, kv], "attn_v": [WIDTH, kv], "attn_output": [WIDTH, WIDTH]}
        )
        own.update(
            {"ffn_gate": [WIDTH, FEED_FORWARD], "ffn_up": [WIDTH, FEED_FORWARD], "ffn_down": [FEED_FORWARD, WIDTH]}
        )
        shapes.update({f"blk.{block}.{name}": shape for name, shape in own.items()})
    return [(f"{name}.weight", shape, F32 if len(shape) == 1 else Q6_K) for name, shape in shapes.items()]


def make(path: Path) -> None:
    """Write the model: whole or not at all."""
    chance = random.Random(1)
    # block_q6_K: 192 bytes of low and high bits, 16 scales, a factor; so chosen that weights are some 0.02 in size.
    pool = b"".join(
        chance.randbytes(192) + bytes(chance.randrange(-4, 5) % 256 for _ in range(16)) + struct.pack("<e", 4e-4)
        for _ in range(4096)
    )
    partial = path.with_suffix(".partial")
    partial.write_bytes(gguf(metadata(), tensors(), fill={F32: struct.pack("<f", 1.0), Q6_K: pool}))
    partial.rename(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} PATH")
    make(Path(sys.argv[1]))
