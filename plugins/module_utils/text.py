# SPDX-License-Identifier: MIT
"""Numbers and words as people read them: sizes, durations, figures; and text from a machine, safe for a terminal."""

from __future__ import annotations

import hashlib
import math
import re
import textwrap
import time
import urllib.parse
from typing import Any, Optional

# What is shown in a terminal is a column of labels and a column of text.
WIDTH = 80
LABEL = 11

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]*")


def printable(value: Any) -> str:
    """Text from a machine without control characters and without those that turn the direction of what follows."""
    return "".join(character if character.isprintable() else " " for character in str(value))


def printable_data(value: Any) -> Any:
    """The same of all texts in dictionaries and lists."""
    if isinstance(value, dict):
        return {printable(key): printable_data(part) for key, part in value.items()}
    if isinstance(value, list):
        return [printable_data(part) for part in value]
    return printable(value) if isinstance(value, str) else value


def without_secrets(value: Any) -> Any:
    """All URLs in dictionaries, lists and sentences without what may be a secret: user, password, query, fragment."""
    if isinstance(value, dict):
        return {key: without_secrets(part) for key, part in value.items()}
    if isinstance(value, list):
        return [without_secrets(part) for part in value]
    if not isinstance(value, str) or "://" not in value:
        return value
    # One that is a URL may have blanks that none should have.
    return _bare(value) if URL.match(value) else URL.sub(lambda found: _bare(found[0]), value)


def has_user(url: str) -> bool:
    """Whether a URL has a user name or a password."""
    return "@" in url.partition("://")[2].partition("/")[0]


def _bare(url: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return url.partition("://")[0] + "://"
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def clean(value: Any) -> str:
    """Text from a machine for one line: a terminal must not obey a DMI string."""
    return printable(value).strip()


def first_line(error: BaseException) -> str:
    """What an error says first, or what kind it is where it says nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def tower_names(given: Any, everyone: Optional[list[str]] = None) -> list[str]:
    """The names in a list, or in a text with commas as ``-e`` has it; ``true`` names everyone, where that is allowed.

    A name is looked for in this, and never in a text: ``tower12`` is no consent for tower1.
    """
    parts = given.split(",") if isinstance(given, str) else given if isinstance(given, list) else [given]
    names = [name for name in (str(part).strip() for part in parts) if name]
    return list(everyone) if everyone is not None and "true" in map(str.lower, names) else names


def file_name(host: str) -> str:
    """What the files of a tower are called, without their ending: a report, a record, a copy of its measurements.

    A host's name may have characters that a path gives a meaning, and ``index`` is the page of all towers: such names
    get a part of their digest, so that two hosts never share a file.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", host).lstrip(".")
    if plain == host and host != "index":
        return host
    return f"{plain}-{hashlib.sha256(host.encode()).hexdigest()[:8]}"


def wrapped(label: str, text: str) -> list[str]:
    """Lines of at most ``WIDTH`` characters, the first of which begins with the label."""
    lines = textwrap.wrap(clean(text), WIDTH - LABEL) or [""]
    return [f"{label if not number else '':<{LABEL}}{line}" for number, line in enumerate(lines)]


def size(count: Optional[float]) -> str:
    """Bytes in the unit that people read: ``283 MB``, ``6.2 GB``, ``405.3 GB``, ``1.512 TB``.

    A tenth of a gigabyte is kept, since what is needed is told beside what there is.
    """
    if count is None:
        return "unknown"
    for unit, places in (("B", 0), ("kB", 0), ("MB", 0), ("GB", 1)):
        if round(abs(count), places) < 1000:
            return f"{count:.{places}f} {unit}"
        count /= 1000
    return f"{count:.3f} TB"


def number(value: Optional[float], digits: int = 3) -> str:
    """So many significant figures, without an exponent: ``1,240``, ``2.00``, ``0.0123``; ``-`` for what is unknown."""
    if not value:
        return "-" if value is None else "0"
    rounded = float(f"{value:.{digits}g}")
    places = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(0, places)}f}"


def rate(low: float, high: Optional[float] = None, *, unit: str = "GB/s") -> str:
    """How fast something is, or between what, to three figures: ``38.4 GB/s``, ``1.20 to 1.60 tokens/s``."""
    ends = [number(end) for end in (low, high) if end is not None]
    return f"{' to '.join(dict.fromkeys(ends))} {unit}"


def whole(value: Optional[float]) -> str:
    """A sum of money or watts, as it is: ``1,999``; ``-`` for what is unknown."""
    return "-" if value is None else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Seconds in the unit that people read: ``45 s``, ``12 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def moment(started: str) -> str:
    """A time as documents write it, to the minute: ``2026-01-31 12:00``."""
    return str(started)[:16].replace("T", " ")


def utc(seconds: Optional[float] = None) -> str:
    """A time in seconds since 1970, or now, as documents have it: ``2026-01-31T12:00:00Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
