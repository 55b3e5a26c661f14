# SPDX-License-Identifier: MIT
"""The one answer to a question, and what the table below it has."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.forecast.purchase import purchase_plan
from plugins.module_utils.forecast.recommend import READING, rows
from tests.forecast_inputs import MACHINES, MEMORY, MODELS, OPTIONS, TODAY, machine, model, tower


def plan(models: list[Any], machines: list[Any], **options: Any) -> Any:
    asked: Any = {**OPTIONS, **options}
    return purchase_plan(models, machines, asked, MEMORY, TODAY)


def chosen(document: Any) -> tuple[str, str, str]:
    said = document["recommendation"]
    return said["choice"], said["model"], said["machine"]


def answers(document: Any) -> list[Any]:
    return [said for entry in document["models"] for said in entry["answers"] if said["fits"]]


def whole(document: Any) -> list[Any]:
    """The answers whose cost is not only what is known of it."""
    return [said for said in answers(document) if said["cost_per_token_s"] and not said["cost_least"]]


def test_of_one_model_the_machine_with_the_cheapest_token_is_taken() -> None:
    document = plan([model("glm-4.6")], MACHINES)
    cheapest = min(whole(document), key=lambda said: said["cost_per_token_s"])
    assert chosen(document) == ("cheapest-token", "glm-4.6", cheapest["machine"])


def test_what_is_not_priced_as_a_whole_is_taken_only_where_nothing_else_holds_it() -> None:
    cheap = machine("gpu-80gb") | {"price_usd": 10}
    both = plan([model("glm-4.6")], [cheap, machine("epyc-9124-2s")])
    assert chosen(both)[2] == "epyc-9124-2s"
    assert chosen(plan([model("glm-4.6")], [cheap, machine("desktop-2ch")]))[2] == "gpu-80gb"


def test_within_a_budget_it_is_the_fastest() -> None:
    document = plan([model("glm-4.6")], MACHINES, budget=11_000)
    within = [said for said in answers(document) if said["cost_usd"] and said["cost_usd"] <= 11_000]
    fastest = max(within, key=lambda said: said["tokens_per_second"]["expected"])
    assert len(within) > 1
    assert chosen(document) == ("fastest", "glm-4.6", fastest["machine"])


def test_where_the_budget_holds_nothing_the_cheapest_that_fits_is_told() -> None:
    document = plan([model("llama-3.1-405b")], MACHINES, budget=3000)
    cheapest = min((said for said in answers(document) if said["cost_usd"]), key=lambda said: said["cost_usd"])
    assert chosen(document) == ("over-budget", "llama-3.1-405b", cheapest["machine"])


def test_a_budget_decides_nothing_where_no_price_is_known() -> None:
    document = plan([model("glm-4.6")], [tower("tower1"), machine("desktop-m2")], budget=3000)
    assert chosen(document) == ("unpriced", "glm-4.6", "tower1")


def test_of_one_machine_the_largest_model_that_is_as_fast_as_one_reads_is_taken() -> None:
    # Of a machine with a price that is the same as the most weights for a dollar.
    for entry, choice in ((tower("tower1"), "largest"), (machine("epyc-9124-2s"), "most-weights")):
        document = plan(MODELS, [entry])
        readable = [said["model"] for said in answers(document) if said["tokens_per_second"]["expected"] >= READING]
        largest = max((each for each in MODELS if each["name"] in readable), key=lambda each: each["parameters"])
        assert chosen(document) == (choice, largest["name"], entry["name"])


def test_of_everything_the_most_weights_for_a_dollar_are_taken() -> None:
    document = plan(MODELS, MACHINES)
    said = document["recommendation"]
    assert said["choice"] == "most-weights"
    parameters = {entry["name"]: entry["parameters"] for entry in MODELS}

    def worth(said: Any) -> float:
        fast = said["tokens_per_second"]["expected"] >= READING
        return parameters[said["model"]] / said["cost_usd"] if fast else 0.0

    best = max(whole(document), key=worth)
    assert (said["model"], said["machine"]) == (best["model"], best["machine"])


def test_where_nothing_is_as_fast_as_one_reads_the_fastest_is_taken() -> None:
    document = plan([model("llama-3.1-405b"), model("glm-4.6")], [machine("desktop-m2")])
    assert chosen(document) == ("fastest", "glm-4.6", "desktop-m2")


@pytest.mark.parametrize("budget", [None, 5000])
def test_where_nothing_fits_what_lacks_least_is_told(budget: float | None) -> None:
    machines = [machine("desktop-2ch"), machine("epyc-9355p-8ch")]
    document = plan([model("kimi-k2-instruct"), model("llama-3.1-405b")], machines, budget=budget)
    assert chosen(document) == ("nothing-fits", "llama-3.1-405b", "epyc-9355p-8ch")


def test_one_pair_is_no_choice() -> None:
    assert chosen(plan([model("glm-4.6")], [machine("epyc-9124-2s")]))[0] == "only"


def test_of_nothing_there_is_no_recommendation() -> None:
    document = plan([], MACHINES)
    assert document["recommendation"] is None
    assert rows(document) == []


def test_the_table_has_all_machines_of_the_model_or_all_models_of_the_machine_with_the_answer_first() -> None:
    for models, machines in (([model("glm-4.6")], MACHINES), (MODELS, [machine("epyc-9124-2s")]), (MODELS, MACHINES)):
        document = plan(models, machines)
        found, said = rows(document), document["recommendation"]
        assert (found[0]["model"], found[0]["machine"]) == (said["model"], said["machine"])
        assert len(found) == (len(models) if len(machines) == 1 else len(machines))
        fits = [each["fits"] for each in found]
        assert fits == sorted(fits, reverse=True)
