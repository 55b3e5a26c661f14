# SPDX-License-Identifier: MIT
"""What gguf_info says of a model is what llama.cpp says of it: by the build of the tower, which this machine made."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from plugins.module_utils.model.kv_cache import window_cells
from tests.architectures import ARCHITECTURES
from tests.integration.vm_site import Site
from tests.run_module import run_module

# llama.cpp takes whole blocks of 256 cells.
CONTEXT = 3072
SIZE = re.compile(r"^llama_(?:kv_cache|memory_recurrent): size = +([\d.]+) MiB", re.MULTILINE)


@pytest.fixture(scope="module")
def llama_bench(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("build")
    with tarfile.open(site.archive()) as archive:
        archive.extractall(place, filter="data")
    return place / "bin" / "llama-bench"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_has_the_size_and_the_cache_that_llama_cpp_tells(
    llama_bench: Path, tmp_path: Path, architecture: str
) -> None:
    path = tmp_path / f"{architecture}.gguf"
    path.write_bytes(ARCHITECTURES[architecture]())
    options = ["-v", "-p", "0", "-n", "1", "-d", str(CONTEXT - 1), "-r", "1", "-t", "2", "-o", "json", "--no-warmup"]
    done = subprocess.run([llama_bench, "-m", path, *options], capture_output=True, text=True, check=False)
    print("\n".join(line for line in done.stderr.splitlines() if "size" in line or "rror" in line))
    assert done.returncode == 0
    told = json.loads(done.stdout)[0]
    found = run_module("gguf_info", path=str(path))["gguf"]
    assert (found["parameters"], sum(found["bytes_by_type"].values())) == (told["model_n_params"], told["model_size"])

    kv = found["kv"]
    window = window_cells(kv["window"], CONTEXT)
    caches = [2 * kv["elements"] * CONTEXT, 2 * kv["window_elements"] * window, kv["state_bytes"]]
    sizes = [float(size) for size in SIZE.findall(done.stderr)]
    assert sizes == [pytest.approx(size / 2**20, abs=0.006) for size in caches if size]
