# SPDX-License-Identifier: MIT
"""Tell what came of a run of bin/test, and what took long: python -m tests.summary SECONDS LEVEL...

.artifacts/steps has a line for each thing that is no test of pytest (LEVEL, name, ok or FAILED, seconds; the line of a
level itself has no name), and .artifacts/LEVEL.xml or .artifacts/LEVEL-NAME.xml what pytest wrote.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ARTIFACTS = Path(__file__).resolve().parents[1] / ".artifacts"
SLOWEST = 10


@dataclass
class Case:
    """One test or step of a level."""

    name: str
    outcome: str
    seconds: float


def outcome(case: ElementTree.Element) -> str:
    kinds = {child.tag for child in case}
    if kinds & {"failure", "error"}:
        return "failed"
    return "skipped" if "skipped" in kinds else "passed"


def cases(level: str, artifacts: Path) -> list[Case]:
    """The tests of a level and its other steps."""
    found = []
    for path in sorted([artifacts / f"{level}.xml", *artifacts.glob(f"{level}-*.xml")]):
        variant = path.stem.removeprefix(level).lstrip("-")
        for case in ElementTree.parse(path).iter("testcase") if path.exists() else ():
            module = re.sub(r"^tests\.\w+\.", "", case.get("classname", ""))
            name = f"{module} {case.get('name')}{f' on {variant}' if variant else ''}"
            found.append(Case(name, outcome(case), float(case.get("time", 0))))
    for line in (artifacts / "steps").read_text().splitlines():
        of, name, result, seconds = line.split("\t")
        if of == level and (name or result != "ok"):
            found.append(Case(name or "the level itself", "passed" if result == "ok" else "failed", float(seconds)))
    return found


def seconds_of(level: str, artifacts: Path) -> float:
    lines = [line.split("\t") for line in (artifacts / "steps").read_text().splitlines()]
    return sum(float(seconds) for of, name, _, seconds in lines if of == level and not name)


def told(seconds: int, levels: list[str], artifacts: Path) -> tuple[str, bool]:
    """The text, and whether all is well."""
    lines, table, total = [], [], dict.fromkeys(("passed", "failed", "skipped"), 0)
    for level in levels:
        every = cases(level, artifacts)
        counts = {kind: sum(case.outcome == kind for case in every) for kind in total}
        if not counts["passed"] and not counts["failed"]:
            counts["failed"] = 1  # a level that tests nothing has failed
        slowest = sorted(every, key=lambda case: -case.seconds)[:SLOWEST]
        lines += [f"The slowest of {level}:", *(f"{case.seconds:8.1f} s  {case.name}" for case in slowest), ""]
        table.append(f"{level:10}" + "".join(f"{counts[kind]:6} {kind}" for kind in total))
        table[-1] += f"{seconds_of(level, artifacts):8.0f} s"
        total = {kind: total[kind] + counts[kind] for kind in total}
    whole = ", ".join(f"{total[kind]} {kind}" for kind in total) + f" in {-(-seconds // 60)} min"
    return "\n".join([*lines, *table, "", whole]), not total["failed"]


def main() -> int:
    text, well = told(int(sys.argv[1]), sys.argv[2:], ARTIFACTS)
    print(text)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
