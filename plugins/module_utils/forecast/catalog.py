# SPDX-License-Identifier: MIT
"""What a plan is asked for and the entries of its catalog, checked before anything is computed from them.

Both are written by hand: a memory in gigabytes instead of bytes, a misspelled key or a price below zero gets one
sentence that names it, not a figure that looks right.
"""

from __future__ import annotations

import math
from typing import Any, Callable, NamedTuple

from ..memory.cpus import cpu_memory
from ..model.kv_cache import TYPES
from ..service.numa_policy import POLICIES


class PlanError(Exception):
    """What was asked for is not there, or cannot be used; the text is one sentence for each reason."""


class Field(NamedTuple):
    """What a value has to be, in words and as a test."""

    needed: str
    holds: Callable[[Any], bool]
    optional: bool = False


def _whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _number(value: Any) -> bool:
    return (isinstance(value, float) and math.isfinite(value)) or _whole(value, -(2**63), 2**63)


def _count(least: int, most: int, unit: str = "", null: bool = False) -> Field:
    def holds(value: Any) -> bool:
        return (null and value is None) or _whole(value, least, most)

    return Field(f"a whole number from {least:,} to {most:,}{unit}{', or null' if null else ''}", holds)


def _amount(null: bool = False, zero: bool = False) -> Field:
    def holds(value: Any) -> bool:
        return (null and value is None) or (_number(value) and (value > 0 or (zero and value == 0)))

    return Field(f"a number {'from 0 on' if zero else 'above 0'}{', or null' if null else ''}", holds)


TEXT = Field("a text", lambda value: isinstance(value, str) and bool(value.strip()))
PRICE = _amount(null=True, zero=True)
# Far beyond what is built, and far from what another unit would give: GB for bytes, GT/s for MT/s.
MEMORY = _count(2**30, 2**50, " (bytes)")
MTS = _count(800, 20_000)


def _priced(value: Any) -> bool:
    return isinstance(value, dict) and "price_usd" in value and PRICE.holds(value["price_usd"])


PARTS = Field(
    "a list of parts, each with a price_usd, a number from 0 on or null",
    lambda value: isinstance(value, list) and all(map(_priced, value)),
)
HOST = Field(
    "price_usd and watts, each a number from 0 on (the price may be null)",
    lambda value: _priced(value) and _number(value.get("watts")) and value["watts"] >= 0,
)
MACHINES: dict[str, dict[str, Field]] = {
    "cpu": {
        "cpu": TEXT,
        "sockets": _count(1, 64),
        "cores": _count(1, 2**16),
        "channels": _count(1, 2**10),
        "mts": MTS,
        "memory_bytes": MEMORY,
        "watts": _amount(null=True),
        "parts": PARTS,
        "dies": _count(1, 2**10, null=True)._replace(optional=True),
    },
    "gpu": {
        "memory_bytes": _count(2**32, 2**50, " (bytes)"),
        "usable": Field("a number from 0.3 to 1", lambda value: _number(value) and 0.3 <= value <= 1),
        "gb_s": _amount(),
        "count": _count(1, 2**16, null=True),
        "watts": _amount(),
        "price_usd": PRICE,
        "host": HOST,
    },
    "disk": {"gb_s": _amount(), "watts": _amount(null=True), "parts": PARTS},
}
GEOMETRY = ("elements", "window_elements", "window", "state_bytes")
MODEL = {
    "parameters": _count(1, 2**60),
    "bytes": _count(1, 2**60),
    "active_bytes": _count(1, 2**60),
    "layers": _count(1, 2**16),
    "context": _count(1, 2**32, null=True),
    "active_parameters": _count(1, 2**60, null=True)._replace(optional=True),
    "kv": Field(
        f"null, or {', '.join(GEOMETRY)}, each a whole number from 0 on",
        lambda value: (
            value is None or (isinstance(value, dict) and all(_whole(value.get(key), 0, 2**60) for key in GEOMETRY))
        ),
    ),
}


def _problems(entry: dict[str, Any], fields: dict[str, Field], what: str) -> list[str]:
    found = []
    for key, field in fields.items():
        if key not in entry:
            found += [] if field.optional else [f"{what} lacks {key}: it is {field.needed}."]
        elif not field.holds(entry[key]):
            found.append(f"The {key} of {what} is {repr(entry[key])[:80]}: it has to be {field.needed}.")
    return found


def machine_problems(entry: dict[str, Any], what: str) -> list[str]:
    """One sentence for everything that is wrong with a machine of the catalog."""
    kind = entry.get("kind")
    if not isinstance(kind, str) or kind not in MACHINES:
        return [f"The kind of {what} is {kind!r}: it has to be one of {', '.join(MACHINES)}."]
    found = _problems(entry, {"title": TEXT, **MACHINES[kind]}, what)
    memory = cpu_memory(entry["cpu"]) if kind == "cpu" and not found else None
    if memory and entry["channels"] > entry["sockets"] * memory.channels:
        found.append(
            f"The channels of {what} are {entry['channels']}: it has {entry['sockets']} x {memory.channels} "
            f"({memory.name})."
        )
    return found


def model_problems(entry: dict[str, Any], what: str) -> list[str]:
    """One sentence for everything that is wrong with a model of the catalog."""
    found = _problems(entry, MODEL, what)
    if not found and entry["active_bytes"] > entry["bytes"]:
        found.append(f"The active_bytes of {what} are more than its bytes: a token cannot read more than there is.")
    return found


def check_catalog(models: Any, machines: Any) -> None:
    """Raise PlanError where an entry of the catalog cannot be used."""
    found: list[str] = []
    for entries, name, problems in (
        (models, "model", model_problems),
        (machines, "machine", machine_problems),
    ):
        if not isinstance(entries, list):
            raise PlanError(f"The catalog has no list of {name}s: see {name}s in the catalog of this project.")
        for number, entry in enumerate(entries, 1):
            if not isinstance(entry, dict) or not TEXT.holds(entry.get("name")):
                found.append(f"Entry {number} of the {name}s in the catalog has no name: give it one.")
            else:
                found += problems(entry, f"the {name} {entry['name']}")
    if found:
        raise PlanError(" ".join(f"{text[:1].upper()}{text[1:]}" for text in found[:8]))


def options_of(raw: dict[str, Any]) -> dict[str, Any]:
    """``context``, ``kv_type``, ``policy`` and ``price_kwh``, also from the command line, where numbers are text."""
    found = dict(raw)
    for key, kind, needed in (
        ("context", int, "a whole number of tokens from 0 on, as 32768"),
        ("price_kwh", float, "dollars for a kilowatt-hour, a number from 0 on, as 0.30"),
    ):
        try:
            found[key] = kind(str(raw[key]))
            usable = math.isfinite(found[key]) and found[key] >= 0
        except (ValueError, OverflowError):
            usable = False
        if not usable:
            raise PlanError(f"plan_{key} is {repr(raw[key])[:80]}: it has to be {needed}.")
    for key, known in (("kv_type", tuple(TYPES)), ("policy", POLICIES)):
        if raw[key] not in known:
            raise PlanError(f"plan_{key} is {repr(raw[key])[:80]}: it has to be one of {', '.join(known)}.")
    return found
