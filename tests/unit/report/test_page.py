# SPDX-License-Identifier: MIT
"""What the pages of the report show."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from plugins.module_utils.report.page import bandwidth, declarations, dimms, placement, tuning


def report(**parts: Any) -> Any:
    """A report of which nothing else is known."""
    return {"memory_channels": None, "model": None, "service": None, "build": None, "benchmarks": []} | parts


def test_bars_are_parts_of_a_round_axis() -> None:
    known = {"theoretical_gb_s": 460.8, "populated_gb_s": 230.4, "reachable_gb_s": [184, 219], "limited_by": "channels"}
    found = bandwidth(report(memory_channels={"bandwidth": known, "sockets": []}))
    assert found
    assert [tick["text"] for tick in found["ticks"]] == ["0", "200", "400", "600"]
    whole, populated, reachable = found["steps"][:3]
    assert whole["end"] == pytest.approx(76.8)
    assert populated["lost"] == whole["end"]
    assert [reachable["start"], reachable["end"]] == pytest.approx([30.67, 36.5])


def test_where_steps_differ_a_hundredfold_each_mark_is_ten_times_the_one_before() -> None:
    known = {
        "theoretical_gb_s": 921.6,
        "populated_gb_s": 883.2,
        "reachable_gb_s": [264, 336],
        "limited_by": "ccd-links",
    }
    slow = {"completion": {"tokens_per_second": 0.026}}
    model = {"name": "m", "gguf": {"active_bytes": 332_000_000_000}}
    document = report(memory_channels={"bandwidth": known, "sockets": []}, service=slow, model=model)
    found = bandwidth(document)
    assert found and found["powers"]
    assert [tick["text"] for tick in found["ticks"]] == ["1", "10", "100", "1,000"]
    assert [tick["at"] for tick in found["ticks"]] == pytest.approx([0, 33.33, 66.67, 100], abs=0.01)
    service = found["steps"][-1]
    assert service["code"] == "service" and service["end"] == pytest.approx(31.2, abs=0.1)
    document["service"]["completion"]["tokens_per_second"] = 1.2
    even = bandwidth(document)
    assert even and not even["powers"]


@pytest.mark.parametrize(
    ("policy", "held", "said"),
    [
        (
            "interleave:0-1",
            {"0": 75, "1": 25},
            [("75.0%, 50.0% more than even", 66.67), ("25.0%, 50.0% less than even", 66.67)],
        ),
        ("interleave:0-1", {"0": 75}, [("100.0%, 100.0% more than even", 50.0), ("0.0%, 100.0% less than even", 50.0)]),
        ("interleave:0-1", {"0": 50, "1": 50}, [("50.0%, even", 100.0), ("50.0%, even", 100.0)]),
        ("bind:0", {"0": 75}, [("100.0%", None), ("0.0%", None)]),
        ("weighted interleave:0-1", {"0": 75, "1": 25}, [("75.0%", None), ("25.0%", None)]),
    ],
)
def test_memory_is_held_against_the_even_share_where_it_is_to_be_even(
    policy: str, held: dict[str, int], said: list[tuple[str, float | None]]
) -> None:
    placed = {"nodes": held, "policies": {policy: 100}, "bytes": 100}
    nodes = placement(report(service={"placement": placed, "nodes": [0, 1]}))
    assert [(node["share"], node["even"]) for node in nodes] == said


def test_memory_on_one_node_alone_has_no_other_share() -> None:
    placed = {"nodes": {"0": 75}, "policies": {"interleave:0": 75}, "bytes": 75}
    (node,) = placement(report(service={"placement": placed, "nodes": [0]}))
    assert (node["share"], node["bar"], node["even"]) == ("100.0%", 100, None)


def test_nothing_is_known_of_a_machine_that_shows_nothing() -> None:
    assert bandwidth(report()) is None
    assert placement(report()) == []
    assert dimms(report()) == {"kinds": [], "slots": []}


def test_what_to_write_in_the_inventory_is_yaml_whatever_the_names() -> None:
    name = 'x"}]\n- evil: <script>'
    model = {"name": name, "commit": "0" * 40, "source": {"repo": "a/b", "revision": "main", "files": "Q6_K/*.gguf"}}
    build = {"source": {"type": "sdist", "package": "p", "version": "1", "sha256": "00"}, "cpu": "native"}
    found = yaml.safe_load("\n".join(declarations(report(build=build, model=model))))
    assert found["llama_build_source"] == build["source"]
    assert found["model_store_models"] == [{"name": name, "repo": "a/b", "revision": "0" * 40, "files": "Q6_K/*.gguf"}]
    json.dumps(found)


def test_the_fastest_settings_are_told_with_the_threads_of_prompts_and_of_this_model_only() -> None:
    winner = {"numa_policy": "bind", "load_mode": "dio", "huge_pages": "thp", "threads": 32, "flash_attention": True}
    found = {"model": {"name": "m"}, "confidence": "tie", "measured": "2026-01-25T12:00:00Z"}
    document: Any = {"tuning": {**found, "winner": {**winner, "threads_batch": 64}}, "model": {"name": "m"}}
    assert "32 threads (64 for prompts), with flash attention (confidence: tie; " in str(tuning(document))
    document["model"] = {"name": "other"}
    assert tuning(document) is None
