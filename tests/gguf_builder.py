# SPDX-License-Identifier: MIT
"""Small GGUF models for tests, from a dictionary of metadata and a table of tensors."""

from __future__ import annotations

import struct
from typing import Any

F32, F16, Q4_K, Q6_K, Q8_0 = 0, 1, 12, 14, 8
# Weights and bytes of a block.
BLOCKS = {F32: (1, 4), F16: (1, 2), Q4_K: (256, 144), Q6_K: (256, 210), Q8_0: (32, 34)}
LLAMA: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.context_length": 4096,
    "llama.embedding_length": 512,
    "llama.attention.head_count": 8,
    "llama.attention.head_count_kv": 2,
}
TENSORS: list[tuple[str, list[int], int]] = [
    ("token_embd.weight", [512, 64], Q6_K),
    ("blk.0.attn_norm.weight", [512], F32),
    ("blk.0.ffn_up.weight", [512, 1024], Q6_K),
]


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def entry(value: Any) -> bytes:
    """The type and the value: bool, int (u32, or u64 where it is large), float, str, or a list of one of them."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value) if value < 2**32 else struct.pack("<IQ", 10, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    items = [entry(item) for item in value]
    return struct.pack("<I", 9) + items[0][:4] + struct.pack("<Q", len(items)) + b"".join(item[4:] for item in items)


def gguf(
    metadata: dict[str, Any] = LLAMA,
    tensors: list[tuple[str, list[int], int]] = TENSORS,
    version: int = 3,
    alignment: int = 32,
    fill: bytes | dict[int, bytes] = b"\0",
) -> bytes:
    """A whole file; ``fill`` is what tensors are filled with, over and over, or that for each type of tensor."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    head += b"".join(text(key) + entry(value) for key, value in metadata.items())
    data = bytearray()
    for name, shape, kind in tensors:
        weights, size = BLOCKS[kind]
        count = 1
        for dimension in shape:
            count *= dimension
        head += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        head += struct.pack("<IQ", kind, len(data))
        pattern, total = fill[kind] if isinstance(fill, dict) else fill, count // weights * size
        data += (pattern * (total // len(pattern) + 1))[:total]
        data += bytes(-len(data) % alignment)
    return head + bytes(-len(head) % alignment) + bytes(data)


def shards(name: str, count: int, fill: bytes = b"\0") -> dict[str, bytes]:
    """A model in ``count`` files as llama-gguf-split makes them, by name."""
    return {
        f"{name}-{number + 1:05}-of-{count:05}.gguf": gguf(
            {
                **(LLAMA if number == 0 else {}),
                "split.no": number,
                "split.count": count,
                "split.tensors.count": 3 * count,
            },
            [(f"{number}.{tensor}", shape, kind) for tensor, shape, kind in TENSORS],
            fill=fill + bytes([number]),
        )
        for number in range(count)
    }
