# SPDX-License-Identifier: MIT
"""What machines cost: memory at one price, sums that are a least one, and prices that are old."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.forecast.prices import cost_of, dollars, is_old, oldest, price_remarks, priced
from plugins.module_utils.forecast.purchase import answer
from tests.forecast_inputs import MACHINES, MEMORY, TODAY, machine, model


def test_all_machines_have_their_memory_at_one_price() -> None:
    double: Any = {**MEMORY, "usd_per_gb": 2 * MEMORY["usd_per_gb"]}
    for entry in MACHINES:
        known: list[Any] = [cost_of(priced(entry, memory)) for memory in (MEMORY, double)]
        if entry["kind"] != "cpu" or None in known:
            continue
        more = round(entry["memory_bytes"] / 2**30 * MEMORY["usd_per_gb"])
        assert known[1] - known[0] == pytest.approx(more, abs=1), entry["name"]


def test_what_was_sold_as_a_whole_costs_at_least_its_memory() -> None:
    whole = machine("epyc-9135-1s")
    now = priced(whole, MEMORY)
    assert cost_of(whole) == 5200
    assert cost_of(now) == round(768 * MEMORY["usd_per_gb"])
    assert price_remarks(now, cost_of(now))[0].startswith("It was sold for less than its memory alone costs now")
    assert answer(now, model("glm-4.6"))["cost_least"]
    cheap: Any = {**MEMORY, "usd_per_gb": 1.0}
    assert priced(whole, cheap) == whole


def test_without_a_price_of_memory_parts_cost_what_they_did() -> None:
    assert cost_of(priced(machine("epyc-9124-2s"), None)) == 5700


@pytest.mark.parametrize(
    ("name", "date"),
    [("epyc-9124-2s", "2024-06-21"), ("epyc-9354-2s", "2022-11-10"), ("gpu-24gb", "2024-06-21"), ("desktop-2ch", None)],
)
def test_the_date_is_that_of_the_oldest_price(name: str, date: str | None) -> None:
    assert oldest(priced(machine(name), MEMORY)) == date


@pytest.mark.parametrize(
    ("date", "old"), [("2025-11-29", True), ("2025-11-30", False), ("2026-01-01", False), (None, False)]
)
def test_a_price_is_old_after_a_year(date: str | None, old: bool) -> None:
    assert is_old(date, TODAY) is old


@pytest.mark.parametrize(
    ("text", "usd"),
    [("$9,000", 9000), ("6k", 6000), ("18.8", 18.8), ("6,000 dollars", 6000), ("6,00", None), ("-5", None), ("", None)],
)
def test_a_sum_of_money_is_read_as_it_is_written(text: str, usd: float | None) -> None:
    assert dollars(text) == usd


def test_every_price_has_its_date_and_source() -> None:
    for entry in MACHINES:
        for part in entry.get("parts") or []:
            assert part["price_usd"] is None or (part["date"] and part["source"]), entry["name"]
        if entry["kind"] == "gpu":
            assert entry["price"]["date"] and entry["price"]["source"], entry["name"]
