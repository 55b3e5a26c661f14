# SPDX-License-Identifier: MIT
"""The model that a new build is tried with."""

from __future__ import annotations

import struct

from plugins.module_utils.build.trial_model import tiny_gguf


def test_it_is_a_gguf_of_the_llama_architecture() -> None:
    head = tiny_gguf()[:200]
    assert head[:4] == b"GGUF"
    assert struct.unpack("<I", head[4:8]) == (3,)
    assert b"general.architecture" in head
    assert b"llama" in head


def test_its_tensors_begin_at_multiples_of_32_bytes_and_fill_the_file() -> None:
    data = tiny_gguf()
    # 7 square matrices, two of the vocabulary, all in Q6_K (256 weights in 210 bytes); three vectors of 256 floats.
    q6_k, f32 = (7 * 256 + 2 * 32) * 210, 3 * 256 * 4
    head = len(data) - q6_k - f32
    assert 0 < head < 4096
    assert head % 32 == 0
