# SPDX-License-Identifier: MIT
"""Compute the hashes of the models in a store again, and write down what they are now.

The same code runs on demand, as module model_verify, and every month by a timer, as a program:
``python3 -m llamatower.model.verify STORE``. What is wrong stays where it is, since it may be what is being served;
``verified.json`` beside it makes it count as changed, so that the next run of llamatower.tower.models replaces it. What
is right and has another time than its manifest says, as in a store that was copied to another disk, gets that time
there, so that it is not fetched again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from ..files import write_json
from .declaration import NAME
from .document import HashedFile, HashedModel, Manifest, StoredFile, Verified
from .store import SCHEMA_VERSION, read_manifest, read_verified
from .uncached import Tell, sha256_files, sha256_uncached


def manifests(store: str) -> dict[str, Manifest]:
    """The manifests of the models in a store, by name."""
    names = sorted(os.listdir(store)) if os.path.isdir(store) else []
    found = {name: read_manifest(os.path.join(store, name)) for name in names if NAME.fullmatch(name)}
    return {name: manifest for name, manifest in found.items() if manifest}


def paths_of(store: str, models: dict[str, Manifest]) -> list[str]:
    """The files of models that are there."""
    paths = [os.path.join(store, name, entry["file"]) for name, model in models.items() for entry in model["files"]]
    return [path for path in paths if os.path.isfile(path)]


def verify(store: str, models: dict[str, Manifest], workers: int, tell: Tell) -> list[HashedModel]:
    """Hash the files of models again. ``tell`` hears how many bytes of all of them are done."""
    paths = paths_of(store, models)
    times = {path: os.stat(path).st_mtime_ns for path in paths}
    hashes = _hashes(paths, workers, tell)
    return [
        {
            "name": name,
            "time": int(time.time()),
            "files": [
                _judged(entry, os.path.join(store, name, entry["file"]), hashes, times) for entry in model["files"]
            ],
        }
        for name, model in models.items()
    ]


def _hashes(paths: list[str], workers: int, tell: Tell) -> dict[str, str | None]:
    try:
        return {**sha256_files(paths, workers, tell)}
    except OSError:
        pass
    # One of them cannot be read, which is what a bad disk looks like: each alone then, to say which.
    found: dict[str, str | None] = {}
    for path in paths:
        try:
            found[path] = sha256_uncached(path, lambda _done: None)
        except OSError:
            found[path] = None
    return found


def _judged(entry: StoredFile, path: str, hashes: dict[str, str | None], times: dict[str, int]) -> HashedFile:
    found = hashes.get(path)
    state = "ok" if found == entry["sha256"] else "wrong" if found else "unreadable" if path in hashes else "missing"
    return {
        "file": entry["file"],
        "sha256": entry["sha256"],
        "state": state,
        "found": found,
        "mtime_ns": times.get(path),
    }


def record(store: str, models: dict[str, Manifest], results: list[HashedModel]) -> bool:
    """Write down when each model was verified, and what was wrong or has another time and is right; whether that is
    another than was known."""
    changed = False
    for result in results:
        directory, manifest = os.path.join(store, result["name"]), models[result["name"]]
        if read_manifest(directory) != manifest:
            continue  # replaced meanwhile by another one, which was proven when it came
        times = {file["file"]: file["mtime_ns"] for file in result["files"] if file["state"] == "ok"}
        files: list[StoredFile] = [
            {**entry, "mtime_ns": times.get(entry["file"]) or entry["mtime_ns"]} for entry in manifest["files"]
        ]
        if files != manifest["files"]:
            changed = True
            write_json(os.path.join(directory, "manifest.json"), {**manifest, "files": files})
        wrong = {file["file"]: file["found"] for file in result["files"] if file["state"] in ("wrong", "unreadable")}
        changed = changed or wrong != read_verified(directory)["wrong"]
        found: Verified = {"schema_version": SCHEMA_VERSION, "time": result["time"], "wrong": wrong}
        write_json(os.path.join(directory, "verified.json"), found)
    return changed


def problems(results: list[HashedModel]) -> list[str]:
    """One sentence for each file that is not what it was proven to be."""
    what = {
        "wrong": "has the SHA-256 {found} and not {sha256}:",
        "missing": "is missing:",
        "unreadable": "cannot be read: check the disk, and",
    }
    return [
        f"{file['file']} of model {result['name']} {what[file['state']].format(**file)} run ansible-playbook "
        "llamatower.tower.models, which fetches it again."
        for result in results
        for file in result["files"]
        if file["state"] != "ok"
    ]


def main() -> int:
    """Verify a store; what is wrong goes to the journal as errors, and makes the unit fail."""
    parser = argparse.ArgumentParser(description="Hash the models of a store again.")
    parser.add_argument("store", help="directory of the models")
    parser.add_argument("--workers", type=int, default=1, help="files at once")
    arguments = parser.parse_args()
    models = manifests(arguments.store)
    results = verify(arguments.store, models, arguments.workers, lambda _done: None)
    record(arguments.store, models, results)
    found = problems(results)
    for problem in found:
        print(f"<3>{problem}", file=sys.stderr)
    files = sum(len(result["files"]) for result in results)
    print(f"{files - len(found)} of {files} files of {len(models)} models have the SHA-256 of their manifest.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
