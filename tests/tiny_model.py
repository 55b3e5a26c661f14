# SPDX-License-Identifier: MIT
"""A model that a server loads in no time and answers with, for what is about changes and not about models."""

from __future__ import annotations

import functools
import hashlib
import struct
from typing import Any

from plugins.module_utils.model.document import Manifest
from plugins.module_utils.model.gguf import read_header, summary
from plugins.module_utils.model.store import SCHEMA_VERSION
from tests.gguf_builder import F32, gguf

# Together 64 MiB: what is smaller than half of that is not taken for weights (service/placement.py).
WIDTH, INNER, HEADS = 1024, 4096, 8
NORMAL, CONTROL, BYTE = 1, 3, 6
# As its weights are all 0, each answer is as likely as any other, and the first is taken.
TOKENS = {"a": NORMAL, "<s>": CONTROL, "</s>": CONTROL, **{f"<0x{byte:02X}>": BYTE for byte in range(256)}}
METADATA: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 1,
    "llama.context_length": 4096,
    "llama.embedding_length": WIDTH,
    "llama.feed_forward_length": INNER,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": HEADS,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.vocab_size": len(TOKENS),
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": list(TOKENS),
    "tokenizer.ggml.scores": [0.0] * len(TOKENS),
    # A list of signed numbers, which the builder has no type for.
    "tokenizer.ggml.token_type": struct.pack(f"<IIQ{len(TOKENS)}i", 9, 5, len(TOKENS), *TOKENS.values()),
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.unknown_token_id": 0,
}
MATRICES = {
    **{key: [WIDTH, WIDTH] for key in ("attn_q", "attn_k", "attn_v", "attn_output")},
    **{key: [WIDTH, INNER] for key in ("ffn_gate", "ffn_up")},
    "ffn_down": [INNER, WIDTH],
}


@functools.cache
def tiny_model() -> bytes:
    """The file."""
    shapes: dict[str, list[int]] = {
        "token_embd": [WIDTH, len(TOKENS)],
        "output_norm": [WIDTH],
        "blk.0.attn_norm": [WIDTH],
        "blk.0.ffn_norm": [WIDTH],
        **{f"blk.0.{name}": shape for name, shape in MATRICES.items()},
    }
    return gguf(METADATA, [(f"{name}.weight", shape, F32) for name, shape in shapes.items()])


def tiny_manifest(name: str, mtime: int) -> Manifest:
    """Its manifest in a store, where the file is of that time in seconds."""
    data = tiny_model()

    def read(offset: int, size: int) -> bytes:
        return data[offset : offset + size]

    return {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "source": {"repo": f"tests/{name}", "revision": "main", "files": "*.gguf"},
        "commit": None,
        "bytes": len(data),
        "files": [
            {
                "file": f"{name}.gguf",
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "mtime_ns": mtime * 10**9,
            }
        ],
        "gguf": summary([read_header(read, len(data))]),
    }
