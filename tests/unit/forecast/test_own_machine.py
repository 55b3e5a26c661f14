# SPDX-License-Identifier: MIT
"""A machine of one's own in one line: what is read of it, and what is said of what cannot be meant."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.forecast.catalog import catalog_problems
from plugins.module_utils.forecast.cpu_cores import cores_of, known_cpus
from plugins.module_utils.forecast.own_machine import brand_of, looks_like_one, own_machine
from plugins.module_utils.forecast.prices import cost_of, priced
from plugins.module_utils.forecast.purchase import answer
from tests.forecast_inputs import MEMORY, machine, model

GIB = 2**30


def read(text: str) -> Any:
    entry, problems = own_machine(text)
    assert problems == []
    assert catalog_problems([], [entry]) == []
    return entry


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "2x EPYC 9354, 24x32GB DDR5-4800",
            {"sockets": 2, "cores": 64, "dies": 16, "channels": 24, "mts": 4800, "memory_bytes": 768 * GIB},
        ),
        ("dual AMD EPYC 9354P with 24 x 32 GB DDR5-5600 RDIMM", {"sockets": 2, "channels": 24, "mts": 4800}),
        ("9354, 8x32GB", {"sockets": 1, "channels": 8, "cpu": "EPYC 9354", "mts": 4800}),
        ("EPYC 9354, 24x32GB", {"channels": 12, "mts": 3600, "memory_bytes": 768 * GIB}),
        ("EPYC 9755, 1536GB", {"cores": 128, "channels": 12, "dies": None}),
        ("2x Xeon Gold 6430, 16x64GB", {"sockets": 2, "cores": 64, "channels": 16, "mts": 4400}),
        ("Xeon 6430, 8x64GB", {"cpu": "Xeon(R) Gold 6430", "cores": 32}),
        ("Intel Xeon 6 6980P, 12x64GB DDR5-6400", {"cores": 128, "channels": 12, "mts": 6400}),
        ("Threadripper PRO 7965WX, 8x32GB", {"cores": 24, "channels": 8}),
        ("EPYC 9324, 12x32GB, 32 cores, 4 dies", {"cores": 32, "dies": 4}),
        ("2x EPYC 9354, 20x32GB", {"channels": 20}),
        ("2x EPYC 9354, 24x32GB, 8 channels", {"channels": 16}),
    ],
)
def test_a_line_is_a_machine(text: str, expected: dict[str, Any]) -> None:
    entry = read(text)
    assert {key: entry[key] for key in expected} == expected


def test_the_order_of_the_parts_does_not_matter_and_price_and_watts_may_be_there() -> None:
    one = read("2x EPYC 9354, 24x32GB DDR5-4800, $9,000, 650 W")
    assert (cost_of(priced(one, MEMORY)), one["watts"]) == (9000, 650)
    assert read("650W + 24x32GB DDR5-4800 + 2x EPYC 9354 for 9k USD") == one


def test_without_a_price_only_that_of_its_memory_is_told() -> None:
    said = answer(priced(read("2x EPYC 9354, 24x32GB DDR5-4800"), MEMORY), model("glm-4.6"))
    assert said["cost_usd"] is None
    assert said["remarks"][0] == "The price of everything but its memory is not known, of the rest it is $14,438."


def test_it_is_as_fast_as_the_same_machine_of_the_catalog() -> None:
    own, listed = read("2x EPYC 9354, 24x16GB DDR5-4800"), machine("epyc-9354-2s")
    speeds = [answer(entry, model("glm-4.6"))["tokens_per_second"] for entry in (own, listed)]
    assert speeds[0] == speeds[1]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("2x EPYC 9354", ["plan_machine needs its DIMMs, all of one kind"]),
        ("24x32GB", ["plan_machine names no CPU"]),
        ("EPYC 9354, 8x32GB, 4x16GB", ["plan_machine needs its DIMMs, all of one kind"]),
        ("EPYC 9999, 12x32GB", ["The CPU EPYC 9999 is not known: the nearest are EPYC "]),
        ("EPYC 9324, 12x32GB", ["The cores of EPYC 9324 are not known: add them, as 32 cores; the nearest"]),
        ("EPYC 9354, 30x32GB", ["30 DIMMs are too many: 1 x EPYC 9354 have 12 channels"]),
        ("2x EPYC 9354, 1x32GB", ["1 DIMMs leave one of 2 CPUs without memory"]),
        (
            "2x EPYC 9999, 3 kg, green",
            [
                "3 kg in plan_machine is not understood",
                "green in plan_machine is not understood",
                "plan_machine needs its DIMMs",
                "The CPU EPYC 9999 is not known",
            ],
        ),
    ],
)
def test_all_that_is_wrong_with_a_line_is_said_at_once(text: str, sentences: list[str]) -> None:
    entry, problems = own_machine(text)
    assert entry is None
    assert [said[: len(sentence)] for said, sentence in zip(problems, sentences, strict=True)] == sentences


@pytest.mark.parametrize(
    ("brand", "cores"),
    [
        ("AMD EPYC 7443P 24-Core Processor", 24),
        ("Intel(R) Xeon(R) Gold 6330 CPU @ 2.00GHz", 28),
        ("Intel(R) Xeon(R) Gold 6330H CPU @ 2.00GHz", 24),
        ("Intel(R) Xeon(R) Gold 6330N", 28),
        ("Intel(R) Xeon(R) Platinum 8380HL", 28),
        ("Intel(R) Xeon(R) Platinum 8468H", 48),
        ("Intel(R) Xeon(R) Silver 4410T", 10),
        ("Intel(R) Xeon(R) Silver 4410Y", 12),
        ("Intel(R) Xeon(R) Gold 6442T", None),
        ("Intel(R) Xeon(R) 6740E", None),
    ],
)
def test_a_letter_behind_a_number_counts_where_it_means_another_cpu(brand: str, cores: Any) -> None:
    assert cores_of(brand) == cores


def test_the_memory_of_every_cpu_in_the_table_is_known() -> None:
    assert [name for name in known_cpus() if brand_of(name) is None] == []


@pytest.mark.parametrize(("text", "line"), [("epyc-9354-2s", False), ("Mac Studio", False), ("9354, 384GB", True)])
def test_a_name_is_no_line(text: str, line: bool) -> None:
    assert looks_like_one(text) is line


@given(st.text(alphabet="2x EPYCeonGold9354,64GBDR-$kWcores+", max_size=50))
def test_any_line_is_a_machine_or_has_a_problem(text: str) -> None:
    entry, problems = own_machine(text)
    assert (entry is None) == bool(problems)
