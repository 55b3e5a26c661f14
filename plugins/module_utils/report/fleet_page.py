# SPDX-License-Identifier: MIT
"""What the page of all towers shows, as plain data: the most severe tower first, and who is not like the others."""

from __future__ import annotations

from typing import get_args

from ..advice.bandwidth_steps import served_speed, steps
from ..advice.document import OddTower
from ..memory.bandwidth import channels_in_use
from ..text import clean, file_name, moment, number
from .board_picture import natural
from .document import Report
from .page import populated_text, title
from .view import FleetRow, FleetState, FleetView

STATES = get_args(FleetState)


def _unread(host: str) -> FleetRow:
    """The row of a tower of which nothing is known."""
    return {
        "host": clean(host),
        "machine": "",
        "cpu": "",
        "generated": "",
        "verdict": "There is no report of it yet.",
        "page": "",
        "state": "not read",
        "old": True,
        "odd": False,
        "channels": "channels unknown",
        "populated": "unknown",
        "read": "not measured",
        "model": "unknown",
        "speed": "none",
        "bar": 0,
        "problems": 0,
    }


def _state(document: Report, old: bool, odd: bool) -> FleetState:
    """The most severe that is to be said of a tower in a word."""
    severities = {entry["severity"] for entry in document["advice"]}
    if "problem" in severities:
        return "problem"
    return "not read" if old else "advice" if odd or "advice" in severities else "good"


def fleet_view(
    documents: list[Report], odd: list[OddTower], hosts: list[str], read: list[str], generated: str, plan: bool = False
) -> FleetView:
    """All that the page of the fleet shows: a row a tower, and who is not like the others.

    ``hosts`` are the towers of the inventory, ``read`` those that were read in this run, ``generated`` is now, and
    ``plan`` whether the page of a plan lies beside this one.
    """
    different = {entry["host"] for entry in odd}
    speeds = {document["host"]: served_speed(document)[0] or 0.0 for document in documents}
    fastest = max(speeds.values(), default=0.0)
    rows = [_unread(host) for host in set(hosts) - speeds.keys()]
    for document in documents:
        host, (used, total) = document["host"], channels_in_use(document["memory_channels"])
        counted = used is not None and total is not None
        measured = {step["code"]: step["said"] for step in steps(document)}
        rows.append(
            {
                **title(document),
                "generated": moment(document["generated"]),
                "page": f"{file_name(host)}.html",
                "state": _state(document, host not in read, host in different),
                "old": host not in read,
                "odd": host in different,
                "channels": f"{used} of {total} channels" if counted else "channels unknown",
                "populated": populated_text(document) or "unknown",
                "read": measured.get("read") or "not measured",
                "model": clean(document["model"]["name"] if document["model"] else "none"),
                "speed": number(speeds[host]) if speeds[host] else "none",
                "bar": round(100 * speeds[host] / fastest, 1) if fastest else 0,
                "problems": sum(1 for entry in document["advice"] if entry["severity"] == "problem"),
            }
        )
    return {
        "rows": sorted(rows, key=lambda row: (STATES.index(row["state"]), natural(row["host"]))),
        "generated": generated,
        "plan": plan,
        "old": sum(1 for row in rows if row["old"]),
        "problems": sum(1 for row in rows if row["problems"]),
        "odd": [
            {
                "host": clean(entry["host"]),
                "page": f"{file_name(entry['host'])}.html",
                "message": clean(entry["message"]),
                "differences": entry["differences"],
            }
            for entry in odd
        ],
    }
