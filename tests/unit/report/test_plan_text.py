# SPDX-License-Identifier: MIT
"""The plan in a terminal: the answer and its reason, one table within 80 columns, and no name that is obeyed."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.forecast.own_machine import own_machine
from plugins.module_utils.forecast.purchase import answer, purchase_plan
from plugins.module_utils.report.plan_page import plan_view
from plugins.module_utils.report.plan_text import MOST_ROWS, limit_text, plan_text
from tests.forecast_inputs import (
    MACHINES,
    MEMORY,
    MODELS,
    OPTIONS,
    TODAY,
    machine,
    memory_channels,
    model,
    run,
    tower,
)

HOSTILE = "<script>alert(1)</script>"
OWN: Any = own_machine("2x EPYC 9354, 24x32GB DDR5-4800")[0]


def plan(models: list[Any], machines: list[Any], today: str = TODAY, **options: Any) -> Any:
    asked: Any = {**OPTIONS, **options}
    return purchase_plan(models, machines, asked, MEMORY, today)


def flowing(document: Any) -> str:
    """The text without its line breaks."""
    return " ".join(plan_text(document).split())


def table(document: Any) -> list[str]:
    lines = plan_text(document).splitlines()
    first = next(number for number, line in enumerate(lines) if "tokens/s prompt" in line)
    return lines[first + 1 : lines.index("", first)]


@pytest.mark.parametrize(
    ("models", "machines", "options"),
    [
        (MODELS, MACHINES, {}),
        (MODELS, MACHINES, {"budget": 6000.0, "users": 4}),
        ([model("llama-3.1-405b")], MACHINES, {"budget": 6000.0}),
        (MODELS, [OWN], {}),
        ([model("kimi-k2-instruct")], [machine("desktop-2ch")], {}),
        ([model("glm-4.6") | {"name": "g" * 120}], [machine("gpu-24gb") | {"name": "m" * 120, "title": "t" * 200}], {}),
        ([model("glm-4.6")], [tower("tower1", guest=True)], {}),
        ([], MACHINES, {}),
    ],
)
def test_it_fits_80_columns_and_the_table_15_rows(models: Any, machines: Any, options: Any) -> None:
    document = plan(models, machines, **options)
    said = plan_text(document)
    assert max(map(len, said.splitlines())) <= 80, said
    assert len(said.splitlines()) <= 45, said
    if models:
        assert 1 <= len(table(document)) <= MOST_ROWS, said


def test_more_rows_than_the_table_has_are_on_the_page() -> None:
    machines = [machine("epyc-9124-2s") | {"name": f"m{number}"} for number in range(20)]
    document = plan([model("glm-4.6")], machines)
    assert len(plan_view(document)["models"][0]["rows"]) == 20
    assert "5 more are on the page." in plan_text(document)


def test_a_question_of_model_and_budget_is_answered_first_with_its_reason() -> None:
    said = flowing(plan([model("glm-4.6")], MACHINES, budget=11_000.0))
    assert said.startswith("epyc-9124-2s for glm-4.6: ")
    assert "tokens/s (" in said.partition(". ")[0] and ", $10,819. " in said
    assert "It is the fastest of 2 that hold it for at most $11,000." in said


def test_where_the_budget_holds_nothing_that_is_what_is_said_first() -> None:
    said = flowing(plan([model("llama-3.1-405b")], MACHINES, budget=3000.0))
    assert said.startswith("Nothing whose price is known holds llama-3.1-405b for $3,000. epyc-9124-1s for ")
    assert '-e plan_model="llama-3.1-405b:Q4_K_M"' in said


def test_a_machine_of_ones_own_is_told_its_models_and_how_long_a_prompt_takes() -> None:
    document = plan(MODELS, [OWN])
    said = flowing(document)
    assert said.startswith("2x EPYC 9354 for deepseek-v4-pro: ")
    assert "2x EPYC 9354: 2 x EPYC 9354 of 32 cores each, 24 channels, 24 x 32 GB at 4800 MT/s" in said
    row = next(line for line in table(document) if line.startswith("qwen3-coder-480b"))
    prefill = answer(OWN, model("qwen3-coder-480b"))["prefill_tokens_per_second"]
    assert prefill is not None
    seconds = 8192 / (sum(prefill) / 2)
    assert f"{seconds / 60:.0f} min" in row
    assert "It is the largest model that is decoded at least as fast as one reads (5 tokens/s)" in said


def test_several_users_are_told_what_their_slots_need_and_what_is_not_forecast() -> None:
    document = plan([model("glm-4.6")], [machine("epyc-9124-2s")], users=4)
    said, planned = flowing(document), document["models"][0]
    assert "4 users are 4 slots, each with that context" in said
    assert f"they take {planned['beside_bytes'] / 1e9:.1f} GB beside the weights" in said
    assert f"and one {planned['beside_one_bytes'] / 1e9:.1f} GB" in said
    assert "what several at once get is not forecast" in said
    assert "slots" not in flowing(plan([model("glm-4.6")], [machine("epyc-9124-2s")]))


def test_prices_have_their_currency_and_date_and_are_marked_when_they_are_old() -> None:
    old, new = (plan([model("glm-4.6")], [machine("epyc-9124-2s")], today) for today in ("2026-11-30", "2025-01-31"))
    assert "$10,819 2024-06* " in table(old)[0]
    assert "* A price more than a year old is in it, and the order may be another today." in flowing(old)
    assert "Its oldest price is of 2024-06-21, more than a year ago" in flowing(old)
    assert "$10,819 2024-06 " in table(new)[0]
    assert "year old" not in plan_text(new) and "a year ago" not in plan_text(new)
    assert "Memory is $18.80 a GB in all machines, a price of 2026-01-01." in flowing(old)


def test_a_least_cost_is_marked() -> None:
    document = plan([model("glm-4.6")], [machine("gpu-24gb"), machine("epyc-9135-1s")])
    assert "$26,250+" in plan_text(document) and "+ The whole costs more than what is known." in plan_text(document)


def test_a_million_tokens_have_a_cost_without_the_machine_and_with_it() -> None:
    document = plan([model("glm-4.6")], [machine("epyc-9124-2s")], years=5.0)
    said = document["models"][0]["answers"][0]
    energy, whole = said["energy_usd_per_million_tokens"], said["usd_per_million_tokens"]
    expected = f"A million tokens: ${energy:.2f} of energy; ${whole:.2f} with the machine over 5 years of decoding"
    assert expected in flowing(document)


@pytest.mark.parametrize(("reason", "shown"), [("memory", "no"), ("model", "?"), ("guest", "?"), ("channels", "?")])
def test_what_a_line_shows_hangs_on_the_code_and_not_on_the_sentence(reason: Any, shown: str) -> None:
    document = plan([model("llama-3.1-405b")], [machine("desktop-2ch")])
    said = document["models"][0]["answers"][0]
    for why in ("it is too much for it", "it is small", ""):
        said.update({"reason": reason, "why": why})
        assert limit_text(said) == reason
        assert table(document)[0].split()[1] == shown


def test_the_text_stays_text_whatever_names_are() -> None:
    hostile: Any = {**machine("epyc-9124-2s"), "name": f"{HOSTILE}\n\x1b[31m", "title": HOSTILE}
    said = plan_text(plan([model("glm-4.6") | {"name": "a\nb"}], [hostile]))
    assert HOSTILE in said and "\x1b" not in said


def test_what_a_tower_calls_its_channels_and_runs_is_not_obeyed() -> None:
    channels = memory_channels([11, 11], 12)
    for socket in channels["sockets"][:2]:
        socket["empty_channels"] = ["\x1b[2J\u202e"]
    hostile = tower("tower1") | {"memory_channels": channels}
    assert "filling" in plan_text(plan([model("glm-4.6")], [hostile]))
    measured = {**run(read_whole=530.0), "started": "\x1b[2J"}
    for entry in (hostile, tower("tower1", runs=[measured])):
        said = plan_text(plan([model("glm-4.6")], [entry]))
        assert "\x1b" not in said and "\u202e" not in said


def test_what_is_to_be_said_of_the_machine_is_said() -> None:
    said = flowing(plan([model("glm-4.6")], [machine("gpu-24gb")], price_kwh=0.25))
    assert "What the GPUs are plugged into is not in the cost." in said
    assert "8,192 tokens of context" in said and "$0.25 a kWh" in said


def test_where_nothing_fits_it_says_why() -> None:
    document = plan([model("llama-3.1-405b")], [machine("desktop-2ch")])
    assert flowing(document).startswith(
        "Nothing here holds llama-3.1-405b. desktop-2ch: It is the nearest, and lacks 140.2 GB. 332.9 GB of weights"
    )
    assert "140.2 GB too much" in str(plan_view(document)["models"][0]["others"][0]["why"])
