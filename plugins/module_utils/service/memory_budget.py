# SPDX-License-Identifier: MIT
"""All memory that a server takes, in one budget, and whether there is so much.

The plan, the unit, the pool of huge pages, validate and the forecast read :func:`memory_budget` and count nothing
themselves. What the engine really takes is held against it in tests/integration/test_container_memory_budget.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

from ..model.compute_buffers import HEAP_LIMIT, POOL_HEAP_LIMIT, compute_bytes
from ..model.document import ComputeGeometry, KvGeometry, Manifest, ModelEntry, PlanEntry
from ..model.kv_cache import TYPES, UBATCH, cells, checkpoint_bytes, kv_buffers
from ..sysfs import parse_meminfo, read_text
from ..text import size
from ..tower_document import Tower
from .document import MemoryBudget, Served, Settings

# Room beside the budget that anonymous weights leave for the kernel's tables and a page cache that works.
ROOM = 0.03
# Of the memory that its modules have together a kernel manages less: 1/64 is a struct page of 64 bytes for each 4096,
# and firmware and the kernel itself keep some; together 1.91 % were seen.
KEPT_OF_MODULES = 0.02
# The process with nothing loaded had 18 MB, 13 of them of its program, and 30 kB for each thread that answers; a token
# of the vocabulary takes 175 bytes in its tables, and up to 350 while they are read. Flash attention has scratch of its
# own for each thread, 0.4 MB with heads of 256.
PROCESS_BYTES, THREAD_BYTES, TOKEN_BYTES = 18 * 2**20, 2**19, 350
# Prompts and answers as text and as numbers, for each token of the context.
TEXT_BYTES = 64
# Buffers above the limit have pages of their own (settings.HEAP, settings.POOL). The heap that the others share begins
# and ends within one, and so do the weights that are laid out anew for the CPU, which are in a buffer of their own.
SMALL_PAGE, HEAP_PAGES = 2**21, 4
# What stays free for the system, and the context checkpoints of a request, where nobody has set llama_service_*: as of
# a machine that is not bought yet. tests/render/test_variables.py holds them against the role.
DEFAULT_RESERVE, DEFAULT_CHECKPOINTS = 4 * 2**30, 8


NOTHING: MemoryBudget = {
    "weights": 0,
    "kv_cache": 0,
    "checkpoints": 0,
    "prompt_cache": 0,
    "compute": 0,
    "process": 0,
    "rounding": 0,
    "total": 0,
}


def managed_bytes(module_bytes: int) -> int:
    """MemTotal of a machine whose memory modules have so many bytes."""
    return int(module_bytes * (1 - KEPT_OF_MODULES))


class Weighed(NamedTuple):
    """What counts of a model: bytes of its files, and its geometries, as header or catalog have them."""

    bytes: int
    kv: Optional[KvGeometry]
    compute: Optional[ComputeGeometry]


class Serving(NamedTuple):
    """What counts of how it is served: ``checkpoints`` are kept for each request at most, ``unified`` is one cache for
    all requests, ``full_window`` one without windows, and ``pool_page_bytes`` the size of the pages that buffers have
    where they come from a pool."""

    context: int
    parallel: int = 1
    flash_attention: bool = True
    kv_type: str = "f16"
    ubatch: int = UBATCH
    checkpoints: int = 0
    prompt_cache_bytes: int = 0
    unified: bool = False
    full_window: bool = False
    threads: int = 1
    pool_page_bytes: Optional[int] = None


def weighed(model: Manifest | PlanEntry | None) -> Optional[Weighed]:
    """What counts of an installed model, or of one that is to be."""
    return model and Weighed(model["bytes"], model["gguf"]["kv"], model["gguf"].get("compute"))


def entry_weighed(model: ModelEntry) -> Weighed:
    """What counts of a model that is not there: an entry of the catalog, or what its source says."""
    return Weighed(model["bytes"], model["kv"], model.get("compute"))


def pool_page_bytes(settings: Settings) -> Optional[int]:
    """The size of the pages of the pool that the buffers of a server come from; None where they come from none."""
    return settings["huge_page_bytes"] if settings["huge_pages"] == "hugetlb" else None


def _number(extra: dict[str, Any], name: str, default: int) -> int:
    try:
        return int(extra.get(name, default))
    except (TypeError, ValueError):
        return default


def _true(extra: dict[str, Any], name: str) -> bool:
    """Whether a switch is on, in the words that common/arg.cpp knows (is_truthy)."""
    return str(extra.get(name, "")).lower() in ("1", "true", "on", "enabled")


def serving(
    settings: Served, flash_attention: Optional[bool], tower: Tower, pool_page_bytes: Optional[int] = None
) -> Serving:
    """What counts of the settings, those in llama_service_extra among them. Without a choice of flash attention the
    server takes it (LLAMA_ARG_FLASH_ATTN auto), on CPUs."""
    extra = settings["extra"]
    kinds = [str(extra.get(f"LLAMA_ARG_CACHE_TYPE_{which}", "f16")).lower() for which in ("K", "V")]
    batch = _number(extra, "LLAMA_ARG_BATCH", 2048)
    return Serving(
        context=settings["context"],
        parallel=settings["parallel"],
        flash_attention=flash_attention is not False,
        # Keys and values may differ: the larger counts for both.
        kv_type=max(kinds, key=lambda kind: TYPES.get(kind, 4.0)) if set(kinds) <= set(TYPES) else "f32",
        ubatch=max(1, min(settings["context"], batch, _number(extra, "LLAMA_ARG_UBATCH", UBATCH))),
        checkpoints=settings["checkpoints"],
        prompt_cache_bytes=2**20 * max(0, _number(extra, "LLAMA_ARG_CACHE_RAM", 0)),
        unified=_true(extra, "LLAMA_ARG_KV_UNIFIED"),
        full_window=_true(extra, "LLAMA_ARG_SWA_FULL"),
        threads=tower["cpus"] or 1,
        pool_page_bytes=pool_page_bytes,
    )


def _served_geometry(kv: KvGeometry, served: Serving) -> tuple[KvGeometry, int, int]:
    """The geometry of the caches that there are, how many of each, and the tokens that all of them have room for."""
    found: KvGeometry = {**kv}
    if not served.flash_attention:
        # Values are kept by their dimension, and rows are of one length (llama-kv-cache.cpp, v_trans).
        found["elements"] += kv.get("value_padding", 0)
        found["window_elements"] += kv.get("window_value_padding", 0)
    kv = found
    if served.full_window:
        found = {**found, "elements": kv["elements"] + kv["window_elements"], "window_elements": 0, "window": 0}
    if not served.unified:
        return found, served.parallel, served.context
    if kv.get("compressed"):
        # Each request has caches of its own all the same, and each of them room for all (llama-kv-cache-dsv4.cpp).
        return found, served.parallel, served.context * served.parallel
    found["window"] *= served.parallel
    found["state_bytes"] *= served.parallel
    return found, 1, served.context


def memory_budget(model: Optional[Weighed], served: Serving) -> MemoryBudget:
    """What a model takes that is served so; nothing where no model is known."""
    if model is None:
        return NOTHING
    caches: list[int] = []
    checkpoint, seen = 0, (served.context, 0)
    if model.kv:
        kv, count, context = _served_geometry(model.kv, served)
        caches = kv_buffers(kv, context, served.kv_type, count, served.ubatch)
        seen = cells(kv, context, count, served.ubatch)
        own: KvGeometry = {**model.kv, "window_elements": kv["window_elements"]}
        checkpoint = checkpoint_bytes(own, context, served.kv_type, count)
    checkpoints = [checkpoint] * (served.checkpoints * served.parallel if checkpoint else 0)
    page, limit = (served.pool_page_bytes, POOL_HEAP_LIMIT) if served.pool_page_bytes else (SMALL_PAGE, HEAP_LIMIT)
    compute = compute_bytes(model.compute, seen, served.flash_attention, served.parallel, served.ubatch, limit)
    vocabulary = model.compute["vocabulary"] if model.compute else 2**18
    process = PROCESS_BYTES + THREAD_BYTES * served.threads + TOKEN_BYTES * vocabulary + TEXT_BYTES * served.context
    buffers = [*caches, *checkpoints, compute, model.bytes]
    rounding = page * HEAP_PAGES + sum(-buffer % page for buffer in buffers if buffer >= limit)
    if served.prompt_cache_bytes or any(each < limit for each in checkpoints):
        # What comes and goes in the heap leaves gaps there.
        rounding += limit
    found: MemoryBudget = {
        "weights": model.bytes,
        "kv_cache": sum(caches),
        "checkpoints": sum(checkpoints),
        "prompt_cache": served.prompt_cache_bytes,
        "compute": compute,
        "process": process,
        "rounding": rounding,
        "total": 0,
    }
    return {**found, "total": sum(value for value in found.values() if isinstance(value, int))}


def budget_text(budget: MemoryBudget, context: int) -> str:
    """The parts in words, those that are nothing left out."""
    parts = {
        "weights": budget["weights"],
        f"KV cache for {context} tokens": budget["kv_cache"],
        "context checkpoints": budget["checkpoints"],
        "prompt cache": budget["prompt_cache"],
        "compute buffers": budget["compute"],
        "the process and whole pages": budget["process"] + budget["rounding"],
    }
    return ", ".join(f"{size(count)} of {name}" for name, count in parts.items() if count)


def fits(budget: MemoryBudget, settings: Settings, tower: Tower) -> bool:
    """Whether a budget and what must stay free beside it fit the memory, as far as that is known."""
    memory = tower["memory_bytes"]
    return memory is None or budget["total"] + settings["reserve_bytes"] <= memory


def memory_problem(
    model: Manifest | PlanEntry | None, settings: Settings, tower: Tower, budget: MemoryBudget
) -> Optional[str]:
    """One sentence where a model and what must stay free beside it do not fit the memory, else None."""
    if _number(settings["extra"], "LLAMA_ARG_CACHE_RAM", 0) < 0:
        return (
            "LLAMA_ARG_CACHE_RAM in llama_service_extra sets the prompt cache no limit: give it a number of MiB, which "
            "the memory then has to have, or 0."
        )
    if model is None or fits(budget, settings, tower):
        return None
    reserve, memory = size(settings["reserve_bytes"]), size(tower["memory_bytes"])
    return (
        f"Model {model['name']} does not fit the memory: {budget_text(budget, settings['context'])}, and "
        f"{reserve} of reserve are more than {memory}: choose a smaller model or quantization, or a "
        "smaller llama_service_context."
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


def second_copy_problem(needed: int, available: int) -> Optional[str]:
    """One sentence where so many bytes for a second copy of the model are more than is available, else None."""
    if needed * (1 + ROOM) <= available:
        return None
    return f"A second copy of the model needs {size(needed)}, and {size(available)} are available beside the service."
