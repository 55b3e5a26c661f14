# SPDX-License-Identifier: MIT
"""What a vendor calls a BIOS setting: the attribute and the value that are meant, and what locks them.

Vendors spell attributes and values in ways of their own, and some not at all (``Rome0075``), so settings are found by
what the attribute registry displays; patterns are in catalog/bios.yml. A board whose registry has no match, or more
than one, gets the candidates listed and no write. Documents are those of DMTF's Bios and AttributeRegistry schemas, as
their vendors really write them: values may be numbers, or objects with ``current_value``, and anything may be null.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Optional

from .connection import mapping, objects

# What lists a few attributes that could be meant where none or several match.
MOST_CANDIDATES = 8


class Attribute(NamedTuple):
    """An attribute of a BIOS. ``choices`` are (value, shown): none where no registry describes it."""

    name: str
    display: str
    choices: list[tuple[Any, str]]
    current: Any
    hidden: bool
    cold: bool


def words(text: str) -> str:
    """A name in any vendor's spelling as words: ``NUMANodesPerSocket_703E`` is ``numa nodes per socket``."""
    text = re.sub(r"_[0-9A-F]{4}$", "", text)
    text = re.sub(
        r"([a-z])([A-Z])|([A-Z])([A-Z][a-z])", lambda found: f"{found[1] or found[3]} {found[2] or found[4]}", text
    )
    return " ".join(re.sub(r"[^a-z0-9]+", " ", text.lower()).split())


def plain(value: Any) -> Any:
    """The value itself, where a vendor wraps it in an object."""
    return value.get("current_value", value.get("CurrentValue")) if isinstance(value, dict) else value


def same(one: Any, other: Any) -> bool:
    """Whether two values are one: registries write numbers as text, and the other way around."""
    return str(one).lower() == str(other).lower()


def typed(value: Any, like: Any) -> Any:
    """A value in the type that the board itself has: registries write numbers as text, and YAML text as numbers."""
    text = str(value)
    if isinstance(like, bool):
        return {"true": True, "false": False}.get(text.lower(), value)
    if isinstance(like, int):
        return int(text) if re.fullmatch(r"-?\d+", text) else value
    return text if isinstance(like, str) else value


def _true(condition: dict[str, Any], values: dict[str, Any], properties: dict[str, Any]) -> bool:
    """One condition of a dependency, on current values or on properties that the registry gives."""
    name, wanted = condition.get("MapFromAttribute"), condition.get("MapFromValue")
    if (condition.get("MapFromProperty") or "CurrentValue") == "CurrentValue":
        have = values.get(str(name))
    else:
        have = properties.get(str(name), {}).get(str(condition["MapFromProperty"]))
    kind = condition.get("MapFromCondition") or "EQU"
    if have is None:  # registries serve several machines, and not every attribute is in each
        return False
    if kind in ("EQU", "NEQ"):
        return bool(same(have, wanted) == (kind == "EQU"))
    try:
        number, limit = float(str(have)), float(str(wanted))
    except ValueError:
        return False
    if kind not in ("GTR", "GEQ", "LSS", "LEQ"):
        return False
    return {"GTR": number > limit, "GEQ": number >= limit, "LSS": number < limit, "LEQ": number <= limit}[kind]


def locks(registry: dict[str, Any], values: dict[str, Any]) -> dict[str, str]:
    """Attributes that cannot be written -> by what: read-only ones, and those that others gray out or hide."""
    entries = mapping(registry.get("RegistryEntries"))
    properties = {str(entry.get("AttributeName")): entry for entry in objects(entries.get("Attributes"))}
    found = {}
    for name, entry in properties.items():
        if entry.get("ReadOnly") or entry.get("Immutable"):
            found[name] = "the BIOS, which has it read-only"
        elif entry.get("GrayOut") or entry.get("Hidden"):
            found[name] = "the BIOS, which grays it out"
    for rule in objects(entries.get("Dependencies")):
        dependency = mapping(rule.get("Dependency"))
        conditions = objects(dependency.get("MapFrom"))
        if dependency.get("MapToProperty") not in ("ReadOnly", "GrayOut", "Hidden") or not conditions:
            continue
        true = _true(conditions[0], values, properties)
        for condition in conditions[1:]:
            another = _true(condition, values, properties)
            true = (true or another) if condition.get("MapTerms") == "OR" else (true and another)
        if true:
            name, holder = str(dependency.get("MapToAttribute")), str(conditions[0].get("MapFromAttribute"))
            if dependency.get("MapToValue"):
                found[name] = f"{holder}, which is {values.get(holder)}"
            else:
                found.pop(name, None)
    return found


def attributes(bios: dict[str, Any], registry: Optional[dict[str, Any]]) -> list[Attribute]:
    """The attributes of a BIOS, as its registry describes them where it does."""
    entries = mapping(mapping(registry).get("RegistryEntries")).get("Attributes")
    described = {str(entry.get("AttributeName")): entry for entry in objects(entries)}
    found = []
    for name, raw in mapping(bios.get("Attributes")).items():
        entry = described.get(name) or {}
        choices = [
            (value.get("ValueName"), str(value.get("ValueDisplayName") or value.get("ValueName")))
            for value in objects(entry.get("Value"))
            if value.get("ValueName") is not None
        ]
        if not choices and entry.get("Type") == "Boolean":
            choices = [(True, "true"), (False, "false")]
        kind = (raw.get("reset_type") if isinstance(raw, dict) else None) or entry.get("ResetType") or ""
        cold = "cold" in str(kind).lower() or "power cycle" in str(entry.get("HelpText", "")).lower()
        display, hidden = str(entry.get("DisplayName") or name), bool(entry.get("Hidden"))
        found.append(Attribute(name, display, choices, plain(raw), hidden, cold))
    return found


def _matches(pattern: str, known: list[Attribute]) -> list[Attribute]:
    """Attributes that a pattern fits by what is displayed or, where that fits none, by their names."""
    shown = [attribute for attribute in known if re.fullmatch(pattern, words(attribute.display))]
    found = shown or [attribute for attribute in known if re.fullmatch(pattern, words(attribute.name))]
    # Registries have one attribute of that name for each generation of CPU, and hide all but this machine's.
    return [attribute for attribute in found if not attribute.hidden] or found


def choice(attribute: Attribute, patterns: list[str]) -> Any:
    """The attribute's value that the first fitting pattern means; None where none does."""
    for pattern in patterns:
        for value, shown in attribute.choices:
            # Some repeat the name of the attribute in front of each of its values.
            bare = str(value)[len(attribute.name) :] if str(value).startswith(attribute.name) else str(value)
            if any(re.fullmatch(pattern, words(text)) for text in (bare, shown)):
                return typed(value, attribute.current)
    return None


def meanings(targets: dict[str, Any], spellings: dict[str, Any], known: list[Attribute]) -> dict[str, Any]:
    """The settings that attributes stand for: of ``{"Rome0075": "NPS1"}`` they are ``{"nodes_per_socket": 1}``.

    Auto stands for nothing: what it is differs from board to board.
    """
    found = {}
    for setting, entry in spellings.items():
        for one in entry.get("redfish") or []:
            for attribute in _matches(one["match"], known):
                value = targets.get(attribute.name)
                for logical, patterns in one["values"].items():
                    meant = [choice(attribute, [pattern]) for pattern in patterns if pattern != "auto"]
                    if value is not None and any(same(value, each) for each in meant):
                        found[setting] = logical
    return found


def _nearest(setting: str, known: list[Attribute]) -> str:
    """Attributes whose words the name of a setting shares, for a person to choose from."""
    mine = set(setting.split("_")) - {"per", "as"}
    rated = sorted(
        known, key=lambda attribute: -len(mine & set(words(f"{attribute.display} {attribute.name}").split()))
    )
    near = [one for one in rated if mine & set(words(f"{one.display} {one.name}").split())][:MOST_CANDIDATES]
    return ", ".join(f"{one.name} ({one.display})" for one in near) or "none that is like it"


def _undescribed(name: str) -> str:
    return (
        f"No attribute registry of this BMC tells the values of {name}: give the one that is meant in bios_attributes."
    )


def resolve(
    setting: str, wanted: Any, spellings: dict[str, Any], known: list[Attribute]
) -> tuple[Optional[Attribute], Any, str]:
    """The attribute and value that a setting means on this board; or None, None and why nothing can be written."""
    spelling = (spellings.get(setting) or {}).get("redfish")
    if not spelling:
        names = ", ".join(sorted(name for name, entry in spellings.items() if entry.get("redfish")))
        return None, None, f"{setting} is not a setting that can be written: choose from {names}."
    for one in spelling:
        matches = _matches(one["match"], known)
        if len(matches) > 1:
            listed = ", ".join(f"{match.name} ({match.display})" for match in matches)
            return None, None, f"{setting} could be any of {listed}: name the one that is meant in bios_attributes."
        if matches:
            values = {str(key).lower(): patterns for key, patterns in one["values"].items()}
            patterns = values.get(str(wanted).lower())
            if patterns is None:
                return None, None, f"{setting} cannot be {wanted}: choose from {', '.join(values)}."
            value = choice(matches[0], patterns)
            if value is None:
                name = f"{matches[0].name} ({matches[0].display})"
                shown = ", ".join(shown for _value, shown in matches[0].choices)
                why = f"{name} has no value that means {wanted}: it has {shown}."
                return None, None, why if shown else _undescribed(name)
            return matches[0], value, ""
    return (
        None,
        None,
        f"This board has no {setting} by a name that is known; its attributes like it: {_nearest(setting, known)}.",
    )


def resolve_exact(name: str, wanted: Any, known: list[Attribute]) -> tuple[Optional[Attribute], Any, str]:
    """The same of an attribute by the board's own name, and a value as it spells that or nearly so."""
    attribute = next((one for one in known if one.name == name), None)
    if attribute is None:
        near = _nearest(words(name).replace(" ", "_"), known)
        return None, None, f"This board has no attribute {name}; those like it: {near}."
    if attribute.choices:
        allowed = [value for value, _shown in attribute.choices if same(wanted, value)]
        if not allowed:
            listed = ", ".join(str(value) for value, _shown in attribute.choices)
            return None, None, f"{name} cannot be {wanted}: it has {listed}."
        wanted = allowed[0]
    return attribute, typed(wanted, attribute.current), ""
