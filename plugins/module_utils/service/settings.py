# SPDX-License-Identifier: MIT
"""The settings of llama-server: their names in its environment, their values, and which of them a build has.

A build says what it knows in ``llama-server --help``, whose text is all that is read of it.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any, Optional

from ..model.compute_buffers import HEAP_LIMIT, POOL_HEAP_LIMIT
from .document import Choice, Settings
from .numa_policy import given_weights

# Weights in anonymous memory: the memory policy places them whatever the page cache holds, and they can be huge pages.
ANONYMOUS = ("dio", "none", "mlock")
# Before --load-mode there was a switch for each (llama.cpp pull request 20834); the server's names of them.
OLD_LOAD_MODES = {
    "mmap": ["LLAMA_ARG_MMAP"],
    "none": ["LLAMA_ARG_NO_MMAP"],
    "dio": ["LLAMA_ARG_NO_MMAP", "LLAMA_ARG_DIO"],
    "mlock": ["LLAMA_ARG_NO_MMAP", "LLAMA_ARG_MLOCK"],
    "mmap+mlock": ["LLAMA_ARG_MMAP", "LLAMA_ARG_MLOCK"],
}
# A tensor that is read past the page cache is in a buffer of its size meanwhile. In the heap, such buffers of 13 MB
# left gaps that the next ones did not fit, in some runs 24 MB and in some 110; outside, each is given back whole.
HEAP = f"glibc.malloc.mmap_threshold={HEAP_LIMIT}"
# glibc asks the kernel for huge pages in the buffers that hold the weights (madvise).
THP = f"glibc.malloc.hugetlb=1:{HEAP}"
# Buffers from a pool by the size of its pages. Small allocations share the pages of one heap: else each thread would
# have a heap of at least a page, and each of 128 kB or more a page of its own, of 1 GB maybe.
POOL = f"glibc.malloc.hugetlb={{}}:glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold={POOL_HEAP_LIMIT}"
# What a variable decides is not decided a second time: names of the server's environment, with those of the same thing
# in other words (a model behind a URL is a model), and the variable. Only those in FREE are set and no variable's.
OWNERS = {
    **dict.fromkeys(("LLAMA_ARG_MODEL", "LLAMA_ARG_ALIAS", "LLAMA_ARG_MODEL_URL"), "llama_service_model"),
    **dict.fromkeys(("LLAMA_ARG_HF_REPO", "LLAMA_ARG_HF_FILE", "LLAMA_ARG_DOCKER_REPO"), "llama_service_model"),
    **dict.fromkeys(("LLAMA_ARG_MODELS_DIR", "LLAMA_ARG_MODELS_PRESET"), "llama_service_model"),
    "LLAMA_ARG_HOST": "llama_service_host",
    **dict.fromkeys(("LLAMA_ARG_PORT", "LLAMA_ARG_REUSE_PORT"), "llama_service_port"),
    **dict.fromkeys(("LLAMA_ARG_API_KEY_FILE", "LLAMA_ARG_API_KEY", "LLAMA_API_KEY"), "llama_service_api_keys"),
    "LLAMA_ARG_CTX_SIZE": "llama_service_context",
    "LLAMA_ARG_N_PARALLEL": "llama_service_parallel",
    "LLAMA_ARG_CTX_CHECKPOINTS": "llama_service_context_checkpoints",
    "LLAMA_ARG_THREADS": "llama_service_threads",
    "LLAMA_ARG_THREADS_BATCH": "llama_service_threads_batch",
    "LLAMA_ARG_FLASH_ATTN": "llama_service_flash_attention",
    "LLAMA_ARG_NUMA": "llama_service_numa_policy",
    "LLAMA_ARG_LOAD_MODE": "llama_service_load_mode",
    **{name: "llama_service_load_mode" for names in OLD_LOAD_MODES.values() for name in names},
    "GLIBC_TUNABLES": "llama_service_huge_pages",
    "LLAMA_ARG_ENDPOINT_METRICS": "llama_service_metrics",
    "LLAMA_ARG_CORS_ORIGINS": "llama_service_cors_origins",
    "LLAMA_ARG_SSL_CERT_FILE": "llama_service_tls_certificate",
    "LLAMA_ARG_SSL_KEY_FILE": "llama_service_tls_key",
}
FREE = frozenset({"LLAMA_ARG_CACHE_RAM", "LLAMA_ARG_ENDPOINT_SLOTS", "LLAMA_ARG_TIMEOUT"})
# The numbers that memory_budget reads; the server takes the digits at the beginning of whatever is given.
COUNTED = frozenset({"LLAMA_ARG_CACHE_RAM", "LLAMA_ARG_BATCH", "LLAMA_ARG_UBATCH"})
# What the unit does not see: it has ProtectHome and PrivateTmp.
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
# Seconds after which the server drops a connection whose client sends or takes nothing while it should. Its own default
# is an hour, in which 1,100 connections with half a request hold all of its threads. It is not the time of a request:
# a prompt and a generation may take hours (llama.cpp, server-http.cpp; 3,000 tokens came whole after more than it).
# Shorter than supervise asks for an answer.
CLIENT_SECONDS = 20
# Addresses and names; it stands in the configuration of HAProxy, too.
HOST = re.compile(r"[0-9A-Za-z.:_%-]+")
# So far above its clients' port a server listens behind TLS, unless told otherwise.
BACKEND_PORTS = 10000


def backend_port(settings: Settings, port: int) -> int:
    """Where a server listens whose clients come to ``port``, by way of TLS."""
    first = settings["tls_backend_port"]
    return port + BACKEND_PORTS if first is None else first + port - settings["port"]


def server_settings(text: str) -> set[str]:
    """The names that ``llama-server --help`` says it takes from its environment; with the negation of switches."""
    names = set(re.findall(r"\(env: (\w+)\)", text))
    return names | {name.replace("LLAMA_ARG_", "LLAMA_ARG_NO_", 1) for name in names}


def option_choices(text: str, option: str) -> list[str]:
    """The words that ``--help`` lists for an option in lines ``- word: what it does``; [] where it lists none."""
    found: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        if re.search(rf"(?:^|[\s,]){re.escape(option)}(?=[\s,]|$)", line[:60]) and line[:1] == "-":
            for following in lines:
                word = re.match(r"\s+- ([\w+-]+):", following)
                if word:
                    found.append(word[1])
                elif following[:1] == "-":
                    return found
    return found


def load_mode_settings(mode: str, help_text: Optional[str]) -> dict[str, str]:
    """The environment that makes the installed build load in this mode; KeyError where it cannot."""
    names = server_settings(help_text) if help_text is not None else {"LLAMA_ARG_LOAD_MODE"}
    if "LLAMA_ARG_LOAD_MODE" in names:
        choices = option_choices(help_text or "", "--load-mode")
        if choices and mode not in choices:
            raise KeyError(mode)
        return {"LLAMA_ARG_LOAD_MODE": mode}
    if not names.issuperset(OLD_LOAD_MODES[mode]):
        raise KeyError(mode)
    return dict.fromkeys(OLD_LOAD_MODES[mode], "1")


def unknown_settings(environment: dict[str, str], options: list[str], help_text: str) -> list[str]:
    """The settings and options that the build of this help text does not have."""
    names = server_settings(help_text)
    wrong = [name for name in environment if name.startswith("LLAMA_ARG_") and name not in names]
    words = set(re.findall(r"(?:^|[\s,])(--?[A-Za-z][\w-]*)", help_text))
    return wrong + [word for word in options if word.startswith("-") and word not in words]


def environment(settings: Settings, chosen: Choice, threads: int, file: str, port: int, url: str) -> dict[str, str]:
    """What every instance has in its environment besides what load mode and policy need."""
    found = {
        "LLAMA_ARG_MODEL": f"{settings['model_path']}/{file}",
        "LLAMA_ARG_ALIAS": settings["model"],
        "LLAMA_ARG_HOST": settings["host"],
        "LLAMA_ARG_PORT": str(port),
        "LLAMA_ARG_CTX_SIZE": str(settings["context"]),
        "LLAMA_ARG_N_PARALLEL": str(settings["parallel"]),
        "LLAMA_ARG_THREADS": str(threads),
        "LLAMA_ARG_TIMEOUT": str(CLIENT_SECONDS),
        # By default there are 32, each as large as all windows and recurrent states of a request.
        "LLAMA_ARG_CTX_CHECKPOINTS": str(settings["checkpoints"]),
        # The default is a prompt cache of 8 GiB beside the KV cache. Whoever sets another has it counted.
        "LLAMA_ARG_CACHE_RAM": "0",
        # /slots shows everybody's prompts to everybody who has a key.
        "LLAMA_ARG_ENDPOINT_SLOTS": "0",
        # The default lets every page in a user's browser ask; the server's own address is its web page.
        "LLAMA_ARG_CORS_ORIGINS": settings["cors_origins"] or url,
    }
    if settings["metrics"]:
        found["LLAMA_ARG_ENDPOINT_METRICS"] = "1"
    if chosen["flash_attention"] is not None:
        found["LLAMA_ARG_FLASH_ATTN"] = "on" if chosen["flash_attention"] else "off"
    tunables = {"thp": THP, "hugetlb": POOL.format(settings["huge_page_bytes"])}
    found["GLIBC_TUNABLES"] = tunables.get(chosen["huge_pages"], HEAP)
    return found


def extra_settings(given: dict[str, Any]) -> dict[str, str]:
    """Further settings in the server's words: it knows true and false by these only (common/arg.cpp, is_truthy), and
    takes lists and dictionaries as JSON."""
    words = {}
    for name, value in given.items():
        if isinstance(value, (dict, list)):
            words[name] = json.dumps(value)
        else:
            words[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return words


def _extra_problem(name: str, value: Any) -> Optional[str]:
    """One sentence where a name of llama_service_extra, or its value, cannot be in the server's environment."""
    # Every switch has a negation; --no-host is none, but a thing of GPUs.
    switch = name if name == "LLAMA_ARG_NO_HOST" else name.replace("LLAMA_ARG_NO_", "LLAMA_ARG_", 1)
    owner = OWNERS.get(name) or OWNERS.get(switch)
    if owner:
        return f"llama_service_extra has {name}, which {owner} decides: set that variable instead."
    if name == "LLAMA_ARG_API_PREFIX":
        return "llama_service_extra has LLAMA_ARG_API_PREFIX, and the checks of the service ask without one: remove it."
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        return f"llama_service_extra has the name {name!r}, which is none of an environment: see llama-server --help."
    if name in COUNTED and not re.fullmatch(r"-?\d+", str(value)):
        return f"{name} in llama_service_extra is {value!r}, and the memory budget counts it: write a whole number."
    if value is None or (isinstance(value, str) and re.search(r"[\x00-\x1f\x7f]", value)):
        return f"The value of {name} in llama_service_extra is empty or has more than one line: write it in one."
    return None


def _hidden_problem(variable: str, path: Optional[str]) -> Optional[str]:
    """One sentence where the service would not see what lies there, since its unit hides homes and /tmp."""
    whole = os.path.normpath(path or "/")
    top = next((top for top in HIDDEN if whole == top or whole.startswith(f"{top}/")), None)
    if top is None:
        return None
    return f"{variable} leads to {whole}, and the service sees nothing below {top}: take another place, as /srv."


def setting_problems(settings: Settings) -> list[str]:
    """What can be said of the settings before anything is known of tower, build and model; a sentence for each."""
    # Below these the engine does something else (a negative number of checkpoints is no limit), or nothing is counted.
    problems = [
        f"{name} is {value}: it must be at least {least}."
        for name, value, least in (
            ("llama_service_context", settings["context"], 1),
            ("llama_service_parallel", settings["parallel"], 1),
            ("llama_service_context_checkpoints", settings["checkpoints"], 0),
            ("llama_service_threads", settings["threads"], 1),
            ("llama_service_threads_batch", settings["threads_batch"], 1),
            ("llama_service_pool_bytes", settings["pool_bytes"], 1),
            ("llama_service_memory_reserve_bytes", settings["reserve_bytes"], 0),
            ("llama_service_slowest_load_bytes_per_second", settings["bytes_per_second"], 1),
            ("llama_service_placement_tolerance", settings["tolerance"], 0),
            ("llama_service_check_tokens", settings["check_tokens"], 1),
        )
        if value is not None and not value >= least
    ]
    if len(given_weights(settings["numa_weights"])) < len(settings["numa_weights"] or {}):
        problems.append("llama_service_numa_weights has what is no number: write it as {0: 3, 1: 2}, by node.")
    if not HOST.fullmatch(settings["host"]):
        problems.append(
            f"llama_service_host is {settings['host']!r}: an address, or a name of this tower, is one word."
        )
    found = [_extra_problem(str(name), value) for name, value in settings["extra"].items()]
    found += [
        _hidden_problem("llama_service_model_dir", settings["model_path"]),
        _hidden_problem("llama_service_build_root", settings["build_root"]),
    ]
    behind = backend_port(settings, settings["port"])
    if settings["tls"] and (behind == settings["port"] or not 0 < behind < 65536):
        found.append(
            f"Behind TLS the server would listen on port {behind}: give it another in llama_service_tls_backend_port."
        )
    return problems + [problem for problem in found if problem]


def combination_problem(policy: str, load_mode: str, huge_pages: str) -> Optional[str]:
    """One sentence where policy, load mode and huge pages contradict each other."""
    if policy == "distribute" and load_mode not in ("mmap", "mmap+mlock"):
        return (
            f"The policy distribute places the pages of a mapped file, and llama_service_load_mode is {load_mode}: "
            "set it to auto or mmap."
        )
    if policy == "per_node" and load_mode not in ANONYMOUS:
        return (
            "The policy per_node needs a copy of the weights on each node, and a mapped file has only one: "
            "set llama_service_load_mode to auto, dio or none."
        )
    if huge_pages == "hugetlb" and load_mode not in ANONYMOUS:
        return (
            f"Nothing would use the pool of huge pages with llama_service_load_mode {load_mode}: set it to auto "
            "or dio, or hugepages_mode to thp."
        )
    return None
