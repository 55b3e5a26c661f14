# SPDX-License-Identifier: MIT
"""Ansible module: fetch a model into the store of a tower."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_fetch
short_description: Fetch a model, prove its hashes, and make it visible
version_added: 0.1.0
author: llamatower contributors
description:
  - Downloads (with huggingface_hub, for models of the hub) or copies the files of a model beside the store's models, proves
    the SHA-256 of each, reads their headers, writes C(manifest.json), and only then gives the directory the model's name.
  - The pages of the model do not stay in the page cache, where they would all lie on the memory node that read them.
  - Runs detached from the connection and shows how far it is.
options:
  model:
    description: The model as M(model_source_info) describes it.
    type: dict
    required: true
  path:
    description: The directory of the models.
    type: path
    required: true
  endpoint:
    description: The hub; null is C(HF_ENDPOINT) of the environment, or https://huggingface.co.
    type: str
  token:
    description: Access token of the hub, for gated repositories.
    type: str
  progress_path:
    description: The file that tells how far the download is.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Says that it would fetch.
  diff_mode:
    support: none
    description: The result is a file of many gigabytes.
"""

EXAMPLES = r"""
- name: Fetch a model
  model_fetch:
    model: "{{ sources.models | first }}"
    path: /var/lib/llama-models
    progress_path: /var/lib/llama-models/.progress.json
"""

RETURN = r"""
manifest:
  description: What is in the store now; null in check mode.
  returned: success
  type: dict
"""

import contextlib
import json
import os
import shutil
import threading
import urllib.request
from pathlib import Path
from typing import Any, BinaryIO

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.gguf import GgufError, file_reader, read_header, summary
from ansible.module_utils.models import SCHEMA_VERSION
from ansible.module_utils.progress import Progress
from ansible.module_utils.uncached import copy_uncached, sha256_uncached, sync_directory


class FetchError(Exception):
    """The model cannot be had or is not what it should be; the text is one sentence."""


def download(model: dict[str, Any], partial: Path, endpoint: str | None, token: str | None, progress: Progress) -> None:
    """All files of a model of the hub, with the hub's own client."""
    from huggingface_hub import hf_hub_download  # in the environment that runs this only for such models

    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(1):
            done = sum(path.stat().st_blocks * 512 for path in partial.rglob("*") if path.is_file())
            progress.tell(f"fetching {model['name']}:", min(done, model["bytes"]), model["bytes"], "bytes")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        for entry in model["files"]:
            hf_hub_download(
                model["source"]["repo"],
                entry["file"],
                revision=model["commit"],
                local_dir=partial,
                endpoint=endpoint,
                token=token or False,
            )
    except Exception as error:  # whatever the client's HTTP library raises
        raise FetchError(f"{model['source']['repo']} could not be fetched ({error}): run the same command again.") from error
    finally:
        stop.set()
        watcher.join()


def copy(model: dict[str, Any], partial: Path, progress: Progress) -> None:
    """The one file of a model that is a file or a URL."""
    (entry,) = model["files"]
    try:
        source: BinaryIO = urllib.request.urlopen(entry["file"], timeout=60) if "url" in model["source"] else open(entry["file"], "rb")
        with source, open(partial / os.path.basename(entry["file"]), "wb") as target:
            copy_uncached(source, target, lambda done: progress.tell(f"fetching {model['name']}:", done, entry["size"], "bytes"))
    except OSError as error:
        raise FetchError(f"{entry['file']} could not be fetched ({error}): run the same command again.") from error


def prove(model: dict[str, Any], partial: Path, progress: Progress) -> dict[str, Any]:
    """Prove every hash, and return the manifest."""
    files, checked, headers = [], 0, []
    for entry in model["files"]:
        name = os.path.basename(entry["file"])
        path = partial / (entry["file"] if "repo" in model["source"] else name)

        def tell(done: int, before: int = checked) -> None:
            progress.tell(f"verifying {model['name']}:", before + done, model["bytes"], "bytes")

        digest = sha256_uncached(str(path), tell)
        if digest != entry["sha256"]:
            path.unlink()
            raise FetchError(f"{name} of model {model['name']} has the SHA-256 {digest}, not {entry['sha256']}: it was not installed.")
        checked += entry["size"]
        final = partial / name
        if path != final:
            path.rename(final)
        final.chmod(0o644)
        try:
            headers.append(read_header(*file_reader(str(final))))
        except GgufError as error:
            raise FetchError(f"{name} is not a GGUF model: {error}") from error
        found = final.stat()
        files.append({"file": name, "size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": digest})
    return {
        "schema_version": SCHEMA_VERSION,
        **{key: model[key] for key in ("name", "source", "commit")},
        "files": files,
        "bytes": sum(entry["size"] for entry in files),
        "gguf": summary(headers),
    }


def publish(manifest: dict[str, Any], partial: Path, final: Path) -> None:
    """Give the directory its name; what had it before is removed after that."""
    for leftover in [path for path in partial.iterdir() if path.name not in {entry["file"] for entry in manifest["files"]}]:
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    (partial / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    partial.chmod(0o755)
    sync_directory(str(partial))
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    partial.rename(final)
    sync_directory(str(final.parent))
    shutil.rmtree(old, ignore_errors=True)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "model": {"type": "dict", "required": True},
            "path": {"type": "path", "required": True},
            "endpoint": {"type": "str"},
            "token": {"type": "str", "no_log": True},
            "progress_path": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    model, store = module.params["model"], Path(module.params["path"])
    if module.check_mode:
        module.exit_json(changed=True, manifest=None)
    final, partial = store / model["name"], store / f".{model['name']}.partial"
    try:
        with Progress(module.params["progress_path"]) as progress:
            partial.mkdir(parents=True, exist_ok=True)
            if "repo" in model["source"]:
                download(model, partial, module.params["endpoint"], module.params["token"], progress)
            else:
                copy(model, partial, progress)
            manifest = prove(model, partial, progress)
            publish(manifest, partial, final)
    except FetchError as error:
        with contextlib.suppress(OSError):
            partial.rmdir()  # unless it holds files that are right, which the next run need not fetch again
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, manifest=manifest)


if __name__ == "__main__":
    main()
