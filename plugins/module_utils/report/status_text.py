# SPDX-License-Identifier: MIT
"""The towers in a terminal: a line for each instance, and below it what is wrong or goes on there."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Optional

from ..lock import words
from ..service.status import Event, InstanceStatus, Seen, tower_problems
from ..text import clean, moment, number
from .document import Report

WIDTH = 100
GAP = " "
HEAD = ("tower", "instance", "state", "deployment", "since", "tokens/s", "memory", "last event (UTC)")
# No column is wider, but the last.
WIDEST = 16
INDENT = "    "


def event_text(event: Optional[Event]) -> str:
    """What happened last, with its time."""
    if not event:
        return "-"
    said = {
        "switched": "switched",
        "taken_back": f"took {event['deployment']} back",
        "switch_failed": f"{event['deployment']} failed",
        "restarted": f"restarts: {event['count']}",
        "misplaced": "memory wrong",
        "started": "started",
    }[event["code"]]
    return f"{said} {moment(event['when'])[5:]}"


def memory_text(found: InstanceStatus) -> str:
    """Where the memory lies: the share of each node in percent; wrong where that is not as intended."""
    nodes = found["nodes"]
    if not nodes or not sum(nodes.values()):
        return "-"
    if found["misplaced"]:
        return "wrong"
    shares = [f"{count / sum(nodes.values()) * 100:.0f}" for count in nodes.values()]
    return f"{'/'.join(shares)} %" if len(shares) <= 4 else f"{len(shares)} nodes"


def cells(host: str, found: InstanceStatus) -> tuple[str, ...]:
    """A line of the table."""
    speed = number(found["tokens_per_second"])
    if found["measured"]:
        speed += f" ({found['measured'][5:10]})"
    return (
        host,
        found["instance"],
        found["state"],
        found["deployment"] or "-",
        found["since"][:10] if found["since"] else "-",
        speed,
        memory_text(found),
        event_text(found["event"]),
    )


def notes(seen: Seen) -> list[str]:
    """What stands below the lines of a tower."""
    status = seen["status"]
    found = tower_problems(seen)
    for each in status["instances"] if status else []:
        found += [f"{each['instance']}: {each['misplaced']}"] if each["misplaced"] else []
    for job in status["jobs"] if status else []:
        found.append(f"now: {words(job['holder'])}" + (f": {job['line']}" if job["line"] else ""))
    return found


def verdict_lines(reports: Iterable[Report]) -> list[str]:
    """Whether towers are fast, as their last reports say, each with its date."""
    lines: list[str] = []
    for report in reports:
        said = f"{report['host']}, {moment(report['generated'])} UTC: {report['verdict']['sentence']}"
        lines += textwrap.wrap(clean(said), WIDTH, subsequent_indent=INDENT)
    return lines


def status_text(towers: list[Seen], reports: Iterable[Report] = ()) -> str:
    """All towers, at most ``WIDTH`` columns wide unless their names are long, below what their last ``reports`` say."""
    rows: list[tuple[Seen, list[tuple[str, ...]]]] = []
    for seen in towers:
        known = seen["status"]["instances"] if seen["status"] else []
        empty = (seen["host"], "-", "nothing" if seen["status"] else "no answer", *["-"] * (len(HEAD) - 3))
        rows.append((seen, [cells(seen["host"], found) for found in known] or [empty]))
    every = [HEAD, *(line for _seen, lines in rows for line in lines)]
    widths = [min(max(len(clean(line[column])) for line in every), WIDEST) for column in range(len(HEAD) - 1)]
    text = [*verdict_lines(reports), _line(HEAD, widths)]
    for seen, lines in rows:
        text += [_line(line, widths) for line in lines]
        for note in notes(seen):
            text += textwrap.wrap(clean(note), WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)
    return "\n".join(text)


def _line(line: tuple[str, ...], widths: list[int]) -> str:
    shown = [f"{_cut(clean(cell), width):<{width}}" for cell, width in zip(line, widths)]
    return GAP.join([*shown, clean(line[-1])]).rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
