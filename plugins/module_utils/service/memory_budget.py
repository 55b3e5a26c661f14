# SPDX-License-Identifier: MIT
"""How much memory a model needs to be served, and what there is for it."""

from __future__ import annotations

from typing import Optional

from ..model.document import Manifest
from ..model.kv_cache import kv_bytes
from ..sysfs import parse_meminfo, read_text
from ..text import size
from ..tower_document import Tower

# Room beside model and KV cache that anonymous weights leave for the kernel's tables and a page cache that works.
ROOM = 0.03


def needed_bytes(model: Optional[Manifest], context: int, parallel: int) -> int:
    """Bytes of the weights of an installed model and of its KV cache; 0 where there is none yet."""
    return model["bytes"] + kv_bytes(model["gguf"]["kv"], context, parallel=parallel) if model else 0


def anonymous_problem(needed: int, tower: Tower) -> Optional[str]:
    """Why so many bytes of anonymous memory, which the kernel cannot drop, would be too many; else None."""
    memory = tower["memory_bytes"] or 0
    if needed * (1 + ROOM) <= memory:
        return None
    return f"anonymous memory for {size(needed)} would leave too little of {size(memory)}"


def available_bytes() -> int:
    """The memory that can be had without swapping."""
    return parse_meminfo(read_text("/proc/meminfo") or "").get("MemAvailable", 0)


def second_copy_problem(model_bytes: int, available: int) -> Optional[str]:
    """One sentence where a second copy of the model does not fit the memory that is available, else None."""
    needed = model_bytes + model_bytes // 10 + 2**30  # KV cache and compute buffers
    if needed <= available:
        return None
    return f"A second copy of the model needs {size(needed)}, and {size(available)} are available beside the service."
