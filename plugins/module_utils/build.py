# SPDX-License-Identifier: MIT
"""What identifies a build of llama.cpp, and the pieces that building and installing one share."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from typing import Any

from .cpu_features import LEVELS, SWITCHES

SCHEMA_VERSION = 1
BINARIES = ("llama-server", "llama-bench", "llama-cli", "llama-quantize", "llama-gguf-split")
HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
HEX_COMMIT = re.compile(r"[0-9a-f]{40}")

# The keys of a source, by its type; all are required.
SOURCE_KEYS = {
    "sdist": {"package", "version", "sha256"},
    "archive": {"location", "sha256"},
    "git": {"url", "tag", "commit"},
}


def source_problem(source: dict[str, Any]) -> str | None:
    """One sentence where ``llama_build_source`` cannot be used, else None."""
    kind = source.get("type")
    if kind not in SOURCE_KEYS:
        return f"llama_build_source has the type {kind!r}: write sdist, archive or git."
    given = {key for key, value in source.items() if value is not None} - {"type"}
    missing, unknown = SOURCE_KEYS[kind] - given, given - SOURCE_KEYS[kind]
    if missing:
        return f"llama_build_source of the type {kind} lacks {', '.join(sorted(missing))}: add it."
    if unknown:
        return f"llama_build_source of the type {kind} has no {', '.join(sorted(unknown))}: remove it."
    if kind == "git" and not HEX_COMMIT.fullmatch(str(source["commit"])):
        return f"The commit {source['commit']} of llama_build_source is not a full one: write all 40 hexadecimal digits."
    if kind != "git" and not HEX_DIGEST.fullmatch(str(source["sha256"])):
        return f"The SHA-256 {source['sha256']} of llama_build_source is not one: write its 64 hexadecimal digits."
    return None


def source_digest(source: dict[str, Any]) -> str:
    """What pins the content of a source: its SHA-256, or its commit."""
    return str(source["commit"] if source["type"] == "git" else source["sha256"])


def cmake_options(cpu: str, extra: dict[str, Any]) -> dict[str, str]:
    """The options that cmake is given, without -D. ``extra`` wins, so that anything can be changed."""
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        # One file a program: it runs wherever its few system libraries are, and nothing can be mixed up.
        "BUILD_SHARED_LIBS": "OFF",
        "LLAMA_BUILD_TESTS": "OFF",
        "LLAMA_BUILD_EXAMPLES": "OFF",
        # The web page of the server is fetched from the internet while cmake runs.
        "LLAMA_BUILD_UI": "OFF",
        "LLAMA_USE_PREBUILT_UI": "OFF",
        "GGML_NATIVE": "ON" if cpu == "native" else "OFF",
    }
    if cpu != "native":
        options.update({f"GGML_{switch}": "ON" if switch in LEVELS[cpu] else "OFF" for switch in SWITCHES})
    for name, value in extra.items():
        options[name] = {True: "ON", False: "OFF"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    return options


def build_key(source: str, options: dict[str, str], compiler: str, features: list[str]) -> str:
    """The name of a build: the digest of all that decides what comes out."""
    inputs = {"source": source, "options": options, "compiler": compiler, "features": features, "schema": SCHEMA_VERSION}
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def sha256_file(path: str) -> str:
    """The SHA-256 of a file of a few megabytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()


def ninja_progress(line: str) -> tuple[int, int] | None:
    """``(120, 361)`` for ninja's ``[120/361] Building …``, else None."""
    match = re.match(r"\[(\d+)/(\d+)\]", line)
    return (int(match.group(1)), int(match.group(2))) if match else None


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
    square = {name: (width, width) for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")}
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (width, vocabulary), "output": (width, vocabulary)}
    shapes.update({f"blk.0.{name}": shape for name, shape in square.items()})
    shapes.update({name: (width,) for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm")})
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
