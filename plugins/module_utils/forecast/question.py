# SPDX-License-Identifier: MIT
"""What is asked of a plan, from the command line or from a play: which models, which machines, and for what use.

Everything that is wrong with a question is told at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple, Optional

from ..model.document import ModelEntry
from ..model.kv_cache import TYPES
from ..service.numa_policy import POLICIES
from ..text import clean
from .catalog import PlanError, catalog_problems
from .cpu_cores import family_of
from .document import MachineEntry, MemoryPrice, Options
from .names import choose_model, listed, matching, name_problem
from .own_machine import looks_like_one, own_machine
from .prices import dollars

MOST_USERS = 256


class Number(NamedTuple):
    """How a number is read of a text, and what it has to be."""

    read: Callable[[str], Optional[float]]
    holds: Callable[[float], bool]
    needed: str
    optional: bool = False


NUMBERS = {
    "context": Number(int, lambda value: value >= 0, "a whole number of tokens from 0 on, as 32768"),
    "price_kwh": Number(float, lambda value: value >= 0, "dollars for a kilowatt-hour, a number from 0 on, as 0.30"),
    "users": Number(int, lambda value: 1 <= value <= MOST_USERS, f"a whole number from 1 to {MOST_USERS}, as 4"),
    "years": Number(float, lambda value: value > 0, "years, a number above 0, as 3"),
    "budget": Number(dollars, lambda value: value > 0, "dollars, a number above 0, as 6000", optional=True),
    "memory_price": Number(
        dollars, lambda value: value > 0, "dollars for a GB, a number above 0, as 18.8", optional=True
    ),
}
CHOICES = {"kv_type": tuple(TYPES), "policy": POLICIES}


class Question(NamedTuple):
    """The models and machines of the catalog that are asked for, all where none is named, and what for."""

    models: list[ModelEntry]
    machines: list[MachineEntry]
    options: Options
    memory: Optional[MemoryPrice]


def as_typed(value: Any, name: str, arguments: Sequence[str]) -> Any:
    """A text as it was given by ``-e NAME=VALUE``: the shell takes the quotes, and Ansible ends the value at its first
    space."""
    for argument in reversed(arguments):
        found = re.search(rf"(?:^|\s){name}=(.+?)(?=\s+\w+=|\s*$)", argument)
        if found and isinstance(value, str) and found[1].startswith(value):
            return found[1]
    return value


def _number(raw: Any, number: Number) -> Optional[float]:
    try:
        value = number.read(str(raw))
        return value if value is not None and math.isfinite(value) and number.holds(value) else None
    except (ValueError, OverflowError):
        return None


def _options(raw: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Of the options those that can be used, and a sentence for each other. Numbers may be text."""
    found: dict[str, Any] = {}
    problems: list[str] = []
    for key, number in NUMBERS.items():
        given = raw.get(key)
        found[key] = None if number.optional and given in (None, "") else _number(given, number)
        if found[key] is None and not (number.optional and given in (None, "")):
            problems.append(f"plan_{key} is {repr(given)[:80]}: it has to be {number.needed}.")
    for key, known in CHOICES.items():
        found[key] = raw.get(key)
        if found[key] not in known:
            problems.append(f"plan_{key} is {repr(raw.get(key))[:80]}: it has to be one of {', '.join(known)}.")
    return found, problems


def _machine(text: str, entries: list[MachineEntry]) -> tuple[list[MachineEntry], list[str]]:
    found = matching(text, entries)
    if len(found) == 1:
        return found, []
    if looks_like_one(text) or (not found and family_of(text)):
        own, problems = own_machine(text)
        return ([own] if own else []), problems
    problem = name_problem(text, found, entries, "machine")
    return found, [problem] if problem else []


def question(models: Any, machines: Any, names: dict[str, Any], raw: dict[str, Any]) -> Question:
    """What is meant by what was given: ``names`` has model, models, machine and machines, ``raw`` the options, the
    catalog's price of ``memory``, and the day (``today``). Raises PlanError, with a sentence for each thing that is
    wrong."""
    found, problems = _options(raw)
    problems += catalog_problems(models, machines, raw.get("memory"))[:8]
    chosen: list[ModelEntry] = []
    boxes: list[MachineEntry] = []
    # One name may have commas in it: a machine in one line.
    wanted = [*([str(names["model"]).strip()] if names.get("model") else []), *listed(names.get("models"))]
    asked = [*([str(names["machine"]).strip()] if names.get("machine") else []), *listed(names.get("machines"))]
    if isinstance(models, list) and isinstance(machines, list):
        entries: list[Any] = [entry for entry in models if isinstance(entry, dict) and entry.get("name")]
        known: list[Any] = [entry for entry in machines if isinstance(entry, dict) and entry.get("name")]
        for text in wanted:
            try:
                chosen.append(choose_model(text, entries))
            except PlanError as error:
                problems.append(str(error))
        for text in asked:
            found_machines, wrong = _machine(text, known)
            boxes += found_machines
            problems += wrong
    if problems:
        raise PlanError(" ".join(map(clean, problems)))
    memory: Optional[MemoryPrice] = raw.get("memory")
    price = found.pop("memory_price")
    if price is not None:
        memory = {"usd_per_gb": price, "date": str(raw["today"]), "source": "plan_memory_price"}
    elif memory is not None:
        memory = {**memory, "date": str(memory["date"])}
    options: Options = {
        "context": found["context"],
        "kv_type": found["kv_type"],
        "policy": found["policy"],
        "price_kwh": found["price_kwh"],
        "users": found["users"],
        "years": found["years"],
        "budget": found["budget"],
    }
    return Question(chosen if wanted else models, boxes if asked else machines, options, memory)
