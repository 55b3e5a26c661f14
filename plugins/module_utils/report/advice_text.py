# SPDX-License-Identifier: MIT
"""Advice on a tower's settings, as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Optional

from ..advice.document import Advice, SettingAdvice
from ..advice.facts import FACTS, facts
from ..memory.document import MemoryChannels
from ..text import LABEL, WIDTH, clean, wrapped
from ..tower_document import Tower


def _seen(tower: Tower, channels: Optional[MemoryChannels]) -> list[str]:
    """All facts on the machine, as facts.py names them, and those that it does not show."""
    known: Mapping[str, object] = facts(tower, channels)
    names = [name for name in FACTS if name != "memory_advice"]
    shown = [f"{name.replace('_', ' ')} {known[name]}" for name in names if known[name] is not None]
    unknown = [name.replace("_", " ") for name in names if known[name] is None]
    return wrapped("SEEN", "; ".join(shown)) + (wrapped("NOT SEEN", "; ".join(unknown)) if unknown else []) + [""]


def advice_lines(entry: Advice) -> list[str]:
    """The fact, and what mends it."""
    lines = wrapped(entry["severity"].upper(), entry["message"])
    return lines + (wrapped("", f"-> {entry['fix']}") if entry["fix"] else [])


def _entry(entry: SettingAdvice) -> list[str]:
    """The same, then a line for each thing that is known of it."""
    lines = advice_lines(entry)
    told = {
        "current": entry["current"] if entry["visible"] else "not visible from Linux",
        "recommended": entry["recommended"],
        "where": entry["where"],
        "why": entry["why"],
        "worth": entry["worth"],
        "source": entry["source"],
    }
    for label, text in told.items():
        if text:
            said, after = clean(f"{label}: {text}"), " " * (LABEL + 3)
            lines += textwrap.wrap(said, WIDTH, initial_indent=" " * LABEL, subsequent_indent=after)
    return lines


def _unseen(entries: list[SettingAdvice], host: str) -> list[str]:
    """One list of what is only to be looked at, under one sentence."""
    if not entries:
        return []
    lines = ["", *textwrap.wrap(clean(f"Linux cannot see these; check them in the BIOS of {host}:"), WIDTH)]
    for entry in entries:
        said = f"- {entry['where']}: {entry['recommended']}. {entry['why']} ({entry['source']})"
        lines += textwrap.wrap(clean(said), WIDTH, subsequent_indent="  ")
    return lines


def advice_text(
    found: list[SettingAdvice],
    host: str,
    tower: Optional[Tower] = None,
    channels: Optional[MemoryChannels] = None,
) -> str:
    """The advice for a terminal, at most 80 columns; what cannot be seen is one list at the end.

    With what tower_info and memory_channels_info return, what Linux shows comes first.
    """
    lines = ["=" * WIDTH, *textwrap.wrap(clean(host), WIDTH), "=" * WIDTH]
    lines += _seen(tower, channels) if tower else []
    unseen = [entry for entry in found if not entry["visible"] and entry["recommended"]]
    seen = [entry for entry in found if entry not in unseen]
    for entry in seen:
        lines += _entry(entry)
    lines += [] if seen else wrapped("OK", "Nothing to mend was found.")
    lines += _unseen(unseen, host)
    return "\n".join(line.rstrip() for line in lines)
