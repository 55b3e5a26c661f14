# SPDX-License-Identifier: MIT
"""How llama-server is started on a tower: every setting, where each came from, and what cannot work.

A setting that is ``auto`` or None takes what the tuner measured for this build and this model, else a default that is
right without a measurement. The result is rendered into the unit and its environment, and into the description that
the check after each start reads.
"""

from __future__ import annotations

import re
from typing import Any, Optional

from ..model.kv_cache import kv_bytes
from .client import reachable
from .numa_policy import bindable_nodes, launch, policy_problem, weights_problem
from .supervise import LONGEST_WAIT_SECONDS
from .tuned import stored_winner

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
# Room beside model and KV cache that anonymous weights leave for the kernel's tables and a page cache that works.
ROOM = 0.03
# Under the policy distribute pages come to the thread that reads them first: so many tokens are generated before the
# service counts as started, and no prompt is read (llama.cpp issue 11744).
WARM_UP_TOKENS = 32
# So much of its even share each node has under the policy distribute, at least.
LEAST_SHARE = 0.25
# Buffers from a pool by the size of its pages. Small allocations share the pages of one heap: else each thread would
# have a heap of at least a page, and each of 128 kB or more a page of its own, of 1 GB maybe.
POOL = "{}:glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=33554432"
# What a start takes besides reading the model: the wait before an automatic one, and starting the server, the first
# pass over the weights and the check.
START_SECONDS = LONGEST_WAIT_SECONDS + 300


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


def start_seconds(model_bytes: int, bytes_per_second: float) -> int:
    """How long a start may take: reading the model at the slowest rate that is waited for, and what comes with it."""
    return START_SECONDS + int(model_bytes / bytes_per_second)


def node_cores(tower: dict[str, Any], node: Optional[int]) -> int:
    """Physical cores of the tower, or of one node."""
    cores = tower["cores"] or tower["cpus"] or 1
    if node is None:
        return int(cores)
    own = next((len(entry["cpus"]) for entry in tower["nodes"] if entry["node"] == node), 0)
    return max(1, own * cores // (tower["cpus"] or cores))


def choose_load_mode(policy: str, huge_pages: str, needed_bytes: int, tower: dict[str, Any]) -> tuple[str, str]:
    """The load mode of ``auto``, and why."""
    if policy == "distribute":
        return "mmap", "the policy distribute places the pages of the mapped file"
    memory = tower["memory_bytes"] or 0
    if needed_bytes * (1 + ROOM) > memory:
        return "mmap", f"anonymous memory for {needed_bytes / 1e9:.1f} GB would leave too little of {memory / 1e9:.1f}"
    if huge_pages == "none":
        return "dio", "weights in anonymous memory lie where the memory policy says, and leave no second copy cached"
    return "dio", "weights in anonymous memory can be huge pages, and leave no second copy in the page cache"


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


def _choices(
    settings: dict[str, Any], tower: dict[str, Any], needed: int, tuned: Optional[dict[str, Any]]
) -> dict[str, Any]:
    """Policy, load mode, huge pages and flash attention, with the reasons."""
    policy, mode, pages = settings["numa_policy"], settings["load_mode"], settings["huge_pages"]
    why = {"numa_policy": "as set", "load_mode": "as set"}
    # A pool is reserved, evenly, before the service is looked at: a measurement without it cannot be followed.
    followed = {"thp": ("thp", "none"), "none": ("none",), "hugetlb": ("hugetlb",)}[pages]
    usable = (
        tuned is not None
        # What is the fastest with another load mode than the one that is set need not be so, or possible, with this.
        and mode in ("auto", tuned["load_mode"])
        and tuned["huge_pages"] in followed
        and (pages != "hugetlb" or tuned["numa_policy"] == "interleave")
        and not combination_problem(tuned["numa_policy"], tuned["load_mode"], tuned["huge_pages"])
        and not policy_problem(tuned["numa_policy"], tower, needed)
    )
    if policy == "auto" and tuned and usable:
        policy, why["numa_policy"] = tuned["numa_policy"], "measured as the fastest for this build and model"
        if mode == "auto":
            mode, pages = tuned["load_mode"], tuned["huge_pages"]
            why["load_mode"] = "measured as the fastest for this build and model"
    elif policy == "auto":
        policy = "interleave"
        why["numa_policy"] = (
            "what was measured as the fastest does not go with the other settings"
            if tuned
            else "not measured yet: llamatower.tower.tune does"
        )
    if mode == "auto":
        mode, why["load_mode"] = choose_load_mode(policy, pages, needed, tower)
    tuned = tuned or {}
    flash = tuned.get("flash_attention") if settings["flash_attention"] is None else settings["flash_attention"]
    # Pages of a mapped file are never huge, whatever is asked for.
    pages = "none" if mode not in ANONYMOUS and pages == "thp" else pages
    return {
        "numa_policy": policy,
        "load_mode": mode,
        "huge_pages": pages,
        "flash_attention": flash,
        "why": why,
    }


def _places(policy: str, settings: dict[str, Any], tower: dict[str, Any]) -> list[tuple[str, Optional[int]]]:
    """Names of the instances, each with the node that it is bound to or None."""
    name, bindable = settings["instance"], [entry["node"] for entry in bindable_nodes(tower)]
    if policy == "per_node" and len(bindable) > 1:
        return [(f"{name}-node{node}", node) for node in sorted(bindable)]
    if policy == "bind" and bindable:
        own = launch("bind", tower, settings["numa_node"]).nodes
        return [(name, own[0] if len(own) == 1 else None)]
    return [(name, None)]


def _environment(settings: dict[str, Any], chosen: dict[str, Any], file: str, port: int, url: str) -> dict[str, str]:
    """What every instance has in its environment besides what load mode and policy need."""
    environment = {
        "LLAMA_ARG_MODEL": f"{settings['model_path']}/{file}",
        "LLAMA_ARG_ALIAS": settings["model"],
        "LLAMA_ARG_HOST": settings["host"],
        "LLAMA_ARG_PORT": str(port),
        "LLAMA_ARG_API_KEY_FILE": settings["keys_file"],
        "LLAMA_ARG_CTX_SIZE": str(settings["context"]),
        "LLAMA_ARG_N_PARALLEL": str(settings["parallel"]),
        "LLAMA_ARG_THREADS": str(chosen["threads"]),
        # The default is a prompt cache of 8 GiB beside the KV cache, which no check of the memory has counted.
        "LLAMA_ARG_CACHE_RAM": "0",
        # /slots shows everybody's prompts to everybody who has a key.
        "LLAMA_ARG_ENDPOINT_SLOTS": "0",
        # The default lets every page in a user's browser ask; the server's own address is its web page.
        "LLAMA_ARG_CORS_ORIGINS": settings["cors_origins"] or url,
    }
    if settings["metrics"]:
        environment["LLAMA_ARG_ENDPOINT_METRICS"] = "1"
    if chosen["flash_attention"] is not None:
        environment["LLAMA_ARG_FLASH_ATTN"] = "on" if chosen["flash_attention"] else "off"
    if settings["tls_certificate"]:
        environment["LLAMA_ARG_SSL_CERT_FILE"] = settings["tls_certificate"]
        environment["LLAMA_ARG_SSL_KEY_FILE"] = settings["tls_key"]
    # glibc asks the kernel for huge pages in the buffers that hold the weights: 1 is madvise, a size is a pool.
    tunable = {"thp": "1", "hugetlb": POOL.format(settings["huge_page_bytes"])}.get(chosen["huge_pages"])
    if tunable:
        environment["GLIBC_TUNABLES"] = f"glibc.malloc.hugetlb={tunable}"
    return environment


def make_plan(
    settings: dict[str, Any],
    tower: dict[str, Any],
    build: dict[str, Any],
    model: dict[str, Any],
    tuning: Any = None,
    server_help: Optional[str] = None,
    numactl_help: Optional[str] = None,
) -> dict[str, Any]:
    """The whole plan; ``build`` and ``model`` are their manifests, {} where they are not installed yet.

    ``problems`` is [] where it can be carried out. ``instances`` has one entry a unit: its ``name``, ``port``,
    ``node``, ``prefix``, ``environment`` and ``intent``, which the check after a start compares with what it finds.
    """
    files = model.get("files") or []
    cache = kv_bytes((model.get("gguf") or {}).get("kv"), settings["context"], parallel=settings["parallel"])
    needed = (model.get("bytes") or 0) + cache
    tuned = stored_winner(tuning, str(build.get("key")), [entry["sha256"] for entry in files], tower)
    chosen = _choices(settings, tower, needed, tuned)
    policy, mode, pages = chosen["numa_policy"], chosen["load_mode"], chosen["huge_pages"]
    places = _places(policy, settings, tower)
    # A number of threads was measured on the CPUs of its policy: twice as many as a node has cores wait for each other.
    same = tuned and launch(policy, tower, places[0][1]) == launch(tuned["numa_policy"], tower)
    measured = tuned if tuned and same else {}
    cores = node_cores(tower, places[0][1])
    chosen["threads"] = settings["threads"] or measured.get("threads") or cores
    batch = measured.get("threads_batch") or cores
    if policy == "distribute":
        # Before anything is asked of it, the server reads two tokens to see what its context can do (common.cpp,
        # common_context_can_seq_rm): as a batch, whose threads so take the weights, each its part of the rows. The
        # threads that decode have the same parts where they are as many.
        batch = chosen["threads"]
    chosen["threads_batch"] = settings["threads_batch"] or batch
    reserve = settings["reserve_bytes"] // len(places)
    problems = [
        policy_problem(
            policy,
            tower,
            needed + reserve,
            min(chosen["threads"], chosen["threads_batch"]),
            server_help,
            numactl_help,
            settings["numa_node"],
        ),
        combination_problem(policy, mode, pages),
        weights_problem(settings["weights"], tower) if policy == "weighted" else None,
    ]
    # The number of threads for prompts, and whether to warm up, have no name in the environment.
    options = ["--threads-batch", str(chosen["threads_batch"])]
    if policy == "distribute":
        options.append("--no-warmup")
    try:
        loading = load_mode_settings(mode, server_help)
    except KeyError:
        loading = {}
        problems.append(f"This build of llama-server cannot load in mode {mode}: set llama_service_load_mode to auto.")
    # The server knows true and false by these words only (common/arg.cpp, is_truthy), not by Python's.
    extra = {
        key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in settings["extra"].items()
    }
    instances: list[dict[str, Any]] = []
    address = reachable(settings["host"])
    for port, (name, place) in enumerate(places, settings["port"]):
        start = launch(policy, tower, place)
        url = f"{'https' if settings['tls_certificate'] else 'http'}://{address}:{port}"
        file = files[0]["file"] if files else "not-installed-yet.gguf"
        environment = _environment(settings, chosen, file, port, url)
        instances.append(
            {
                "name": name,
                "unit": f"llama-server@{name}.service",
                "port": port,
                "node": place,
                "url": url,
                "prefix": start.prefix,
                "environment": {**environment, **loading, **start.settings, **extra},
                "intent": {
                    "url": url,
                    "key_file": settings["keys_file"],
                    "nodes": start.nodes,
                    "weights": settings["weights"] if policy == "weighted" else {},
                    "kernel_policy": start.kernel_policy,
                    "huge_pages": pages,
                    "page_bytes": settings["huge_page_bytes"] if pages == "hugetlb" else None,
                    "tolerance": None if policy in ("distribute", "none") else settings["tolerance"],
                    # Where each thread takes its part of the weights, only that no node is left out: the KV cache is
                    # all on the node of the thread that cleared it.
                    "least_share": LEAST_SHARE if policy == "distribute" else None,
                    "warm_up_tokens": WARM_UP_TOKENS if "--no-warmup" in options else 0,
                },
            }
        )
    if server_help is not None:
        unknown = unknown_settings(instances[0]["environment"], options, server_help)
        if unknown:
            problems.append(
                f"This build of llama-server does not know {', '.join(unknown)}: take it out of llama_service_extra, "
                "or build another with llama_build_source."
            )
    if bool(settings["tls_certificate"]) != bool(settings["tls_key"]):
        problems.append("TLS needs both llama_service_tls_certificate and llama_service_tls_key: set both or neither.")
    return {
        **chosen,
        "options": options,
        "needed_bytes": needed,
        "start_seconds": start_seconds(model.get("bytes") or 0, settings["bytes_per_second"]),
        "instances": instances,
        "problems": [problem for problem in problems if problem],
    }
