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
