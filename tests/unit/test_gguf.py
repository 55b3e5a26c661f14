# SPDX-License-Identifier: MIT
"""GGUF headers: what is read from good files, and that no bad one does harm."""

from __future__ import annotations

import contextlib
import os
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.gguf import GgufError, Header, file_reader, read_header, summary
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gguf_builder import F16, F32, LLAMA, Q4_K, Q6_K, Q8_0, TENSORS, entry, gguf, shards, text


def read(data: bytes) -> Header:
    return read_header(lambda offset, count: data[offset : offset + count], len(data))


def say(data: bytes) -> str:
    with pytest.raises(GgufError) as caught:
        read(data)
    return str(caught.value)


def summarize(metadata: dict[str, Any], tensors: list[tuple[str, list[int], int]] = TENSORS) -> dict[str, Any]:
    return summary([read(gguf(metadata, tensors))])


@pytest.mark.parametrize("version", [2, 3])
def test_a_model_is_summarized(version: int) -> None:
    assert summary([read(gguf(version=version))]) == {
        "architecture": "llama",
        "name": None,
        "quantization": "Q6_K",
        "file_type": None,
        "parameters": 512 * 64 + 512 + 512 * 1024,
        "active_bytes": 512 * 1088 // 256 * 210 + 2048,
        "block_count": 2,
        "context_length": 4096,
        "expert_count": None,
        "expert_used_count": None,
        "kv_bytes_per_token": 2 * 2 * 2 * (64 + 64),  # F16, layers, KV heads, sizes of K and V
        "bytes_by_type": {"Q6_K": 512 * 1088 // 256 * 210, "F32": 2048},
    }


def test_the_name_of_the_quantization_is_the_files_own() -> None:
    assert summarize(LLAMA | {"general.file_type": 18})["file_type"] == "Q6_K"
    assert summarize(LLAMA | {"general.file_type": 12345})["file_type"] is None


def test_tensors_are_told_with_name_type_shape_and_bytes() -> None:
    first, norm, _up = read(gguf()).tensors
    assert first == ("token_embd.weight", (512, 64), "Q6_K", 0, 26880)
    assert norm == ("blk.0.attn_norm.weight", (512,), "F32", 26880, 2048)


def test_a_token_reads_one_row_of_the_embedding_and_the_experts_in_use() -> None:
    metadata = {**LLAMA, "llama.expert_count": 8, "llama.expert_used_count": 2}
    tensors = [("token_embd.weight", [256, 100], F16), ("blk.0.ffn_up_exps.weight", [256, 4, 8], F16)]
    tied = summarize(metadata, tensors)["active_bytes"]
    assert tied == 256 * 100 * 2 + 256 * 4 * 2 * 2
    assert summarize(metadata, [*tensors, ("output.weight", [256, 100], F16)])["active_bytes"] == tied + 256 * 2


def test_a_token_reads_no_layer_that_guesses_ahead_and_one_row_of_the_embedding_of_layers() -> None:
    metadata = {**LLAMA, "llama.block_count": 2, "llama.nextn_predict_layers": 1}
    tensors = [("blk.0.ffn_up.weight", [256, 10], F16), ("per_layer_token_embd.weight", [256, 100], F16)]
    expected = 256 * 10 * 2 + 256 * 2
    assert summarize(metadata, tensors)["active_bytes"] == expected
    assert summarize(metadata, [*tensors, ("blk.1.ffn_up.weight", [256, 10], F16)])["active_bytes"] == expected


def test_every_kind_of_value_is_read() -> None:
    values = {"a": True, "b": 7, "c": 2**40, "d": 0.5, "e": "text", "f": [1, 2], "g": ["x", "yy"]}
    assert read(gguf(values, [])).metadata == values


def test_long_values_are_passed_over() -> None:
    found = read(gguf({"template": "x" * 5000, "scores": [0.5] * 5000, "after": 1}, [])).metadata
    assert found == {"template": {"bytes": 5000}, "scores": {"items": 5000}, "after": 1}


def test_a_number_that_is_none_becomes_none() -> None:
    assert read(gguf({"a": float("nan"), "b": float("inf")}, [])).metadata == {"a": None, "b": None}


def test_the_quantization_is_that_of_most_bytes() -> None:
    tensors = [("a", [256, 3], Q4_K), ("b", [256, 1], F16), ("c", [256], F32)]
    assert summarize(LLAMA, tensors)["quantization"] == "F32"
    assert summarize(LLAMA, [*tensors, ("d", [256, 99], Q4_K)])["quantization"] == "Q4_K"
    assert summarize(LLAMA, [])["quantization"] is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 2 * 2 * 2 * 128),
        ({"llama.attention.head_count_kv": [2, 0]}, 2 * 2 * 128),  # a layer without attention
        ({"llama.attention.key_length": 32, "llama.attention.value_length": 16}, 2 * 2 * 2 * 48),
        ({"llama.attention.key_length": 576, "llama.attention.value_length": 512, "llama.attention.key_length_mla": 192,
          "llama.attention.head_count_kv": 1}, 2 * 2 * 576),
        ({"llama.attention.key_length": 32}, 2 * 2 * 2 * (32 + 64)),  # values have the default length
        ({"llama.block_count": 3, "llama.nextn_predict_layers": 1}, 2 * 2 * 2 * 128),  # a layer that guesses ahead
        ({"llama.block_count": 8, "llama.full_attention_interval": 4}, 2 * 2 * 2 * 128),  # a hybrid's two layers
        ({"llama.attention.recurrent_layers": [True, False]}, 2 * 2 * 128),
        ({"llama.full_attention_interval": 4}, None),
        ({"llama.nextn_predict_layers": 2}, None),
        ({"llama.attention.head_count_kv": [2]}, None),
        ({"llama.attention.head_count_kv": "many"}, None),
        ({"llama.block_count": 2**63}, None),
        ({"llama.block_count": 0}, None),
        ({"llama.embedding_length": 2**63}, None),
        ({"llama.attention.head_count": 0}, None),
        ({"general.architecture": "other"}, None),
    ],
)  # fmt: skip
def test_kv_bytes_come_from_the_geometry_or_not_at_all(change: dict[str, Any], expected: int | None) -> None:
    assert summarize({**LLAMA, **change})["kv_bytes_per_token"] == expected


def test_kv_heads_are_the_heads_where_nothing_else_is_said() -> None:
    metadata = {key: value for key, value in LLAMA.items() if key != "llama.attention.head_count_kv"}
    assert summarize(metadata)["kv_bytes_per_token"] == 2 * 2 * 8 * 128


def test_shards_are_summed() -> None:
    headers = [read(data) for data in shards("tiny", 3).values()]
    assert summary(headers)["parameters"] == 3 * summary([read(gguf())])["parameters"]
    assert summary(headers)["architecture"] == "llama"


def test_shards_that_do_not_belong_together_are_refused() -> None:
    one, two, three = (read(data) for data in shards("tiny", 3).values())
    for wrong in ([one], [one, two], [one, three, two], [one, two, read(gguf())]):
        with pytest.raises(GgufError, match="all shards of one set"):
            summary(wrong)


def test_shards_with_a_tensor_in_common_are_refused() -> None:
    one, two = (read(gguf({**LLAMA, "split.no": number, "split.count": 2})) for number in range(2))
    with pytest.raises(GgufError, match="a tensor of the same name"):
        summary([one, two])


BAD = {
    "empty": (b"", "does not begin with GGUF"),
    "other": (b"<html>" * 10, "does not begin with GGUF"),
    "magic alone": (b"GGUF", "truncated"),
    "version 1": (gguf(version=1), "version 1 of GGUF"),
    "big-endian": (gguf(version=3 << 24), "big-endian"),
    "header cut off": (gguf()[:100], "truncated"),
    "data cut off": (gguf()[:-100], "lies outside the file"),
    "type of a value": (gguf({"a": b"\x63\0\0\0"}, []), "unknown type 99"),
    "type in an array": (gguf({"a": struct.pack("<IIQ", 9, 9, 1)}, []), "items of type 9"),
    "alignment 24": (gguf({"general.alignment": 24}, []), "no power of two"),
    "alignment of words": (gguf({"general.alignment": ["x" * 99] * 99}, []), "no power of two"),
    "alignment 0": (gguf({"general.alignment": 0}, []), "no power of two"),
    "no key": (gguf({"": 1}, []), "without a name"),
    "key twice": (b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + (text("a") + struct.pack("<I?", 7, True)) * 2, "twice"),
    "shape": (gguf(tensors=[("a", [100], Q6_K)]), "a shape that Q6_K cannot have"),
    "tensor twice": (gguf(tensors=[("a", [32], Q8_0), ("a", [32], Q8_0)]), "same name"),
    "tensor without name": (b"GGUF" + struct.pack("<IQQQI", 3, 1, 0, 0, 1) + bytes(40), "the name ''"),
    "many tensors": (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 1), "1152921504606846976 tensors"),
    "overlap": (gguf().replace(struct.pack("<IQ", F32, 26880), struct.pack("<IQ", F32, 0)), "does not follow"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_in_one_sentence(case: str) -> None:
    data, sentence = BAD[case]
    said = say(data)
    assert sentence in said
    assert said.endswith(".") and "\n" not in said
    assert len(said) < 250


def test_a_model_that_ends_too_early_is_truncated_wherever_it_ends() -> None:
    # The data ends with the tensor, without padding: each byte is needed.
    whole = gguf({**LLAMA, "tokens": ["a", "b"]}, [("token_embd.weight", [512, 64], Q8_0)])
    read(whole)
    header = read(whole).data_offset
    for length in [*range(4, header), header, len(whole) - 1]:
        assert "truncated" in say(whole[:length]), f"at {length} of {len(whole)} bytes"


@contextlib.contextmanager
def memory_below(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [4, 8])
@pytest.mark.parametrize("length", [2**26, 2**61])
def test_a_length_beyond_the_file_costs_nothing(kind: int, length: int) -> None:
    data = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, kind, length) + bytes(1000)
    with memory_below(1_000_000):
        assert "is damaged" in say(data) or "is truncated" in say(data)


@pytest.mark.parametrize("value", [["ab"] * 1024, [2**40] * 1024])
def test_many_values_that_are_each_short_do_not_fill_the_memory(value: list[Any]) -> None:
    encoded = entry(value)
    data = gguf({f"{number}": encoded for number in range(100)}, [])
    with memory_below(4_500_000):
        found = read(data).metadata
    assert (found["0"], found["99"]) == (value, {"items": 1024})


def test_a_large_vocabulary_is_read_in_blocks_and_little_memory() -> None:
    data = gguf({"tokenizer.ggml.tokens": ["t" * 30] * 100_000, "after": 1}, [])
    blocks: list[int] = []

    def reader(offset: int, count: int) -> bytes:
        blocks.append(count)
        return data[offset : offset + count]

    with memory_below(6_000_000):
        assert read_header(reader, len(data)).metadata["after"] == 1
    assert len(blocks) < 12
    assert sum(blocks) <= len(data) + 1000


def test_a_source_that_sends_too_little_is_noticed() -> None:
    data = gguf()
    with pytest.raises(GgufError, match="truncated"):
        read_header(lambda offset, count: data[:50][offset : offset + count], len(data))


def test_a_file_is_read_through_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(gguf())
    assert summary([read_header(*file_reader(str(path)))])["quantization"] == "Q6_K"


def test_only_what_was_read_of_a_file_leaves_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(gguf())
    dropped: list[tuple[int, int]] = []

    def advise(_file: int, offset: int, count: int, advice: int) -> None:
        if advice == os.POSIX_FADV_DONTNEED:
            dropped.append((offset, count))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    file_reader(str(path))[0](4096, 100)
    assert dropped == [(4096, 100)]


GOOD = gguf({**LLAMA, "tokenizer.ggml.tokens": ["a", "b"], "list": [1, 2, 3], "flag": True, "half": 0.5})
HEADER = read(GOOD).data_offset
mutations = st.lists(st.tuples(st.integers(0, HEADER - 1), st.integers(0, 255)), min_size=1, max_size=8)


@settings(max_examples=1000, deadline=2000)
@given(mutations, st.integers(0, len(GOOD)))
def test_no_damage_ends_in_anything_but_one_error(changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(GOOD)
    for position, byte in changes:
        data[position] = byte
    for damaged in (bytes(data), bytes(data[:length])):
        try:
            summary([read(damaged)])
        except GgufError as error:
            assert "\n" not in str(error)
