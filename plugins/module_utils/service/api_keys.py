# SPDX-License-Identifier: MIT
"""The file of the API keys: which keys the server takes, and what stands in the file.

llama-server reads it line by line (llama.cpp common/arg.cpp, --api-key-file): an empty line and one that begins with #
are no keys, and of a file without keys it makes a server that asks for none. Everything else of a line is the key.
"""

from __future__ import annotations

import re
from typing import Any, Optional

# A client sends a key as a header, which keeps no blank at its ends, and no more than ASCII for sure.
KEY = re.compile(r"(?!#)[!-~]+")
NAME = re.compile(r"\w[\w.@+ -]*")
# The comment above a key that nobody gave; a name has no brackets.
GENERATED = "# (generated)"


def key_problems(given: Optional[list[dict[str, Any]]]) -> list[str]:
    """Why the keys of llama_service_api_keys cannot be used, without a word of the keys themselves; [] where they can.

    A wrong name is not said either: it may be a key in the wrong place.
    """
    problems = []
    names: list[str] = []
    keys: list[str] = []
    for number, entry in enumerate(given or [], 1):
        name, key = (str(entry.get(part) or "") for part in ("name", "key"))
        if not NAME.fullmatch(name):
            problems.append(
                f"The name of API key {number} in llama_service_api_keys is empty or no plain name: letters, digits, "
                "blanks and . @ + - _ can be in one."
            )
        elif name in names:
            problems.append(f"Two of llama_service_api_keys have the name {name}: give each its own.")
        if not KEY.fullmatch(key):
            problems.append(
                f"API key {number} in llama_service_api_keys would not be read as a key by llama-server: it must not "
                "be empty or begin with #, and have ASCII letters, digits and signs only, without blanks and line ends."
            )
        elif key in keys:
            problems.append(f"API key {number} in llama_service_api_keys is there twice: give each client its own.")
        names.append(name)
        keys.append(key)
    return problems


def read_keys(text: str) -> list[str]:
    """The keys of a file as the server reads them."""
    return [line for line in text.split("\n") if line and not line.startswith("#")]


def named_keys(text: str) -> dict[str, str]:
    """The keys of a file by their names, those of the comments above them; ``generated`` is one that nobody gave."""
    found: dict[str, str] = {}
    above = ""
    for line in text.split("\n"):
        if line and not line.startswith("#"):
            name = "generated" if above == GENERATED else above[1:].strip() if above.startswith("#") else ""
            found[name or f"key {len(found) + 1}"] = line
        above = line
    return found


def key_file(given: list[dict[str, Any]], present: str, fresh: str, rotate: bool = False) -> str:
    """The file for the keys that are given, or for one that is generated where none is: the present one, which has
    its comment, or ``fresh``.

    What is neither given nor generated is not in it any more: a key is taken back by removing it.
    """
    if given:
        return "".join(f"# {entry['name']}\n{entry['key']}\n" for entry in given)
    lines = present.split("\n")
    kept = [below for above, below in zip(lines, lines[1:]) if above == GENERATED and KEY.fullmatch(below)]
    return f"{GENERATED}\n{fresh if rotate or not kept else kept[0]}\n"
