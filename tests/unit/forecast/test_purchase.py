# SPDX-License-Identifier: MIT
"""The plan: the thread's own figures, what fits, what it costs, and who is first."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.forecast import purchase as plan
from plugins.module_utils.forecast.catalog import PlanError
from plugins.module_utils.forecast.purchase import answer, choose, plan_text, plan_view, rank, thread_figures
from plugins.module_utils.model.kv_cache import kv_bytes
from plugins.module_utils.text import number
from tests.forecast_inputs import MACHINES, MODELS, OPTIONS, machine, memory_channels, run

HOSTILE = "<script>alert(1)</script>"


def model(name: str) -> dict[str, Any]:
    return choose(MODELS, [name], "model")[0]


# What the thread says, what comes out here, and whether something is said to it.
FIGURES = {
    "weights of a model of 400B at 6 bits": ("300 GB", "300 GB", "332.9 GB"),
    "a token from an M.2 drive": ("30 s", "30 s", "full rate"),
    "a token from two channels": ("80 GB/s, 4 s", "80 GB/s, 3.75 s", "192 GiB do not hold the model"),
    "bandwidth of 12 channels": ("480 GB/s", "460.8 GB/s", "40 GB/s a channel"),
    "bandwidth of 24 channels": ("960 GB/s", "921.6 GB/s", "40 GB/s a channel"),
    "consumer GPUs of 24 GB (3090, 4090)": (
        "about 16, more than $30,000",
        "13 to 16, $24,375 to $30,000",
        "16 hold the",
    ),
    "datacenter GPUs of 80 GB (A100, H100)": ("4 to 5, more than $50,000", "4 to 5, $50,000 to $62,500", "5 hold the"),
    "cost of one EPYC 9124, 12 channels": ("$4,500", "$4,400", "$100 less"),
    "cost of two EPYC 9124 on a Gigabyte MZ73-LM1, 24 channels": ("$5,700", "$5,700", ""),
    "384 GB of memory": ("$2,100, at $300 to 400 for 64 GB", "6 x 64 GB, $1,800 to $2,400", "fill six channels"),
}


@pytest.mark.parametrize("what", FIGURES)
def test_the_figures_of_the_thread_come_out_and_what_is_off_is_said(what: str) -> None:
    found = next(row for row in thread_figures(MODELS, MACHINES) if row["what"] == what)
    told, computed, remark = FIGURES[what]
    assert (found["told"], found["found"]) == (told, computed)
    assert remark in found["say"] and bool(remark) == bool(found["say"])


def test_the_sample_build_lands_at_one_to_two_tokens_for_its_dies() -> None:
    found = next(row for row in thread_figures(MODELS, MACHINES) if row["what"] == "speed of the sample build")
    low, high = (float(word) for word in found["found"].split()[:3:2])
    assert 1.0 <= low < high <= 2.0
    assert found["say"].startswith("Not the 2.8 ") and "ccd-links" in found["say"]


def test_a_catalog_of_ones_own_has_no_figures_of_the_thread() -> None:
    assert thread_figures(MODELS[:1], MACHINES) == thread_figures(MODELS, MACHINES[1:]) == []
    unpriced = [entry | {"price_usd": None} if entry["kind"] == "gpu" else entry for entry in MACHINES]
    assert thread_figures(MODELS, unpriced) == []


def test_every_price_has_its_date_and_source() -> None:
    for entry in MACHINES:
        for part in entry.get("parts") or []:
            assert part["price_usd"] is None or (part["date"] and part["source"]), entry["name"]
        if entry["kind"] == "gpu":
            assert entry["price"]["date"] and entry["price"]["source"], entry["name"]


def test_what_does_not_fit_says_by_how_much() -> None:
    said = answer(machine("desktop-2ch"), model("llama-3.1-405b"))
    assert (said["fits"], said["tokens_per_second"], said["joules_per_token"]) == (False, None, None)
    assert said["why"] == ("332.9 GB of weights and 4.2 GB of KV cache for 8192 tokens are 135.3 GB too much for it")


def test_the_context_is_what_the_memory_leaves() -> None:
    large = model("llama-3.1-405b")
    build = machine("epyc-9124-2s") | {"memory_bytes": large["bytes"] + plan.RESERVE + kv_bytes(large["kv"], 20_000)}
    assert answer(build, large)["context"] == 20_000
    assert answer(build, large, kv_type="q8_0")["context"] == 20_000 * 32 // 17
    assert answer(build, large, context=20_001)["fits"] is False


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


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["gpt-9"], "There is no model gpt-9 in the catalog"),
        ("gpt-9", "There is no model gpt-9 in the catalog"),
        (["glm-4.6:Q7"], "The type Q7 is not known"),
        (["gpt-oss-120b:Q4_K_M"], "gpt-oss-120b is only made in MXFP4"),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_those_that_are(names: Any, what: str) -> None:
    with pytest.raises(PlanError, match=what):
        choose(MODELS, names, "model")


def test_names_may_be_one_text_with_commas() -> None:
    chosen = choose(MODELS, "glm-4.6, llama-3.1-405b:Q4_K_M", "model")
    assert [entry["name"] for entry in chosen] == ["glm-4.6", "llama-3.1-405b:Q4_K_M"]


def test_a_machine_has_no_type() -> None:
    with pytest.raises(PlanError, match="There is no machine gpu-24gb:Q4_K_M in the catalog"):
        choose(MACHINES, "gpu-24gb:Q4_K_M", "machine")


def test_another_type_has_its_own_sizes() -> None:
    large, smaller = model("llama-3.3-70b"), model("llama-3.3-70b:Q4_K_M")
    assert smaller["bytes"] == pytest.approx(42.5e9, rel=0.01)  # the file on the hub has 42.52 GB
    assert smaller["active_bytes"] / large["active_bytes"] == pytest.approx(smaller["bytes"] / large["bytes"])


def test_rows_that_fall_back_to_a_larger_type_do_so_in_another_type_too() -> None:
    # Expert matrices of 1408 columns: computed by tensor, Q4_K_M has 5.4 bits a weight, and not 4.82.
    assert model("glm-4.5-air:Q4_K_M")["bytes"] == pytest.approx(72e9, rel=0.01)
    assert model("glm-4.5-air:Q8_0")["bytes"] == pytest.approx(106.9e9 * 8.5 / 8)
    said = answer(machine("epyc-9124-2s"), model("glm-4.5-air:Q4_K_M"))
    assert "Q4_K_M" not in [entry["change"] for entry in said["sensitivity"]]


def tower(host: str, cpu: str = "AMD EPYC 9124 16-Core Processor", runs: list[Any] | None = None) -> dict[str, Any]:
    described = {"cpu": {"model": cpu}, "cores": 32, "memory_bytes": 400_000_000_000}
    return plan.from_tower(host, described, memory_channels([12, 12], 4), runs or [])


def test_a_tower_is_planned_with_what_it_is_and_what_it_measured() -> None:
    estimated = answer(tower("tower1"), model("glm-4.6"))
    assert estimated["limited_by"] == "ccd-links"
    assert (estimated["cost_usd"], estimated["joules_per_token"]) == (None, None)
    measured = answer(tower("tower1", runs=[run(read_whole=530.0), "no run"]), model("glm-4.6"))
    assert measured["limited_by"] == "measured"
    assert measured["tokens_per_second"]["expected"] > estimated["tokens_per_second"]["expected"]


def test_a_tower_whose_channels_are_unknown_gets_no_speed() -> None:
    unknown = tower("tower1") | {"memory_channels": {"sockets": None, "dimms": None}}
    assert answer(unknown, model("glm-4.6"))["why"].startswith("how many of its memory channels are in use is unknown")
    half = tower("tower1") | {"memory_channels": memory_channels([12, 0], 4)}
    assert answer(half, model("glm-4.6"))["why"].endswith("or one of its CPUs has none")


def test_the_board_of_a_guest_is_no_ground_for_a_forecast() -> None:
    described = {"cpu": {"model": None}, "cores": 32, "memory_bytes": 400_000_000_000, "hypervisor": True}
    guest = plan.from_tower("guest", described, memory_channels([12, 12], 4), [])
    assert answer(guest, model("glm-4.6"))["why"].startswith("it is a virtual machine")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.00001234, "0.0000123"),
        (0.02263, "0.0226"),
        (1.2345, "1.23"),
        (9.999, "10.0"),
        (16.0, "16.0"),
        (123.4, "123"),
        (999.6, "1,000"),
        (30_012.0, "30,000"),
    ],
)
def test_numbers_have_three_figures_and_no_exponent(value: float | None, text: str) -> None:
    assert number(value) == text


def test_the_table_stays_text_of_one_line_whatever_names_are() -> None:
    hostile = {**machine("epyc-9124-2s"), "name": f"{HOSTILE}\n\x1b[31m", "title": HOSTILE}
    document = plan.plan([model("glm-4.6") | {"name": "a\nb"}], [hostile], OPTIONS)
    said = plan_text(document)
    assert HOSTILE in said and "\x1b" not in said
    # What is planned, an empty line, the model, the headings, the machine, what would help.
    assert len(said.splitlines()) == 6


def test_what_a_tower_calls_its_channels_and_runs_is_not_obeyed() -> None:
    channels = memory_channels([11, 11], 12)
    for socket in channels["sockets"][:2]:
        socket["empty_channels"] = ["\x1b[2J\u202e"]
    hostile = tower("tower1") | {"memory_channels": channels}
    assert "filling" in plan_text(plan.plan([model("glm-4.6")], [hostile], OPTIONS))
    measured = {**run(read_whole=530.0), "started": "\x1b[2J"}
    for entry in (hostile, tower("tower1", runs=[measured])):
        said = plan_text(plan.plan([model("glm-4.6")], [entry], OPTIONS))
        assert "\x1b" not in said and "\u202e" not in said


def test_the_table_says_what_it_is_of_what_is_left_out_and_the_whole_price() -> None:
    said = plan_text(plan.plan([model("glm-4.6"), model("glm-4.5-air")], MACHINES, OPTIONS | {"price_kwh": 0.25}))
    assert "8,192 tokens of context" in said and "0.25 dollars a kWh" in said
    assert said.count("gpu-24gb: What the GPUs are plugged into is not in the cost.") == 1
    assert " 1,999 " in said


def test_where_nothing_fits_the_table_says_why() -> None:
    document = plan.plan([model("llama-3.1-405b")], [machine("desktop-2ch")], OPTIONS)
    assert "desktop-2ch: 332.9 GB of weights" in plan_text(document)
    assert "135.3 GB too much" in plan_view(document)["models"][0]["others"][0]["why"]
