# SPDX-License-Identifier: MIT
"""The pages of the report in a real browser: whole, readable on a telephone, and only text where text came from."""

from __future__ import annotations

import copy
import html
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from plugins.module_utils.benchmark.results import quantity
from plugins.module_utils.memory.channels import describe, nothing
from plugins.module_utils.memory.smbios import read_table
from plugins.module_utils.report.document import build_report
from plugins.module_utils.text import file_name
from plugins.module_utils.tower import l3_domains, read_tower
from tests.boards.machine import DEFAULTS, files, write
from tests.controller import play
from tests.render.browser import Browser
from tests.render.page_checks import check_accessible, check_whole, slots

REPO = Path(__file__).resolve().parents[2]
# What a machine might say of itself, to a page and to a terminal.
HOSTILE = "<script>alert(1)</script>"
CONTROL = "\x1b]0;owned\x07\u202e"
SHA256 = "0123456789abcdef" * 4
MODEL = {
    "name": "glm-4.6",
    "source": {"repo": "unsloth/GLM-4.6-GGUF", "revision": "main", "files": "Q6_K/*.gguf"},
    "commit": "0" * 40,
    "bytes": 292_700_000_000,
    "files": [{"file": f"GLM-4.6-Q6_K-0000{number}-of-00002.gguf", "sha256": SHA256} for number in (1, 2)],
    "gguf": {
        "active_bytes": 26_200_000_000,
        "block_count": 92,
        "parameters": 357_000_000_000,
        "expert_count": 160,
        "quantization": "Q6_K",
    },
}
BUILD: dict[str, Any] = {
    "key": "2fc3e919bf6f2da2",
    "llama_version": "0.5.0",
    "cpu": "native",
    "compiler": "c++ 12.2.0",
    "binaries": {"llama-bench": SHA256, "llama-server": SHA256},
    "source": {"type": "sdist", "sha256": SHA256},
}
TUNING = {
    "measured": "2026-01-25T12:00:00Z",
    "model": {"name": "glm-4.6", "sha256": [SHA256]},
    "winner": {"numa_policy": "interleave", "load_mode": "dio", "huge_pages": "thp", "threads": 32}
    | {"threads_batch": 64, "flash_attention": True},
    "confidence": "certain",
}
SERVICE = {
    "completion": {"text": "Paris", "tokens_per_second": 12.1},
    "nodes": [0, 1],
    "placement": {
        "bytes": 300_000_000_000,
        "swapped_bytes": 0,
        "huge_bytes": 300_000_000_000,
        "nodes": {"0": 150_000_000_000, "1": 150_000_000_000},
        "policies": {"interleave:0-1": 300_000_000_000},
    },
}


def benchmarks() -> list[dict[str, Any]]:
    """Six weekly runs: a new build before the fourth, and in the last one decoding became slower."""
    runs = []
    for week, (decode, read) in enumerate(
        [(13.9, 482.0), (14.1, 485.0), (14.0, 484.0), (15.2, 483.0), (15.3, 486.0), (13.1, 484.0)]
    ):
        results = {
            "read_whole": quantity([read, read * 1.004, read * 0.993], "GB/s"),
            "service_steady": quantity([decode * 0.95], "tokens/s"),
            "bench_decode": quantity([decode, decode * 1.01, decode * 0.99], "tokens/s"),
            "bench_prompt": quantity([decode * 6, decode * 6.2], "tokens/s"),
        }
        for cores in (0, 1):
            for memory in (0, 1):
                speed = 241.0 if cores == memory else 96.0
                results[f"read_node{cores}_node{memory}"] = quantity([speed, speed * 1.01], "GB/s")
        conditions = {
            "build": BUILD["key"] if week > 2 else "11aa22bb33cc",
            "kernel": "6.12.48",
            "model": "glm-4.6 abc",
        }
        for result in results.values():
            del result["samples"]
        runs.append(
            {
                "schema_version": 1,
                "started": f"2026-01-{1 + 5 * week:02d}T04:00:00Z",
                "conditions": conditions,
                "results": results,
                "skipped": {"service_load": "The service was not restarted."} if week == 5 else {},
            }
        )
    return runs


def document(root: Path, host: str, hostile: bool = False, served: bool = True) -> Any:
    """The report of a machine with two sockets whose channels K and R are empty."""
    board = {**DEFAULTS["board"], "empty": ["DIMM_P0_K0", "DIMM_P1_R0"]}
    maker, part = (HOSTILE, HOSTILE) if hostile else ("Samsung", "M321R2GA3BB6-CQKEG")
    board["dimm"] = {**board["dimm"], "manufacturer": maker, "part_number": part}
    write(root, files({"board": board}))
    machine = read_table((root / "sys/firmware/dmi/tables/DMI").read_bytes())
    channels = describe(machine, "dmi-table", l3_domains(root / "sys"))
    parts: Any = {"tower": read_tower(root), "memory_channels": channels}
    if served:
        parts |= {"build": BUILD, "model": MODEL, "service": SERVICE, "benchmarks": benchmarks(), "tuning": TUNING}
    if hostile:
        text = json.dumps(HOSTILE + CONTROL)[1:-1]
        for said in ("glm-4.6", "Paris", BUILD["key"], "interleave:0-1", "6.12.48", "The service was not restarted."):
            parts = json.loads(json.dumps(parts).replace(said, text))
        parts["tower"]["board"] = {"vendor": HOSTILE + CONTROL, "name": HOSTILE}
        parts["tower"]["cpu"]["model"] = HOSTILE + CONTROL
        for socket in parts["memory_channels"]["sockets"]:
            socket["cpu"] = HOSTILE + CONTROL
        parts["unlocked"], parts["distribution"] = [HOSTILE + CONTROL], HOSTILE + CONTROL
    return build_report(parts, host, "2026-01-26T04:00:00Z")


NAMES = {
    "tower1": "tower1",
    "tower2": "tower2",
    "hostile": file_name(HOSTILE),
    "tower3": "tower3",
    "container": "container",
}


class Reports:
    """A directory of reports, and what the run that wrote them showed."""

    def __init__(self, directory: Path, shown: str) -> None:
        self.directory = directory
        self.shown = shown

    def __truediv__(self, file: str) -> Path:
        name, _, ending = file.partition(".")
        return self.directory / f"{NAMES.get(name, name)}.{ending}"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """The reports of a fleet, as the role writes them."""
    base, root = tmp_path_factory.mktemp("play"), tmp_path_factory.mktemp("root")
    directory = base / "reports"
    documents = [
        document(root, "tower1"),
        document(root, "tower2", served=False),
        document(root, HOSTILE, hostile=True),
    ]
    third = copy.deepcopy(documents[0])
    third["host"], third["tower"]["nodes_per_socket"] = "tower3", 4
    documents.append(third)
    # A container has no SMBIOS table, and serves all the same.
    fourth = copy.deepcopy(documents[0]) | {"host": "container", "forecast": None, "benchmarks": []}
    fourth |= {"memory_channels": nothing("none", "no table"), "advice": []}
    documents.append(fourth)
    # Something else that lies there is no tower.
    directory.mkdir()
    (directory / "plan.json").write_text('{"schema_version": 1}')
    (directory / "plan.html").write_text("<!DOCTYPE html>")
    hosts = {}
    for number, each in enumerate(documents):
        source = base / f"{number}.json"
        source.write_text(json.dumps(each))
        hosts[each["host"]] = {"source": str(source)}
    inventory = base / "hosts.yml"
    # One that was not read yet, and the report of one that is in the inventory no more.
    inventory.write_text(json.dumps({"towers": {"hosts": hosts | {"new": {}}}}))
    gone = documents[0] | {"host": "gone"}
    (directory / "gone.json").write_text(json.dumps(gone))
    fleet_task = {
        "ansible.builtin.include_role": {"name": "llamatower.tower.report", "tasks_from": "fleet.yml"},
        "vars": {"report_dir": str(directory)},
    }
    write_task = {
        "ansible.builtin.include_role": {"name": "llamatower.tower.report", "tasks_from": "write.yml"},
        "vars": {
            "report_dir": str(directory),
            "__report_document": "{{ lookup('ansible.builtin.file', source) | from_json }}",
            "__report_board": "{{ __report_document.memory_channels | llamatower.tower.memory_board }}",
        },
    }
    playbook = base / "play.yml"
    playbook.write_text(
        json.dumps([{"hosts": "towers:!new", "gather_facts": False, "tasks": [write_task, fleet_task]}])
    )
    run = play(inventory, playbook, "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}")
    assert run.returncode == 0, run.stdout + run.stderr
    return Reports(directory, run.stdout)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["tower1", "tower2", "container", "hostile", "index"])
def test_a_page_asks_for_nothing_complains_of_nothing_and_fits(
    pages: Reports, browser: Browser, name: str, width: int
) -> None:
    check_whole(browser, pages / f"{name}.html", width, name)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["tower1", "tower2", "container", "index"])
def test_a_page_is_accessible(pages: Reports, browser: Browser, axe: str, name: str, scheme: str) -> None:
    check_accessible(browser, axe, pages / f"{name}.html", scheme)


def test_the_board_is_drawn_as_it_is(pages: Reports, browser: Browser) -> None:
    browser.open(pages / "tower1.html", 1100)
    assert browser.run("document.querySelectorAll('.board .socket').length") == 2
    drawn = slots(browser)
    assert len(drawn) == 24
    assert {name for name, state in drawn.items() if state != "populated"} == {"DIMM_P0_K0", "DIMM_P1_R0"}
    assert {drawn["DIMM_P0_K0"], drawn["DIMM_P1_R0"]} == {"empty"}
    missing = "[...document.querySelectorAll('.socket .missing')].map(text => text.textContent)"
    assert browser.run(missing) == ["K", "R"]
    # Sixteen cores, four to an L3 cache, which is a die of its own on this CPU; each has one link.
    assert browser.run("document.querySelectorAll('.socket .die').length") == 8
    assert browser.run("document.querySelectorAll('.socket .link').length") == 8


def test_nothing_is_drawn_outside_or_over_another(pages: Reports, browser: Browser) -> None:
    browser.open(pages / "tower1.html", 1100)
    boxes = browser.run(
        "[...document.querySelectorAll('.socket')].map(socket => [...socket.querySelectorAll('.slot, .cpu')]"
        ".map(box => [+box.getAttribute('x'), +box.getAttribute('x') + +box.getAttribute('width')]))"
    )
    for socket in boxes:
        edges = sorted(socket)
        assert edges[0][0] >= 0
        assert edges[-1][1] <= 360
        assert all(left[1] < right[0] for left, right in pairwise(edges)), edges


def test_what_advice_is_worth_reads_the_same_in_every_rendering(pages: Reports) -> None:
    document = json.loads((pages / "tower1.json").read_text())
    weighed = [entry for entry in document["advice"] if entry["gain"] is not None]
    assert {"ccd-links", "empty-channel"} <= {entry["code"] for entry in weighed}
    page, markdown = html.unescape((pages / "tower1.html").read_text()), (pages / "tower1.md").read_text()
    for entry in weighed:
        assert entry["worth"] in " ".join(pages.shown.split())
        assert f'<span class="worth">{entry["worth"]}</span>' in page
        assert f"**{entry['severity']}** ({entry['worth']}): " in markdown


def test_the_verdict_is_the_same_in_every_rendering_and_has_its_date(pages: Reports) -> None:
    sentence = json.loads((pages / "tower1.json").read_text())["verdict"]["sentence"]
    page, markdown = html.unescape((pages / "tower1.html").read_text()), (pages / "tower1.md").read_text()
    assert sentence in " ".join(pages.shown.split())
    assert sentence in page and "As of 2026-01-26 04:00 UTC" in page
    assert f"**{sentence}**" in markdown and "As of 2026-01-26 04:00 UTC." in markdown


def test_each_step_down_has_its_figure_and_its_reason(pages: Reports, browser: Browser) -> None:
    browser.open(pages / "tower1.html", 1100)
    script = "[...document.querySelectorAll('.ladder .reading b')].map(figure => figure.textContent)"
    assert browser.run(script)[:6] == ["922 GB/s", "845 GB/s", "399 to 528 GB/s", "484 GB/s", "343 GB/s", "326 GB/s"]
    assert browser.run("document.querySelectorAll('.ladder .why:empty').length") == 0


def test_what_was_not_measured_is_said_with_the_playbook_that_measures_it(pages: Reports, browser: Browser) -> None:
    browser.open(pages / "tower2.html", 1100)
    commands = browser.run("[...document.querySelectorAll('.ladder code')].map(code => code.textContent)")
    assert commands == ["ansible-playbook llamatower.tower.bench"] * 2 + ["ansible-playbook llamatower.tower.serve"]


def test_the_history_names_what_became_slower(pages: Reports, browser: Browser) -> None:
    browser.open(pages / "tower1.html", 1100)
    assert browser.run("document.querySelectorAll('.chart').length") == 4
    assert browser.run("document.querySelectorAll('.point').length") == 24
    slower = browser.run("[...document.querySelectorAll('.point.slower title')].map(title => title.textContent)")
    assert [sentence[:10] for sentence in slower] == ["2026-01-26"] * 3
    assert browser.run("document.querySelectorAll('.change').length") == 4


def test_a_machine_without_a_table_has_no_board_and_still_its_speed(pages: Reports, browser: Browser) -> None:
    browser.open(pages / "container.html", 1100)
    assert browser.run("document.querySelectorAll('.slot').length") == 0
    text = browser.run("document.body.textContent")
    assert "the machine shows no SMBIOS table" in text
    assert "12.1 tokens/s" in text
    assert "Neither the DIMMs" not in text
    assert "no SMBIOS table" in (pages / "container.md").read_text()


def test_a_page_is_printed_dark_on_light_without_what_is_for_the_screen(pages: Reports, browser: Browser) -> None:
    browser.open(pages / "tower1.html", 1100, "dark")
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.call("Emulation.setEmulatedMedia", media="print", features=dark)
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert browser.run("document.querySelector('.screen').checkVisibility()") is False
    browser.call("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("name", ["hostile", "index"])
def test_what_a_machine_says_stays_text(pages: Reports, browser: Browser, name: str) -> None:
    browser.open(pages / f"{name}.html", 1100)
    assert browser.run("document.querySelectorAll('script').length") == 0
    text = browser.run("document.documentElement.textContent")
    assert HOSTILE in text
    assert [character for character in text if not character.isprintable() and character != "\n"] == []


def test_what_a_machine_says_stays_text_in_markdown(pages: Reports) -> None:
    text = (pages / "hostile.md").read_text()
    # Outside of code, which shows everything as it is, nothing is left that could be HTML.
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    kinds = {child.type for token in rendered for child in [token, *(token.children or [])]}
    assert not kinds & {"html_block", "html_inline", "link_open", "image"}
    shown = "".join(child.content for token in rendered for child in token.children or [])
    assert HOSTILE in shown
    assert [character for character in text if not character.isprintable() and character != "\n"] == []


def test_what_a_machine_says_does_not_command_the_terminal(pages: Reports) -> None:
    assert HOSTILE in pages.shown
    assert [character for character in pages.shown if not character.isprintable() and character != "\n"] == []


def test_the_json_document_is_what_was_found(pages: Reports) -> None:
    text = (pages / "hostile.json").read_text()
    found = json.loads(text)
    assert found["host"] == HOSTILE
    assert found["tower"]["cpu"]["model"] == HOSTILE + CONTROL
    assert [character for character in text if not character.isprintable() and character != "\n"] == []


def test_the_odd_one_out_is_named(pages: Reports, browser: Browser) -> None:
    browser.open(pages / "index.html", 1100)
    assert browser.run("document.querySelectorAll('table')[0].querySelectorAll('tbody tr').length") == 6
    assert browser.run("[...document.querySelectorAll('h3')].map(title => title.textContent)") == ["tower3"]
    links = browser.run(
        "[...document.querySelectorAll('table')[0].querySelectorAll('a')].map(each => each.getAttribute('href'))"
    )
    assert sorted(links) == sorted(f"{name}.html" for name in NAMES.values())
    assert all((pages.directory / link).exists() for link in links)


def test_the_most_severe_comes_first_with_a_word_and_a_mark(pages: Reports, browser: Browser) -> None:
    browser.open(pages / "index.html", 1100)
    states = browser.run("[...document.querySelectorAll('.state')].map(each => each.textContent)")
    order = ["✕ problem", "? not read", "! advice", "✓ good"]
    assert states == sorted(states, key=order.index)
    assert {"✕ problem", "? not read", "! advice"} <= {*states}


def test_the_page_of_all_towers_leads_to_the_plan(pages: Reports, browser: Browser) -> None:
    browser.open(pages / "index.html", 1100)
    assert browser.run("document.querySelectorAll('a[href=\"plan.html\"]').length") == 1


@pytest.mark.parametrize("name", ["tower1", "index"])
def test_what_is_to_be_hit_is_large_enough_for_a_finger(pages: Reports, browser: Browser, name: str) -> None:
    browser.open(pages / f"{name}.html", 390)
    heights = browser.run(
        "[...document.querySelectorAll('a, summary')]"
        ".map(each => [each.textContent, each.getBoundingClientRect().width, each.getBoundingClientRect().height])"
    )
    assert heights
    assert [each for each in heights if each[1] < 24 or each[2] < 24] == []


def test_the_even_share_is_drawn_beside_what_each_node_holds(pages: Reports, browser: Browser) -> None:
    browser.open(pages / "tower1.html", 1100)
    assert browser.run("[...document.querySelectorAll('.bar .even')].map(mark => mark.style.left)") == ["100%", "100%"]


def test_what_the_board_shows_is_there_as_text(pages: Reports, browser: Browser) -> None:
    browser.open(pages / "tower1.html", 1100)
    text = browser.run("document.querySelector('.board + .facts').textContent")
    assert (
        "11 of 12 channels in use, 176 GiB, 422 GB/s, node 1, 4 dies with cores, 49.9 to 66.0 GB/s through" in text
    ), text


def test_each_tower_of_the_inventory_has_the_date_of_what_is_shown(pages: Reports, browser: Browser) -> None:
    browser.open(pages / "index.html", 1100)
    rows = browser.run(
        "[...document.querySelectorAll('table')[0].querySelectorAll('tbody tr')]"
        ".map(row => [row.cells[0].textContent.trim(), row.cells[1].textContent])"
    )
    assert not any("gone" in name for name, _date in rows)
    (new,) = [row for row in rows if row[0].startswith("new")]
    assert "not read in the last run" in new[0]
    assert new[1] == "never"
    assert {date for name, date in rows if not name.startswith("new")} == {"2026-01-26 04:00"}
    assert "1 was not read in the last run" in browser.run("document.querySelector('.verdict').textContent")
