# SPDX-License-Identifier: MIT
"""The pages that site.yml wrote about the containers, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.container_site import STATE, Places
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
