# SPDX-License-Identifier: MIT
"""Keep what Python compiles of zip files, which it does for directories only. Python imports this when it starts.

Ansible sends each module as a zip file of sources, which every task compiles anew: 0.12 of its 0.26 s of CPU, and more
than a second where the machine is emulated. Nothing is imported here that Python has not imported by then.
"""

from __future__ import annotations

import _imp
import marshal
import os
import sys
import zipimport
from types import CodeType

KEPT = f"{os.environ.get('LLAMATOWER_TEST_COMPILED', '/run/compiled')}/{sys.implementation.cache_tag}"
compile_source = zipimport._compile_source  # type: ignore[attr-defined]


def compiled(path: str, source: bytes) -> CodeType:
    kept = f"{KEPT}/{_imp.source_hash(0, source).hex()}"
    try:
        with open(kept, "rb") as file:
            code: CodeType = marshal.load(file)
    except OSError:
        code = compile_source(path, source)
        keep(code, kept)
    else:
        # Each task has its zip file in a directory of its own.
        _imp._fix_co_filename(code, path)  # type: ignore[attr-defined]
    return code


def keep(code: CodeType, kept: str) -> None:
    beside = f"{kept}.{os.getpid()}"
    try:
        os.makedirs(KEPT, 0o700, exist_ok=True)
        with open(beside, "wb") as file:
            marshal.dump(code, file)
        os.replace(beside, kept)
    except OSError:  # a tower's disk may be full, and only root may write to its /run
        return


zipimport._compile_source = compiled  # type: ignore[attr-defined]
