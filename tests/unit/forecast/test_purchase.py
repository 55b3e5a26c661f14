# SPDX-License-Identifier: MIT
"""What fits, how fast, what that costs, and which machine is first."""

from __future__ import annotations

import math
from typing import Any

import pytest

from plugins.module_utils.forecast import purchase
from plugins.module_utils.forecast.prices import priced
from plugins.module_utils.forecast.purchase import rank
from plugins.module_utils.service.memory_budget import DEFAULT_RESERVE, Serving, Weighed, memory_budget
from tests.forecast_inputs import MACHINES, MEMORY, OPTIONS, machine, memory_channels, model, run, tower


def answer(entry: Any, weights: Any, **asked: Any) -> Any:
    """As the JSON has it."""
    options: Any = {**OPTIONS, **asked}
    return purchase.answer(entry, weights, options)


def test_what_does_not_fit_says_by_how_much() -> None:
    said = answer(machine("desktop-2ch"), model("llama-3.1-405b"))
    assert (said["fits"], said["reason"]) == (False, "memory")
    assert (said["tokens_per_second"], said["joules_per_token"]) == (None, None)
    assert said["why"] == ("332.9 GB of weights and 5.0 GB beside them for 8192 tokens are 140.2 GB too much for it")


def test_the_context_is_what_the_memory_leaves() -> None:
    """Of the modules the kernel has 98 %, and the server takes what its budget says."""
    large = model("llama-3.1-405b")
    taken = memory_budget(Weighed(large["bytes"], large["kv"], large["compute"]), Serving(20_000, checkpoints=8))[
        "total"
    ]
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
    assert answer(build, model("mistral-medium-3.5"), policy=policy)["fits"]


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


def test_no_more_gpus_are_counted_than_a_machine_takes() -> None:
    said = answer(machine("gpu-80gb"), model("llama-3.1-405b") | {"bytes": 8 * 80 * 2**30})
    assert (said["count"], said["fits"], said["reason"]) == (8, False, "memory")
    assert said["why"].endswith("too much for 8")


def test_a_disk_takes_half_a_minute_for_a_token() -> None:
    speed = answer(machine("desktop-m2"), model("llama-3.1-405b"))["tokens_per_second"]
    assert 30 < 1 / speed["high"] < 1 / speed["low"] < 70


def test_the_cheapest_token_is_first_and_what_does_not_fit_last() -> None:
    ranked = rank([answer(entry, model("llama-3.1-405b")) for entry in MACHINES])
    costs = [said["cost_per_token_s"] for said in ranked]
    whole, least = (
        [
            said["cost_per_token_s"]
            for said in ranked
            if said["cost_per_token_s"] and said["fits"] and said["cost_least"] is some
        ]
        for some in (False, True)
    )
    assert whole and least
    assert [*sorted(whole), *sorted(least)] == costs[: len(whole) + len(least)]
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


def test_a_million_tokens_cost_energy_and_the_machine_over_its_years() -> None:
    entry, large = machine("epyc-9124-2s"), model("llama-3.1-405b")
    three, six = (answer(entry, large, years=years) for years in (3, 6))
    energy, speed = three["energy_usd_per_million_tokens"], three["tokens_per_second"]["expected"]
    assert six["energy_usd_per_million_tokens"] == energy
    # Decoding day and night for three years it makes so many tokens.
    tokens = speed * 3 * 365.25 * 86400
    assert three["usd_per_million_tokens"] == pytest.approx(energy + 5700 / tokens * 1e6)
    assert six["usd_per_million_tokens"] - energy == pytest.approx((three["usd_per_million_tokens"] - energy) / 2)


def test_several_users_take_a_slot_and_a_context_each() -> None:
    entry, large = machine("epyc-9124-2s"), model("llama-3.1-405b")
    one, four = (
        memory_budget(Weighed(large["bytes"], large["kv"], large["compute"]), served)["total"]
        for served in (Serving(8192, checkpoints=8), Serving(4 * 8192, parallel=4, checkpoints=8))
    )
    four_users: Any = {**OPTIONS, "users": 4}
    planned = purchase.purchase_plan([large], [entry], four_users)["models"][0]
    assert (planned["beside_one_bytes"], planned["beside_bytes"]) == (one - large["bytes"], four - large["bytes"])
    room = entry | {"memory_bytes": math.ceil((four + DEFAULT_RESERVE) / 0.98)}
    assert answer(room, large, users=4)["context"] == pytest.approx(8192, abs=256)
    refused = answer(room, large, users=5)
    assert (refused["reason"], refused["missing_bytes"] > 4 * 10**9) == ("memory", True)
    assert "for 5 times 8192 tokens" in refused["why"]


def test_with_a_budget_the_fastest_within_it_is_first() -> None:
    ranked: Any = rank([answer(priced(entry, MEMORY), model("glm-4.6")) for entry in MACHINES], 11_000)
    within = [said["cost_usd"] is not None and said["cost_usd"] <= 11_000 for said in ranked if said["fits"]]
    speeds = [said["tokens_per_second"]["expected"] for said in ranked[: sum(within)]]
    assert within == sorted(within, reverse=True) and speeds == sorted(speeds, reverse=True)
