# SPDX-License-Identifier: MIT
"""The report document and its text."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.report import build_report, report_text, size

TOWER: dict[str, Any] = {
    "board": {"vendor": "Giga Computing", "name": "MZ73-LM1-000"},
    "cpu": {"model": "AMD EPYC 9124 16-Core Processor"},
    "sockets": 2,
    "memory_bytes": 405_000_000_000,
    "nodes": [
        {"node": 0, "memory_bytes": 202_000_000_000, "cpus": list(range(16))},
        {"node": 1, "memory_bytes": 203_000_000_000, "cpus": list(range(16, 32))},
    ],
}
CHANNELS: dict[str, Any] = {
    "sockets": [
        {"populated": True, "channels_total": 12, "channels_populated": 12},
        {"populated": True, "channels_total": 12, "channels_populated": 11},
    ],
    "bandwidth": {
        "theoretical_gb_s": 921.6,
        "populated_gb_s": 883.2,
        "reachable_gb_s": [400, 530],
        "limited_by": "ccd-links",
    },
    "advice": [
        {"severity": "info", "code": "single-rank", "message": "The DIMMs are single-rank.", "fix": "Nothing."},
        {
            "severity": "problem",
            "code": "empty-channel",
            "message": "Channel N of socket 1 is empty, which costs 38.4 GB/s.",
            "fix": "Put a DIMM like the others into DIMM_P1_N0.",
        },
    ],
}
BUILD = {"key": "0123456789abcdef", "llama_version": "version: 0.5.0", "cpu": "native"}
MODEL = {
    "name": "main",
    "bytes": 332_900_000_000,
    "files": [{"file": "a.gguf"}, {"file": "b.gguf"}],
    "commit": "f" * 40,
    "gguf": {"quantization": "Q6_K"},
}
SERVICE: dict[str, Any] = {
    "completion": {"text": "Because of\x1b[31m Rayleigh scattering.", "tokens": 9, "tokens_per_second": 1.234},
    "server": {},
    "placement": {
        "nodes": {"0": 166_000_000_000, "1": 167_000_000_000},
        "bytes": 333_000_000_000,
        "huge_bytes": 330_000_000_000,
        "policies": {"interleave:0-1": 333_000_000_000},
        "swapped_bytes": 0,
    },
    "nodes": [0, 1],
    "problem": None,
}


def report(**parts: Any) -> dict[str, Any]:
    whole = {"tower": TOWER, "memory_channels": CHANNELS, "build": BUILD, "model": MODEL, "service": SERVICE} | parts
    return build_report(whole, "tower1", "2026-01-01T00:00:00Z")


def test_the_document_has_a_schema_version_and_every_part() -> None:
    document = report()
    assert document["schema_version"] == 1
    assert document["host"] == "tower1"
    assert {"tower", "memory_channels", "build", "model", "service", "advice"} <= document.keys()


def test_the_most_severe_advice_comes_first() -> None:
    assert [entry["severity"] for entry in report()["advice"]] == ["problem", "info"]


@pytest.mark.parametrize(("part", "playbook"), [("build", "build"), ("model", "models"), ("service", "serve")])
def test_a_missing_part_says_which_playbook_makes_it(part: str, playbook: str) -> None:
    assert report(**{part: None})["advice"][0]["fix"] == f"ansible-playbook playbooks/{playbook}.yml"


def test_the_text_has_the_figures_of_every_part() -> None:
    text = report_text(report())
    for expected in (
        "2x AMD EPYC 9124",
        "23 of 24 channels populated, 883.2 GB/s of 921.6",
        "400 to 530",
        "node 0 166 GB, node 1 167 GB; 0.6% apart; policy interleave:0-1",
        "99% of weights and buffers",
        "1.23 tokens a second",
        "main, Q6_K, 333 GB, 2 files, commit ffffffffffff",
    ):
        assert expected in " ".join(text.split()), text


def test_no_line_is_wider_than_a_terminal() -> None:
    long = report(service=SERVICE | {"completion": SERVICE["completion"] | {"text": "word " * 100}})
    assert max(map(len, report_text(long).splitlines())) <= 80


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in report_text(report())


def test_a_tower_with_nothing_installed_still_has_a_report() -> None:
    text = report_text(build_report({"tower": TOWER}, "tower1", "2026-01-01T00:00:00Z"))
    assert "There is no build on this tower yet." in text


def test_nothing_to_mend_is_said() -> None:
    assert "Nothing to mend was found." in report_text(report(memory_channels=CHANNELS | {"advice": []}))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (282_972_864, "283 MB"),
        (52_613_349_376, "52.6 GB"),
        (332_900_000_000, "333 GB"),
        (1.5e12, "1.50 TB"),
    ],
)
def test_sizes_read_as_people_write_them(count: float, text: str) -> None:
    assert size(count) == text
