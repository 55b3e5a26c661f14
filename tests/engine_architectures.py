# SPDX-License-Identifier: MIT
"""What the source of llama.cpp has a name for: architectures, and types of tensors and of files, which are those of the
package gguf that it carries. tests/engine_architectures.json keeps them of the engine that is pinned.

After a new llama_build_source: ``python3 -m tests.engine_architectures DIRECTORY``, which is the unpacked llama.cpp, as
a build leaves it in llama_build_work_dir/sources.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from enum import IntEnum
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).resolve().parents[1]
KEPT = REPO / "tests/engine_architectures.json"
DEFAULTS = REPO / "roles/llama_build/defaults/main.yml"


def architectures(source: Path) -> list[str]:
    """The names of LLM_ARCH_NAMES."""
    text = (source / "src/llama-arch.cpp").read_text()
    table = re.search(r"LLM_ARCH_NAMES = \{(.*?)\n\};", text, re.DOTALL)
    assert table, "The table of names is written in another way."
    names = re.findall(r"\{\s*LLM_ARCH_\w+,\s*\"([^\"]+)\"", table[1])
    return sorted(set(names) - {"(unknown)"})


def types(source: Path) -> dict[str, Any]:
    """Name, weights and bytes of a block by the number of a type, and the names of types of files, in the package."""
    wanted = ("GGMLQuantizationType", "LlamaFileType", "QK_K", "GGML_QUANT_SIZES")
    module = ast.parse((source / "gguf-py/gguf/constants.py").read_text())

    def names(node: ast.stmt) -> list[str]:
        if isinstance(node, ast.ClassDef):
            return [node.name]
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        return [target.id for target in targets if isinstance(target, ast.Name)]

    module.body = [node for node in module.body if set(names(node)) & set(wanted)]
    found: dict[str, Any] = {"IntEnum": IntEnum}
    exec(compile(module, "constants.py", "exec"), found)
    sizes = found["GGML_QUANT_SIZES"]
    return {
        "types": {str(kind.value): [kind.name, *sizes[kind]] for kind in found["GGMLQuantizationType"]},
        "file_types": {
            str(kind.value): re.sub("^(ALL|MOSTLY)_", "", kind.name)
            for kind in found["LlamaFileType"]
            if kind.name != "GUESSED"
        },
    }


def main() -> None:
    pinned = yaml.safe_load(DEFAULTS.read_text())["llama_build_source"]
    kept = {"source": pinned, "architectures": architectures(Path(sys.argv[1])), **types(Path(sys.argv[1]))}
    KEPT.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
