# SPDX-License-Identifier: MIT
"""Fetch a model beside the store, prove its hashes, and only then make it visible.

``<store>/<name>/`` is a model and its ``manifest.json``, or is not there. ``<store>/.<name>.partial/`` is what an
interrupted or refused fetch left, and what the next one goes on from: ``<file>``, whose hash is proven and stands in
``proven.json``, so that it is not read again; ``<file>.part``, its first bytes; and ``quarantine/``, files that came
whole and have another hash, by the first digits of that.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
import urllib.parse
from collections.abc import Container, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple, TypedDict

from ..files import make_directory, read_json, sync_directory, write_json
from ..progress import Progress
from .declaration import clean_token, file_names
from .document import Manifest, ResolvedModel, StoredFile
from .gguf import file_reader, read_header, summary
from .http_source import Remote
from .store import SCHEMA_VERSION, intact_files, proven_files, read_manifest, state_of
from .transfer import Local, Source, Tally, TransferError, fetch

# Files at once: one stream seldom fills a line, and each has something on its way that a kill loses.
WORKERS = 4
HUB = "https://huggingface.co"


class FetchError(Exception):
    """The model cannot be had or is not what it should be; the text is one sentence."""


class Transfer(TypedDict):
    """What a fetch came to: bytes that it wrote and that an earlier run had left, attempts after the first of each
    file, and the files that came with another hash: ``file``, ``sha256``, and the one ``expected``."""

    received_bytes: int
    resumed_bytes: int
    retries: int
    quarantined: list[dict[str, str]]


class Installed(NamedTuple):
    """The manifest in the store, whether it had another or none before, and what the transfer came to."""

    manifest: Manifest
    changed: bool
    transfer: Transfer


class NamedFile(TypedDict):
    """A file of a model: its path in the source, and the ``name`` that it has in the store."""

    file: str
    name: str
    size: int
    sha256: str


def install_model(
    model: ResolvedModel, store: Path, endpoint: str | None, token: str | None, progress: Progress
) -> Installed:
    """Make the store have a model that is described as model_source_info does it."""
    final, partial, old = (store / name.format(model["name"]) for name in ("{}", ".{}.partial", ".{}.old"))
    if old.exists() and not final.exists():  # the power failed between the two renames of _publish
        old.rename(final)
    tally, quarantined = Tally(), list[dict[str, str]]()
    manifest = read_manifest(str(final))
    if manifest and state_of(model["source"], manifest, str(final), model)[0] == "present":
        return Installed(manifest, False, _report(tally, 0, quarantined))  # by a run that this one waited for
    if final.is_symlink() or (manifest is None and final.exists()):
        raise FetchError(
            f"{final} is no model that this store fetched, since it is a link or has no manifest.json, and it is not "
            "replaced: move it away, or give the model another name."
        )
    try:
        token = clean_token(token)
    except ValueError as error:
        raise FetchError(str(error)) from error
    # What other towers sent in pieces has no beginning to go on from, and its room was counted.
    shutil.rmtree(store / f".{model['name']}.swarm", ignore_errors=True)
    # What is declared otherwise now may still be the same files.
    kept = {entry["sha256"]: entry for entry in proven_files(str(final))}
    place = Partial(store, model, kept)
    try:
        place.open()
        proven = sum(entry["size"] for entry in place.proven.values())
        with _told(model["name"], place, tally, progress):
            _fetch_all(model, place, tally, quarantined, endpoint, token)
        manifest = _manifest(model, kept, final, partial)
        _publish(manifest, final, partial, old)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise FetchError(
                f"The disk of {store} is full: make room, and run the same command again; it goes on from there."
            ) from error
        raise
    finally:
        place.remove_if_empty()
    return Installed(manifest, True, _report(tally, proven, quarantined))


def _report(tally: Tally, proven: int, quarantined: list[dict[str, str]]) -> Transfer:
    return {
        "received_bytes": tally.received,
        "resumed_bytes": tally.resumed + proven,
        "retries": tally.retries,
        "quarantined": quarantined,
    }


def _named(model: ResolvedModel) -> list[NamedFile]:
    return [{**entry, "name": name} for entry, name in zip(model["files"], file_names(model))]


def _stored(path: Path, sha256: str) -> StoredFile:
    """A file whose hash is proven, as it is told by later."""
    found = path.stat()
    return {"file": path.name, "size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": sha256}


class Partial:
    """The directory of an unfinished fetch; safe for several threads.

    ``files`` are those that are to be fetched, which is all but those whose SHA-256 is in ``kept``.
    """

    def __init__(self, store: Path, model: ResolvedModel, kept: Container[str] = ()) -> None:
        self.path = store / f".{model['name']}.partial"
        self.files = [entry for entry in _named(model) if entry["sha256"] not in kept]
        self.lock = threading.Lock()
        self.proven: dict[str, StoredFile] = {}

    def open(self) -> None:
        """Make the directory, or see what of it can be used for these files."""
        make_directory(str(self.path))
        sync_directory(str(self.path.parent))
        record = read_json(str(self.path / "proven.json")) or {"files": [], "begun": {}}
        intact = {entry["file"]: entry for entry in intact_files(record["files"], str(self.path))}
        self._remove_others()
        for entry in self.files:
            name, wanted, part = entry["name"], entry["sha256"], self.part(entry)
            if name in intact and intact[name]["sha256"] == wanted:
                self.proven[name] = intact[name]
                continue
            if record["begun"].get(name, wanted) != wanted:  # they are of what the model was before
                (self.path / name).unlink(missing_ok=True)
                if part.exists() and part.stat().st_size < entry["size"]:
                    part.unlink()
            # Whole, but not recorded; or refused, when another hash was declared.
            for whole in (self.path / name, self.path / "quarantine" / f"{wanted[:12]}-{name}"):
                if whole.exists():
                    whole.rename(part)
        self._record()

    def _remove_others(self) -> None:
        """Make the room that files take which the model had before and has no more: it was counted as there."""
        names = {name for entry in self.files for name in (entry["name"], f"{entry['name']}.part")}
        for path in self.path.iterdir():
            if path.name not in {*names, "proven.json", "quarantine"}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def part(self, entry: NamedFile) -> Path:
        return self.path / f"{entry['name']}.part"

    def missing(self) -> list[NamedFile]:
        return [entry for entry in self.files if entry["name"] not in self.proven]

    def bytes_there(self) -> int:
        """Bytes of the files that are there, proven or not."""
        total = 0
        for entry in self.files:
            with contextlib.suppress(OSError):
                total += entry["size"] if entry["name"] in self.proven else self.part(entry).stat().st_size
        return total

    def accept(self, entry: NamedFile) -> None:
        """Name a file whose hash is proven, and see that it stays so when the power fails."""
        path = self.path / entry["name"]
        self.part(entry).rename(path)
        with self.lock:
            self.proven[entry["name"]] = _stored(path, entry["sha256"])
            self._record()

    def quarantine(self, entry: NamedFile, sha256: str) -> None:
        place = self.path / "quarantine"
        place.mkdir(exist_ok=True)
        self.part(entry).rename(place / f"{sha256[:12]}-{entry['name']}")
        sync_directory(str(place))
        sync_directory(str(self.path))

    def _record(self) -> None:
        begun = {entry["name"]: entry["sha256"] for entry in self.files}
        write_json(str(self.path / "proven.json"), {"files": list(self.proven.values()), "begun": begun})

    def remove_if_empty(self) -> None:
        """Leave nothing behind where there is nothing to go on from."""
        names = {path.name for path in self.path.rglob("*") if path.is_file() and path.stat().st_size}
        if names <= {"proven.json"}:
            shutil.rmtree(self.path, ignore_errors=True)


@contextlib.contextmanager
def _told(name: str, place: Partial, tally: Tally, progress: Progress) -> Iterator[None]:
    """Tell how far the fetch is, once a second."""
    stop = threading.Event()
    total = sum(entry["size"] for entry in place.files)

    def watch() -> None:
        while not stop.wait(1):
            if not tally.received and tally.hashed < tally.resumed:
                progress.tell(f"reading again what is there of {name}:", tally.hashed, tally.resumed, "bytes")
            else:
                progress.tell(f"fetching {name}:", place.bytes_there(), total, "bytes")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def _source(model: ResolvedModel, entry: NamedFile, endpoint: str | None, token: str | None) -> Source:
    source, file = model["source"], entry["file"]
    if "path" in source:
        return Local(file)
    if "url" in source:
        return Remote(file, name=entry["name"])
    hub = (endpoint or os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
    repo = source["repo"]
    url = f"{hub}/{repo}/resolve/{urllib.parse.quote(str(model['commit']), safe='')}/{urllib.parse.quote(file)}"
    mend = "to the token of somebody who has been given access" if token else "to your token"
    gated = f"{repo} is gated: accept its terms on the hub, and set model_store_hf_token {mend}"
    return Remote(url, name=f"{repo}/{file}", token=token, gated=gated)


def _fetch_all(
    model: ResolvedModel,
    place: Partial,
    tally: Tally,
    quarantined: list[dict[str, str]],
    endpoint: str | None,
    token: str | None,
) -> None:
    """Fetch and prove what is missing, several files at once. The first that fails stops the others."""

    def obtain(entry: NamedFile) -> None:
        source = _source(model, entry, endpoint, token)
        for _ in range(2):
            found = fetch(source, str(place.part(entry)), entry["size"], tally)
            if found == entry["sha256"]:
                return place.accept(entry)
            if isinstance(source, Local):  # its copy proves nothing that the file itself does not
                place.part(entry).unlink()
                raise FetchError(
                    f"Model {model['name']} was not installed, since {source.name} has the SHA-256 {found} and not "
                    f"{entry['sha256']}: correct the hash, or use another source."
                )
            place.quarantine(entry, found)
            quarantined.append({"file": entry["name"], "sha256": found, "expected": entry["sha256"]})
        raise FetchError(
            f"Model {model['name']} was not installed, since {source.name} came twice with another SHA-256 than "
            f"{entry['sha256']}, last with {found}: correct the hash, or use another source."
        )

    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        futures = [pool.submit(obtain, entry) for entry in place.missing()]
        done, _rest = wait(futures, return_when=FIRST_EXCEPTION)
        tally.stop.set()
        for future in futures:
            future.cancel()
        try:
            for future in done:
                future.result()
        except TransferError as error:
            raise FetchError(str(error)) from error


def _manifest(model: ResolvedModel, kept: dict[str, StoredFile], final: Path, partial: Path) -> Manifest:
    """Take over the files that are kept, read the headers of all, and return the manifest."""
    files, headers = [], []
    for entry in _named(model):
        path = partial / entry["name"]
        if entry["sha256"] in kept:
            path.unlink(missing_ok=True)
            os.link(final / kept[entry["sha256"]]["file"], path)
        headers.append(read_header(*file_reader(str(path))))
        path.chmod(0o644)
        files.append(_stored(path, entry["sha256"]))
    return {
        "schema_version": SCHEMA_VERSION,
        "name": model["name"],
        "source": model["source"],
        "commit": model["commit"],
        "files": files,
        "bytes": sum(entry["size"] for entry in files),
        "gguf": summary(headers),
    }


def _publish(manifest: Manifest, final: Path, partial: Path, old: Path) -> None:
    """Give the directory the model's name; what had it before is removed after that."""
    # What is proven is known to the last, so that whatever happens here costs no reading of all of it.
    kept = {"proven.json", *(entry["file"] for entry in manifest["files"])}
    for path in [path for path in partial.iterdir() if path.name not in kept]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_json(str(partial / "manifest.json"), manifest)
    partial.chmod(0o755)
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    partial.rename(final)
    sync_directory(str(final.parent))
    (final / "proven.json").unlink(missing_ok=True)
    shutil.rmtree(old, ignore_errors=True)
