# SPDX-License-Identifier: MIT
"""Filters of what was asked of towers; each is described in the file of its name beside this one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..module_utils.report.document import reports_of
from ..module_utils.report.status_text import status_text
from ..module_utils.service.status import Seen, tower_problems, unasked_problem


def seen(answer: dict[str, Any], host: str) -> Seen:
    """What a task has registered of a tower."""
    status = answer.get("tower_status")
    problem = None if status else unasked_problem(str(answer.get("msg") or ""))
    return {"host": host, "status": status, "problem": problem}


def status_lines(answers: dict[str, Any], reports: Sequence[Any] = ()) -> str:
    return status_text([seen(answer, host) for host, answer in answers.items()], reports_of(reports, answers))


def status_problems(answer: dict[str, Any], host: str) -> list[str]:
    return [f"{host}: {problem}" for problem in tower_problems(seen(answer, host))]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {"status_lines": status_lines, "status_problems": status_problems}
