# SPDX-License-Identifier: MIT
"""What the BIOS seems to be set to, judged from the running system, and what to change.

The rules are data (catalog/bios.yml). A rule has conditions over the facts of facts.py, one sentence each::

    when: [machine is real, cpu is AMD, "nps in 2, 4"]

Operators are ``is``, ``is not``, ``in``, ``>``, ``<``, ``contains`` and, after a name alone, ``is known`` and
``is unknown``. All conditions must hold, and no comparison holds for a fact that is unknown: what Linux does not show
is never claimed. Facts, settings and sentences are checked by ``rule_problems`` before they are used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Optional

from ..memory.document import ChannelAdvice, MemoryChannels
from ..text import rate
from ..tower_document import Tower
from .document import Advice, BiosRule, BiosTable, MemoryRule, SettingAdvice
from .facts import FACTS, Facts, facts, vendor_of

SEVERITIES = ("problem", "advice", "info")

CONDITION = re.compile(r"(?P<fact>\w+) (?P<operator>is not|is|in|contains|>|<) (?P<value>.+)")
PLACEHOLDER = re.compile(r"\{(\w+)\}")


def holds(condition: str, known: Mapping[str, object]) -> bool:
    """Whether a condition is true of the facts. Nothing but ``is unknown`` is true of an unknown one."""
    match = CONDITION.fullmatch(condition)
    if not match:
        raise ValueError(f"{condition!r} is no condition: write a fact, an operator and a value, as in nodes > 8.")
    have, operator, value = known[match["fact"]], match["operator"], match["value"]
    if operator == "is" and value in ("known", "unknown"):
        return (have is None) == (value == "unknown")
    if have is None:
        return False
    if operator in (">", "<"):
        number = float(str(have))
        return number > float(value) if operator == ">" else number < float(value)
    if operator == "contains":
        return value in str(have).split(",")
    among = [part.strip() for part in value.split(",")] if operator == "in" else [value]
    return (str(have) in among) != (operator == "is not")


def _filled(text: Optional[str], known: Facts) -> Optional[str]:
    named: Mapping[str, object] = known
    return PLACEHOLDER.sub(lambda match: str(named[match[1]]), text) if text else text


def _words(text: Optional[str]) -> Optional[str]:
    return " ".join(text.split()) if text else None


def rule_problems(table: Mapping[str, Any]) -> list[str]:
    """What is wrong with what is to be a table of rules, a sentence each: an empty list is a good table."""
    settings = table.get("settings") or {}
    problems = []
    required = {"code", "severity", "when", "message", "fix", "why", "source"}
    optional = {"setting", "current", "recommended", "worth"}
    codes = [rule.get("code") for rule in table.get("rules") or []]
    for rule in table.get("rules") or []:
        name = f"Rule {rule.get('code')!r}"
        for key in sorted(required - rule.keys()):
            problems.append(f"{name} has no {key}.")
        for key in sorted(rule.keys() - required - optional):
            problems.append(f"{name} has {key}, which is none of {', '.join(sorted(required | optional))}.")
        if rule.get("severity") not in SEVERITIES:
            problems.append(f"{name}: its severity is none of {', '.join(SEVERITIES)}.")
        if codes.count(rule.get("code")) > 1:
            problems.append(f"{name} is there {codes.count(rule.get('code'))} times.")
        if rule.get("setting") and rule["setting"] not in settings:
            problems.append(f"{name}: there is no setting {rule['setting']}.")
        conditions = [str(condition) for condition in rule.get("when") or []]
        matches = [CONDITION.fullmatch(condition) for condition in conditions]
        for condition, match in zip(conditions, matches):
            if not match:
                problems.append(f"{name}: {condition!r} is not a fact, an operator and a value.")
            elif match["operator"] in "><" and not re.fullmatch(r"\d+(\.\d+)?", match["value"]):
                problems.append(f"{name}: {condition!r} compares with what is no number.")
        # A sentence may only name what a condition has made sure of.
        sure = {match["fact"] for match in matches if match and match["value"] != "unknown"}
        named = {match["fact"] for match in matches if match}
        told = {key: rule.get(key) for key in ("message", "fix", "current", "recommended", "worth")}
        for key, text in told.items():
            for fact in PLACEHOLDER.findall(str(text or "")):
                named.add(fact)
                if fact in FACTS and fact not in sure:
                    problems.append(f"{name}: its {key} names {{{fact}}}, which no condition makes sure of.")
        problems += [f"{name}: there is no fact {fact}." for fact in sorted(named - set(FACTS))]
    return problems


def advise(
    tower: Tower, channels: Optional[MemoryChannels], table: BiosTable, most: str = "info"
) -> list[SettingAdvice]:
    """What to change, the most severe first; the advice of memory_channels_info is among it.

    ``most`` leaves out what is less severe. Raises ValueError for a table that is wrong.
    """
    problems = rule_problems(table)
    if problems:
        raise ValueError(" ".join(problems))
    known, vendor = facts(tower, channels), vendor_of(tower)
    found = [_explained(entry, table, vendor) for entry in (channels["advice"] if channels else [])]
    found += [
        _ruled(rule, table, vendor, known)
        for rule in table.get("rules") or []
        if all(holds(str(condition), known) for condition in rule["when"])
    ]
    found = [entry for entry in found if SEVERITIES.index(entry["severity"]) <= SEVERITIES.index(most)]
    return sorted(found, key=lambda entry: (SEVERITIES.index(entry["severity"]), -(entry["gb_s"] or 0)))


def memory_advice(entry: ChannelAdvice) -> Advice:
    """What memory_channels_info advises, as all other advice is."""
    return {
        "severity": entry["severity"],
        "code": entry["code"],
        "message": entry["message"],
        "fix": entry["fix"],
        "command": False,
        "gb_s": entry["gb_s"],
        "gain": None,
        "worth": rate(entry["gb_s"]) if entry["gb_s"] else None,
        "where": None,
        "why": None,
        "source": None,
    }


def _explained(entry: ChannelAdvice, table: BiosTable, vendor: Optional[str]) -> SettingAdvice:
    """Advice of the memory with the table's reason and setting."""
    about: MemoryRule = (table.get("memory") or {}).get(entry["code"]) or {}
    # What is only told, such as DIMMs faster than their CPU, has nothing to set.
    mend: MemoryRule = about if entry["severity"] != "info" else {}
    return {
        **memory_advice(entry),
        "visible": True,
        "current": None,
        "recommended": mend.get("recommended"),
        "why": _words(about.get("why")),
        "source": about.get("source"),
        "where": _where(mend.get("setting"), table, vendor),
    }


def _ruled(rule: BiosRule, table: BiosTable, vendor: Optional[str], known: Facts) -> SettingAdvice:
    """What a rule says of a tower for which it holds."""
    return {
        "severity": rule["severity"],
        "code": rule["code"],
        "message": _words(_filled(rule["message"], known)) or "",
        "fix": _words(_filled(rule["fix"], known)),
        "command": False,
        "gb_s": None,
        "gain": None,
        "visible": "current" in rule,
        "current": _filled(rule.get("current"), known),
        "recommended": _filled(rule.get("recommended"), known),
        "why": _words(rule["why"]),
        "source": rule["source"],
        "where": _where(rule.get("setting"), table, vendor),
        "worth": _words(_filled(rule.get("worth"), known)),
    }


def _where(name: Optional[str], table: BiosTable, vendor: Optional[str]) -> Optional[str]:
    """What this vendor calls a setting; what most call it where the vendor is unknown."""
    setting = (table.get("settings") or {}).get(name or "")
    if not setting:
        return None
    return str((setting.get("where") or {}).get(vendor or "") or setting["name"])
