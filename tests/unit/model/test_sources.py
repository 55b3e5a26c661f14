# SPDX-License-Identifier: MIT
"""What sources say of models: repositories of the test hub, files and URLs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.model import sources
from plugins.module_utils.model.document import ResolvedModel
from plugins.module_utils.model.gguf import file_reader, read_header, summary
from plugins.module_utils.model.sources import ModelSourceError, misnamed
from tests.architectures import ARCHITECTURES
from tests.gguf_builder import LLAMA, Q4_K, Q6_K, gguf, shards
from tests.hub.hub import Hub

REPO = "acme/tiny-GGUF"
ONE, SET = "tiny-Q4_K.gguf", shards("Q6_K/tiny-Q6_K", 3)
DECLARED = {"name": "tiny", "repo": REPO, "revision": "main", "files": "Q6_K/*.gguf"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    for name, data in {**SET, ONE: gguf(), "tiny.gguf.part1of2": gguf()}.items():
        path = tmp_path / "hub" / REPO / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with Hub(tmp_path / "hub", token="hf_right") as hub:
        yield hub


def resolve(hub: Hub, token: str | None = None, **change: Any) -> ResolvedModel:
    model: Any = {**DECLARED, **change}
    return sources.resolve(model, hub.url, token)


def on_tower(**source: str) -> ResolvedModel:
    model: Any = {"name": "tiny", **source}
    return sources.resolve(model, None, None)


def refusal(model: Any, endpoint: str | None = None, token: str | None = None) -> str:
    with pytest.raises(ModelSourceError) as caught:
        sources.resolve(model, endpoint, token)
    said = str(caught.value)
    print(said)
    assert "\n" not in said
    return said


def test_a_repository_is_resolved_to_commit_sizes_hashes_and_header(hub: Hub) -> None:
    found = resolve(hub)
    assert found["commit"] == hub.commit(hub.files(REPO))
    assert found["files"] == [
        {"file": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in SET.items()
    ]
    assert found["bytes"] == sum(len(data) for data in SET.values())
    assert (found["gguf"]["architecture"], found["gguf"]["quantization"]) == ("llama", "Q6_K")
    assert found["gguf"]["parameters"] == 3 * (512 * 1088 + 512)
    assert found["source"] == {key: value for key, value in DECLARED.items() if key != "name"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_header_says_the_same_in_a_file_over_ranges_of_the_hub_and_of_a_url(hub: Hub, architecture: str) -> None:
    path = hub.root / REPO / f"{architecture}.gguf"
    path.write_bytes(ARCHITECTURES[architecture]())
    from_hub = resolve(hub, files=path.name)["gguf"]
    from_url = on_tower(url=f"{hub.url}/{REPO}/resolve/main/{path.name}", sha256=64 * "0")["gguf"]
    assert from_hub == from_url == summary([read_header(*file_reader(str(path)))])
    assert {"active_bytes", "bytes_by_type", "kv", "kv_bytes_per_token", "parameters"} <= set(from_hub)


def test_only_headers_are_transferred(hub: Hub) -> None:
    large = hub.root / REPO / "large.gguf"
    large.write_bytes(gguf(tensors=[("a", [4096, 1024], 1)]))
    resolve(hub, files="large.gguf")
    assert sum(hub.bytes_sent().values()) <= 2**16 < large.stat().st_size / 100


def test_the_token_goes_to_the_hub_and_not_to_where_it_redirects(hub: Hub) -> None:
    hub.faults = [{"kind": "gated"}]
    resolve(hub, token="hf_right")
    assert {(entry["origin"], entry["authorized"]) for entry in hub.log} == {("hub", True), ("cdn", False)}


def test_a_token_that_ends_with_a_newline_is_one_and_another_is_not_shown(hub: Hub) -> None:
    hub.faults = [{"kind": "gated"}]
    resolve(hub, token="hf_right\n")
    said = refusal(DECLARED, hub.url, "hf_secret hf_right")
    assert said == "model_store_hf_token has a blank or another character that no token has: correct it."


def test_of_a_mirror_without_ranges_no_more_is_read_than_the_header(hub: Hub) -> None:
    large = hub.root / REPO / "large.gguf"
    large.write_bytes(gguf(tensors=[("a", [4096, 4096], 1)]))
    hub.faults = [{"kind": "norange"}]
    assert resolve(hub, files="large.gguf")["gguf"]["architecture"] == "llama"
    assert sum(hub.bytes_sent().values()) < large.stat().st_size / 4


@pytest.mark.parametrize("name", ["Q6_K/a\nLD_PRELOAD=x.gguf", "Q6_K/a\x1b[2J.gguf"])
def test_a_file_of_the_hub_whose_name_would_be_another_line_is_refused(hub: Hub, name: str) -> None:
    (hub.root / REPO / name).write_bytes(gguf())
    said = refusal({**DECLARED, "files": "Q6_K/a*"}, hub.url)
    assert "which a file of the store cannot have: use another source." in said


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"repo": "acme/none"}, "knows no repository acme/none"),
        ({"repo": "no name"}, "'no name' is no name of a repository"),
        ({"revision": "v9"}, f"{REPO} has no revision v9"),
        ({"files": "*.part?of2"}, "tiny.gguf.part1of2 is a piece of a file and no shard"),
        ({"files": "*Q9*"}, f"{REPO} has no file that matches *Q9*; it has Q6_K/tiny-Q6_K-00001-of-00003.gguf"),
        ({"files": "*"}, "its files belong to 2 models"),
        ({"files": "*-0000[13]-of-*"}, "shard 2 of 3 is missing"),
    ],
)
def test_what_the_repository_lacks_is_said(hub: Hub, change: dict[str, str], sentence: str) -> None:
    assert sentence in refusal({**DECLARED, **change}, hub.url)


@pytest.mark.parametrize(
    ("fault", "token", "sentence"),
    [
        ({"kind": "gated"}, None, f"{REPO} is gated: accept its terms on the hub, and set model_store_hf_token."),
        ({"kind": "gated"}, "hf_wrong", f"{REPO} is gated"),
        ({"kind": "status", "code": 500, "on": "hub"}, None, "answered 500"),
        ({"kind": "status", "code": 429, "retry_after": 30, "on": "hub"}, None, "again in 30 seconds"),
        (
            {"kind": "status", "code": 429, "headers": {"RateLimit": '"api";r=0;t=120'}, "on": "hub"},
            None,
            "again in 120 seconds",
        ),
        ({"kind": "status", "code": 503}, None, "answered 503"),
        ({"kind": "truncate", "at": 100}, None, "truncated"),
        ({"kind": "lie", "by": -1000}, None, "lies outside the file"),
        ({"kind": "wrong", "at": 1}, None, "no GGUF model"),
    ],
)
def test_a_hub_that_fails_is_reported(hub: Hub, fault: dict[str, Any], token: str | None, sentence: str) -> None:
    hub.faults = [fault]
    assert sentence in refusal(DECLARED, hub.url, token)


def test_a_hub_that_is_not_there_is_reported(hub: Hub) -> None:
    assert "cannot be reached" in refusal(DECLARED, "http://127.0.0.1:9")


def test_a_file_on_the_tower_is_described(tmp_path: Path) -> None:
    path = tmp_path / "local.gguf"
    path.write_bytes(gguf())
    found = on_tower(path=str(path), sha256="0" * 64)
    assert found["files"] == [{"file": str(path), "size": len(gguf()), "sha256": "0" * 64}]
    assert found["gguf"]["quantization"] == "Q6_K"


@pytest.mark.parametrize("form", ["", "*Q6_K-*.gguf", "tiny-Q6_K-00001-of-00003.gguf"])
def test_a_path_means_all_shards_and_they_are_hashed(hub: Hub, form: str) -> None:
    directory = hub.root / REPO / "Q6_K"
    (directory / "README.md").write_text("no model")
    assert on_tower(path=str(directory / form))["files"] == [
        {"file": str(hub.root / REPO / name), "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in SET.items()
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"path": "Q6_K", "sha256": "0" * 64}, "has 3 files and one sha256: remove that"),
        ({"path": "none*"}, "There is no GGUF file of model tiny in"),
        ({"path": "*.part?of2"}, "tiny.gguf.part1of2 is a piece of a file and no shard: choose files whose names end"),
        ({"path": "Q6_K/*-0000[13]-of-*"}, "shard 2 of 3 is missing"),
        ({"path": "Q6_K/tiny-Q6_K-00001-of-00004.gguf"}, "tiny-Q6_K-00001-of-00004.gguf of model tiny cannot be read"),
    ],
)
def test_a_path_that_is_not_one_whole_model_is_told(hub: Hub, change: dict[str, str], sentence: str) -> None:
    path = str(hub.root / REPO / change["path"])
    assert sentence in refusal({"name": "tiny", **change, "path": path})


def test_fewer_bits_than_a_name_says_are_noticed_before_any_weight_is_fetched(hub: Hub) -> None:
    metadata = {**LLAMA, "general.file_type": 15}
    data = gguf(metadata, [("token_embd.weight", [512, 64], Q6_K), ("blk.0.ffn_up.weight", [512, 10240], Q4_K)])
    (hub.root / REPO / "model-Q6_K.gguf").write_bytes(data)
    (problem,) = misnamed(resolve(hub, files="model-Q6_K.gguf"))
    assert "model-Q6_K.gguf is named Q6_K, but most of its bytes are Q4_K" in problem
    assert sum(hub.bytes_sent().values()) < len(data) / 10
    assert misnamed(resolve(hub)) == []


def test_a_url_is_described_by_its_first_bytes(hub: Hub) -> None:
    found = on_tower(url=f"{hub.url}/{REPO}/resolve/main/{ONE}", sha256="0" * 64)
    assert (found["bytes"], found["gguf"]["quantization"]) == (len(gguf()), "Q6_K")


def test_a_signature_of_a_url_is_not_in_what_is_said() -> None:
    said = refusal({"name": "tiny", "url": "http://127.0.0.1:9/none.gguf?signature=S3cret", "sha256": "0" * 64})
    assert "127.0.0.1:9/none.gguf" in said and "S3cret" not in said


@pytest.mark.parametrize(
    "source",
    [
        {"path": "/none.gguf"},
        {"url": "http://127.0.0.1:9/none.gguf"},
        {"url": "http://127.0.0.1:9/with blank/none.gguf"},
    ],
)
def test_a_file_or_url_that_cannot_be_read_is_named(source: dict[str, str]) -> None:
    assert "none.gguf of model tiny cannot be read" in refusal({"name": "tiny", "sha256": "0" * 64, **source})


def test_a_shard_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shard.gguf"
    path.write_bytes(next(iter(SET.values())))
    assert "not shard 1 of 1" in refusal({"name": "tiny", "path": str(path), "sha256": "0" * 64})
