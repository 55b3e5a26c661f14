# SPDX-License-Identifier: MIT
"""The documents of advice: what was found on a tower, what to do there, and who of a fleet is not like the others.

All keys are always there; None is what nobody knows. Bandwidths are GB/s (10^9 bytes).
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from ..benchmark.document import Run, Tuning
from ..build.document import BuildManifest
from ..memory.document import MemoryChannels, Severity
from ..model.document import Manifest
from ..service.document import ServiceResult
from ..tower_document import Tower


class NamedTower(TypedDict):
    """A tower by its name in the inventory, as tower_info and memory_channels_info return it."""

    host: str
    tower: Tower
    memory_channels: MemoryChannels | None


class Findings(NamedTower):
    """All that was read and measured of a tower: what decisions about it are made from.

    ``benchmarks`` are the kept runs, oldest first; ``tuning`` is what the tuner stored.
    """

    build: BuildManifest | None
    model: Manifest | None
    service: ServiceResult | None
    benchmarks: list[Run]
    tuning: Tuning | None


class Advice(TypedDict):
    """One thing to do: the fact, what mends it, and why.

    ``fix`` is a sentence, or a command where ``command`` says so. ``gb_s`` is what it costs by the memory's own
    reckoning, ``gain`` the tokens a second that it brings the served model by the forecast (0.0 where that is next to
    nothing), ``worth`` either in words, ``where`` the menu and names on this vendor's boards, and ``source`` who says
    so.
    """

    severity: Severity
    code: str
    message: str
    fix: str | None
    command: bool
    gb_s: float | None
    gain: float | None
    worth: str | None
    where: str | None
    why: str | None
    source: str | None


class SettingAdvice(Advice):
    """Advice on a machine's settings: what is seen now and what to set.

    ``visible`` is false, and ``current`` None, for what Linux does not show: it is only to be looked at.
    """

    visible: bool
    current: str | None
    recommended: str | None


class Cause(TypedDict):
    """What keeps a tower from its memory's speed (speed.py).

    ``code`` is channels, dies, distribute (the links between sockets), memory-speed, placement, threads or arithmetic,
    of which the forecast tells what mending it alone brings, or guest, swap, load, limit (heat or power), governor,
    nodes or pages, of which it is ``at_most`` so much. ``gain`` is that in tokens a second, ``part`` the same as a part
    of the speed now, and ``because`` a clause.
    """

    code: str
    gain: float
    part: float
    at_most: bool
    because: str


class Verdict(TypedDict):
    """Whether a tower is fast, and why not: the ``sentence`` that all that is shown of a tower begins with.

    ``state`` is ``down`` where it does not serve, ``measured`` where its speed is held against what its memory allows,
    and ``unknown`` where one of the two is not known. Speeds are tokens a second: ``measured``, ``expected`` of the
    tower as it is, and ``allowed`` by its memory, of which ``share`` is the part that it has. ``reason`` is the code of
    the most costly cause, or ``unexplained``. ``loss`` is how much of the speed was lost since the benchmark
    before, as a part.
    """

    state: Literal["down", "measured", "unknown"]
    sentence: str
    measured: float | None
    expected: float | None
    allowed: float | None
    share: float | None
    reason: str | None
    loss: float | None


class Difference(TypedDict):
    """A trait of a tower that its siblings have in another way; ``usual`` is what more than half of them have."""

    what: str
    here: str
    usual: str | None


class OddTower(TypedDict):
    """A tower that is not like its siblings, which are so many others of the same board and CPU."""

    host: str
    siblings: int
    differences: list[Difference]
    message: str


class _Setting(TypedDict):
    name: str


class BiosSetting(_Setting, total=False):
    """A setting by one ``name``, ``where`` each vendor has it, and by which patterns ``redfish`` finds it
    (:mod:`bios.settings`)."""

    where: dict[str, str]
    redfish: list[dict[str, Any]]


class MemoryRule(TypedDict, total=False):
    """What explains an advice of memory_channels_info, by its code: why, the source, and the setting that
    mends it."""

    setting: str
    recommended: str
    why: str
    source: str


class _Rule(TypedDict):
    code: str
    severity: Severity
    when: list[str]
    message: str
    fix: str
    why: str
    source: str


class BiosRule(_Rule, total=False):
    """One rule: all conditions of ``when`` must hold, and sentences may name their facts in braces; ``setting`` is one
    of the table, ``current`` and ``recommended`` its values, ``worth`` what was measured of it."""

    setting: str
    current: str
    recommended: str
    worth: str


class BiosTable(TypedDict, total=False):
    """catalog/bios.yml: settings by their names, what explains the memory's advice by its codes, and the rules."""

    settings: dict[str, BiosSetting]
    memory: dict[str, MemoryRule]
    rules: list[BiosRule]


class BandwidthStep(TypedDict):
    """One step from what the sockets could read to what the service reads.

    ``code`` is one of ``bandwidth_steps.NAMES``; ``kind`` is ``calculated``, ``estimated`` or ``measured``, and None
    where nothing measured it: then there are no figures, and ``fix`` is the command that measures it. ``low`` and
    ``high`` are GB/s; ``said`` is them in words, ``tokens`` the speed that they allow the model.
    """

    code: str
    name: str
    kind: str | None
    low: float | None
    high: float | None
    said: str | None
    tokens: str | None
    why: str
    fix: str | None
