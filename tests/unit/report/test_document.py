# SPDX-License-Identifier: MIT
"""The report document and its text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.advice.document import Advice
from plugins.module_utils.report.document import Parts, build_report
from plugins.module_utils.report.terminal import fleet_text, next_step, report_text
from plugins.module_utils.text import size

REPO = Path(__file__).resolve().parents[3]
TOWER: Any = {
    "board": {"vendor": "Giga Computing", "name": "MZ73-LM1-000"},
    "cpu": {"model": "AMD EPYC 9124 16-Core Processor"},
    "sockets": 2,
    "memory_bytes": 405_000_000_000,
    "nodes": [
        {"node": 0, "memory_bytes": 202_000_000_000, "cpus": list(range(16))},
        {"node": 1, "memory_bytes": 203_000_000_000, "cpus": list(range(16, 32))},
    ],
}
CHANNELS: Any = {
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
        {
            "severity": "info",
            "code": "single-rank",
            "message": "The DIMMs are single-rank.",
            "fix": "Nothing.",
            "gb_s": 0.0,
        },
        {
            "severity": "problem",
            "gb_s": 38.4,
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


def report(**parts: Any) -> Any:
    whole: Any = {
        "tower": TOWER,
        "memory_channels": CHANNELS,
        "build": BUILD,
        "model": MODEL,
        "service": SERVICE,
    } | parts
    return build_report(whole, "tower1", "2026-01-01T00:00:00Z")


def test_every_part_is_documented_and_given_by_the_role() -> None:
    documented = yaml.safe_load((REPO / "plugins/filter/tower_report.yml").read_text())["DOCUMENTATION"]
    given = yaml.safe_load((REPO / "roles/report/vars/main.yml").read_text())["__report_document"]
    assert documented["options"]["_input"]["suboptions"].keys() == Parts.__annotations__.keys()
    assert [part for part in Parts.__annotations__ if f'"{part}": ' not in given] == []


def test_the_document_has_a_schema_version_and_every_part() -> None:
    document = report()
    assert document["schema_version"] == 4
    assert document["host"] == "tower1"
    assert {"tower", "memory_channels", "build", "model", "service", "advice"} <= document.keys()


def test_no_token_of_a_source_is_in_the_document() -> None:
    source = {"type": "git", "url": "https://hub:s3cret@example.com/llama.cpp", "tag": "b1", "commit": "0" * 40}
    files = [{"file": "https://example.com/a.gguf?signature=s3cret"}]
    document = report(
        build=BUILD | {"source": source}, model=MODEL | {"source": {"url": files[0]["file"]}, "files": files}
    )
    assert "s3cret" not in json.dumps(document)
    assert document["build"]["source"]["url"] == "https://example.com/llama.cpp"


def test_no_secret_of_a_url_is_in_a_sentence_of_the_document() -> None:
    said = "The proxy http://ann:S3cret@proxy:3128 refused https://example.com/m.gguf?X-Signature=S3cret : ask there."
    document = build_report({"tower": TOWER, "failure": said}, "tower1", "2026-01-01T00:00:00Z")
    assert "S3cret" not in json.dumps(document)
    assert document["failure"] == "The proxy http://proxy:3128 refused https://example.com/m.gguf : ask there."


def test_the_most_severe_advice_comes_first() -> None:
    assert [entry["severity"] for entry in report()["advice"]] == ["problem", "info"]


@pytest.mark.parametrize(("part", "playbook"), [("build", "build"), ("model", "models"), ("service", "serve")])
def test_a_missing_part_says_which_playbook_makes_it(part: str, playbook: str) -> None:
    assert report(**{part: None})["advice"][0]["fix"] == f"ansible-playbook llamatower.tower.{playbook}"


def test_the_text_has_the_figures_of_every_part() -> None:
    text = report_text(report())
    for expected in (
        "2x AMD EPYC 9124",
        "23 of 24 channels populated",
        "Theoretical ######################## 922 GB/s",
        "Populated ####################### 883 GB/s",
        "Reachable ##########.... 400 to 530 GB/s",
        "Read not measured: ansible-playbook llamatower.tower.bench",
        "node 0 166.0 GB, node 1 167.0 GB; 0.6% apart; policy interleave:0-1",
        "99% of weights and buffers",
        "1.23 tokens a second",
        "main, Q6_K, 332.9 GB, 2 files, commit ffffffffffff",
    ):
        assert expected in " ".join(text.split()), text


def test_no_line_is_wider_than_a_terminal() -> None:
    long = report(service=SERVICE | {"completion": SERVICE["completion"] | {"text": "word " * 100}})
    assert max(map(len, report_text(long).splitlines())) <= 80
    nothing = build_report({"tower": TOWER, "memory_channels": CHANNELS}, "x" * 200, "2026-01-01T00:00:00Z")
    text = report_text(nothing)
    assert max(map(len, text.splitlines())) <= 80, text
    assert "no server answered: ansible-playbook llamatower.tower.serve" in " ".join(text.split())


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in report_text(report())
    memory = CHANNELS | {"bandwidth": CHANNELS["bandwidth"] | {"reachable_source": "\x1b[2J"}}
    measured = run(read_whole=300.0) | {"started": "\x1b[2J\n\u202e"}
    text = report_text(report(memory_channels=memory, benchmarks=[measured]))
    assert "\x1b" not in text and "\u202e" not in text


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
        (332_900_000_000, "332.9 GB"),
        (1.5e12, "1.500 TB"),
    ],
)
def test_sizes_read_as_people_write_them(count: float, text: str) -> None:
    assert size(count) == text


def test_a_model_that_follows_a_branch_is_told_last() -> None:
    document = build_report({"tower": TOWER, "unlocked": ["glm"]}, "tower1", "2026-01-01T00:00:00Z")
    assert document["advice"][-1]["fix"] == "ansible-playbook llamatower.tower.lock"
    assert "glm" in document["advice"][-1]["message"]


def test_how_a_model_came_to_the_tower_is_told() -> None:
    reason = "swarm: 8 towers, 1 Gb/s: about 47 min over the LAN instead of 5.0 h from one tower to the others in turn"
    document = build_report({"tower": TOWER, "distribution": reason}, "tower1", "2026-01-01T00:00:00Z")
    assert "SHARED BY  swarm: 8 towers" in report_text(document)
    assert "SHARED BY" not in report_text({**document, "distribution": None})


BOARD = {
    "sockets": [
        {"socket": number, "populated": True, "cpu": "AMD EPYC 9124 16-Core Processor", "channels_total": 12}
        | {"channels_populated": used, "empty_channels": empty, "l3_domains": 4, "channels_bounds": [used, used]}
        for number, used, empty in ((0, 12, []), (1, 11, ["N"]))
    ],
    "dimms": [{"populated": True, "configured_mts": 4800, "rated_mts": 4800}],
    "bandwidth": CHANNELS["bandwidth"],
    "advice": [],
}
DENSE = MODEL | {"gguf": {"active_bytes": 332_000_000_000, "block_count": 126, "parameters": 405_000_000_000}}


def run(**results: float) -> dict[str, Any]:
    """A benchmark under the same conditions as any other of these."""
    quantities = {name: {"unit": "x", "median": value, "spread": 0.0} for name, value in results.items()}
    return {
        "started": "2026-01-31T12:00:00Z",
        "conditions": {"model": "main 0123456789ab"},
        "results": quantities,
        "skipped": {},
    }


def test_the_forecast_says_what_limits_and_what_would_help() -> None:
    document = report(memory_channels=BOARD, model=DENSE)
    found = document["forecast"]
    # The founding build: 1 to 2 tokens a second for 405 billion weights in Q6_K, because of its dies' links.
    assert 0.9 < found["tokens_per_second"]["expected"] < 2
    assert found["limited_by"] == "ccd-links"
    assert found["calibrated"] is None
    assert found["sensitivity"][0]["change"] == "CPUs with 8 CCDs"
    assert "FORECAST   " in report_text(document)


def test_a_small_model_has_no_exponent_in_its_forecast() -> None:
    header = {"active_bytes": 20_000_000, "block_count": 1, "bytes_by_type": {"Q6_K": 20_000_000}}
    small = DENSE | {"bytes": 20_000_000, "gguf": header}
    text = report_text(report(memory_channels=BOARD, model=small))
    assert "FORECAST" in text and "e+0" not in text


def test_a_benchmark_calibrates_the_forecast_and_leaves_the_first_one_to_compare_with() -> None:
    before = report(memory_channels=BOARD, model=DENSE)["forecast"]
    after = report(memory_channels=BOARD, model=DENSE, benchmarks=[run(read_whole=300.0)])["forecast"]
    assert after["tokens_per_second"] == before["tokens_per_second"]
    assert after["calibrated"]["limited_by"] == "measured"


def test_without_memory_or_a_model_there_is_no_forecast() -> None:
    assert report(memory_channels=None)["forecast"] is None
    assert report(memory_channels=BOARD, model=None)["forecast"] is None


def test_the_board_of_a_guest_is_no_ground_for_a_forecast() -> None:
    assert report(memory_channels=BOARD, model=DENSE, tower=TOWER | {"hypervisor": True})["forecast"] is None


def test_what_became_slower_is_advice() -> None:
    document = report(benchmarks=[run(bench_decode=10.0), run(bench_decode=8.0)])
    (entry,) = [entry for entry in document["advice"] if entry["severity"] == "advice"]
    said = (
        "Slower than in the benchmark before, under the same conditions: llama-bench, decoding: 10.0 to 8.00 x, -20 %."
    )
    assert entry["message"] == said


def test_advice_is_sorted_by_what_it_is_worth() -> None:
    entry = CHANNELS["advice"][0] | {"severity": "problem"}
    worth = [entry | {"message": str(gb_s), "gb_s": gb_s} for gb_s in (0.0, 38.4, 76.8)]
    found = report(memory_channels=CHANNELS | {"advice": worth})["advice"]
    assert [entry["message"] for entry in found] == ["76.8", "38.4", "0.0"]
    assert all(entry.keys() == Advice.__required_keys__ for entry in found)


def test_the_verdict_its_date_and_how_to_use_it_stand_on_top_of_the_text() -> None:
    server = {"instance": "main", "name": "main", "url": "http://127.0.0.1:8080"}
    document = report(memory_channels=BOARD, model=DENSE, service=SERVICE | {"servers": [server]})
    text = report_text(document)
    top = " ".join(text.split("MEMORY  ")[0].split())
    assert f"VERDICT {document['verdict']['sentence']} AS OF 2026-01-01 00:00 UTC USE IT http://127.0.0.1:8080, " in top
    assert "the keys are in /var/lib/llamatower/instances/main/current/keys" in top
    assert "sudo python3 -c 'import json" in top
    assert max(map(len, text.splitlines())) <= 80, text


def test_what_advice_brings_stands_below_it() -> None:
    advised = [entry | {"code": "ccd-links"} for entry in CHANNELS["advice"][:1]]
    text = report_text(report(memory_channels=BOARD | {"advice": advised}, model=DENSE))
    assert "tokens/s (+45 %)" in text, text


def test_a_run_ends_with_five_lines_of_a_tower() -> None:
    server = {"instance": "main", "name": "main", "url": "http://127.0.0.1:8080"}
    document = report(memory_channels=BOARD, model=DENSE, service=SERVICE | {"servers": [server]})
    labels = ("VERDICT", "URL", "KEYS", "PAGE", "NEXT")
    lines = fleet_text([document], "/home/me/reports").splitlines()
    assert lines[:2] == ["", document["host"]]
    assert [line.split()[0] for line in lines[2:] if line[0] != " "] == [*labels]
    assert "URL        http://127.0.0.1:8080 (from the tower alone)" in lines
    assert "KEYS       /var/lib/llamatower/instances/main/current/keys" in lines
    assert f"PAGE       /home/me/reports/{document['host']}.html" in lines
    assert document["verdict"]["sentence"] in " ".join(" ".join(lines).split())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "ansible-playbook llamatower.tower.bench (measures it, to know when it becomes slower)"),
        ({"benchmarks": [1]}, "ansible-playbook llamatower.tower.tune (finds its fastest settings)"),
        ({"benchmarks": [1], "tuning": {"winner": 1}}, "Nothing to mend was found."),
        ({"advice": [{"gain": 0.0, "fix": "No.", "worth": "less"}]}, "ansible-playbook llamatower.tower.bench (meas"),
        (
            {"advice": [{"gain": 1.0, "fix": "Do it.", "worth": "+1.00 tokens/s (+9 %)"}]},
            "Do it. +1.00 tokens/s (+9 %)",
        ),
        ({"advice": [{"gain": None, "fix": None, "message": "It is so.", "worth": None}]}, "It is so."),
    ],
)
def test_the_next_step_is_what_brings_most(changes: dict[str, Any], said: str) -> None:
    document: Any = {"advice": [], "benchmarks": [], "tuning": None} | changes
    assert next_step(document).startswith(said)
