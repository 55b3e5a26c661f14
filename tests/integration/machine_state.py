# SPDX-License-Identifier: MIT
"""What a machine is before the first run and after the last, as tests/machine_state prints it."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path, PurePosixPath

from tests.integration.vm_site import REPO

PROGRAM = (REPO / "tests/machine_state").read_text()


def stays() -> list[str]:
    """The patterns of paths that docs/operations.md says to differ after everything was removed."""
    page = Path(REPO / "docs/operations.md").read_text()
    table = page.partition("| What stays | Why |")[2].partition("\n\n")[0]
    rows = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall("`(/[^`]+)`", row)]


def within(line: str, patterns: list[str]) -> bool:
    """Whether a line is of a path of these patterns, or of what is below one."""
    path = PurePosixPath(line.split(" ", 1)[0])
    return any(fnmatch.fnmatch(str(part), pattern) for part in [path, *path.parents] for pattern in patterns)


def differences(before: str, after: str, patterns: list[str]) -> list[str]:
    """What differs elsewhere: a line with - was there before, one with + is there now."""
    old, new = (set(text.splitlines()) for text in (before, after))
    changed = [*(f"-{line}" for line in old - new), *(f"+{line}" for line in new - old)]
    return sorted((line for line in changed if not within(line[1:], patterns)), key=lambda line: line[1:])
