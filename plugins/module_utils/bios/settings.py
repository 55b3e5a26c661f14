# SPDX-License-Identifier: MIT
"""BIOS settings over Redfish: find what a vendor calls a setting, and plan the fewest writes.

Vendors spell attributes and values in ways of their own, and some not at all (``Rome0075``), so settings are found by
what the attribute registry displays; patterns are in catalog/bios.yml. A board whose registry has no match, or more
than one, gets the candidates listed and no write. Documents are those of DMTF's Bios and AttributeRegistry schemas, as
their vendors really write them: values may be numbers, or objects with ``current_value``.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Optional

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
    if condition.get("MapFromProperty", "CurrentValue") == "CurrentValue":
        have = values.get(str(name))
    else:
        have = properties.get(str(name), {}).get(condition["MapFromProperty"])
    kind = condition.get("MapFromCondition", "EQU")
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
    entries = registry.get("RegistryEntries") or {}
    properties = {str(entry["AttributeName"]): entry for entry in entries.get("Attributes") or []}
    found = {}
    for name, entry in properties.items():
        if entry.get("ReadOnly") or entry.get("Immutable"):
            found[name] = "the BIOS, which has it read-only"
        elif entry.get("GrayOut") or entry.get("Hidden"):
            found[name] = "the BIOS, which grays it out"
    for rule in entries.get("Dependencies") or []:
        dependency = rule.get("Dependency") or {}
        conditions = dependency.get("MapFrom") or []
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
    entries = ((registry or {}).get("RegistryEntries") or {}).get("Attributes") or []
    described = {str(entry.get("AttributeName")): entry for entry in entries}
    found = []
    for name, raw in (bios.get("Attributes") or {}).items():
        entry = described.get(name) or {}
        choices = [
            (value.get("ValueName"), str(value.get("ValueDisplayName") or value.get("ValueName")))
            for value in entry.get("Value") or []
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


def plan(
    bios: dict[str, Any],
    pending: Optional[dict[str, Any]],
    registry: Optional[dict[str, Any]],
    wanted: dict[str, Any],
    spellings: dict[str, Any],
    exact: Optional[dict[str, Any]] = None,
    written: Optional[dict[str, Any]] = None,
) -> dict[str, Any]:
    """What to write so that the BIOS gets the wanted settings, and what stands in the way.

    ``wanted`` is setting -> value, ``exact`` attribute -> value as the board spells them, ``spellings`` the settings of
    catalog/bios.yml, ``pending`` the settings object (None where it cannot be read; then ``written``, what was written
    since the last reset, stands for it). Returns ``settings`` (each with
    setting, attribute, display, current, pending, wanted and state: same, pending, change, locked or unknown),
    ``changes`` (attribute -> value to write), ``previous`` (attribute -> value to go back to), ``others`` (pending
    values that nobody asked for here), ``problems`` (sentences; with one, nothing should be written), ``cold``, and
    ``meanings`` (setting -> value, of all attributes that are wanted).
    """
    known = attributes(bios, registry)
    by_name = {attribute.name: attribute for attribute in known}
    waiting = {name: plain(value) for name, value in ((pending or {}).get("Attributes") or {}).items()}
    if pending is None:
        waiting = dict(written or {})
    result: dict[str, Any] = {
        "settings": [],
        "changes": {},
        "previous": {},
        "others": {},
        "problems": [],
        "cold": False,
        "meanings": {},
    }
    targets: list[tuple[str, Optional[Attribute], Any, str, Any]] = []
    for setting, value in wanted.items():
        targets.append((setting, *resolve(setting, value, spellings, known), value))
    for name, value in (exact or {}).items():
        attribute = by_name.get(name)
        reason = (
            ""
            if attribute
            else f"This board has no attribute {name}; those like it: {_nearest(words(name).replace(' ', '_'), known)}."
        )
        if attribute and attribute.choices:
            allowed = [one for one, _shown in attribute.choices if same(value, one)]
            listed = ", ".join(str(one) for one, _shown in attribute.choices)
            if not allowed:
                attribute, reason = None, f"{name} cannot be {value}: it has {listed}."
            value = allowed[0] if allowed else value
        targets.append((name, attribute, typed(value, attribute.current) if attribute else value, reason, value))
    # What is pending, and what is to be, unlocks and locks as well: the same reset applies all of it.
    targeted = {attribute.name: value for _name, attribute, value, _reason, _asked in targets if attribute}
    current = {attribute.name: attribute.current for attribute in known}
    locked = locks(registry or {}, current | waiting | targeted)
    result["meanings"] = meanings(targeted, spellings, known)
    for setting, attribute, value, reason, asked in targets:
        entry = {
            "setting": setting,
            "attribute": None,
            "display": None,
            "current": None,
            "pending": None,
            "wanted": asked,
        }
        result["settings"].append(entry)
        if attribute is None:
            entry["state"] = "unknown"
            result["problems"].append(reason)
            continue
        next_value = waiting.get(attribute.name, attribute.current)
        entry.update(attribute=attribute.name, display=attribute.display, current=attribute.current, wanted=value)
        entry["pending"] = None if same(next_value, attribute.current) else next_value
        entry["state"] = "same"
        if same(next_value, value):
            if entry["pending"] is not None:
                entry["state"] = "pending"
                result["previous"][attribute.name] = attribute.current
                result["cold"] |= attribute.cold
        elif attribute.name in locked:
            entry["state"] = "locked"
            result["problems"].append(
                f"{attribute.name} ({attribute.display}) is {attribute.current} and locked by "
                f"{locked[attribute.name]}: change that first."
            )
        else:
            entry["state"] = "change"
            result["changes"][attribute.name] = value
            result["previous"][attribute.name] = attribute.current
            result["cold"] |= attribute.cold
    ours = {entry["attribute"] for entry in result["settings"]}
    result["others"] = {
        name: value
        for name, value in waiting.items()
        if name not in ours and name in current and not same(value, current[name])
    }
    return result


def plan_text(planned: dict[str, Any]) -> str:
    """The plan as lines: current value, pending one, wanted one of each setting."""
    lines = []
    for entry in planned["settings"]:
        name = f"{entry['setting']}: " + (f"{entry['display']} ({entry['attribute']}) " if entry["attribute"] else "")
        now = f"is {entry['current']}" + (f", pending {entry['pending']}" if entry["pending"] is not None else "")
        end = {
            "same": "as wanted",
            "pending": "which the next reboot applies",
            "change": f"to be {entry['wanted']}",
            "locked": f"should be {entry['wanted']}, but is locked",
            "unknown": f"should be {entry['wanted']}, but is unknown here",
        }[entry["state"]]
        lines.append(name + (f"{now}, {end}" if entry["attribute"] else end))
    lines += [f"pending by somebody else: {name} = {value}" for name, value in planned["others"].items()]
    return "\n".join(lines + planned["problems"])


def measured_problems(tower: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Where Linux sees something else than the settings ask for; settings that it cannot see are passed over."""
    per_socket = tower["nodes_per_socket"]
    seen = {"smt": tower["smt_active"], "nodes_per_socket": per_socket}
    if wanted.get("snc") is not None:
        seen["snc"] = None if per_socket is None else (per_socket > 1 and per_socket)
    if str(wanted.get("l3_as_numa")).lower() == "true":
        seen.pop("nodes_per_socket")  # the nodes are the caches then
    return [
        f"{setting} should be {wanted[setting]}, and Linux sees {value}: see the plan and the event log of the BMC."
        for setting, value in seen.items()
        if wanted.get(setting) is not None and value is not None and not same(value, wanted[setting])
    ]
