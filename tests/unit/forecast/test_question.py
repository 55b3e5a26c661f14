# SPDX-License-Identifier: MIT
"""What is asked for: options as the command line gives them, names, and every problem at once."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.forecast.catalog import PlanError
from plugins.module_utils.forecast.question import Question, as_typed, question
from tests.forecast_inputs import ASKED, HARDWARE, MACHINES, MODELS, OPTIONS, TODAY, UNNAMED


def ask(names: dict[str, Any] | None = None, models: Any = MODELS, **options: Any) -> Question:
    return question(models, MACHINES, {**UNNAMED, **(names or {})}, {**ASKED, **options})


def problem(names: dict[str, Any] | None = None, **options: Any) -> str:
    with pytest.raises(PlanError) as error:
        ask(names, **options)
    return str(error.value)


@pytest.mark.parametrize(
    ("value", "arguments", "meant"),
    [
        ("Llama", ["plan_model=Llama 3.1 405B"], "Llama 3.1 405B"),
        (
            "Llama",
            ["plan_budget=6000", "a=b plan_model=Llama 3.1 405B plan_users=4", "plan_models=x y"],
            "Llama 3.1 405B",
        ),
        ("Kimi", ["plan_model=Llama 3.1 405B", "plan_model=Kimi K2.6"], "Kimi K2.6"),
        ("Llama 3.1 405B", ['plan_model="Llama 3.1 405B" plan_budget=1'], "Llama 3.1 405B"),
        ("Llama 3.1 405B", ['{"plan_model": "Llama 3.1 405B"}', "@file"], "Llama 3.1 405B"),
        ("of a play", ["my_plan_model=other words"], "of a play"),
        (["glm-4.6"], ["plan_model=Llama 3.1"], ["glm-4.6"]),
    ],
)
def test_a_value_with_spaces_is_taken_as_it_was_typed(value: Any, arguments: list[str], meant: Any) -> None:
    assert as_typed(value, "plan_model", arguments) == meant


def test_without_names_everything_is_meant() -> None:
    asked = ask()
    assert (asked.models, asked.machines) == (MODELS, MACHINES)
    assert asked.options == OPTIONS


def test_numbers_of_the_command_line_are_text() -> None:
    asked = ask(context="32768", price_kwh="0.15", users="4", years="5", budget="$6,000", memory_price="12.5")
    assert asked.options == {
        **OPTIONS, "context": 32768, "price_kwh": 0.15, "users": 4, "years": 5.0, "budget": 6000.0
    }  # fmt: skip
    assert asked.memory == {"usd_per_gb": 12.5, "date": TODAY, "source": "plan_memory_price"}


@pytest.mark.parametrize(("text", "usd"), [("6000", 6000), (6000, 6000), ("6k", 6000), ("6.5k USD", 6500), ("", None)])
def test_a_budget_is_written_as_people_do(text: Any, usd: float | None) -> None:
    assert ask(budget=text).options["budget"] == usd


def test_memory_has_the_price_of_the_catalog_where_none_is_given() -> None:
    assert ask().memory == {**HARDWARE["memory"], "date": str(HARDWARE["memory"]["date"])}
    assert ask(memory=None).memory is None


def test_names_are_one_with_its_commas_or_several_with_commas_between_them() -> None:
    names = {"model": "Llama 3.1 405B", "models": "glm-4.6, gpt-oss-120b", "machines": ["epyc-9124-2s"]}
    asked = ask({**names, "machine": "2x EPYC 9354, 24x32GB DDR5-4800"})
    assert [entry["name"] for entry in asked.models] == ["llama-3.1-405b", "glm-4.6", "gpt-oss-120b"]
    assert [entry["name"] for entry in asked.machines] == ["2x EPYC 9354", "epyc-9124-2s"]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"context": "32k"}, "plan_context is '32k': it has to be a whole number of tokens"),
        ({"context": -1}, "plan_context is -1"),
        ({"context": None}, "plan_context is None"),
        ({"context": "9" * 400}, "plan_context is '999"),
        ({"price_kwh": "0,30"}, "plan_price_kwh is '0,30': it has to be dollars for a kilowatt-hour"),
        ({"price_kwh": -0.1}, "plan_price_kwh is -0.1"),
        ({"price_kwh": "nan"}, "plan_price_kwh is 'nan'"),
        ({"kv_type": "q9"}, "plan_kv_type is 'q9': it has to be one of f32, f16"),
        ({"policy": "interlave"}, "plan_policy is 'interlave': it has to be one of interleave, "),
        ({"users": 0}, "plan_users is 0: it has to be a whole number from 1 to "),
        ({"users": "four"}, "plan_users is 'four'"),
        ({"years": "0"}, "plan_years is '0': it has to be years, a number above 0"),
        ({"budget": "lots"}, "plan_budget is 'lots': it has to be dollars, a number above 0, as 6000."),
        ({"budget": 0}, "plan_budget is 0"),
        ({"memory_price": "x"}, "plan_memory_price is 'x': it has to be dollars for a GB"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(changed: dict[str, Any], sentence: str) -> None:
    assert problem(**changed).startswith(sentence)


def test_every_problem_is_told_at_once() -> None:
    names = {"model": "lama 3.1 405", "models": "gpt-9", "machine": "2x EPYC 9999, 3 kg", "machines": "tower9"}
    said = problem(names, users="x", context="32k", budget="lots")
    for part in (
        "plan_context is '32k'",
        "plan_users is 'x'",
        "plan_budget is 'lots'",
        "There is no model lama 3.1 405 in the catalog: the nearest are llama-3.1-405b",
        "There is no model gpt-9 in the catalog",
        "The CPU EPYC 9999 is not known",
        "3 kg in plan_machine is not understood",
        "There is no machine tower9 in the catalog",
    ):
        assert part in said


def test_a_machine_has_no_type() -> None:
    assert "There is no machine gpu-24gb:Q4_K_M in the catalog" in problem({"machines": "gpu-24gb:Q4_K_M"})


def test_a_catalog_without_its_list_is_named_whatever_is_asked_of_it() -> None:
    with pytest.raises(PlanError, match=r"^The catalog has no list of models"):
        ask({"model": "glm 4.6"}, models=None)
