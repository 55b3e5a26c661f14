# SPDX-License-Identifier: MIT
"""The plan's tables: what they say, of what, and that no name is obeyed."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.forecast.purchase import answer, purchase_plan
from plugins.module_utils.report.plan_page import plan_view
from plugins.module_utils.report.plan_text import plan_text, table_row
from tests.forecast_inputs import MACHINES, OPTIONS, machine, memory_channels, model, run, tower

HOSTILE = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("reason", "shown"),
    [("memory", "does not fit"), ("model", "unknown"), ("guest", "unknown"), ("channels", "unknown")],
)
def test_what_a_line_shows_hangs_on_the_code_and_not_on_the_sentence(reason: Any, shown: str) -> None:
    said = answer(machine("desktop-2ch"), model("llama-3.1-405b"))
    for why in ("it is too much for it", "it is small", ""):
        assert table_row({**said, "reason": reason, "why": why})[1:3] == ["-", shown]


def test_the_table_stays_text_of_one_line_whatever_names_are() -> None:
    hostile: Any = {**machine("epyc-9124-2s"), "name": f"{HOSTILE}\n\x1b[31m", "title": HOSTILE}
    document = purchase_plan([model("glm-4.6") | {"name": "a\nb"}], [hostile], OPTIONS)
    said = plan_text(document)
    assert HOSTILE in said and "\x1b" not in said
    # What is planned, an empty line, the model, the headings, the machine, what would help.
    assert len(said.splitlines()) == 6


def test_what_a_tower_calls_its_channels_and_runs_is_not_obeyed() -> None:
    channels = memory_channels([11, 11], 12)
    for socket in channels["sockets"][:2]:
        socket["empty_channels"] = ["\x1b[2J\u202e"]
    hostile = tower("tower1") | {"memory_channels": channels}
    assert "filling" in plan_text(purchase_plan([model("glm-4.6")], [hostile], OPTIONS))
    measured = {**run(read_whole=530.0), "started": "\x1b[2J"}
    for entry in (hostile, tower("tower1", runs=[measured])):
        said = plan_text(purchase_plan([model("glm-4.6")], [entry], OPTIONS))
        assert "\x1b" not in said and "\u202e" not in said


def test_the_table_says_what_it_is_of_what_is_left_out_and_the_whole_price() -> None:
    said = plan_text(purchase_plan([model("glm-4.6"), model("glm-4.5-air")], MACHINES, OPTIONS | {"price_kwh": 0.25}))
    assert "8,192 tokens of context" in said and "0.25 dollars a kWh" in said
    assert said.count("gpu-24gb: What the GPUs are plugged into is not in the cost.") == 1
    assert " 1,999 " in said


def test_where_nothing_fits_the_table_says_why() -> None:
    document = purchase_plan([model("llama-3.1-405b")], [machine("desktop-2ch")], OPTIONS)
    assert "desktop-2ch: 332.9 GB of weights" in plan_text(document)
    assert "140.1 GB too much" in str(plan_view(document)["models"][0]["others"][0]["why"])
