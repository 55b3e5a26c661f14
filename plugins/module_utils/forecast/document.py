# SPDX-License-Identifier: MIT
"""The documents of forecasts: the entries of the catalog, a question before a purchase, its plan, and a forecast.

Sizes are bytes, bandwidths GB/s (1e9 bytes), speeds tokens a second, times seconds, prices US dollars. None is unknown.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Union

from ..benchmark.document import Run
from ..memory.document import MemoryChannels


class Speed(TypedDict):
    """Tokens a second: all constants at their low ends, at their middles, and at their high ends."""

    low: float
    expected: float
    high: float


class Ceiling(TypedDict):
    """What one part of a machine lets through, in GB/s: ``name`` is channels, ccd-links, socket-links, measured or
    arithmetic."""

    name: str
    low: float
    high: float
    why: str


class Span(TypedDict):
    """GB/s."""

    low: float
    high: float


class TokenTime(TypedDict):
    """The parts of a token's time, in seconds: reading and multiplying weights and cache, and what no bandwidth
    shortens, the waiting of threads for each other."""

    reading: float
    fixed: float


class Change(TypedDict):
    """What one change alone would bring; ``gain`` is 0.09 for 9 % more. ``code`` is channels, faster-dimms, dies,
    distribute, one-node or smaller-type."""

    code: str
    change: str
    tokens_per_second: float
    gain: float
    costs_quality: bool


class Forecast(TypedDict):
    """How fast a machine decodes a model (roofline.py).

    ``limited_by`` is the name of the lowest ceiling, and ``gb_s`` the bandwidth that the memory reaches; ``ideal`` the
    speed if every channel were read at its full rate and nothing else cost time; ``sensitivity`` what would help, the
    most useful first; ``prefill_tokens_per_second`` the range at which a prompt is read.
    """

    tokens_per_second: Speed
    gb_s: Span
    limited_by: str
    why: str
    ceilings: list[Ceiling]
    seconds: TokenTime
    threads: int
    ideal: float
    sensitivity: list[Change]
    prefill_tokens_per_second: tuple[float, float] | None


class _PublishedRun(TypedDict):
    name: str
    set: str
    machine: dict[str, Any]
    model: dict[str, Any]
    tokens_per_second: float
    source: str


class PublishedRun(_PublishedRun, total=False):
    """A run of catalog/published_runs.yml: ``machine`` and ``model`` have the fields of :class:`roofline.Machine` and
    :class:`roofline.Model`, the optional ones are those of :class:`roofline.Use`; ``set`` is fitted or checked."""

    date: Any  # as YAML reads it
    policy: str
    threads: int
    context: int
    kv_type: str
    note: str


class ForecastError(Speed):
    """The same against its forecast: tokens a second, the ``error`` as a part of what was ``measured`` (0.05: 5 % too
    fast), and whether that is ``within`` the range."""

    name: str
    set: str
    source: str
    kind: str
    measured: float
    error: float
    within: bool


class _Priced(TypedDict):
    price_usd: float | None


class Part(_Priced, total=False):
    """A part of a machine: what it is, and when and where it had its price. ``gb``: it is memory of so many GB, and
    costs what :class:`MemoryPrice` says; ``own``: the price is that of who asks."""

    part: str
    date: Any  # as YAML reads it
    source: str
    gb: int
    own: bool


class MemoryPrice(TypedDict):
    """What a gigabyte of registered DDR5 costs: ``memory`` in catalog/hardware.yml, or plan_memory_price."""

    usd_per_gb: float
    date: str
    source: str


class Host(_Priced):
    """What GPUs are plugged into; watts under load."""

    watts: float


class _Machine(TypedDict):
    name: str
    title: str


class _Cpu(_Machine):
    kind: Literal["cpu"]
    cpu: str
    sockets: int
    cores: int
    channels: int
    mts: int
    memory_bytes: int
    watts: float | None
    parts: list[Part]


class CpuEntry(_Cpu, total=False):
    """A machine of catalog/hardware.yml that decodes on its CPUs.

    ``cpu`` is the brand that Linux shows; cores, dies, channels in use and bytes are of all sockets together; ``told``
    is what the source of the prices says that they add up to; ``least``: the whole costs more than its parts here.
    """

    dies: int | None
    told: Part
    least: bool


class _Gpu(_Machine):
    kind: Literal["gpu"]
    memory_bytes: int
    usable: float
    gb_s: float
    count: int | None
    watts: float
    price_usd: float | None
    host: Host


class GpuEntry(_Gpu, total=False):
    """GPUs: memory, bandwidth, price and watts of one; ``usable`` is the part of its memory that weights and cache may
    take, ``count`` how many there are (None: as many as the model needs, but no more than ``most``, which is what a
    machine takes), ``price`` when and where the price was."""

    most: int
    price: dict[str, Any]  # told, date and source, as YAML reads them


class DiskEntry(_Machine):
    """A machine that reads its weights from a disk of ``gb_s`` for each token."""

    kind: Literal["disk"]
    gb_s: float
    watts: float | None
    parts: list[Part]


class TowerEntry(_Machine):
    """A tower of the inventory as it is, with its benchmarks, oldest first; ``guest``: it is a virtual machine,
    ``signature``: family and model of its CPUs, which name an engineering sample."""

    kind: Literal["tower"]
    cores: int | None
    memory_bytes: int
    memory_channels: MemoryChannels
    guest: bool
    signature: tuple[int | None, int | None]
    runs: list[Run]


MachineEntry = Union[CpuEntry, GpuEntry, DiskEntry, TowerEntry]


class Options(TypedDict):
    """What every answer of a plan is for: tokens of context of each user, the type of the KV cache, one of
    numa_policy.POLICIES, dollars for a kilowatt-hour, who asks at the same time, the years over which the machine is
    paid, and the dollars that it may cost (None: any)."""

    context: int
    kv_type: str
    policy: str
    price_kwh: float
    users: int
    years: float
    budget: float | None


# Why there is no speed: the memory is too small, the header of the model does not tell what a token reads, the board of
# a virtual machine is made up, or the machine's channels in use are not known.
Reason = Literal["memory", "model", "guest", "channels"]


class Answer(TypedDict):
    """One machine for one model. Where it does not fit, ``reason`` is the code and ``why`` the sentence with the
    figures, ``missing_bytes`` the memory that it lacks, and all figures but those of the purchase are None.

    ``context`` is the longest that fits, of each user; ``count`` the GPUs it takes; ``limited_by`` is one of
    :class:`Ceiling`, or gpu-memory or disk. ``cost_usd`` is of the whole purchase, or of what is known of it where the
    whole is more (``cost_least``), and ``cost_date`` the day of its oldest price; ``cost_per_token_s`` is that over the
    expected speed. ``usd_per_million_tokens`` is energy, and the machine over the years of the options.
    """

    model: str
    machine: str
    title: str
    fits: bool
    reason: Reason | None
    missing_bytes: int | None
    count: int
    context: int | None
    tokens_per_second: Speed | None
    threads: int | None
    limited_by: str | None
    why: str | None
    ideal: float | None
    prefill_tokens_per_second: tuple[float, float] | None
    sensitivity: list[Change]
    cost_usd: float | None
    cost_least: bool
    cost_date: str | None
    cost_per_token_s: float | None
    watts: float | None
    joules_per_token: float | None
    energy_usd_per_million_tokens: float | None
    usd_per_million_tokens: float | None
    remarks: list[str]


class PlannedModel(TypedDict):
    """A model and every machine's answer, the best first; ``parameters`` are its weights, None where nobody counted
    them. ``beside_bytes`` are what a tower keeps beside the weights for all users, ``beside_one_bytes`` for one."""

    name: str
    bytes: int
    active_bytes: int
    parameters: int | None
    beside_bytes: int
    beside_one_bytes: int
    answers: list[Answer]


# Why a pair of model and machine is the one: it is the only one; of one model the machine that costs least for a token
# a second, or that is fastest; of several models that of most weights that is decoded as fast as one reads, or the most
# weights for a dollar; nothing is so fast (fastest); nothing that fits costs so little (the cheapest is told), or has a
# known price (unpriced); or nothing fits (the nearest is told).
Choice = Literal[
    "only", "cheapest-token", "fastest", "largest", "most-weights", "over-budget", "unpriced", "nothing-fits"
]


class Recommendation(TypedDict):
    """The pair to take, by names, why, and of how many machines or pairs it was taken."""

    choice: Choice
    model: str
    machine: str
    of: int


class ThreadFigure(TypedDict):
    """A figure that the thread gave (``told``), the same made again (``found``), and what is to be said to it."""

    what: str
    told: str
    found: str
    say: str


class PlanDocument(TypedDict):
    """Which machine for which model: what llamatower.tower.plan writes to plan.json. ``date`` is its day, ``memory``
    the price that the memory of all machines has; ``recommendation`` is None where there are no models or machines."""

    schema_version: int
    date: str
    options: Options
    memory: MemoryPrice | None
    recommendation: Recommendation | None
    models: list[PlannedModel]
    thread_figures: list[ThreadFigure]
