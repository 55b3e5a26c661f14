# SPDX-License-Identifier: MIT
"""A llama-server for tests: its ``--help``, what the check of its start expects, how it is set, and on which tower."""

from __future__ import annotations

from typing import Any

from plugins.module_utils.service.document import Intent

GB = 10**9

# As llama-server 0.5.0-dev prints it, shortened.
HELP = """\
-t,    --threads N                      number of CPU threads to use during generation (default: -1)
                                        (env: LLAMA_ARG_THREADS)
-tb,   --threads-batch N                number of threads to use during batch and prompt processing
-fa,   --flash-attn [on|off|auto]       set Flash Attention use
                                        (env: LLAMA_ARG_FLASH_ATTN)
-lm,   --load-mode MODE                 model loading mode (default: auto)
                                        - auto: mmap if possible
                                        - none: no special loading mode
                                        - mmap: memory-map model
                                        - mlock: force system to keep model in RAM
                                        - mmap+mlock: mmap + force system to keep model in RAM
                                        - dio: use DirectIO if available
                                        (env: LLAMA_ARG_LOAD_MODE)
--numa TYPE                             attempt optimizations that help on some NUMA systems
                                        - distribute: spread execution evenly over all nodes
                                        (env: LLAMA_ARG_NUMA)
--warmup, --no-warmup                   whether to perform warmup with an empty run
--slots, --no-slots                     expose slots monitoring endpoint (env: LLAMA_ARG_ENDPOINT_SLOTS)
--other N                               (env: LLAMA_ARG_MODEL) (env: LLAMA_ARG_ALIAS) (env: LLAMA_ARG_HOST)
--other N                               (env: LLAMA_ARG_PORT) (env: LLAMA_ARG_API_KEY_FILE) (env: LLAMA_ARG_CTX_SIZE)
--other N                               (env: LLAMA_ARG_N_PARALLEL) (env: LLAMA_ARG_CACHE_RAM)
--other N                               (env: LLAMA_ARG_CTX_CHECKPOINTS)
--other N                               (env: LLAMA_ARG_CORS_ORIGINS) (env: LLAMA_ARG_TIMEOUT)
"""
OLD_HELP = HELP.replace("LLAMA_ARG_LOAD_MODE", "LLAMA_ARG_MMAP").replace("--load-mode", "--mmap")


def intent(url: str = "http://127.0.0.1:8080") -> Intent:
    """An interleaved server on two nodes without huge pages."""
    return {
        "url": url,
        "nodes": [0, 1],
        "weights": {},
        "kernel_policy": "interleave:0-1",
        "huge_pages": "none",
        "page_bytes": None,
        "tolerance": 0.01,
        "least_share": None,
        "warm_up_tokens": 0,
        "placement_failure": "fail",
    }


def settings(**changes: Any) -> Any:
    return {
        "instance": "main",
        "model": "a-model",
        "model_path": "/var/lib/llama-models/a-model",
        "build_root": "/opt/llama.cpp",
        "host": "127.0.0.1",
        "port": 8080,
        "cors_origins": None,
        "tls": False,
        "tls_backend_port": None,
        "metrics": False,
        "context": 1000,
        "parallel": 1,
        "checkpoints": 8,
        "threads": None,
        "threads_batch": None,
        "flash_attention": None,
        "numa_policy": "auto",
        "numa_node": None,
        "numa_weights": {},
        "weights": {},
        "load_mode": "auto",
        "huge_pages": "thp",
        "huge_page_bytes": 2**21,
        "pool_bytes": None,
        "reserve_bytes": 4 * GB,
        "bytes_per_second": 100_000_000,
        "tolerance": 0.01,
        "placement_failure": "warn",
        "check_tokens": 48,
        "extra": {},
    } | changes


def tower(nodes: int = 2, gigabytes: int = 192) -> Any:
    """16 cores with two threads each in every node."""
    return {
        "nodes": [
            {"node": number, "memory_bytes": gigabytes * GB, "cpus": list(range(number * 32, number * 32 + 32))}
            for number in range(nodes)
        ],
        "memory_bytes": nodes * gigabytes * GB,
        "cpu": {"model": "A CPU"},
        "cpus": nodes * 32,
        "cores": nodes * 16,
        "kernel": "6.12.48",
    }
