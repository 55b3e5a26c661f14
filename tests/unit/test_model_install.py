# SPDX-License-Identifier: MIT
"""A model becomes visible when every hash is proven, and not before; the bytes come from the test hub."""

from __future__ import annotations

import ctypes
import hashlib
import json
import mmap
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import model_install
from ansible.module_utils.model_install import FetchError, install, reason
from ansible.module_utils.models import state_of
from ansible.module_utils.progress import Progress, read

from tests.gguf_builder import gguf, shards
from tests.hub.hub import Hub

REPO = "acme/tiny-GGUF"
# Shards of 2.5 MB, all different.
SET = shards("Q6_K/tiny-Q6_K", 3)
SIZE = sum(len(data) for data in SET.values())


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name, data in SET.items():
        path = tmp_path / "hub" / REPO / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for name in ("HF_HOME", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # which the module sets for its own process
    with Hub(tmp_path / "hub", token="hf_right") as hub:
        yield hub


def from_hub(hub: Hub, **change: Any) -> dict[str, Any]:
    """The model as model_source_info describes it."""
    files = [
        {"file": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in SET.items()
    ]
    source = {"repo": REPO, "revision": "main", "files": "Q6_K/*.gguf"}
    commit = hub.commit(hub.files(REPO))
    return {"name": "tiny", "source": source, "commit": commit, "files": files, "bytes": SIZE, **change}


def from_file(path: Path | str, data: bytes, kind: str = "path") -> dict[str, Any]:
    sha256 = hashlib.sha256(data).hexdigest()
    files = [{"file": str(path), "size": len(data), "sha256": sha256}]
    return {
        "name": "tiny",
        "source": {kind: str(path), "sha256": sha256},
        "commit": None,
        "files": files,
        "bytes": len(data),
    }


def run(model: dict[str, Any], store: Path, endpoint: str | None = None, token: str | None = None) -> tuple[Any, bool]:
    with Progress(str(store / ".progress.json")) as progress:
        return install(model, store, endpoint, token, progress)


def refused(model: dict[str, Any], store: Path, endpoint: str | None = None) -> str:
    with pytest.raises(FetchError) as caught:
        run(model, store, endpoint)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def visible(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir() if not path.name.startswith("."))


def leftovers(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir() if path.name.startswith(".") and "progress" not in path.name)


def resident_pages(path: Path) -> int:
    """Pages of a file in the page cache, by mincore."""
    size = path.stat().st_size
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    length, states = ctypes.c_size_t(size), (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    with path.open("rb") as file:
        mapped = libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), ctypes.c_long(0))
    address = ctypes.c_void_p(mapped)
    assert libc.mincore(address, length, states) == 0
    libc.munmap(address, length)
    return sum(state & 1 for state in states)


def test_shards_arrive_side_by_side_with_a_manifest(hub: Hub, tmp_path: Path) -> None:
    model, store = from_hub(hub), tmp_path / "store"
    manifest, changed = run(model, store, hub.url)
    assert changed and visible(store) == ["tiny"] and leftovers(store) == []
    directory = store / "tiny"
    assert sorted(path.name for path in directory.iterdir()) == ["manifest.json", *(Path(name).name for name in SET)]
    assert [(directory / Path(name).name).read_bytes() for name in SET] == list(SET.values())
    assert json.loads((directory / "manifest.json").read_text()) == manifest
    assert manifest["bytes"] == SIZE and manifest["commit"] == model["commit"]
    assert manifest["gguf"]["quantization"] == "Q6_K"
    assert state_of({"name": "tiny", **model["source"]}, manifest, str(directory)) == ("present", None)
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in directory.glob("*.gguf"))


def test_no_page_of_it_stays_in_the_page_cache(hub: Hub, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run(from_hub(hub), store, hub.url)
    cached = {path.name: resident_pages(path) for path in (store / "tiny").glob("*.gguf")}
    assert len(cached) == 3
    assert cached == dict.fromkeys(cached, 0)


def test_a_run_that_finds_it_done_asks_nobody(hub: Hub, tmp_path: Path) -> None:
    model, store = from_hub(hub), tmp_path / "store"
    first, _changed = run(model, store, hub.url)
    hub.log.clear()
    assert run(model, store, hub.url) == (first, False)
    assert hub.log == []


def test_the_same_files_declared_otherwise_are_taken_over(hub: Hub, tmp_path: Path) -> None:
    model, store = from_hub(hub), tmp_path / "store"
    run(model, store, hub.url)
    before = [(store / "tiny" / Path(name).name).stat().st_ino for name in SET]
    hub.log.clear()
    pinned = {**model, "source": {**model["source"], "revision": model["commit"]}}
    manifest, changed = run(pinned, store, hub.url)
    assert changed and manifest["source"]["revision"] == model["commit"]
    assert [(store / "tiny" / Path(name).name).stat().st_ino for name in SET] == before
    assert hub.log == [] and leftovers(store) == []


def test_only_a_file_that_was_damaged_is_fetched_again(hub: Hub, tmp_path: Path) -> None:
    model, store = from_hub(hub), tmp_path / "store"
    run(model, store, hub.url)
    _first, second, _third = SET
    (store / "tiny" / Path(second).name).write_bytes(b"damaged")
    hub.log.clear()
    assert run(model, store, hub.url)[1]
    assert hub.bytes_sent() == {f"{REPO}/{second}": len(SET[second])}
    assert (store / "tiny" / Path(second).name).read_bytes() == SET[second]


def test_a_flipped_byte_is_refused_with_both_hashes_and_the_rest_is_kept(hub: Hub, tmp_path: Path) -> None:
    model, store = from_hub(hub), tmp_path / "store"
    second = list(SET)[1]
    hub.faults = [{"kind": "wrong", "at": 100_000, "match": f"*/{second}"}]
    wrong = bytearray(SET[second])
    wrong[100_000] ^= 1
    said = refused(model, store, hub.url)
    assert hashlib.sha256(wrong).hexdigest() in said and hashlib.sha256(SET[second]).hexdigest() in said
    assert visible(store) == []
    hub.faults = []
    hub.log.clear()
    assert run(model, store, hub.url)[1]
    assert hub.bytes_sent() == {f"{REPO}/{second}": len(SET[second])}


def test_a_model_that_is_there_stays_until_the_new_one_is_proven(hub: Hub, tmp_path: Path) -> None:
    store, old = tmp_path / "store", gguf()
    (tmp_path / "old.gguf").write_bytes(old)
    run(from_file(tmp_path / "old.gguf", old), store)
    hub.faults = [{"kind": "wrong", "at": 100_000}]
    refused(from_hub(hub), store, hub.url)
    assert (store / "tiny" / "old.gguf").read_bytes() == old
    hub.faults = []
    run(from_hub(hub), store, hub.url)
    assert not (store / "tiny" / "old.gguf").exists() and leftovers(store) == []


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"kind": "truncate", "at": 1000}, "Consistency check failed"),
        ({"kind": "gated"}, "it answered 401"),
        ({"kind": "expired"}, "it answered 403"),
    ],
)
def test_a_hub_that_fails_is_reported(hub: Hub, tmp_path: Path, fault: dict[str, Any], sentence: str) -> None:
    hub.faults = [fault]
    store = tmp_path / "store"
    said = refused(from_hub(hub), store, hub.url)
    assert said.startswith(f"{REPO} could not be fetched from {hub.url}") and sentence in said
    assert visible(store) == [] and leftovers(store) == []


def test_the_first_cause_of_an_error_is_told() -> None:
    """As the client wraps it when a tower cannot reach the hub."""
    try:
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except OSError as error:
            raise RuntimeError("An error happened.\nPlease check your connection.") from error
    except RuntimeError as error:
        assert reason(error) == "[Errno 111] Connection refused"
    assert reason(RuntimeError("one\ntwo")) == "one"
    assert reason(TimeoutError()) == "TimeoutError"


@pytest.mark.parametrize("kind", ["path", "url"])
def test_a_file_and_a_url_are_proven_like_a_repository(hub: Hub, tmp_path: Path, kind: str) -> None:
    data, store = gguf(), tmp_path / "store"
    (hub.root / REPO / "one.gguf").write_bytes(data)
    place = hub.root / REPO / "one.gguf" if kind == "path" else f"{hub.url}/{REPO}/resolve/main/one.gguf"
    model = from_file(place, data, kind)
    manifest, _changed = run(model, store)
    assert (store / "tiny" / "one.gguf").read_bytes() == data
    assert manifest["source"] == model["source"]
    wrong = {**model, "name": "wrong", "files": [{**model["files"][0], "sha256": "0" * 64}]}
    assert "0" * 64 in refused(wrong, store)
    assert visible(store) == ["tiny"] and leftovers(store) == []


def test_a_full_disk_is_reported(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_install, "copy_uncached", full)
    (tmp_path / "one.gguf").write_bytes(gguf())
    store = tmp_path / "store"
    assert refused(from_file(tmp_path / "one.gguf", gguf()), store) == (
        f"The disk of {store} is full: make room, and run the same command again."
    )


def test_power_that_failed_between_the_two_renames_is_mended(hub: Hub, tmp_path: Path) -> None:
    model, store = from_hub(hub), tmp_path / "store"
    run(model, store, hub.url)
    (store / "tiny").rename(store / ".tiny.old")
    hub.log.clear()
    assert run(model, store, hub.url)[1] is False
    assert visible(store) == ["tiny"] and hub.log == []


def test_a_fetch_that_is_killed_goes_on_with_the_files_that_are_whole(hub: Hub, tmp_path: Path, repo: Path) -> None:
    model, store = from_hub(hub), tmp_path / "store"
    last = list(SET)[-1]
    hub.faults = [{"kind": "status", "code": 429, "retry_after": 60, "match": f"*/{last}"}]
    code = (
        "import json, sys, pathlib, ansible.module_utils as m; m.__path__.append(sys.argv[1])\n"
        "from ansible.module_utils.model_install import install; from ansible.module_utils.progress import Progress\n"
        "store = pathlib.Path(sys.argv[3])\n"
        "with Progress(str(store / '.progress.json')) as progress:\n"
        "    install(json.loads(sys.argv[2]), store, sys.argv[4], None, progress)\n"
    )
    arguments = [str(repo / "plugins/module_utils"), json.dumps(model), str(store), hub.url]
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE) as process:
        for _ in range(600):
            if any(entry["status"] == 429 for entry in hub.log):
                break
            threading.Event().wait(0.1)
        process.send_signal(signal.SIGKILL)
    assert visible(store) == [] and leftovers(store) == [".tiny.partial"]
    hub.faults = []
    hub.log.clear()
    assert run(model, store, hub.url)[1]
    assert hub.bytes_sent() == {f"{REPO}/{last}": len(SET[last])}
    assert visible(store) == ["tiny"] and leftovers(store) == []


def test_progress_is_told_while_it_fetches(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, seen = tmp_path / "store", []
    original = model_install.copy_uncached

    def slow(*arguments: Any) -> None:
        original(*arguments)
        for _ in range(100):
            state = read(str(store / ".progress.json"))
            if state:
                seen.append(state)
                return
            threading.Event().wait(0.1)

    monkeypatch.setattr(model_install, "copy_uncached", slow)
    (tmp_path / "one.gguf").write_bytes(gguf())
    run(from_file(tmp_path / "one.gguf", gguf()), store)
    (state,) = seen
    assert (state["label"], state["total"], state["unit"]) == ("fetching tiny:", len(gguf()), "bytes")
