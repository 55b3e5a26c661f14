# SPDX-License-Identifier: MIT
"""The pages that site.yml wrote about the containers, in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.integration.container_site import STATE, Places, playbook
from tests.integration.vm_site import written_page
from tests.render.browser import Browser
from tests.render.page_checks import check_accessible, check_whole

PAGES = ["bookworm", "trixie", "index"]


def page(name: str) -> Path:
    return written_page(Places("bookworm" if name == "index" else name).reports, name, STATE / "key")


@pytest.mark.parametrize("width", [390, 1100])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_for_nothing_complains_of_nothing_and_fits(browser: Browser, name: str, width: int) -> None:
    check_whole(browser, page(name), width, f"container-{name}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible(browser: Browser, axe: str, name: str, scheme: str) -> None:
    check_accessible(browser, axe, page(name), scheme)


def test_the_page_has_the_answer_and_where_the_weights_lie(browser: Browser) -> None:
    browser.open(page("bookworm"), 1100)
    text = browser.run("document.body.textContent")
    report = json.loads(page("bookworm").with_suffix(".json").read_text())
    assert report["service"]["completion"]["text"] in text
    assert "tokens/s" in text
    assert "Node 0" in text


def test_a_container_shows_no_board_and_that_is_said(browser: Browser) -> None:
    browser.open(page("bookworm"), 1100)
    assert browser.run("document.querySelectorAll('.slot').length") == 0
    assert "the machine shows no SMBIOS table" in browser.run("document.body.textContent")


def test_a_tower_that_is_off_costs_itself_only_and_is_shown_with_the_date_of_what_is_known(tmp_path: Path) -> None:
    known = json.loads((Places("trixie").reports / "trixie.json").read_text())
    (tmp_path / "trixie.json").write_text(json.dumps({**known, "generated": "2020-02-03T04:05:06Z"}))
    # Nobody listens there.
    (tmp_path / "off.yml").write_text("towers: {hosts: {trixie: {ansible_port: 9}}}\n")
    off = ("-i", str(tmp_path / "off.yml"))
    served = playbook("playbooks/serve.yml", *off)
    assert served.code != 0
    assert (served.recap("failed"), served.recap("unreachable")) == (0, 0)
    run = playbook("playbooks/report.yml", *off, report_dir=str(tmp_path))
    assert run.code != 0
    assert (run.recap("failed"), run.recap("unreachable")) == (0, 0)
    assert run.finds("trixie does not answer, and what the pages show of it is as old as they say")
    report = json.loads((tmp_path / "bookworm.json").read_text())
    assert report["service"]["completion"]["text"]
    rows = re.findall("<tr>.*?</tr>", (tmp_path / "index.html").read_text(), re.DOTALL)
    (trixie,) = [row for row in rows if "trixie" in row]
    assert "2020-02-03 04:05" in trixie and "not read in the last run" in trixie
    (bookworm,) = [row for row in rows if "bookworm" in row]
    assert report["generated"][:16].replace("T", " ") in bookworm and "not read" not in bookworm
    status = playbook("playbooks/status.yml", *off)
    assert status.code != 0
    assert re.search(r"^bookworm +main +serving ", status.output, re.MULTILINE)
    assert re.search(r"^trixie +- +no answer ", status.output, re.MULTILINE)
