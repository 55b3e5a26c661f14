# SPDX-License-Identifier: MIT
"""Fetch a model beside the store, prove its hashes, and only then make it visible.

``<store>/<name>/`` is a model and its ``manifest.json``, or is not there; ``<store>/.<name>.partial/`` is what an
interrupted or refused fetch left, and what the next one goes on from, file by file.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .gguf import file_reader, read_header, summary
from .models import SCHEMA_VERSION, intact_files, read_manifest, state_of, tree_bytes
from .progress import Progress
from .uncached import copy_uncached, sha256_uncached, sync_directory


class FetchError(Exception):
    """The model cannot be had or is not what it should be; the text is one sentence."""


def reason(error: BaseException) -> str:
    """What a library means, without its advice: the status of an answer, or the first line of the first cause."""
    while not hasattr(error, "response") and error.__cause__ is not None:
        error = error.__cause__
    if hasattr(error, "response"):
        return f"it answered {error.response.status_code}"
    return str(error).strip().partition("\n")[0] or type(error).__name__


def install(
    model: dict[str, Any], store: Path, endpoint: str | None, token: str | None, progress: Progress
) -> tuple[dict[str, Any], bool]:
    """The manifest of the model that the store has afterwards, and whether it had another one, or none."""
    final, partial, old = (store / name.format(model["name"]) for name in ("{}", ".{}.partial", ".{}.old"))
    if old.exists() and not final.exists():  # the power failed between the two renames of _publish
        old.rename(final)
    manifest = read_manifest(str(final))
    if manifest and state_of({"name": model["name"], **model["source"]}, manifest, str(final))[0] == "present":
        return manifest, False  # by a run that this one waited for
    # What is declared otherwise now may still be the same files.
    kept = {entry["sha256"]: entry for entry in intact_files(manifest, str(final))}
    missing = [entry for entry in model["files"] if entry["sha256"] not in kept]
    partial.mkdir(parents=True, exist_ok=True)
    try:
        with _told(f"fetching {model['name']}:", partial, sum(entry["size"] for entry in missing), progress):
            for entry in missing:
                _fetch(model, entry, partial, endpoint, token)
        manifest = _prove(model, kept, final, partial, progress)
        _publish(model, manifest, final, partial, old)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise FetchError(f"The disk of {store} is full: make room, and run the same command again.") from error
        raise
    finally:
        # Whole files are kept for the next run, if this one failed.
        if not any(partial.rglob("*.gguf")):
            shutil.rmtree(partial, ignore_errors=True)
    return manifest, True


@contextlib.contextmanager
def _told(label: str, partial: Path, total: int, progress: Progress) -> Iterator[None]:
    """Tell how far the fetch is by the space it takes, whoever writes there."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(1):
            progress.tell(label, min(tree_bytes(str(partial)), total), total, "bytes")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def _place(entry: dict[str, Any], model: dict[str, Any], partial: Path) -> Path:
    """Where a fetched file lies until all are proven: where the hub's client looks for it if it must go on."""
    place = entry["file"] if "repo" in model["source"] else os.path.basename(entry["file"])
    return partial / str(place)


def _fetch(
    model: dict[str, Any], entry: dict[str, Any], partial: Path, endpoint: str | None, token: str | None
) -> None:
    source = model["source"]
    try:
        if "repo" in source:
            _fetch_from_hub(model, entry, partial, endpoint, token)
            return
        stream = urllib.request.urlopen(source["url"], timeout=60) if "url" in source else open(source["path"], "rb")  # noqa: SIM115
        with stream, open(_place(entry, model, partial), "wb") as target:
            copy_uncached(stream, target)
    except Exception as error:  # whatever the client's HTTP library raises
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        place = source["repo"] if "repo" in source else entry["file"]
        of = f" from {endpoint}" if endpoint and "repo" in source else ""
        raise FetchError(f"{place} could not be fetched{of} ({reason(error)}): run the same command again.") from error


def _fetch_from_hub(
    model: dict[str, Any], entry: dict[str, Any], partial: Path, endpoint: str | None, token: str | None
) -> None:
    # Read when the client is imported. What it caches goes the way of the directory.
    os.environ.update(HF_HOME=str(partial / ".client"), HF_HUB_DISABLE_PROGRESS_BARS="1", HF_HUB_DISABLE_TELEMETRY="1")
    from huggingface_hub import hf_hub_download  # in the environment that runs this only for such models

    hf_hub_download(
        model["source"]["repo"],
        entry["file"],
        revision=model["commit"],
        local_dir=partial,
        endpoint=endpoint,
        token=token or False,
    )


def _prove(
    model: dict[str, Any], kept: dict[str, Any], final: Path, partial: Path, progress: Progress
) -> dict[str, Any]:
    """Prove every hash that was not proven before, read the headers, and return the manifest."""
    entries = [entry for entry in model["files"] if entry["sha256"] not in kept]
    total, done, wrong = sum(entry["size"] for entry in entries), 0, []
    for entry in entries:
        path = _place(entry, model, partial)

        def tell(read: int, before: int = done) -> None:
            progress.tell(f"verifying {model['name']}:", before + read, total, "bytes")

        digest = sha256_uncached(str(path), tell)
        if digest != entry["sha256"]:
            path.unlink()
            wrong.append(f"{path.name} has the SHA-256 {digest} and not {entry['sha256']}")
        done += entry["size"]
    if wrong:
        raise FetchError(
            f"Model {model['name']} was not installed, since {', '.join(wrong)}: correct the hash, or fetch it again."
        )
    files, headers = [], []
    for entry in model["files"]:
        path = _place(entry, model, partial)
        if entry["sha256"] in kept:
            path = partial / os.path.basename(entry["file"])
            with contextlib.suppress(FileExistsError):
                os.link(final / kept[entry["sha256"]]["file"], path)
        headers.append(read_header(*file_reader(str(path))))
        found = path.stat()
        files.append(
            {"file": path.name, "size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": entry["sha256"]}
        )
    return {
        "schema_version": SCHEMA_VERSION,
        **{key: model[key] for key in ("name", "source", "commit")},
        "files": files,
        "bytes": sum(entry["size"] for entry in files),
        "gguf": summary(headers),
    }


def _publish(model: dict[str, Any], manifest: dict[str, Any], final: Path, partial: Path, old: Path) -> None:
    """Put the files side by side and give the directory its name; what had it before is removed after that."""
    for entry in model["files"]:
        place, path = _place(entry, model, partial), partial / os.path.basename(entry["file"])
        if place != path and place.exists():
            place.rename(path)
        path.chmod(0o644)
    for path in [path for path in partial.iterdir() if path.name not in {entry["file"] for entry in manifest["files"]}]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with open(partial / "manifest.json", "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    partial.chmod(0o755)
    sync_directory(str(partial))
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    partial.rename(final)
    sync_directory(str(final.parent))
    shutil.rmtree(old, ignore_errors=True)
