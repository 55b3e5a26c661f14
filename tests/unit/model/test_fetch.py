# SPDX-License-Identifier: MIT
"""A model becomes visible when every hash is proven, and not before; the bytes come from the test hub."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.model import transfer, uncached
from plugins.module_utils.model.fetch import FetchError, Installed, install_model
from plugins.module_utils.model.sources import resolve
from plugins.module_utils.model.store import state_of
from plugins.module_utils.progress import Progress, read
from tests.gguf_builder import gguf, shards
from tests.hub.hub import Hub
from tests.page_cache import resident_pages
from tests.waiting import wait_until

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
    monkeypatch.setattr(transfer, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(transfer, "ATTEMPTS", 4)
    with Hub(tmp_path / "hub", token="hf_right") as hub:
        yield hub


def from_hub(hub: Hub, **change: Any) -> Any:
    """The model as model_source_info describes it."""
    files = [
        {"file": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in SET.items()
    ]
    source = {"repo": REPO, "revision": "main", "files": "Q6_K/*.gguf"}
    commit = hub.commit(hub.files(REPO))
    return {"name": "tiny", "source": source, "commit": commit, "files": files, "bytes": SIZE, **change}


def from_file(path: Path | str, data: bytes, kind: str = "path") -> Any:
    sha256 = hashlib.sha256(data).hexdigest()
    files = [{"file": str(path), "size": len(data), "sha256": sha256}]
    return {
        "name": "tiny",
        "source": {kind: str(path), "sha256": sha256},
        "commit": None,
        "files": files,
        "bytes": len(data),
    }


def run(model: Any, store: Path, endpoint: str | None = None, token: str | None = None) -> Installed:
    with Progress(str(store / ".progress.json")) as progress:
        return install_model(model, store, endpoint, token, progress)


def refused(model: Any, store: Path, endpoint: str | None = None, token: str | None = None) -> str:
    with pytest.raises(FetchError) as caught:
        run(model, store, endpoint, token)
    said = str(caught.value)
    print(said)
    assert "\n" not in said and said.endswith(".")
    return said


def visible(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir() if not path.name.startswith("."))


def leftovers(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir() if path.name.startswith(".") and "progress" not in path.name)


def test_shards_arrive_side_by_side_with_a_manifest(hub: Hub, tmp_path: Path) -> None:
    model, store = from_hub(hub), tmp_path / "store"
    manifest, changed, _transfer = run(model, store, hub.url)
    assert changed and visible(store) == ["tiny"] and leftovers(store) == []
    directory = store / "tiny"
    assert sorted(path.name for path in directory.iterdir()) == ["manifest.json", *(Path(name).name for name in SET)]
    assert [(directory / Path(name).name).read_bytes() for name in SET] == list(SET.values())
    assert json.loads((directory / "manifest.json").read_text()) == manifest
    assert manifest["bytes"] == SIZE and manifest["commit"] == model["commit"]
    assert manifest["gguf"]["quantization"] == "Q6_K"
    assert state_of(model["source"], manifest, str(directory)) == ("present", None)
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in directory.glob("*.gguf"))


def test_the_servers_user_can_read_it_whatever_the_umask(hub: Hub, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        run(from_hub(hub), tmp_path / "var" / "store", hub.url)
    finally:
        os.umask(before)
    model = tmp_path / "var" / "store" / "tiny"
    directories = {str(path): oct(path.stat().st_mode & 0o7777) for path in [model, *model.parents][:3]}
    assert set(directories.values()) == {"0o755"}, directories
    files = {path.name: oct(path.stat().st_mode & 0o7777) for path in model.iterdir()}
    assert files == dict.fromkeys(["manifest.json", *(name.split("/")[-1] for name in SET)], "0o644")


def test_no_page_of_it_stays_in_the_page_cache(hub: Hub, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run(from_hub(hub), store, hub.url)
    cached = {path.name: resident_pages(path) for path in (store / "tiny").glob("*.gguf")}
    assert len(cached) == 3
    assert cached == dict.fromkeys(cached, 0)


def test_a_run_that_finds_it_done_asks_nobody(hub: Hub, tmp_path: Path) -> None:
    model, store = from_hub(hub), tmp_path / "store"
    first = run(model, store, hub.url)
    assert first.transfer == {"received_bytes": SIZE, "resumed_bytes": 0, "retries": 0, "quarantined": []}
    hub.log.clear()
    nothing = {"received_bytes": 0, "resumed_bytes": 0, "retries": 0, "quarantined": []}
    assert run(model, store, hub.url) == (first.manifest, False, nothing)
    assert hub.log == []


def test_the_same_files_declared_otherwise_are_taken_over(hub: Hub, tmp_path: Path) -> None:
    model, store = from_hub(hub), tmp_path / "store"
    run(model, store, hub.url)
    before = [(store / "tiny" / Path(name).name).stat().st_ino for name in SET]
    hub.log.clear()
    pinned = {**model, "source": {**model["source"], "revision": model["commit"]}}
    manifest, changed, _transfer = run(pinned, store, hub.url)
    assert changed and manifest["source"]["revision"] == model["commit"]
    assert [(store / "tiny" / Path(name).name).stat().st_ino for name in SET] == before
    assert hub.log == [] and leftovers(store) == []


def test_only_a_file_that_was_damaged_is_fetched_again(hub: Hub, tmp_path: Path) -> None:
    model, store = from_hub(hub), tmp_path / "store"
    run(model, store, hub.url)
    _first, second, _third = SET
    (store / "tiny" / Path(second).name).write_bytes(b"damaged")
    hub.log.clear()
    assert run(model, store, hub.url).changed
    assert hub.bytes_sent() == {f"{REPO}/{second}": len(SET[second])}
    assert (store / "tiny" / Path(second).name).read_bytes() == SET[second]


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


def flipped(data: bytes, at: int) -> str:
    wrong = bytearray(data)
    wrong[at] ^= 1
    return hashlib.sha256(wrong).hexdigest()


def test_a_byte_that_was_flipped_once_is_fetched_again(hub: Hub, tmp_path: Path) -> None:
    store, second = tmp_path / "store", list(SET)[1]
    hub.faults = [{"kind": "wrong", "at": 100_000, "match": f"*/{second}", "count": 1}]
    manifest, changed, told = run(from_hub(hub), store, hub.url)
    wrong, right = flipped(SET[second], 100_000), hashlib.sha256(SET[second]).hexdigest()
    assert told["quarantined"] == [{"file": Path(second).name, "sha256": wrong, "expected": right}]
    assert changed and (store / "tiny" / Path(second).name).read_bytes() == SET[second]
    assert sorted(path.name for path in (store / "tiny").iterdir()) == sorted(
        ["manifest.json", *(entry["file"] for entry in manifest["files"])]
    )
    assert hub.bytes_sent()[f"{REPO}/{second}"] == 2 * len(SET[second])


def test_a_byte_that_is_flipped_always_is_refused_with_both_hashes_and_the_rest_is_kept(
    hub: Hub, tmp_path: Path
) -> None:
    model, store = from_hub(hub), tmp_path / "store"
    second = list(SET)[1]
    hub.faults = [{"kind": "wrong", "at": 100_000, "match": f"*/{second}"}]
    wrong = flipped(SET[second], 100_000)
    said = refused(model, store, hub.url)
    assert wrong in said and hashlib.sha256(SET[second]).hexdigest() in said
    assert visible(store) == []
    quarantined = store / ".tiny.partial" / "quarantine" / f"{wrong[:12]}-{Path(second).name}"
    assert hashlib.sha256(quarantined.read_bytes()).hexdigest() == wrong
    assert hub.bytes_sent()[f"{REPO}/{second}"] == 2 * len(SET[second])
    parts = quarantined.parents[1].iterdir()
    kept = {path.name.removesuffix(".part"): path.stat().st_size for path in parts}
    hub.faults = []
    hub.log.clear()
    assert run(model, store, hub.url).changed
    for name, data in SET.items():
        there = 0 if name == second else kept.get(Path(name).name, 0)
        assert hub.bytes_sent().get(f"{REPO}/{name}", 0) == len(data) - there, name
    assert visible(store) == ["tiny"] and leftovers(store) == []


def test_a_shard_in_the_place_of_another_is_refused_with_both_hashes(hub: Hub, tmp_path: Path) -> None:
    store, (first, second, _third) = tmp_path / "store", SET
    data = SET[second].ljust(len(SET[first]), b"x")  # of the same size: only the hash can tell
    (hub.root / REPO / "other.gguf").write_bytes(data)
    hub.faults = [{"kind": "swap", "with": "other.gguf", "match": f"*/{first}"}]
    said = refused(from_hub(hub), store, hub.url)
    assert hashlib.sha256(data).hexdigest() in said and hashlib.sha256(SET[first]).hexdigest() in said


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ([{"kind": "truncate", "at": 1000}], "has 1000 bytes from {url} and should have"),
        ([{"kind": "gated"}], f"{REPO} is gated: accept its terms on the hub, and set model_store_hf_token to your"),
        ([{"kind": "expired"}], "answered 403 to the signed URL that {url} gave; 4 attempts brought no byte"),
        ([{"kind": "status", "code": 500}], "answered 500; 4 attempts brought no byte): run the same command again"),
        ([{"kind": "status", "code": 503, "on": "hub"}], "could not be fetched from {url} ({url} answered 503; 4"),
        ([{"kind": "status", "code": 404}], "could not be fetched from {url} (it answered 404): correct its source."),
        ([{"kind": "drop", "at": 0}], "the connection was closed early; 4 attempts"),
    ],
)
def test_a_hub_that_fails_is_reported(hub: Hub, tmp_path: Path, faults: list[dict[str, Any]], sentence: str) -> None:
    hub.faults = faults
    store = tmp_path / "store"
    said = refused(from_hub(hub), store, hub.url)
    # Where the CDN is named, its URL with the signature is not.
    assert sentence.format(url=hub.url) in said and "Signature" not in said
    assert visible(store) == [] and leftovers(store) == []


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "code": 429, "retry_after": 0},
        {"kind": "status", "code": 429, "retry_after": 0, "on": "hub"},
        {"kind": "status", "code": 500},
        {"kind": "status", "code": 408, "on": "hub"},
        {"kind": "expired"},
        {"kind": "truncate", "at": 1000},
        {"kind": "drop", "at": 99_999},
        {"kind": "drop", "at": 99_999, "reset": 1},
    ],
)
def test_what_passes_is_waited_for(hub: Hub, tmp_path: Path, fault: dict[str, Any]) -> None:
    store, first = tmp_path / "store", next(iter(SET))
    hub.faults = [{**fault, "count": 1, "match": f"*/{first}"}]
    done = run(from_hub(hub), store, hub.url)
    assert done.transfer["retries"] == 1 and done.transfer["quarantined"] == []
    assert (store / "tiny" / Path(first).name).read_bytes() == SET[first]


def test_a_hub_that_lies_about_a_size_is_caught_by_the_file_itself(hub: Hub, tmp_path: Path) -> None:
    """From the question to the hub to the disk; and what came is whole as soon as the hub tells the truth."""
    store, name = tmp_path / "store", list(SET)[1]
    declared: Any = {"name": "tiny", "repo": REPO, "revision": "main", "files": "Q6_K/*.gguf"}

    def resolved() -> Any:
        return resolve(declared, hub.url, None)

    hub.faults = [{"kind": "lie", "by": 10, "match": f"*/{name}"}]
    size = len(SET[name])
    said = refused(resolved(), store, hub.url)
    assert f"{REPO}/{name} has {size} bytes from {hub.url} and should have {size + 10}" in said
    assert visible(store) == []
    hub.faults = []
    assert run(resolved(), store, hub.url).changed
    assert (store / "tiny" / Path(name).name).read_bytes() == SET[name]


def test_a_token_that_opens_nothing_is_reported(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [{"kind": "gated"}]
    said = refused(from_hub(hub), tmp_path / "store", hub.url, "hf_other")
    assert said.startswith(
        f"{REPO} is gated: accept its terms on the hub, and set model_store_hf_token to the token of"
    )
    assert "answered 403" in said and "hf_other" not in said
    assert run(from_hub(hub), tmp_path / "store", hub.url, "hf_right").changed
    assert {(entry["origin"], entry["authorized"]) for entry in hub.log} == {("hub", True), ("cdn", False)}


def test_a_hub_that_cannot_be_reached_is_reported(hub: Hub, tmp_path: Path) -> None:
    said = refused(from_hub(hub), tmp_path / "store", "http://127.0.0.1:1")
    assert "could not be fetched from http://127.0.0.1:1 ([Errno 111] Connection refused; 4 attempts" in said


@pytest.mark.parametrize("kind", ["path", "url"])
def test_a_file_and_a_url_are_proven_like_a_repository(hub: Hub, tmp_path: Path, kind: str) -> None:
    data, store = gguf(), tmp_path / "store"
    (hub.root / REPO / "one.gguf").write_bytes(data)
    place = hub.root / REPO / "one.gguf" if kind == "path" else f"{hub.url}/{REPO}/resolve/main/one.gguf?download=true"
    model = from_file(place, data, kind)
    manifest = run(model, store).manifest
    assert (store / "tiny" / "one.gguf").read_bytes() == data
    assert manifest["source"] == model["source"]
    wrong = {**model, "name": "wrong", "files": [{**model["files"][0], "sha256": "0" * 64}]}
    said = refused(wrong, store)
    assert "0" * 64 in said and model["files"][0]["sha256"] in said
    assert visible(store) == ["tiny"]
    # Where the hash was wrong and not the file, what crossed a line is there; a copy is not kept beside its file.
    assert leftovers(store) == ([".wrong.partial"] if kind == "url" else [])
    hub.log.clear()
    done = run({**model, "name": "wrong"}, store)
    assert (done.transfer["received_bytes"], hub.log) == (0 if kind == "url" else len(data), [])
    assert leftovers(store) == []


def test_a_file_that_is_gone_is_reported(tmp_path: Path) -> None:
    said = refused(from_file(tmp_path / "one.gguf", gguf()), tmp_path / "store")
    assert said.startswith(f"{tmp_path}/one.gguf cannot be read ([Errno 2] No such file")


def test_power_that_failed_between_the_two_renames_is_mended(hub: Hub, tmp_path: Path) -> None:
    model, store = from_hub(hub), tmp_path / "store"
    run(model, store, hub.url)
    (store / "tiny").rename(store / ".tiny.old")
    hub.log.clear()
    assert run(model, store, hub.url).changed is False
    assert visible(store) == ["tiny"] and hub.log == []


def test_power_that_failed_while_it_became_visible_costs_no_reading(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, store = from_hub(hub), tmp_path / "store"
    with monkeypatch.context() as power:
        power.setattr(Path, "chmod", lambda path, mode: path.name == ".tiny.partial" and 1 / 0)  # the step before
        with pytest.raises(ZeroDivisionError):
            run(model, store, hub.url)
    monkeypatch.setattr(transfer, "hash_uncached", lambda *_: 1 / 0)
    done = run(model, store, hub.url)
    assert done.changed and done.transfer["received_bytes"] == 0
    assert sorted(path.name for path in (store / "tiny").iterdir()) == sorted(
        [*(Path(name).name for name in SET), "manifest.json"]
    )


def test_what_an_earlier_run_proved_is_not_read_again(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, store, read_again = from_hub(hub), tmp_path / "store", []
    last = list(SET)[-1]
    partial = store / ".tiny.partial"
    begun = partial / f"{Path(last).name}.part"
    hub.faults = [
        {"kind": "slow", "rate": 100_000, "match": f"*/{last}"},
        {"kind": "drop", "at": 50_000, "match": f"*/{last}"},
    ]
    original = uncached.hash_uncached

    def hashed(path: str, *rest: Any) -> None:
        read_again.append(Path(path).name)
        original(path, *rest)

    monkeypatch.setattr(transfer, "hash_uncached", hashed)
    with ThreadPoolExecutor(1) as pool:
        failing = pool.submit(refused, model, store, hub.url)
        wait_until(lambda: len(list(partial.glob("*.gguf"))) == 2, "two shards")
        wait_until(lambda: begun.exists() and begun.stat().st_size > 0, "the beginning of the third")
        # The faults before stay: a transfer that the hub has let through already may begin at the CDN only now.
        hub.faults = [*hub.faults, {"kind": "status", "code": 404, "on": "hub"}]
        assert "it answered 404" in failing.result()
    came = begun.stat().st_size
    hub.faults = []
    done = run(model, store, hub.url)
    assert read_again == [begun.name]
    assert done.transfer["received_bytes"] == len(SET[last]) - came == SIZE - done.transfer["resumed_bytes"]
    assert hub.bytes_sent() == {f"{REPO}/{name}": len(data) for name, data in SET.items()}


def test_what_came_of_it_in_pieces_goes_when_it_is_there(hub: Hub, tmp_path: Path) -> None:
    """Whoever was left over of a swarm fetches it alone."""
    store = tmp_path / "store"
    (store / ".tiny.swarm").mkdir(parents=True)
    (store / ".tiny.swarm" / Path(next(iter(SET))).name).write_bytes(bytes(1000))
    run(from_hub(hub), store, hub.url)
    assert visible(store) == ["tiny"] and leftovers(store) == []


def test_the_beginning_of_another_version_is_not_gone_on_from(hub: Hub, tmp_path: Path) -> None:
    model, store, first = from_hub(hub), tmp_path / "store", next(iter(SET))
    other = from_hub(hub, files=[{**entry, "sha256": entry["sha256"][::-1]} for entry in model["files"]])
    hub.faults = [
        {"kind": "drop", "at": 50_000, "count": 1, "match": f"*/{first}"},
        {"kind": "status", "code": 404, "match": "*-0000[23]-*"},
    ]
    refused(other, store, hub.url)
    hub.faults = []
    assert run(model, store, hub.url).transfer["quarantined"] == []


def test_a_smaller_file_of_another_version_is_no_beginning_either(hub: Hub, tmp_path: Path) -> None:
    """One that was proven, when the fetch of the others was refused."""
    model, store, first = from_hub(hub), tmp_path / "store", next(iter(SET))
    entry = {"file": "old.bin", "size": 2000, "sha256": hashlib.sha256(bytes(2000)).hexdigest()}
    (store / ".tiny.partial").mkdir(parents=True)
    proven = store / ".tiny.partial" / Path(first).name
    proven.write_bytes(bytes(2000))
    record = {"file": proven.name, "size": 2000, "mtime_ns": proven.stat().st_mtime_ns, "sha256": entry["sha256"]}
    (store / ".tiny.partial/proven.json").write_text(
        json.dumps({"files": [record], "begun": {proven.name: entry["sha256"]}})
    )
    done = run(model, store, hub.url)
    assert done.transfer["quarantined"] == [] and sum(hub.bytes_sent().values()) == SIZE


def test_what_was_left_of_another_model_takes_no_room(hub: Hub, tmp_path: Path) -> None:
    """It was counted as there, so it makes room before the first byte."""
    model, store = from_hub(hub), tmp_path / "store"
    for kind, name in (("partial", "tiny-Q4_K.gguf.part"), ("swarm", "tiny-Q4_K.gguf")):
        (store / f".tiny.{kind}").mkdir(parents=True)
        (store / f".tiny.{kind}" / name).write_bytes(bytes(100_000))
    hub.faults = [{"kind": "drop", "at": 50_000}, {"kind": "status", "code": 404, "match": "*-00003-*"}]
    refused(model, store, hub.url)
    left = {path.name for path in store.rglob("*") if path.is_file() and "Q4_K" in path.name}
    assert left == set()


@pytest.mark.parametrize("link", [False, True])
def test_files_that_this_store_did_not_fetch_are_not_replaced(hub: Hub, tmp_path: Path, link: bool) -> None:
    store = tmp_path / "store"
    own = tmp_path / "own" if link else store / "tiny"
    own.mkdir(parents=True)
    (own / "mine.gguf").write_bytes(b"by hand")
    store.mkdir(exist_ok=True)
    if link:
        (store / "tiny").symlink_to(own)
    assert f"{store}/tiny is no model that this store fetched" in refused(from_hub(hub), store, hub.url)
    assert (own / "mine.gguf").read_bytes() == b"by hand" and hub.log == []


def test_a_token_that_ends_with_a_newline_is_one_and_another_is_not_shown(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [{"kind": "gated"}]
    said = refused(from_hub(hub), tmp_path / "store", hub.url, "hf_secret\nhf_right")
    assert said == "model_store_hf_token has a blank or another character that no token has: correct it."
    assert run(from_hub(hub), tmp_path / "store", hub.url, "hf_right\n").changed


def test_progress_is_told_while_it_fetches(hub: Hub, tmp_path: Path) -> None:
    store = tmp_path / "store"
    hub.faults = [{"kind": "slow", "rate": 300_000}]

    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(run, from_hub(hub), store, hub.url)
        wait_until(lambda: read(str(store / ".progress.json")) is not None, "a line")
        state: Any = read(str(store / ".progress.json"))
        assert fetching.result().changed
    assert (state["label"], state["total"], state["unit"]) == ("fetching tiny:", SIZE, "bytes")
    assert 0 < state["done"] < SIZE
