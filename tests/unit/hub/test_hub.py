# SPDX-License-Identifier: MIT
"""The test hub, seen by the real client: what is shown with it is only as good as it is."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import RepoFile
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from tests.hub import hub as program
from tests.hub.hub import Hub

REPO = "acme/tiny-GGUF"
SHARDS = [f"Q6_K/tiny-0000{number}-of-00002.gguf" for number in (1, 2)]
SIZE = 3_000_000


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    root = tmp_path / "hub"
    for name in SHARDS:
        path = root / REPO / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(name).randbytes(SIZE))
    (root / REPO / "README.md").write_text("# Tiny\n")
    with Hub(root, token="hf_right") as hub:
        yield hub


def api(hub: Hub, **options: Any) -> huggingface_hub.HfApi:
    return huggingface_hub.HfApi(endpoint=hub.url, **options)


def download(hub: Hub, name: str, to: Path, **options: Any) -> bytes:
    return Path(api(hub, **options).hf_hub_download(REPO, name, local_dir=to)).read_bytes()


def original(hub: Hub, name: str) -> bytes:
    return (hub.root / REPO / name).read_bytes()


def test_names_sizes_and_hashes_are_told_in_all_three_ways(hub: Hub) -> None:
    expected = {name: (SIZE, hashlib.sha256(original(hub, name)).hexdigest()) for name in SHARDS}
    info = api(hub).model_info(REPO, files_metadata=True)
    assert {s.rfilename: (s.size, s.lfs.sha256) for s in info.siblings or [] if s.lfs} == expected
    tree = api(hub).list_repo_tree(REPO, recursive=True, revision=info.sha)
    assert {f.path: (f.size, f.lfs.sha256) for f in tree if isinstance(f, RepoFile) and f.lfs} == expected
    paths = api(hub).get_paths_info(REPO, SHARDS, revision=info.sha)
    assert {f.path: (f.size, f.lfs.sha256) for f in paths if isinstance(f, RepoFile) and f.lfs} == expected


def test_a_directory_is_listed_as_such(hub: Hub) -> None:
    (hub.root / REPO / "Q6").mkdir()
    (hub.root / REPO / "Q6/other.gguf").write_bytes(b"other")
    assert [f.path for f in api(hub).list_repo_tree(REPO)] == ["Q6", "Q6_K", "README.md"]
    assert [f.path for f in api(hub).list_repo_tree(REPO, recursive=True)] == [
        "Q6", "Q6_K", "Q6/other.gguf", *SHARDS, "README.md",
    ]  # fmt: skip
    assert [f.path for f in api(hub).list_repo_tree(REPO, "Q6")] == ["Q6/other.gguf"]
    with pytest.raises(EntryNotFoundError):
        list(api(hub).list_repo_tree(REPO, "Q5_K"))


def test_the_commit_follows_the_content(hub: Hub) -> None:
    before = api(hub).model_info(REPO).sha
    (hub.root / REPO / "README.md").write_text("# Tidy\n")
    after = api(hub).model_info(REPO).sha
    assert before and after and before != after and len(after) == 40
    assert api(hub).model_info(REPO, revision=after).sha == after
    with pytest.raises(HfHubHTTPError, match="Revision Not Found"):
        api(hub).model_info(REPO, revision=before)


def test_a_snapshot_arrives_whole(hub: Hub, tmp_path: Path) -> None:
    api(hub).snapshot_download(REPO, allow_patterns=["*.gguf"], local_dir=tmp_path / "here")
    for name in SHARDS:
        assert (tmp_path / "here" / name).read_bytes() == original(hub, name)
    assert hub.bytes_sent() == {f"{REPO}/{name}": SIZE for name in SHARDS}


def test_small_files_come_from_the_hub_itself(hub: Hub, tmp_path: Path) -> None:
    assert download(hub, "README.md", tmp_path) == b"# Tiny\n"
    assert {entry["origin"] for entry in hub.log} == {"hub"}


@pytest.mark.parametrize(
    ("asked", "status", "sent", "said"),
    [
        ("bytes=0-9", 206, 10, f"bytes 0-9/{SIZE}"),
        ("bytes=-5", 206, 5, f"bytes {SIZE - 5}-{SIZE - 1}/{SIZE}"),
        (f"bytes={SIZE - 1}-{SIZE + 9}", 206, 1, f"bytes {SIZE - 1}-{SIZE - 1}/{SIZE}"),
        (f"bytes={SIZE}-", 416, 0, f"bytes */{SIZE}"),
        ("bytes=-", 200, SIZE, None),
        ("lines=1-2", 200, SIZE, None),
    ],
)
def test_ranges_are_served_as_http_has_it(hub: Hub, asked: str, status: int, sent: int, said: str | None) -> None:
    request = urllib.request.Request(f"{hub.url}/{REPO}/resolve/main/{SHARDS[0]}", headers={"Range": asked})
    try:
        answer = urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        assert (answer.status, len(answer.read()), answer.headers["Content-Range"]) == (status, sent, said)


def test_a_dropped_connection_is_resumed_by_a_range(hub: Hub, tmp_path: Path) -> None:
    """The client keeps only whole chunks of 10 MiB of a transfer that broke."""
    large = hub.root / REPO / "large.gguf"
    large.write_bytes(random.Random(7).randbytes(16 << 20))
    hub.faults = [{"kind": "drop", "at": 12 << 20, "count": 1}]
    assert download(hub, "large.gguf", tmp_path) == large.read_bytes()
    sent = [(entry["range"], entry["bytes"]) for entry in hub.log if entry["origin"] == "cdn"]
    assert sent == [(None, 12 << 20), (f"bytes={10 << 20}-", 6 << 20)]
    assert hub.bytes_sent() == {f"{REPO}/large.gguf": 18 << 20}


def test_the_token_never_reaches_the_cdn(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [{"kind": "gated"}]
    assert download(hub, SHARDS[0], tmp_path, token="hf_right") == original(hub, SHARDS[0])
    assert {(entry["origin"], entry["authorized"]) for entry in hub.log} == {("hub", True), ("cdn", False)}


def test_a_gated_file_needs_a_token(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [{"kind": "gated"}]
    for token in (False, "hf_wrong"):
        with pytest.raises(GatedRepoError):
            download(hub, SHARDS[0], tmp_path, token=token)


def test_what_does_not_exist_is_refused_as_the_real_hub_does(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(RepositoryNotFoundError):
        api(hub).model_info("acme/none")
    with pytest.raises(HfHubHTTPError, match="Revision Not Found"):
        api(hub).model_info(REPO, revision="v9")
    with pytest.raises(EntryNotFoundError):
        download(hub, "none.gguf", tmp_path)


def test_a_flipped_byte_arrives_unnoticed(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [{"kind": "wrong", "at": 1_234_567}]
    received = download(hub, SHARDS[0], tmp_path)
    different = [index for index, (a, b) in enumerate(zip(received, original(hub, SHARDS[0]), strict=True)) if a != b]
    assert different == [1_234_567]


def test_another_file_comes_in_its_place(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [{"kind": "swap", "with": SHARDS[1], "match": f"*/{SHARDS[0]}"}]
    assert [download(hub, name, tmp_path) for name in SHARDS] == [original(hub, SHARDS[1])] * 2


def test_ranges_can_be_ignored(hub: Hub) -> None:
    hub.faults = [{"kind": "norange"}]
    request = urllib.request.Request(f"{hub.url}/{REPO}/resolve/main/{SHARDS[0]}", headers={"Range": "bytes=9-"})
    with urllib.request.urlopen(request) as answer:
        assert (answer.status, answer.read()) == (200, original(hub, SHARDS[0]))


def test_a_reset_is_no_end_of_a_file(hub: Hub) -> None:
    hub.faults = [{"kind": "drop", "at": 1_000_000, "reset": 1}]
    url = f"{hub.url}/{REPO}/resolve/main/{SHARDS[0]}"
    with urllib.request.urlopen(url) as answer, pytest.raises(ConnectionResetError):
        while answer.read1():
            pass
    assert hub.bytes_sent() == {f"{REPO}/{SHARDS[0]}": 1_000_000}


def test_a_slow_transfer_is_under_way_for_a_while(hub: Hub) -> None:
    hub.faults = [{"kind": "slow", "rate": 100_000}]
    with urllib.request.urlopen(f"{hub.url}/{REPO}/resolve/main/{SHARDS[0]}") as answer:
        assert answer.read(10_000) == original(hub, SHARDS[0])[:10_000]
        # A fast one would have sent what fits the buffers of both ends, which is more than this.
        assert hub.bytes_sent()[f"{REPO}/{SHARDS[0]}"] < 200_000


@pytest.mark.parametrize("fault", [{"kind": "truncate", "at": 2_000_000}, {"kind": "lie", "by": 10}])
def test_a_wrong_size_is_noticed_by_the_client(hub: Hub, tmp_path: Path, fault: dict[str, Any]) -> None:
    hub.faults = [fault]
    with pytest.raises(OSError, match="Consistency check failed"):
        download(hub, SHARDS[0], tmp_path)


def test_429_says_when_to_retry(hub: Hub) -> None:
    hub.faults = [{"kind": "status", "code": 429, "retry_after": 7, "on": "hub"}]
    with pytest.raises(HfHubHTTPError) as caught:
        api(hub).model_info(REPO)
    assert (caught.value.response.status_code, caught.value.response.headers["Retry-After"]) == (429, "7")


def cdn_statuses(hub: Hub) -> list[int]:
    return [entry["status"] for entry in hub.log if entry["origin"] == "cdn"]


def test_a_busy_cdn_is_asked_again(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [{"kind": "status", "code": 429, "retry_after": 0, "count": 1, "match": "*-00001-of-*"}]
    for name in SHARDS:
        assert download(hub, name, tmp_path) == original(hub, name)
    assert cdn_statuses(hub) == [429, 200, 200]


def test_a_broken_cdn_is_not_asked_again(hub: Hub, tmp_path: Path) -> None:
    """Of the CDN's errors, the client retries none but 408 and 429: what must survive a 500 has to retry itself."""
    hub.faults = [{"kind": "status", "code": 500, "count": 1}]
    with pytest.raises(HfHubHTTPError, match="500"):
        download(hub, SHARDS[0], tmp_path)
    assert cdn_statuses(hub) == [500]


def test_an_expired_signature_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [{"kind": "expired"}]
    with pytest.raises(HfHubHTTPError, match="403"):
        download(hub, SHARDS[0], tmp_path)


def test_another_process_can_control_it(hub: Hub) -> None:
    body = json.dumps([{"kind": "status", "code": 500, "on": "hub"}]).encode()
    urllib.request.urlopen(urllib.request.Request(f"{hub.url}/_hub/faults", body, method="PUT")).close()
    with pytest.raises(HfHubHTTPError):
        api(hub).model_info(REPO)
    with urllib.request.urlopen(f"{hub.url}/_hub/log") as answer:
        log = json.load(answer)
    assert [request["status"] for request in log["requests"]] == [500]
    with urllib.request.urlopen(urllib.request.Request(f"{hub.url}/_hub/log", method="DELETE")) as answer:
        assert json.load(answer)["requests"] == []


@pytest.mark.parametrize("fault", [{}, {"kind": "corrupt", "at": 1}, {"kind": "drop"}, {"kind": "drop", "att": 1}])
def test_what_is_no_fault_is_refused(hub: Hub, fault: dict[str, Any]) -> None:
    hub.faults = before = [{"kind": "gated"}]
    with pytest.raises(ValueError, match="is no fault"):
        hub.faults = [fault]
    request = urllib.request.Request(f"{hub.url}/_hub/faults", json.dumps([fault]).encode(), method="PUT")
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request)
    assert hub.faults == before


def test_the_program_says_where_it_serves_and_shows_the_faults_it_is_told(hub: Hub, tmp_path: Path) -> None:
    command = [sys.executable, program.__file__, "--root", str(hub.root), "--fault", "truncate,at=9,match=*/Q6_K/*"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(f"{url}/{REPO}/resolve/main/{SHARDS[0]}") as answer:
                assert answer.read() == original(hub, SHARDS[0])[:9]
        finally:
            process.terminate()


@pytest.mark.parametrize("arguments", [["--root", "/nonexistent"], ["--root", "/", "--fault", "corrupt,at=1"]])
def test_the_program_refuses_what_it_cannot_serve(arguments: list[str]) -> None:
    process = subprocess.run([sys.executable, program.__file__, *arguments], capture_output=True, text=True, timeout=30)
    assert process.returncode == 2, process
    assert process.stderr.splitlines()[-1].startswith("hub.py: error: "), process
