# SPDX-License-Identifier: MIT
"""How llama-server is started on a tower: every choice, where it came from, and what cannot work.

A setting that is ``auto`` or None takes what the tuner measured for this build and this model, else a default that is
right without a measurement. The plan is rendered into the unit and its environment, and into the intent that the check
after each start reads.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

from ..build.document import BuildManifest
from ..model.document import Manifest, PlanEntry
from ..tower_document import Tower
from .client import reachable
from .document import Choice, DeployedPool, Intent, Plan, PlannedUnit, Settings, Why, Winner
from .huge_pages import pool_pages
from .memory_budget import anonymous_problem, memory_budget, memory_problem, pool_page_bytes, serving, weighed
from .numa_policy import bindable_nodes, launch, node_cores, policy_problem, weights_problem
from .settings import (
    ANONYMOUS,
    OWNERS,
    backend_port,
    combination_problem,
    environment,
    extra_settings,
    load_mode_settings,
    setting_problems,
    unknown_settings,
)
from .tuned import stored_winner
from .unit import unit_of

# Under the policy distribute pages come to the thread that reads them first: so many tokens are generated before the
# service counts as started, and no prompt is read (llama.cpp issue 11744).
WARM_UP_TOKENS = 32
# So much of its even share each node has under the policy distribute, at least.
LEAST_SHARE = 0.25
# What a start takes besides reading the model: starting the server, the first pass over the weights and the check. The
# wait before an automatic one comes on top (supervise.extend_start).
START_SECONDS = 600
# The kernel's own first one for who is not root (net.ipv4.ip_unprivileged_port_start).
UNPRIVILEGED_PORT = 1024


class Place(NamedTuple):
    """An instance and the node that it is bound to, if any."""

    name: str
    node: Optional[int]


def _ports_problem(units: list[PlannedUnit], settings: Settings) -> Optional[str]:
    """One sentence where an instance cannot listen on all of its ports, else None."""
    ports = [unit["port"] for unit in units]
    own = [int(unit["environment"]["LLAMA_ARG_PORT"]) for unit in units]
    if not all(0 < port < 65536 for port in ports):
        return f"llama_service_port is {settings['port']}, and a port is a number from 1 to 65535: give it another."
    if settings["tls"] and not {*own}.isdisjoint(ports):
        return (
            "Behind TLS a server would listen on the port of another one's clients: give "
            "llama_service_tls_backend_port more room."
        )
    if not settings["tls"] and min(ports) < UNPRIVILEGED_PORT:
        return (
            f"llama_service_port is {settings['port']}, and the server's user may listen from {UNPRIVILEGED_PORT} on: "
            "give it another, or HTTPS (llama_service_tls_certificate), which may."
        )
    return None


def start_seconds(model_bytes: int, bytes_per_second: float) -> int:
    """How long a start may take: reading the model at the slowest rate that is waited for, and what comes with it."""
    return START_SECONDS + int(model_bytes / max(1, bytes_per_second))


def choose_load_mode(policy: str, huge_pages: str, needed: int, tower: Tower) -> tuple[str, str]:
    """The load mode of ``auto``, and why."""
    if policy == "distribute":
        return "mmap", "the policy distribute places the pages of the mapped file"
    problem = anonymous_problem(needed, tower)
    if problem:
        return "mmap", problem
    if huge_pages == "none":
        return "dio", "weights in anonymous memory lie where the memory policy says, and leave no second copy cached"
    return "dio", "weights in anonymous memory can be huge pages, and leave no second copy in the page cache"


def _usable(tuned: Optional[Winner], settings: Settings, tower: Tower, needed: int) -> bool:
    """Whether policy and load mode of the tuner's winner go with what is set, and are still possible."""
    if tuned is None:
        return False
    pages = settings["huge_pages"]
    # A pool is reserved, evenly, before the service is looked at: a measurement without it cannot be followed.
    followed = {"thp": ("thp", "none"), "none": ("none",), "hugetlb": ("hugetlb",)}[pages]
    return (
        # What is the fastest with another load mode than the one that is set need not be so, or possible, with this.
        settings["load_mode"] in ("auto", tuned["load_mode"])
        and tuned["huge_pages"] in followed
        and (pages != "hugetlb" or tuned["numa_policy"] == "interleave")
        and not combination_problem(tuned["numa_policy"], tuned["load_mode"], tuned["huge_pages"])
        and not policy_problem(tuned["numa_policy"], tower, needed)
    )


def _flash_attention(
    settings: Settings, tower: Tower, model: Manifest | PlanEntry | None, tuned: Optional[Winner]
) -> Optional[bool]:
    """As it is set, else as it was measured; None leaves it to the server.

    What was measured without it had a short context: at the one that is served the scores may not fit, and a pool has
    no pages for them.
    """
    if settings["flash_attention"] is not None or not tuned:
        return settings["flash_attention"]
    budget = memory_budget(weighed(model), serving(settings, False, tower, pool_page_bytes(settings)))
    without = settings["huge_pages"] != "hugetlb" and not memory_problem(model, settings, tower, budget)
    return tuned["flash_attention"] if tuned["flash_attention"] or without else None


def _choices(settings: Settings, tower: Tower, needed: int, tuned: Optional[Winner], flash: Optional[bool]) -> Choice:
    """Policy, load mode and huge pages, with the reasons."""
    policy, mode, pages = settings["numa_policy"], settings["load_mode"], settings["huge_pages"]
    why: Why = {"numa_policy": "as set", "load_mode": "as set"}
    if policy == "auto" and tuned and _usable(tuned, settings, tower, needed):
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
    return {
        "numa_policy": policy,
        "load_mode": mode,
        # Pages of a mapped file are never huge, whatever is asked for.
        "huge_pages": "none" if mode not in ANONYMOUS and pages == "thp" else pages,
        "flash_attention": flash,
        "why": why,
    }


def _places(policy: str, settings: Settings, tower: Tower) -> list[Place]:
    name, bindable = settings["instance"], [entry["node"] for entry in bindable_nodes(tower)]
    if policy == "per_node" and len(bindable) > 1:
        return [Place(f"{name}-node{node}", node) for node in sorted(bindable)]
    if policy == "bind" and bindable:
        own = launch("bind", tower, settings["numa_node"]).nodes
        return [Place(name, own[0] if len(own) == 1 else None)]
    return [Place(name, None)]


def _threads(
    policy: str, settings: Settings, tower: Tower, node: Optional[int], tuned: Optional[Winner]
) -> tuple[int, int]:
    """Threads that decode, and threads that read prompts."""
    # A number of threads was measured on the CPUs of its policy: twice as many as a node has cores wait for each other.
    measured = None
    if tuned and not policy_problem(tuned["numa_policy"], tower):
        same = launch(policy, tower, node) == launch(tuned["numa_policy"], tower)
        measured = tuned if same else None
    cores = node_cores(tower, node)
    decode = settings["threads"] or (measured["threads"] if measured else None) or cores
    batch = (measured["threads_batch"] if measured else None) or cores
    if policy == "distribute":
        # Before anything is asked of it, the server reads two tokens to see what its context can do (common.cpp,
        # common_context_can_seq_rm): as a batch, whose threads so take the weights, each its part of the rows. The
        # threads that decode have the same parts where they are as many.
        batch = decode
    return decode, settings["threads_batch"] or batch


def _unit(
    place: Place, port: int, settings: Settings, tower: Tower, chosen: Choice, threads: int, file: str
) -> PlannedUnit:
    """The unit of one place, without the settings of the load mode and without those of the user."""
    policy, pages = chosen["numa_policy"], chosen["huge_pages"]
    start = launch(policy, tower, place.node)
    own = url = f"http://{reachable(settings['host'])}:{port}"
    front, own_port = None, port
    if settings["tls"]:
        front, own_port = f"{settings['host']}:{port}", backend_port(settings, port)
        url = url.replace("http", "https", 1)
        settings = {**settings, "host": "127.0.0.1"}
        own = f"http://{settings['host']}:{own_port}"
    intent: Intent = {
        # Whether the server hangs is asked of itself, whatever became of what is before it.
        "url": own,
        "nodes": start.nodes,
        "weights": settings["weights"] if policy == "weighted" else {},
        "kernel_policy": start.kernel_policy,
        "huge_pages": pages,
        "page_bytes": settings["huge_page_bytes"] if pages == "hugetlb" else None,
        "tolerance": None if policy in ("distribute", "none") else settings["tolerance"],
        # Where each thread takes its part of the weights, only that no node is left out: the KV cache is all on the
        # node of the thread that cleared it.
        "least_share": LEAST_SHARE if policy == "distribute" else None,
        "warm_up_tokens": WARM_UP_TOKENS if policy == "distribute" else 0,
        "placement_failure": settings["placement_failure"],
    }
    return {
        "name": place.name,
        "unit": unit_of(place.name),
        "port": port,
        "node": place.node,
        "url": url,
        "prefix": start.prefix,
        "environment": {**environment(settings, chosen, threads, file, own_port, url), **start.settings},
        "intent": intent,
        "tls": front,
    }


def _pool(settings: Settings, tower: Tower, chosen: Choice, needed: int) -> Optional[DeployedPool]:
    """The huge pages that all units of a plan need together; None without a pool."""
    if chosen["huge_pages"] != "hugetlb" or not needed:
        return None
    page_bytes = settings["huge_page_bytes"]
    pages = pool_pages(
        settings["pool_bytes"] or needed,
        page_bytes,
        tower,
        chosen["numa_policy"],
        settings["numa_node"],
        settings["weights"],
    )
    return {"page_bytes": page_bytes, "pages": pages}


def _unknown_problem(given: dict[str, str], options: list[str], server_help: Optional[str]) -> Optional[str]:
    """One sentence where the installed build does not have a setting or an option, else None."""
    unknown = unknown_settings(given, options, server_help) if server_help is not None else []
    if not unknown:
        return None
    return (
        f"This build of llama-server does not know {', '.join(unknown)}: take it out of llama_service_extra, or build "
        "another with llama_build_source."
    )


def make_plan(
    settings: Settings,
    tower: Tower,
    build: Optional[BuildManifest],
    model: Manifest | PlanEntry | None,
    tuning: Any = None,
    server_help: Optional[str] = None,
    numactl_help: Optional[str] = None,
) -> Plan:
    """The whole plan, for validate as for serve. ``model`` is the manifest of what is installed or the entry of what is
    to be, ``tuning`` what the tuner stored. What is not given is not there yet, and not checked. ``problems`` is []
    where the plan can be carried out."""
    files = model["files"] if model else []
    tuned = stored_winner(tuning, build["key"] if build else None, [entry["sha256"] for entry in files], tower)
    flash = _flash_attention(settings, tower, model, tuned)
    budget = memory_budget(weighed(model), serving(settings, flash, tower, pool_page_bytes(settings)))
    chosen = _choices(settings, tower, budget["total"], tuned, flash)
    policy, mode = chosen["numa_policy"], chosen["load_mode"]
    places = _places(policy, settings, tower)
    threads, batch = _threads(policy, settings, tower, places[0].node, tuned)
    beside = budget["total"] + settings["reserve_bytes"] // len(places)
    problems = [
        *setting_problems(settings),
        memory_problem(model, settings, tower, budget)
        or policy_problem(policy, tower, beside, min(threads, batch), server_help, numactl_help, settings["numa_node"]),
        combination_problem(policy, mode, chosen["huge_pages"]),
        weights_problem(settings["weights"], tower) if policy == "weighted" else None,
    ]
    # The number of threads for prompts, and whether to warm up, have no name in the environment.
    options = ["--threads-batch", str(batch), *(["--no-warmup"] if policy == "distribute" else [])]
    try:
        loading = load_mode_settings(mode, server_help)
    except KeyError:
        loading = {}
        problems.append(f"This build of llama-server cannot load in mode {mode}: set llama_service_load_mode to auto.")
    file = files[0]["file"] if files else "not-installed-yet.gguf"
    units = [
        _unit(place, port, settings, tower, chosen, threads, file)
        for port, place in enumerate(places, settings["port"])
    ]
    problems.append(_ports_problem(units, settings))
    # What is refused is not set: nobody reads a port there that is none.
    extra = {name: word for name, word in extra_settings(settings["extra"]).items() if name not in OWNERS}
    for unit in units:
        unit["environment"].update({**loading, **extra})
    problems.append(_unknown_problem(units[0]["environment"], options, server_help))
    return {
        **chosen,
        "threads": threads,
        "threads_batch": batch,
        "options": options,
        "needed_bytes": budget["total"],
        "budget": budget,
        "start_seconds": start_seconds(model["bytes"] if model else 0, settings["bytes_per_second"]),
        "weights": settings["weights"] if policy == "weighted" else {},
        "pool": _pool(settings, tower, chosen, budget["total"]),
        "units": units,
        "problems": [problem for problem in problems if problem],
    }
