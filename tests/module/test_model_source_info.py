# SPDX-License-Identifier: MIT
"""What the modules make of what sources and headers say: answers, warnings, and one sentence where they fail."""

from __future__ import annotations

from pathlib import Path

from plugins.module_utils.model.sources import resolve
from tests.controller import MODEL, ONE, REPO, SET
from tests.gguf_builder import LLAMA, Q4_K, Q6_K, gguf
from tests.hub.hub import Hub
from tests.run_module import run_module


def test_the_answer_is_what_the_source_says(hub: Hub) -> None:
    declared = {"repo": MODEL["repo"], "revision": MODEL["revision"], "files": MODEL["files"]}
    result = run_module("model_source_info", models=[MODEL], endpoint=hub.url)
    assert result["models"] == [resolve({"name": "tiny", **declared}, hub.url, None)]  # type: ignore[typeddict-item]
    assert "warnings" not in result


def test_a_failure_is_one_sentence(hub: Hub) -> None:
    result = run_module("model_source_info", models=[{**MODEL, "revision": "v9"}], endpoint=hub.url)
    assert result["failed"] is True
    assert result["msg"] == f"{REPO} has no revision v9: name a branch, a tag or a commit that it has."


def test_fewer_bits_than_a_name_says_are_a_warning(hub: Hub) -> None:
    metadata = {**LLAMA, "general.file_type": 15}
    data = gguf(metadata, [("token_embd.weight", [512, 64], Q6_K), ("blk.0.ffn_up.weight", [512, 10240], Q4_K)])
    (hub.root / REPO / "model-Q6_K.gguf").write_bytes(data)
    result = run_module("model_source_info", models=[{**MODEL, "files": "model-Q6_K.gguf"}], endpoint=hub.url)
    (warning,) = result["warnings"]
    assert "model-Q6_K.gguf is named Q6_K, but most of its bytes are Q4_K" in str(warning)


def test_who_wants_the_headers_only_does_not_wait_for_hashes(hub: Hub) -> None:
    path = hub.root / REPO / "one.gguf"
    result = run_module("model_source_info", models=[{"name": "tiny", "path": str(path)}], headers_only=True)
    (found,) = result["models"]
    assert found["files"] == [{"file": str(path), "size": len(ONE), "sha256": None}]
    assert found["gguf"]["quantization"] == "Q6_K"


def test_gguf_info_reads_all_shards_of_a_set(hub: Hub) -> None:
    first = hub.root / REPO / next(iter(SET))
    found = run_module("gguf_info", path=str(first), tensors=True)["gguf"]
    assert [Path(path).name for path in found["source"]] == [Path(name).name for name in SET]
    assert (found["parameters"], len(found["tensors"])) == (2 * (512 * 1088 + 512), 6)
    assert found["metadata"]["general.architecture"] == "llama"
    (resolved,) = run_module("model_source_info", models=[MODEL], endpoint=hub.url)["models"]
    assert {key: found[key] for key in resolved["gguf"]} == resolved["gguf"]


def test_gguf_info_names_a_shard_that_is_missing(hub: Hub) -> None:
    first, second = (hub.root / REPO / name for name in SET)
    second.unlink()
    result = run_module("gguf_info", path=str(first))
    assert result["msg"].startswith(f"{second} cannot be read")
