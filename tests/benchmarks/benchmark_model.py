#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make a model for benchmarks: a llama architecture in Q6_K with random weights.

    python3 -m tests.benchmarks.benchmark_model PATH

How fast a model decodes does not depend on its weights, only on their number and types: this one has 507 MB, all of
it in Q6_K but the norms, as llama-quantize makes it of a model whose width is a multiple of 256. It has a vocabulary of
made-up words, so that a server runs it like any other. Nothing is downloaded. Tests make smaller ones.
"""

from __future__ import annotations

import argparse
import random
import struct
from pathlib import Path
from typing import NamedTuple

from tests.gguf_builder import F32, Q6_K, gguf

HEADS, KV_HEADS = 32, 8
# Kinds of tokens in GGUF: normal, unknown, control, byte.
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


class Size(NamedTuple):
    """Of a model; width and feed_forward are multiples of 256."""

    blocks: int
    width: int
    feed_forward: int
    vocabulary: int


SIZE = Size(8, 2048, 8192, 32000)


def metadata(size: Size) -> dict[str, object]:
    """All of it, with a SentencePiece vocabulary: three special tokens, the 256 bytes, and words."""
    blocks, width, feed_forward, vocabulary = size
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256]
    more = vocabulary - len(words)
    return {
        "general.architecture": "llama",
        "general.name": "benchmark",
        "general.file_type": 18,  # mostly Q6_K
        "llama.block_count": blocks,
        "llama.context_length": 4096,
        "llama.embedding_length": width,
        "llama.feed_forward_length": feed_forward,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": width // HEADS,
        "llama.vocab_size": vocabulary,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [*words, *(f"\u2581w{number}" for number in range(more))],
        "tokenizer.ggml.scores": [0.0] * len(words) + [-float(number) for number in range(more)],
        # An array of signed numbers, which the builder has no Python type for.
        "tokenizer.ggml.token_type": struct.pack(f"<IIQ{vocabulary}i", 9, 5, vocabulary, *kinds, *[NORMAL] * more),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }


def tensors(size: Size) -> list[tuple[str, list[int], int]]:
    blocks, width, feed_forward, vocabulary = size
    kv = width // HEADS * KV_HEADS
    shapes: dict[str, list[int]] = {"token_embd": [width, vocabulary], "output": [width, vocabulary]}
    shapes["output_norm"] = [width]
    for block in range(blocks):
        own = {"attn_norm": [width], "ffn_norm": [width]}
        own.update(
            {"attn_q": [width, width], "attn_k": [width, kv], "attn_v": [width, kv], "attn_output": [width, width]}
        )
        own.update(
            {"ffn_gate": [width, feed_forward], "ffn_up": [width, feed_forward], "ffn_down": [feed_forward, width]}
        )
        shapes.update({f"blk.{block}.{name}": shape for name, shape in own.items()})
    return [(f"{name}.weight", shape, F32 if len(shape) == 1 else Q6_K) for name, shape in shapes.items()]


def make(path: Path, size: Size = SIZE) -> None:
    """Write the model: whole or not at all."""
    chance = random.Random(1)
    # block_q6_K: 192 bytes of low and high bits, 16 scales, a factor; so chosen that weights are some 0.02 in size.
    pool = b"".join(
        chance.randbytes(192) + bytes(chance.randrange(-4, 5) % 256 for _ in range(16)) + struct.pack("<e", 4e-4)
        for _ in range(4096)
    )
    partial = path.with_suffix(".partial")
    partial.write_bytes(gguf(metadata(size), tensors(size), fill={F32: struct.pack("<f", 1.0), Q6_K: pool}))
    partial.rename(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path, help="the file to write")
    make(parser.parse_args().path)
