# SPDX-License-Identifier: MIT
"""Which entry of the catalog a name means, as people write it: ``Llama 3.1 405B``, ``Kimi K2``, ``glm4.6:Q4_K_M``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Optional, TypeVar, Union

from ..model.document import ModelEntry
from ..text import clean
from .catalog import PlanError, quantized
from .document import MachineEntry

Entry = TypeVar("Entry", ModelEntry, MachineEntry)
# A list, or one text with commas.
Names = Union[list[str], str, None]

# Words that name no other model where they are missing, or are there: of repositories, and what it was tuned for.
FILLERS = {"a", "chat", "gguf", "instruct", "it", "meta", "model", "one", "the"}
TYPE = re.compile(r"(?:\s*:\s*|[\s-]+)((?:UD-)?(?:I?Q|BF|F|MXFP)\d\w*)\s*$", re.I)
OFFERED = 5


def listed(names: Names) -> list[str]:
    """One name, or several with commas between them, is what ``-e plan_models=NAME`` gives."""
    parts = names if isinstance(names, list) else str(names or "").split(",")
    return [text for text in (str(part).strip() for part in parts) if text]


def words(text: str) -> set[str]:
    """``Llama-3.1_405B`` and ``llama3.1 405b`` have the same: llama, 3.1, 405b."""
    return set(re.findall(r"[a-z]+|\d+(?:\.\d+)*[a-z]*", text.lower()))


def nearest(text: str, known: Iterable[str]) -> list[str]:
    """The names that are most like a text, the nearest first."""

    def squashed(name: str) -> str:
        return re.sub(r"[^a-z0-9.]", "", name.lower())

    def likeness(name: str) -> float:
        shared = len(words(text) & words(name)) / max(1, len(words(text)))
        return shared + difflib.SequenceMatcher(None, squashed(text), squashed(name)).ratio()

    return sorted(dict.fromkeys(known), key=likeness, reverse=True)[:OFFERED]


def _words_of(entry: ModelEntry | MachineEntry) -> set[str]:
    """Of a model those of its name, of a machine also those of what it is."""
    return words(entry["name"]) | words(str({**entry}.get("title") or ""))


def matching(text: str, entries: Sequence[Entry]) -> list[Entry]:
    """The entries that a name can mean: that of this name, else those that have all of its words; where one of several
    has no other word, that one."""
    named = [entry for entry in entries if entry["name"] == text]
    if named:
        return named[:1]
    wanted = words(text.rpartition("/")[2]) - FILLERS
    found = [entry for entry in entries if wanted and wanted <= _words_of(entry)]
    exact = [entry for entry in found if words(entry["name"]) - FILLERS == wanted]
    return exact if len(exact) == 1 else found


def name_problem(text: str, found: Sequence[Entry], entries: Sequence[Entry], what: str) -> Optional[str]:
    """Why a name is not that of one entry; None where it is."""
    if len(found) == 1:
        return None
    if found:
        return f"{clean(text)} may be {', '.join(entry['name'] for entry in found)}: name one of these {what}s."
    near = ", ".join(nearest(text, (entry["name"] for entry in entries)))
    return f"There is no {what} {clean(text)} in the catalog: the nearest are {near}."


def choose_model(text: str, entries: Sequence[ModelEntry]) -> ModelEntry:
    """The model of a name; with a type behind it, that model in that type. Raises PlanError."""
    found, kind = matching(text, entries), ""
    typed = TYPE.search(text)
    if not found and (typed or ":" in text):
        base, kind = (text[: typed.start()], typed.group(1).upper()) if typed else tuple(text.split(":", 1))
        found = matching(base, entries)
        text = base
    problem = name_problem(text, found, entries, "model")
    if problem:
        raise PlanError(problem)
    return quantized(found[0], kind.strip()) if kind else found[0]
