# SPDX-License-Identifier: MIT
"""What the module makes of a fetch: its answer, its warnings, and one sentence where it fails."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tests.controller import MODEL, SET
from tests.hub.hub import Hub
from tests.run_module import run_module

SIZE = sum(map(len, SET.values()))


def test_the_module_warns_of_it_with_both_hashes(hub: Hub, tmp_path: Path) -> None:
    first = next(iter(SET))
    (model,) = run_module("model_source_info", models=[MODEL], endpoint=hub.url)["models"]
    hub.log.clear()
    hub.faults = [{"kind": "wrong", "at": 100_000, "match": f"*/{first}", "count": 1}]
    place: Any = {"path": str(tmp_path / "store"), "progress_path": str(tmp_path / "store/.progress.json")}
    result = run_module("model_fetch", model=model, endpoint=hub.url, **place)
    flipped = bytearray(SET[first])
    flipped[100_000] ^= 1
    wrong, right = (hashlib.sha256(data).hexdigest() for data in (flipped, SET[first]))
    assert result["changed"] and result["transfer"]["received_bytes"] == SIZE + len(SET[first])
    assert result["transfer"]["quarantined"] == [{"file": Path(first).name, "sha256": wrong, "expected": right}]
    (warning,) = result["warnings"]
    assert wrong in str(warning) and right in str(warning)


def test_a_disk_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("no directory")
    source = {"path": "/mnt/one.gguf", "sha256": "0" * 64}
    files = [{"file": source["path"], "size": 3, "sha256": source["sha256"]}]
    model = {"name": "tiny", "source": source, "commit": None, "bytes": 3, "files": files}
    result = run_module(
        "model_fetch", model=model, path=str(tmp_path / "store"), progress_path=str(tmp_path / "store/.progress.json")
    )
    assert result["msg"].startswith(f"The disk of {tmp_path}/store cannot be used (File exists, {tmp_path}/store")
