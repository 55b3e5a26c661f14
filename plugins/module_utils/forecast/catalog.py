# SPDX-License-Identifier: MIT
"""What is compared: models and machines of the catalog, models of the hub or of the disk, and towers as they are.

The catalog is written by hand: a memory in gigabytes instead of bytes, a misspelled key or a price below zero gets one
sentence that names it, not a figure that looks right.
"""

from __future__ import annotations

import math
import re
from typing import Any, Callable, NamedTuple

from ..benchmark.document import SCHEMA_VERSION as RUN_VERSION
from ..memory.cpus import cpu_memory
from ..memory.document import MemoryChannels
from ..model.document import ModelEntry, ResolvedModel
from ..text import clean
from ..tower import cpu_signature
from ..tower_document import Tower
from .document import TowerEntry

# Bits a weight of whole files of large models. Q6_K: 210 bytes for 256 weights; the mixtures as bartowski's files of
# Llama 3.1 70B have them (size x 8 / 70.55e9).
BITS = {
    "F16": 16.0,
    "Q8_0": 8.5,
    "Q6_K": 6.5625,
    "Q5_K_M": 5.66,
    "Q4_K_M": 4.82,
    "IQ4_XS": 4.29,
    "Q3_K_M": 3.88,
    "Q2_K": 2.99,
}


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
    known = isinstance(value, dict) and "price_usd" in value and PRICE.holds(value["price_usd"])
    return known and ("gb" not in value or _whole(value["gb"], 1, 2**20))


PARTS = Field(
    "a list of parts, each with a price_usd, a number from 0 on or null, and a gb above 0 where it is memory",
    lambda value: isinstance(value, list) and all(map(_priced, value)),
)
MEMORY_PRICE = {
    "usd_per_gb": _amount(),
    "date": Field("a day, as 2026-01-31", lambda value: re.fullmatch(r"\d{4}-\d\d-\d\d", str(value)) is not None),
    "source": TEXT,
}
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
        "most": _count(1, 2**16)._replace(optional=True),
        "watts": _amount(),
        "price_usd": PRICE,
        "host": HOST,
    },
    "disk": {"gb_s": _amount(), "watts": _amount(null=True), "parts": PARTS},
}
GEOMETRY = ("elements", "window_elements", "window", "state_bytes")


def _geometry(value: dict[str, Any]) -> bool:
    compressed = value.get("compressed", [])
    return (
        all(_whole(value.get(key), 0, 2**60) for key in GEOMETRY)
        and isinstance(compressed, list)
        and all(
            isinstance(cache, dict) and _whole(cache.get("ratio"), 1, 2**20) and _whole(cache.get("elements"), 0, 2**60)
            for cache in compressed
        )
    )


MODEL = {
    "parameters": _count(1, 2**60),
    "bytes": _count(1, 2**60),
    "active_bytes": _count(1, 2**60),
    "layers": _count(1, 2**16),
    "context": _count(1, 2**32, null=True),
    "active_parameters": _count(1, 2**60, null=True)._replace(optional=True),
    "kv": Field(
        f"null, or {', '.join(GEOMETRY)}, each a whole number from 0 on, and compressed, a list of ratio and elements",
        lambda value: value is None or (isinstance(value, dict) and _geometry(value)),
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


def memory_problems(memory: Any) -> list[str]:
    """What is wrong with the price of memory in the catalog; it may be missing."""
    if memory is None:
        return []
    if not isinstance(memory, dict):
        return ["The memory in the catalog has to be usd_per_gb, date and source."]
    return _problems(memory, MEMORY_PRICE, "the memory in the catalog")


def catalog_problems(models: Any, machines: Any, memory: Any = None) -> list[str]:
    """A sentence for each thing in the catalog that cannot be used."""
    found: list[str] = []
    for entries, name, problems in (
        (models, "model", model_problems),
        (machines, "machine", machine_problems),
    ):
        if not isinstance(entries, list):
            found.append(f"The catalog has no list of {name}s: see {name}s in the catalog of this project.")
            continue
        for number, entry in enumerate(entries, 1):
            if not isinstance(entry, dict) or not TEXT.holds(entry.get("name")):
                found.append(f"Entry {number} of the {name}s in the catalog has no name: give it one.")
            else:
                found += problems(entry, f"the {name} {entry['name']}")
    return [f"{text[:1].upper()}{text[1:]}" for text in [*found, *memory_problems(memory)]]


def quantized(entry: ModelEntry, kind: str) -> ModelEntry:
    """A model of the catalog in another type: as large as its ``types`` say, else its sizes follow the bits a weight.

    Rows that are no multiple of 256 fall back to a larger type in every type with blocks of 256 weights, so that from
    one of these to another the sizes keep their ratio: GLM-4.5-Air in Q4_K_M has 72 GB, and by the bits alone 64.
    """
    if kind == entry.get("quantization"):
        return entry
    sizes = entry.get("types", {}).get(kind)
    if sizes:
        told: ModelEntry = {**entry, "bytes": sizes["bytes"], "active_bytes": sizes["active_bytes"]}
        return {**told, "name": f"{entry['name']}:{kind}", "quantization": kind}
    if kind not in BITS:
        known = ", ".join([*BITS, *(name for name in entry.get("types", {}) if name not in BITS)])
        raise PlanError(f"The type {kind} is not known: name one of {known}.")
    files = str(entry.get("files"))
    if "MXFP4" in files.upper():
        raise PlanError(f"{entry['name']} is only made in MXFP4, and no other type makes it smaller: leave {kind} out.")
    if "Q6_K" in files and kind not in ("F16", "Q8_0"):
        part = BITS[kind] / BITS["Q6_K"]
    else:
        part = BITS[kind] * entry["parameters"] / 8 / entry["bytes"]
    return {
        **entry,
        "name": f"{entry['name']}:{kind}",
        "bytes": round(entry["bytes"] * part),
        "active_bytes": round(entry["active_bytes"] * part),
        "quantization": kind,
    }


def from_source(resolved: ResolvedModel) -> ModelEntry:
    """A model that model_source_info resolved, like one of the catalog."""
    header = resolved["gguf"]
    return {
        "name": resolved["name"],
        "bytes": resolved["bytes"],
        "parameters": header["parameters"],
        "active_bytes": header["active_bytes"],
        "layers": header["block_count"],
        "experts": bool(header["expert_count"]),
        "context": header["context_length"],
        "kv": header["kv"],
        "quantization": header.get("quantization"),
        "compute": header.get("compute"),
    }


def _known(run: Any) -> bool:
    return isinstance(run, dict) and run.get("schema_version") == RUN_VERSION


def from_tower(host: str, tower: Tower, memory_channels: MemoryChannels, runs: list[Any]) -> TowerEntry:
    """A tower of the inventory, like a machine of the catalog; ``runs`` are its benchmarks (benchmark/document.py)."""
    return {
        "name": host,
        "title": clean(f"{host}: {tower['cpu']['model'] or 'unknown CPU'}"),
        "kind": "tower",
        "cores": tower["cores"],
        "memory_bytes": tower["memory_bytes"] or 0,
        "memory_channels": memory_channels,
        "guest": bool(tower.get("hypervisor")),
        "signature": cpu_signature(tower),
        "runs": [run for run in runs if _known(run)],
    }
