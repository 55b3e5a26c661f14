# SPDX-License-Identifier: MIT
"""What fits, how fast, what that costs, and which machine is first."""

from __future__ import annotations

import math
from typing import Any

import pytest

from plugins.module_utils.forecast import purchase
from plugins.module_utils.forecast.catalog import PlanError
from plugins.module_utils.forecast.purchase import options_of, rank
from plugins.module_utils.service.memory_budget import DEFAULT_RESERVE, Serving, Weighed, memory_budget
from tests.forecast_inputs import MACHINES, OPTIONS, machine, memory_channels, model, run, tower


def answer(entry: Any, weights: Any, **asked: Any) -> Any:
    """As the JSON has it."""
    return purchase.answer(entry, weights, **asked)


def test_what_does_not_fit_says_by_how_much() -> None:
    said = answer(machine("desktop-2ch"), model("llama-3.1-405b"))
    assert (said["fits"], said["reason"]) == (False, "memory")
    assert (said["tokens_per_second"], said["joules_per_token"]) == (None, None)
    assert said["why"] == ("332.9 GB of weights and 4.9 GB beside them for 8192 tokens are 140.1 GB too much for it")


def test_the_context_is_what_the_memory_leaves() -> None:
    """Of the modules the kernel has 98 %, and the server takes what its budget says."""
    large = model("llama-3.1-405b")
    taken = memory_budget(Weighed(large["bytes"], large["kv"], None), Serving(20_000, checkpoints=8))["total"]
    build = machine("epyc-9124-2s") | {"memory_bytes": math.ceil((taken + DEFAULT_RESERVE) / 0.98)}
    assert answer(build, large)["context"] == 20_000
    assert answer(build, large, kv_type="q8_0")["context"] > 20_000 * 1.8
    assert answer(build, large, context=20_001)["fits"] is False


def test_what_only_the_bytes_of_the_modules_would_hold_does_not_fit() -> None:
    """402 GB and 6 GB of context were said to fit 384 GiB, of which a kernel has 404.1 GB."""
    build = machine("epyc-9124-2s") | {"memory_bytes": 384 * 2**30}
    near = {**model("llama-3.1-405b"), "bytes": 402 * 10**9}
    assert answer(build, near, context=1024)["reason"] == "memory"


@pytest.mark.parametrize(
    ("policy", "fits"), [("interleave", True), ("distribute", True), ("bind", False), ("per_node", False)]
)
def test_a_policy_of_one_node_has_the_memory_of_one(policy: str, fits: bool) -> None:
    build = machine("epyc-9124-2s")
    assert answer(build, model("glm-4.6"), policy=policy)["fits"] is fits
    assert answer(build, model("mistral-large-2411"), policy=policy)["fits"]


def test_more_context_than_the_model_was_made_for_is_not_counted() -> None:
    machine_2s, large = machine("epyc-9124-2s"), model("llama-3.1-405b")
    assert answer(machine_2s, large, context=10**18) == answer(machine_2s, large, context=131_072)


def test_cost_and_energy_are_those_of_a_token() -> None:
    said = answer(machine("epyc-9124-2s"), model("llama-3.1-405b"), price_kwh=0.25)
    speed = said["tokens_per_second"]["expected"]
    assert said["cost_usd"] == 5700
    assert said["cost_per_token_s"] == pytest.approx(5700 / speed)
    assert said["joules_per_token"] == pytest.approx(400 / speed)
    # A kilowatt-hour is 3.6e6 joules.
    assert said["energy_usd_per_million_tokens"] == pytest.approx(1e6 * 400 / speed / 3.6e6 * 0.25)


def test_as_many_gpus_are_counted_as_the_cache_needs() -> None:
    gpu = machine("gpu-80gb")
    counts = [answer(gpu, model("llama-3.1-405b"), context=context)["count"] for context in (8192, 131_072)]
    assert counts[0] == 5 < counts[1]
    assert answer(gpu, model("llama-3.1-405b"))["cost_usd"] == 5 * 12_500


def test_a_disk_takes_half_a_minute_for_a_token() -> None:
    speed = answer(machine("desktop-m2"), model("llama-3.1-405b"))["tokens_per_second"]
    assert 30 < 1 / speed["high"] < 1 / speed["low"] < 70


def test_the_cheapest_token_is_first_and_what_does_not_fit_last() -> None:
    ranked = rank([answer(entry, model("llama-3.1-405b")) for entry in MACHINES])
    costs = [said["cost_per_token_s"] for said in ranked]
    known = [cost for cost in costs if cost is not None]
    assert known == sorted(known) == costs[: len(known)]
    fits = [said["fits"] for said in ranked]
    assert fits == sorted(fits, reverse=True)


def test_a_tower_is_planned_with_what_it_is_and_what_it_measured() -> None:
    estimated = answer(tower("tower1"), model("glm-4.6"))
    assert estimated["limited_by"] == "ccd-links"
    assert (estimated["cost_usd"], estimated["joules_per_token"]) == (None, None)
    measured = answer(tower("tower1", runs=[run(read_whole=530.0), "no run"]), model("glm-4.6"))
    assert measured["limited_by"] == "measured"
    assert measured["tokens_per_second"]["expected"] > estimated["tokens_per_second"]["expected"]


def test_a_tower_whose_channels_are_unknown_gets_no_speed() -> None:
    unknown = tower("tower1") | {"memory_channels": {"sockets": None, "dimms": None}}
    half = tower("tower1") | {"memory_channels": memory_channels([12, 0], 4)}
    for entry in (unknown, half):
        said = answer(entry, model("glm-4.6"))
        assert (said["fits"], said["reason"], said["tokens_per_second"]) == (False, "channels", None)
        assert said["why"] == "how many of its memory channels are in use is unknown, or one of its CPUs has none"


def test_a_model_whose_header_does_not_tell_what_a_token_reads_gets_no_speed() -> None:
    said = answer(machine("epyc-9124-2s"), model("glm-4.6") | {"layers": None})
    assert (said["fits"], said["reason"]) == (False, "model")


def test_the_board_of_a_guest_is_no_ground_for_a_forecast() -> None:
    said = answer(tower("guest", guest=True), model("glm-4.6"))
    assert said["reason"] == "guest" and said["why"].startswith("it is a virtual machine")


def test_numbers_of_the_command_line_are_text() -> None:
    assert options_of(OPTIONS | {"context": "32768", "price_kwh": "0.15"}) == OPTIONS | {
        "context": 32768,
        "price_kwh": 0.15,
    }


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
    ],
)
def test_an_option_that_cannot_be_used_is_named(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PlanError) as error:
        options_of(OPTIONS | changed)
    assert str(error.value).startswith(sentence)
