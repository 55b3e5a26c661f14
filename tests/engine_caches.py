# SPDX-License-Identifier: MIT
"""What llama.cpp itself allocates for a model of each architecture, as tests/engine_caches.json keeps it.

llama.cpp has headers for most of its architectures (get_gguf_ctx in tests/test-llama-archs.cpp). After a new
llama_build_source, ``python3 -m tests.engine_caches SOURCE BUILD``: the unpacked llama.cpp, and a directory where its
target ``llama`` was built. A small program is made of those headers, with eight layers instead of two, that loads each
model with weights of zero, makes a context of two requests, and tells what buffers the caches are in.
"""

from __future__ import annotations

import collections
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from plugins.module_utils.model.gguf import file_reader, read_header

REPO = Path(__file__).resolve().parents[1]
KEPT = REPO / "tests/engine_caches.json"
CONTEXT, REQUESTS, LAYERS = 3072, 2, 8
BUFFER = re.compile(r"(?:KV|RS|state) buffer size = +([\d.]+) MiB")

HEAD = """
#include "ggml-backend.h"
#include "ggml.h"
#include "gguf.h"
#include "ggml-cpp.h"
#include "llama.h"
#include "llama-cpp.h"
#include "../src/llama-arch.h"
#include "../src/llama-model-saver.h"
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>
static uint32_t LAYERS = 2;
static void nothing(ggml_tensor * tensor, void *) { ggml_backend_tensor_memset(tensor, 0, 0, ggml_nbytes(tensor)); }
"""
MAIN = """
int main(int argc, char ** argv) {
    llama_backend_init();
    if (argc < 2) {
        for (const llm_arch & arch : llm_arch_all()) {
            if (arch != LLM_ARCH_UNKNOWN && arch_supported(arch)) {
                printf("%s %d\\n", llm_arch_name(arch), moe_mandatory(arch) ? 1 : 0);
            }
        }
        return 0;
    }
    LAYERS = atoi(argv[3]);
    gguf_context_ptr header = get_gguf_ctx(llm_arch_from_string(argv[1]), atoi(argv[2]));
    gguf_context_ptr keys(gguf_init_empty());
    gguf_set_kv(keys.get(), header.get());
    if (!gguf_write_to_file(keys.get(), argv[4], true)) { return 2; }
    llama_model_ptr model(llama_model_init_from_user(header.get(), nothing, nullptr, llama_model_default_params()));
    if (!model) { return 3; }
    llama_context_params params = llama_context_default_params();
    params.n_ctx = atoi(argv[5]); params.n_seq_max = atoi(argv[6]);
    params.kv_unified = false; params.swa_full = false;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    llama_context_ptr context(llama_init_from_model(model.get(), params));
    return context ? 0 : 4;
}
"""
# The headers with as many layers as are asked for, and patterns that go on through all of them.
CHANGES = {
    "uint32_t n_layer = 2;": "uint32_t n_layer = LAYERS;",
    "const uint32_t n_ctx = 256;": "const uint32_t n_ctx = LAYERS > 2 ? 4096 : 256;",
    "n_head_per_layer.push_back(il == 1 ? 0 : n_head);": "n_head_per_layer.push_back(il % 2 == 1 ? 0 : n_head);",
}


def program(source: Path, build: Path, place: Path) -> Path:
    text = (source / "tests/test-llama-archs.cpp").read_text()
    headers = text[text.index("static gguf_context_ptr get_gguf_ctx") : text.index("static bool silent_model_load")]
    for before, after in CHANGES.items():
        assert before in headers, f"{before} is written in another way."
        headers = headers.replace(before, after)
    choices = text[text.index("static bool moe_mandatory") : text.index("static int save_models")]
    (place / "caches.cpp").write_text(HEAD + headers + choices + MAIN)
    includes = [f"-I{source / part}" for part in ("include", "ggml/include", "src", "tests")]
    names = ("src/libllama.a", "ggml/src/libggml.a", "ggml/src/libggml-cpu.a", "ggml/src/libggml-base.a")
    libraries = [build / name for name in names]
    made: list[str | Path] = ["c++", "-std=c++17", *includes, place / "caches.cpp", "-o", place / "caches", *libraries]
    subprocess.run([*made, "-lgomp", "-lpthread", "-ldl"], check=True)
    return place / "caches"


def numbers(metadata: dict[str, Any], name: str) -> dict[str, Any]:
    """What is no text of the keys of the architecture, without its name in front."""
    kept = {}
    for key, value in metadata.items():
        first = value[0] if isinstance(value, list) and value else value
        if key.startswith(f"{name}.") and isinstance(first, int):
            kept[key[len(name) + 1 :]] = value
    return kept


def packed(models: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """``common`` are the values that most models have, and ``keys`` of a model what it has instead; null is nothing."""
    keys = sorted({key for model in models.values() for key in model["keys"]})
    common = {}
    for key in keys:
        counted = collections.Counter(json.dumps(model["keys"].get(key)) for model in models.values())
        common[key] = json.loads(counted.most_common(1)[0][0])
    for model in models.values():
        model["keys"] = {key: model["keys"].get(key) for key in keys if model["keys"].get(key) != common[key]}
    return {"common": {key: value for key, value in common.items() if value is not None}, "models": models}


def main() -> None:
    source, build = map(Path, sys.argv[1:3])
    models: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        caches, header = program(source, build, place), place / "header.gguf"
        listed = subprocess.run([caches], capture_output=True, text=True, check=True)
        for line in listed.stdout.splitlines():
            architecture, mixture = line.split()
            for layers in (LAYERS, 2):
                given: list[str | Path] = [architecture, mixture, str(layers), header, str(CONTEXT), str(REQUESTS)]
                done = subprocess.run([caches, *given], capture_output=True, text=True, check=False)
                if done.returncode == 0:
                    metadata = read_header(*file_reader(str(header))).metadata
                    told = [float(size) for size in BUFFER.findall(done.stderr)]
                    models[architecture] = {"keys": numbers(metadata, architecture), "mib": round(sum(told), 2)}
                    break
    pinned = json.loads((REPO / "tests/engine_architectures.json").read_text())["source"]
    KEPT.write_text(json.dumps({"source": pinned, **packed(models)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
