# SPDX-License-Identifier: MIT
"""The steps down in bandwidth: each with its figure, and with its reason or the command that measures it."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.advice.bandwidth_steps import NAMES, steps
from plugins.module_utils.advice.document import BandwidthStep
from plugins.module_utils.benchmark.results import quantity

KNOWN = {
    "theoretical_gb_s": 921.6,
    "populated_gb_s": 883.2,
    "reachable_gb_s": [400, 530],
    "limited_by": "ccd-links",
    "reachable_source": "estimate",
}
SOCKETS = [
    {"populated": True, "channels_total": 12, "channels_populated": used, "socket": number}
    for number, used in enumerate((12, 11))
]


def run(**results: float) -> dict[str, Any]:
    quantities = {name: quantity([value], "x") for name, value in results.items()}
    return {
        "started": "2026-01-31T12:00:00Z",
        "conditions": {"build": "key", "model": "glm-4.6 0123456789ab"},
        "results": quantities,
    }


def document(**changes: Any) -> Any:
    return {
        "memory_channels": {"bandwidth": KNOWN, "sockets": SOCKETS},
        "model": {"name": "glm-4.6", "gguf": {"active_bytes": 25 * 10**9}},
        "service": {"completion": {"tokens_per_second": 2.0}},
        "build": {"key": "key"},
        "benchmarks": [],
    } | changes


def by_name(found: Any) -> dict[str, BandwidthStep]:
    return {step["name"]: step for step in steps(found)}


def test_all_steps_are_there_with_their_figures() -> None:
    found = steps(document(benchmarks=[run(read_whole=480.0, bench_decode=15.0, service_steady=14.0)]))
    assert [(step["name"], step["kind"], step["said"], step["tokens"]) for step in found] == [
        ("Theoretical", "calculated", "922 GB/s", "36.9 tokens/s"),
        ("Populated", "calculated", "883 GB/s", "35.3 tokens/s"),
        ("Reachable", "estimated", "400 to 530 GB/s", "16.0 to 21.2 tokens/s"),
        ("Read", "measured", "480 GB/s", "19.2 tokens/s"),
        ("llama-bench", "measured", "375 GB/s", "15.0 tokens/s"),
        ("Service", "measured", "350 GB/s", "14.0 tokens/s"),
    ]


def test_each_step_down_has_its_reason() -> None:
    found = by_name(document(benchmarks=[run(read_whole=380.0, bench_decode=15.0, service_steady=14.0)]))
    assert found["Theoretical"]["why"] == "24 channels of 2 CPUs, 38.4 GB/s each"
    assert found["Populated"]["why"] == "4% less: 1 of 24 channels is empty"
    assert found["Reachable"]["why"].startswith("40% to 55% less: the links of the CPU's dies limit it")
    assert found["Read"]["why"].endswith("5% below what is held for reachable")
    assert found["llama-bench"]["why"].startswith("99% of the read probe: each token reads 25.0 GB")
    assert found["Service"]["why"].startswith("93% of llama-bench")


def test_slow_dimms_are_a_reason() -> None:
    slow = {**KNOWN, "populated_gb_s": 809.6}
    why = by_name(document(memory_channels={"bandwidth": slow, "sockets": SOCKETS}))["Populated"]["why"]
    assert why == "12% less: 1 of 24 channels is empty, and a channel gives 35.2 GB/s with these DIMMs at their speed"


def test_what_was_not_measured_names_the_playbook_that_does() -> None:
    found = by_name(document(service=None))
    assert found["Read"]["fix"] == found["llama-bench"]["fix"] == "ansible-playbook llamatower.tower.bench"
    assert found["Service"]["fix"] == "ansible-playbook llamatower.tower.serve"
    assert found["Read"]["kind"] is None


def test_a_benchmark_of_another_build_does_not_speak_for_the_service() -> None:
    found = by_name(document(build={"key": "new"}, benchmarks=[run(service_steady=14.0)]))
    assert found["Service"]["said"] == "50.0 GB/s"
    assert found["Service"]["why"].endswith("in one short answer")


def test_a_benchmark_of_another_model_speaks_for_the_memory_alone() -> None:
    other = {"name": "other", "gguf": {"active_bytes": 10**9}}
    found = by_name(document(model=other, benchmarks=[run(read_whole=480.0, bench_decode=15.0, service_steady=14.0)]))
    assert found["Read"]["said"] == "480 GB/s"
    assert found["llama-bench"]["kind"] is None
    assert found["Service"]["said"] == "2.00 GB/s"


def test_a_short_answer_is_compared_with_what_there_is() -> None:
    assert by_name(document())["Service"]["why"].startswith("12% of the least that is reachable")


@pytest.mark.parametrize("model", [None, {"gguf": {}}])
def test_without_the_bytes_of_a_token_no_speed_is_turned_into_bandwidth(model: Any) -> None:
    found = by_name(document(model=model))
    assert found["Theoretical"]["tokens"] is None
    assert found["Service"]["said"] is None


def test_all_steps_have_their_codes_in_order() -> None:
    assert [step["code"] for step in steps(document())] == list(NAMES)


def test_nothing_is_said_of_a_machine_that_shows_nothing() -> None:
    assert steps(document(memory_channels=None, model=None, service=None)) == []
