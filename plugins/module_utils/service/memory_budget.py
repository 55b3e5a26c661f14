# SPDX-License-Identifier: MIT
"""How much memory a model needs to be served, and what there is for it."""

from __future__ import annotations

from typing import Optional

from ..model.document import Manifest, PlanEntry
from ..model.kv_cache import kv_bytes
from ..sysfs import parse_meminfo, read_text
from ..text import size
from ..tower_document import Tower
from .document import Settings

# Room beside model and KV cache that anonymous weights leave for the kernel's tables and a page cache that works.
ROOM = 0.03


def needed_bytes(model: Manifest | PlanEntry | None, context: int, parallel: int) -> int:
    """Bytes of the weights of a model and of its KV cache; 0 where nothing is known of it."""
    return model["bytes"] + kv_bytes(model["gguf"]["kv"], context, parallel=parallel) if model else 0


def memory_problem(model: Manifest | PlanEntry | None, settings: Settings, tower: Tower) -> Optional[str]:
    """One sentence where a model and what must stay free beside it do not fit the memory, else None."""
    memory, context, reserve = tower["memory_bytes"], settings["context"], settings["reserve_bytes"]
    needed = needed_bytes(model, context, settings["parallel"])
    if model is None or memory is None or needed + reserve <= memory:
        return None
    return (
        f"Model {model['name']} does not fit the memory: {size(model['bytes'])} of weights, "
        f"{size(needed - model['bytes'])} of KV cache for {context} tokens and {size(reserve)} of reserve are more "
        f"than {size(memory)}: choose a smaller model or quantization, or a smaller llama_service_context."
    )


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
