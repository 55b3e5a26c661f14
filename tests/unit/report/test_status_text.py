# SPDX-License-Identifier: MIT
"""The lines of all towers in a terminal."""

from __future__ import annotations

from typing import Any

from plugins.module_utils.report.status_text import WIDTH, status_text
from plugins.module_utils.service.status import Seen, tower_problems

SERVES: Any = {
    "instance": "main",
    "state": "serving",
    "deployment": "3f2a9c01d47b",
    "since": "2026-11-28T10:12:33Z",
    "model": "glm-4.6",
    "engine": "b1",
    "nodes": {"0": 51, "1": 49},
    "checked": "2026-11-30T10:00:00Z",
    "misplaced": None,
    "tokens_per_second": 12.13,
    "measured": "2026-11-29T08:00:00Z",
    "event": {"code": "switched", "when": "2026-11-28T10:12:33Z", "deployment": "3f2a9c01d47b", "count": 0},
    "problem": None,
}
FAILS: Any = {
    **SERVES,
    "instance": "chat",
    "state": "failed",
    "deployment": None,
    "since": None,
    "nodes": None,
    "tokens_per_second": None,
    "measured": None,
    "event": {"code": "restarted", "when": "2026-11-30T03:00:00Z", "deployment": None, "count": 11},
    "problem": "llama-server@chat.service does not run: look.",
}
JOB: Any = {
    "holder": {"what": "the fetch of x", "by": "ann@desk", "pid": 812, "since": "2026-11-30T09:00:00Z"},
    "line": "fetching 1 of 2",
}


def seen(host: str, instances: Any, jobs: Any = ()) -> Seen:
    return {"host": host, "status": {"instances": list(instances), "jobs": list(jobs)}, "problem": None}


def test_a_line_for_each_instance_of_each_tower_under_one_head() -> None:
    off: Seen = {"host": "off", "status": None, "problem": "It cannot be asked: ssh."}
    text = status_text([seen("tower1", [SERVES, FAILS], [JOB]), off, seen("bare", [])])
    print(text)
    lines = text.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert " ".join(lines[0].split()) == "tower instance state deployment since tokens/s memory last event (UTC)"
    start = lines[0].index("state")
    line = "tower1 main serving 3f2a9c01d47b 2026-11-28 12.1 (11-29) 51/49 % switched 11-28 10:12"
    assert " ".join(lines[1].split()) == line
    assert lines[1][start:].startswith("serving") and lines[2][start:].startswith("failed")
    assert "restarts: 11 11-30 03:00" in lines[2]
    assert lines[3] == "    llama-server@chat.service does not run: look."
    assert lines[4] == "    now: the fetch of x by ann@desk, process 812 since 2026-11-30T09:00:00Z: fetching 1 of 2"
    assert lines[5].startswith("off") and "no answer" in lines[5]
    assert lines[6] == "    It cannot be asked: ssh."
    assert lines[7].startswith("bare") and "llamatower.tower.site" in lines[8]


def test_long_names_and_what_a_terminal_would_obey_do_no_harm() -> None:
    evil = {**SERVES, "instance": "x" * 40, "misplaced": "Node 0\x1b[2J " + "word " * 60}
    text = status_text([seen("a-tower-with-a-rather-long-name.example", [evil])])
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= WIDTH + 20
    assert "wrong" in text.splitlines()[1]


def test_a_tower_serves_where_all_of_its_instances_do() -> None:
    assert tower_problems(seen("a", [SERVES])) == []
    assert tower_problems(seen("a", [SERVES, FAILS])) == [FAILS["problem"]]
    assert tower_problems(seen("a", [])) != []
    assert tower_problems({"host": "a", "status": None, "problem": "It is off."}) == ["It is off."]
    assert tower_problems(seen("a", [{**SERVES, "misplaced": "Slower."}])) == []


def test_whether_towers_are_fast_stands_above_all_with_its_date() -> None:
    said = {"sentence": "11.9 tokens/s: 92 % of what this tower's memory allows.\x1b[2J" + " word" * 10}
    reports: Any = [{"host": "tower1", "generated": "2026-11-29T04:00:00Z", "verdict": said}]
    first, second, third, *_rest = status_text([seen("tower1", [SERVES])], reports).splitlines()
    assert first.startswith("tower1, 2026-11-29 04:00 UTC: 11.9 tokens/s: 92 % of what this tower's memory allows.")
    assert second.startswith("    word") and third.startswith("tower ")
    assert max(map(len, (first, second))) <= WIDTH and "\x1b" not in first
