# SPDX-License-Identifier: MIT
"""The documents of the service: what is set, how it is started, where its memory is to lie and where it does.

All sizes are bytes, all speeds tokens a second. Nodes and CPUs have the kernel's numbers; JSON makes text of the keys
of a dictionary, so that a node that is one is ``"0"`` after a document was stored.
"""

from __future__ import annotations

from typing import Any, TypedDict

from ..model.document import PlanEntry


class Served(TypedDict):
    """The settings that decide how much memory a server takes, without what it computes with: ``checkpoints`` are kept
    for each request at most, and ``extra`` is llama_service_extra."""

    context: int
    parallel: int
    checkpoints: int
    flash_attention: bool | None
    extra: dict[str, Any]


class Settings(Served):
    """The variables of the role llama_service without their prefix, and what the role knows besides.

    ``weights`` are those of weighted interleave by node, what is set, measured or there; ``numa_weights`` what is set.
    ``reserve_bytes`` stays free for the system, ``bytes_per_second`` is the slowest disk that is waited for,
    ``tolerance`` a part of the mean of the nodes, ``placement_failure`` is fail or warn, ``check_tokens`` the longest
    answer that is asked for to prove a server, ``huge_page_bytes`` the size of the pool's pages, and ``pool_bytes``
    that of the pool. Null is what somebody else decides: the tuner, a benchmark, the memory budget, or the server.
    """

    instance: str
    model: str
    model_path: str
    build_root: str
    host: str
    port: int
    cors_origins: str | None
    tls: bool
    tls_backend_port: int | None
    metrics: bool
    threads: int | None
    threads_batch: int | None
    numa_policy: str
    numa_node: int | None
    numa_weights: dict[int, int]
    load_mode: str
    huge_pages: str
    huge_page_bytes: int
    pool_bytes: int | None
    reserve_bytes: int
    bytes_per_second: int
    tolerance: float
    placement_failure: str
    check_tokens: int
    weights: dict[int, int]


class Intent(TypedDict):
    """What the check of a start compares with what it finds.

    ``nodes`` are those that the memory should be on, with ``weights`` by node ({} for equal ones), ``kernel_policy``
    the policy as numa_maps says it (null where policies do not decide), ``huge_pages`` is thp, hugetlb or none, and
    ``page_bytes`` the size of a pool's pages (null without one). ``tolerance`` is how far the nodes may be apart as a
    part of their mean, ``least_share`` how much of the mean each has at least; both are null where it does not matter.
    ``warm_up_tokens`` are generated before the service counts as started. ``placement_failure`` is whether memory that
    lies elsewhere makes the start ``fail``, or is a ``warn``ing.
    """

    url: str
    nodes: list[int]
    weights: dict[int, int]
    kernel_policy: str | None
    huge_pages: str
    page_bytes: int | None
    tolerance: float | None
    least_share: float | None
    warm_up_tokens: int
    placement_failure: str


class Front(TypedDict, total=False):
    """``tls`` is the address and port where HTTPS is taken (:mod:`tls`) for a server that is on loopback itself; null
    without HTTPS, and missing in deployments of before there was such a thing."""

    tls: str | None


class PlannedUnit(Front):
    """One unit of a plan: ``prefix`` are the words before the server's command, ``environment`` its ``LLAMA_ARG_`` and
    what is for glibc, but for the paths of model and keys, and ``node`` what it is bound to (null where it is not).

    ``port`` and ``url`` are those of clients; where the server itself listens is in ``environment`` and ``intent``."""

    name: str
    unit: str
    port: int
    node: int | None
    url: str
    prefix: list[str]
    environment: dict[str, str]
    intent: Intent


class DeployedPool(TypedDict):
    """The pool of huge pages that a deployment needs: the size of a page in bytes, and how many by node."""

    page_bytes: int
    pages: dict[int, int]


class Why(TypedDict):
    """In words, where two of the settings of a plan came from."""

    numa_policy: str
    load_mode: str


class Choice(TypedDict):
    """What a plan chooses of what settings, measurements and tower allow; ``flash_attention`` is null where the server
    decides."""

    numa_policy: str
    load_mode: str
    huge_pages: str
    flash_attention: bool | None
    why: Why


class MemoryBudget(TypedDict):
    """Bytes that one server takes, by :func:`memory_budget.memory_budget`, at most: all parts, and their ``total``.

    ``weights`` are the files; ``kv_cache`` keeps the context of all requests, recurrent states among it;
    ``checkpoints`` are copies of windows and states, kept to go back to (llama_service_context_checkpoints for each
    request); ``prompt_cache`` is LLAMA_ARG_CACHE_RAM; ``compute`` is what a batch is computed in, the larger without
    flash attention; ``process`` is the program with its threads and the tables of the vocabulary; ``rounding`` is what
    whole pages add. Sources are llama.cpp's, named at the functions that count each.
    """

    weights: int
    kv_cache: int
    checkpoints: int
    prompt_cache: int
    compute: int
    process: int
    rounding: int
    total: int


class Plan(Choice):
    """How llama-server is started, by :func:`plan.make_plan`; llama_service_plan returns it.

    ``options`` are the words after the command, ``needed_bytes`` the total of the ``budget``, ``start_seconds`` how
    long a start may take, and ``problems`` the sentences why it cannot be carried out.
    """

    threads: int
    threads_batch: int
    options: list[str]
    needed_bytes: int
    budget: MemoryBudget
    start_seconds: int
    weights: dict[int, int]
    pool: DeployedPool | None
    units: list[PlannedUnit]
    problems: list[str]


class Placement(TypedDict):
    """Where the memory of a server lies, by :func:`placement.summarize`: bytes by node, and by the kernel's policy.

    ``huge_bytes`` are in huge pages of any kind, ``pool_bytes`` those of them from a pool; ``files`` are the model
    files that are mapped, and ``mappings`` how many mappings were counted.
    """

    nodes: dict[str, int]
    bytes: int
    huge_bytes: int
    pool_bytes: int
    swapped_bytes: int
    policies: dict[str, int]
    files: list[str]
    mappings: int


class PlacementEvent(TypedDict):
    """Since when (UTC) a process has had this problem, or none."""

    since: str
    pid: int
    problem: str | None


class PlacementRecord(TypedDict):
    """``/var/lib/llama-server/INSTANCE.json``: what the hourly check found last, and when that changed, oldest first.

    ``schema_version`` is :data:`supervise.SCHEMA_VERSION`; times are UTC, and ``checked_epoch`` seconds since 1970.
    """

    schema_version: int
    checked: str
    checked_epoch: int
    pid: int
    problem: str | None
    placement: Placement
    history: list[PlacementEvent]


class Completion(TypedDict):
    """What the server answered to a prompt; speeds are null where it does not tell them."""

    text: str
    tokens: int
    tokens_per_second: float | None
    prompt_tokens: int
    prompt_tokens_per_second: float | None


class Server(TypedDict):
    """What runs there, as /props says it; ``context`` is in tokens, and null is what it does not tell."""

    build: str | None
    model_path: str | None
    context: int | None


class PlacementInfo(TypedDict):
    """What numa_placement_info returns: a placement, the directory that it was read from, and the process (null for
    saved files). Where nothing runs, the source is ``none`` and the rest null."""

    source: str
    pid: int | None
    nodes: dict[str, int] | None
    bytes: int | None
    huge_bytes: int | None
    pool_bytes: int | None
    swapped_bytes: int | None
    policies: dict[str, int] | None
    files: list[str] | None
    mappings: int | None


class Decoding(TypedDict, total=False):
    """``threads`` are those that decode; null where the server decides, missing in reports of before it was told."""

    threads: int | None


class ServerResult(Decoding):
    """What the check found of one unit: its answer, what runs there, where its memory lies and on which nodes it should
    lie, and its problem. ``instance`` is its instance, ``name`` its own, ``model`` the name of what it serves."""

    instance: str
    name: str
    url: str
    model: str | None
    completion: Completion
    server: Server
    placement: PlacementInfo
    nodes: list[int]
    problem: str | None


class FirstResult(TypedDict):
    """What the report shows in full: of the first unit what :class:`ServerResult` has, and the first problem of any."""

    completion: Completion
    server: Server
    placement: PlacementInfo
    nodes: list[int]
    problem: str | None


class ServiceResult(FirstResult, total=False):
    """``llama_service_result``, which the role hands to the report, by :func:`instances.service_result`. ``servers``
    are all units; reports of before there were several do not have it."""

    servers: list[ServerResult]


class Unit(TypedDict):
    """How a unit runs its model, by :func:`served.read_unit`.

    ``prefix`` are the words before the server, ``binaries`` the directory of the server, ``settings`` all
    ``LLAMA_ARG_`` (what is an option of the server has the name that it would have), and ``environment`` what is for
    glibc; ``name`` is the unit's, ``active`` whether it runs, and ``maps_model`` whether its process maps a model file.
    """

    prefix: list[str]
    binaries: str
    model: str
    address: str
    key_file: str | None
    settings: dict[str, str]
    environment: dict[str, str]
    name: str
    active: bool
    maps_model: bool


class PoolInstance(Served):
    """What counts of an instance of the service for a pool: its model, where it puts it and how it loads it."""

    model: str | None
    numa_policy: str
    numa_node: int | None
    numa_weights: dict[str, int]
    load_mode: str


class PoolSettings(TypedDict):
    """The variables of the role hugepages without their prefix, ``models``: model_store_plan, and
    ``instances``: what each of them is set to."""

    mode: str
    size: str
    bytes: int | None
    models: list[PlanEntry]
    instances: list[PoolInstance]
    reserve: str
    boot_consent: bool


class PoolPlan(TypedDict):
    """What the role hugepages has to do, by :func:`huge_pages.pool_plan`.

    ``pages`` are by node, 0 where there are to be none; ``boot_parameters`` are the words of the kernel command line,
    null where it has none.
    """

    problem: str | None
    page_bytes: int
    pages: dict[int, int]
    boot_parameters: str | None


class Hardware(TypedDict):
    """The processor as software sees it: another CPU, SMT turned off, or other nodes a socket are another machine."""

    cpu: str | None
    cores: int | None
    threads_per_core: int
    nodes: int


class Arm(TypedDict):
    """The settings that a process of llama-bench has, whose speeds the tuner compares."""

    numa_policy: str
    load_mode: str
    huge_pages: str
    threads: int
    flash_attention: bool


class Winner(Arm):
    """The settings that the tuner found fastest."""

    threads_batch: int
