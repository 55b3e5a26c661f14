# SPDX-License-Identifier: MIT
"""A model that is small enough to be made on the spot, to see whether a build runs on this CPU."""

from __future__ import annotations

import struct


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def tiny_gguf() -> bytes:
    """A whole llama model of 0.4 MB in Q6_K, whose weights are a pattern: enough to run every kernel.

    One block of width 256, no vocabulary. Q6_K holds 256 weights in 210 bytes: 128 + 64 of low and high
    bits, 16 scales, one half-precision factor (ggml-common.h, block_q6_K).
    """
    width, vocabulary, f32, q6_k = 256, 32, 0, 14
    numbers = {
        "llama.block_count": 1,
        "llama.context_length": 128,
        "llama.embedding_length": width,
        "llama.feed_forward_length": width,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 4,
        "llama.rope.dimension_count": 64,
        "llama.vocab_size": vocabulary,
    }
    texts = {"general.architecture": "llama", "tokenizer.ggml.model": "no_vocab"}
    metadata = b"".join(_string(key) + struct.pack("<I", 8) + _string(text) for key, text in texts.items())
    metadata += b"".join(_string(key) + struct.pack("<II", 4, number) for key, number in numbers.items())
    metadata += _string("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, 1e-5)
    square = dict.fromkeys(
        ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"), (width, width)
    )
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (width, vocabulary), "output": (width, vocabulary)}
    shapes.update({f"blk.0.{name}": shape for name, shape in square.items()})
    shapes.update(dict.fromkeys(("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"), (width,)))
    block = bytes(range(192)) + bytes(range(16)) + struct.pack("<e", 0.001)
    tensors, data = b"", b""
    for name, shape in shapes.items():
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        kind = f32 if len(shape) == 1 else q6_k
        tensors += _string(f"{name}.weight") + dimensions + struct.pack("<IQ", kind, len(data))
        content = struct.pack("<f", 1.0) * width if kind == f32 else block * shape[1]
        data += content + bytes(-len(content) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(texts) + len(numbers) + 1) + metadata + tensors
    return head + bytes(-len(head) % 32) + data
