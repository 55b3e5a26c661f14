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
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.module_utils.model.gguf import GgufError, Header, file_reader, quantization_problem, read_header, summary
from plugins.module_utils.model.tensors import TYPES
from tests.gguf_builder import F16, F32, LLAMA, Q4_K, Q6_K, Q8_0, TENSORS, entry, gguf, shards, text


def read(data: bytes) -> Header:
    return read_header(lambda offset, count: data[offset : offset + count], len(data))


def say(data: bytes) -> str:
    with pytest.raises(GgufError) as caught:
        read(data)
    return str(caught.value)


def summarize(metadata: dict[str, Any], tensors: list[tuple[str, list[int], int]] = TENSORS) -> Any:
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
        "ahead_bytes": 0,
        "block_count": 2,
        "context_length": 4096,
        "expert_count": None,
        "expert_used_count": None,
        "kv": {
            "elements": 2 * 2 * (64 + 64),
            "window_elements": 0,
            "window": 0,
            "state_bytes": 0,
            "value_padding": 0,
            "window_value_padding": 0,
        },
        "kv_least": None,
        # Layers, KV heads, sizes of K and V; blocks of 32 numbers in 34, 24, 22, 20 and 18 bytes.
        "kv_bytes_per_token": {
            "f32": 2048,
            "f16": 1024,
            "bf16": 1024,
            "q8_0": 544,
            "q5_1": 384,
            "q5_0": 352,
            "q4_1": 320,
            "q4_0": 288,
            "iq4_nl": 288,
        },
        "bytes_by_type": {"Q6_K": 512 * 1088 // 256 * 210, "F32": 2048},
        # Half as much again as goes up.
        "compute": {
            "heads": 8,
            "width": 512,
            "feed_forward": 1536,
            "mixing": 0,
            "vocabulary": 64,
            "nodes": 1024,
            "token_nodes": 0,
            "flash_attention": True,
        },
    }


def test_the_name_of_the_quantization_is_the_files_own() -> None:
    assert summarize(LLAMA | {"general.file_type": 18})["file_type"] == "Q6_K"
    assert summarize(LLAMA | {"general.file_type": 12345})["file_type"] is None


def test_tensors_are_told_with_name_type_shape_and_bytes() -> None:
    first, norm, _up = read(gguf()).tensors
    assert first == ("token_embd.weight", (512, 64), "Q6_K", 0, 26880)
    assert norm == ("blk.0.attn_norm.weight", (512,), "F32", 26880, 2048)


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


def quantized(quantization: str, average: float, file_type: str | None) -> Any:
    """What counts of a summary: the type of most bytes, bits a weight, and what the file calls itself."""
    return {
        "quantization": quantization,
        "file_type": file_type,
        "parameters": 8000,
        "bytes_by_type": {quantization: int(average * 600), "F32": int(average * 400)},
    }


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("model-Q6_K.gguf", quantized("Q4_K", 4.9, "Q4_K_M")),
        ("Q6_K/*.gguf", quantized("Q4_K", 4.9, "Q4_K_M")),
        ("UD-Q6_K_XL/model-00001-of-00007.gguf", quantized("Q4_K", 4.9, "Q4_K_M")),
        ("glm-4.6-q6_k", quantized("Q4_K", 4.9, None)),
        ("model-Q5_K_M.gguf", quantized("Q4_K", 4.9, "Q4_K_M")),
        ("model-Q8_0.gguf", quantized("IQ4_XS", 4.3, "IQ4_XS")),
        ("model-BF16.gguf", quantized("Q8_0", 8.5, "Q8_0")),
    ],
)  # fmt: skip
def test_fewer_bits_than_the_name_says_are_noticed(name: str, model: Any) -> None:
    said = quantization_problem(name, model)
    assert said and said.startswith(f"{name} is named ") and said.endswith(".") and "\n" not in said


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("model-Q6_K.gguf", quantized("Q6_K", 6.6, "Q6_K")),
        # Width 640 is no multiple of 256: 87 % of the bytes fall back.
        ("gemma-3-270m-Q6_K.gguf", quantized("Q8_0", 8.4, "Q6_K")),
        ("model-Q4_K_M.gguf", quantized("Q6_K", 4.9, "Q4_K_M")),
        ("model-Q6_K_L.gguf", quantized("Q6_K", 6.8, "Q6_K")),
        ("model-UD-Q6_K_XL.gguf", quantized("Q5_K", 6.1, "Q6_K")),
        ("model-UD-Q4_K_XL.gguf", quantized("IQ3_S", 3.9, "Q4_K_M")),
        ("model-UD-Q4_K_XL.gguf", quantized("IQ3_S", 3.9, None)),
        ("IQ4_XS/model-IQ4_XS.gguf", quantized("IQ3_S", 3.8, "Q8_0")),  # a base of Q8_0 with smaller experts
        ("Q4_K_M/model.gguf", quantized("Q3_K", 4.2, "Q3_K_L")),  # the average is that of Q4
        # Models that were trained in MXFP4 keep it.
        ("gpt-oss-120b-F16.gguf", quantized("MXFP4", 4.4, "F16")),
        ("gpt-oss-120b-Q6_K.gguf", quantized("MXFP4", 4.3, "Q6_K")),
        ("gpt-oss-120b-Q6_K.gguf", quantized("MXFP4", 4.3, "MXFP4_MOE")),
        ("model-fp16-to-Q4_K_M.gguf", quantized("Q4_K", 4.9, "Q4_K_M")),
        ("BF16/model-Q4_K_M.gguf", quantized("Q4_K", 4.9, "Q4_K_M")),
        ("Qwen3-4B", quantized("IQ1_S", 1.6, "IQ1_S")),
        ("SQ8_Kappa", quantized("IQ1_S", 1.6, "IQ1_S")),
        ("model-Q4_K_M.gguf", quantized("Q8_0", 8.5, "Q8_0")),  # more than it says
        ("model-Q6_K.gguf", {"quantization": None, "file_type": None, "parameters": 0, "bytes_by_type": {}}),
    ],
)
def test_mixtures_and_fallbacks_are_no_reason_for_an_alarm(name: str, model: Any) -> None:
    assert quantization_problem(name, model) is None


@given(st.text(max_size=40), st.sampled_from(sorted({name for name, *_ in TYPES.values()})), st.floats(0.5, 40))
def test_no_name_ends_in_an_error(name: str, quantization: str, average: float) -> None:
    quantization_problem(name, quantized(quantization, average, None))


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
