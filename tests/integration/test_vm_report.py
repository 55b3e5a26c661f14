# SPDX-License-Identifier: MIT
"""The page that site.yml wrote about the virtual tower, in a real browser: its board is drawn as the tower has it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.integration.vm_site import REPORTS, Site, written_page
from tests.render.browser import Browser
from tests.render.page_checks import check_accessible, check_whole, slots


@pytest.fixture(params=["tower", "index"])
def page(request: pytest.FixtureRequest, site: Site) -> Path:
    name = site.tower.name if request.param == "tower" else "index"
    return written_page(REPORTS, name, site.tower.dir / "profile.yml")


@pytest.mark.parametrize("width", [390, 1100])
def test_a_page_asks_for_nothing_complains_of_nothing_and_fits(browser: Browser, page: Path, width: int) -> None:
    check_whole(browser, page, width, f"vm-{page.stem}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_accessible(browser: Browser, axe: str, page: Path, scheme: str) -> None:
    check_accessible(browser, axe, page, scheme)


def test_the_board_is_drawn_as_the_tower_has_it(site: Site, browser: Browser) -> None:
    profile = site.tower.dir / "profile.yml"
    board = yaml.safe_load(profile.read_text())["board"]
    browser.open(written_page(REPORTS, site.tower.name, profile), 1100)
    drawn = slots(browser)
    assert len(drawn) == board["sockets"] * board["channels_per_socket"] * board["slots_per_channel"] == 24
    assert [name for name, state in drawn.items() if state == "empty"] == board["empty"] == ["DIMM_P1_R0"]
    assert set(drawn.values()) == {"populated", "empty"}


def test_both_nodes_hold_their_part_on_the_page(site: Site, browser: Browser) -> None:
    browser.open(written_page(REPORTS, site.tower.name, site.tower.dir / "profile.yml"), 1100)
    steps = browser.run("[...document.querySelectorAll('.ladder .step')].map(step => step.textContent)")
    assert [name for name in steps if name.startswith("Node")] == ["Node 0", "Node 1"]
    assert "Service" in steps
