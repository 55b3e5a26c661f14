# SPDX-License-Identifier: MIT
"""What the pages of the report show, as the templates (roles/report/templates) and markdown.py read it.

All is text that is ready to be shown, or a number that a template lays out: ends and lengths of bars are percent of
their axis. None is what is not known, and empty text is what there is no need to say.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from ..advice.document import Advice, BandwidthStep, Difference
from ..build.document import BuildManifest
from ..model.document import Manifest
from ..service.document import Completion
from .benchmark_history import History
from .board_picture import BoardPicture


class UseIt(TypedDict):
    """How to ask the server: its address, where that is reached from, the file of its keys on the tower, and a command
    for the tower's shell, which needs nothing but Debian's python3."""

    url: str
    reached: str
    keys: str
    command: list[str]


class Title(TypedDict):
    """What all pages say of a tower: its name, what it is, when that was read, and whether it is fast."""

    host: str
    machine: str
    cpu: str
    generated: str
    verdict: str


class Figure(TypedDict):
    """One of the numbers to see first, and what to hold it against."""

    name: str
    value: str
    unit: str
    against: str


class SlotRow(TypedDict):
    """A slot in the table under the board; ``socket`` is a number or ``unknown``."""

    locator: str
    socket: int | str
    channel: str
    content: str


class Dimms(TypedDict):
    """How many DIMMs there are of each kind, in words, and all slots."""

    kinds: list[str]
    slots: list[SlotRow]


class StepBar(BandwidthStep):
    """A step of the bandwidth with its bar; ``lost`` is how far the last bar before it reaches."""

    start: float
    end: float
    lost: float


class Tick(TypedDict):
    """A mark of an axis."""

    at: float
    text: str


class BandwidthView(TypedDict):
    """The steps, their axis, and the kinds of bars among them: each with its words; ``powers`` is whether each mark of
    the axis is ten times the one before."""

    steps: list[StepBar]
    kinds: list[tuple[str, str]]
    ticks: list[Tick]
    powers: bool


class ChangeView(TypedDict):
    """What a change would bring."""

    change: str
    gain: str
    speed: str
    note: str


class ForecastView(TypedDict):
    """The forecast of the speed, how the measured one compares with it, what limits it, what a token's time is, and
    what would change it."""

    said: str
    measured: str | None
    limit: str
    token: str
    changes: list[ChangeView]


class NodeBar(TypedDict):
    """The memory of the service on a node, and its part of the whole; the bar and where the ``even`` share is are parts
    of the largest, which is None where memory is not to be spread evenly."""

    node: str
    said: str
    share: str
    bar: float
    even: float | None


class ServerRow(TypedDict):
    """One of several servers: its name, what it serves and where, its speed, where its memory lies, its problem."""

    name: str
    model: str
    url: str
    speed: str
    memory: str
    problem: str


class NodeView(TypedDict):
    """A memory node of the tower; ``cpus`` is how many it has."""

    node: int
    memory: str
    cpus: int
    hugepages: str


class TowerView(Title):
    """The page of one tower.

    ``file`` is what its files are called without their ending, ``use`` how to ask the server (None where none
    answers), ``rule`` and ``confidence`` are of how slots became channels, ``apart`` is how far the nodes are,
    ``servers`` all of them where there are several, ``huge`` the part of the service in huge pages, ``thp`` how Linux
    is set to give transparent ones, and ``declarations`` are the lines of an inventory.
    """

    file: str
    use: UseIt | None
    figures: list[Figure]
    advice: list[Advice]
    board: BoardPicture | None
    dimms: Dimms
    rule: str | None
    confidence: str | None
    bandwidth: BandwidthView | None
    forecast: ForecastView | None
    history: History | None
    tuning: str | None
    placement: list[NodeBar]
    apart: str | None
    policies: list[str]
    huge: str | None
    servers: list[ServerRow]
    nodes: list[NodeView]
    thp: str | None
    completion: Completion | None
    system: str
    model: Manifest | None
    model_size: str | None
    declarations: list[str]
    build: BuildManifest | None
    distribution: str | None


# How a tower is, in a word; the most severe first.
FleetState = Literal["problem", "not read", "advice", "good"]


class FleetRow(Title):
    """A tower in the table of all.

    ``page`` is empty for one that was never read, and ``old`` is whether what is shown is not of this run; ``odd`` is
    whether it is not like its siblings, ``problems`` how many it has.
    """

    page: str
    state: FleetState
    old: bool
    odd: bool
    channels: str
    populated: str
    read: str
    model: str
    speed: str
    bar: float
    problems: int


class OddRow(TypedDict):
    """A tower that is not like its siblings, and its page."""

    host: str
    page: str
    message: str
    differences: list[Difference]


class FleetView(TypedDict):
    """The page of the fleet, ``generated`` when, UTC; ``problems`` is how many towers have one, ``old`` how many were
    not read in this run, ``plan`` whether the page of a plan lies beside it."""

    rows: list[FleetRow]
    generated: str
    plan: bool
    problems: int
    old: int
    odd: list[OddRow]
