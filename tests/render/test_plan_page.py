# SPDX-License-Identifier: MIT
"""The page of playbooks/plan.yml in a real browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plugins.filter.report_page import forecast_page
from plugins.module_utils.forecast.purchase import purchase_plan
from plugins.module_utils.forecast.thread_figures import thread_figures
from tests.forecast_inputs import MACHINES, MODELS, OPTIONS, model
from tests.render.browser import Browser
from tests.render.page_checks import check_accessible, check_whole

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models on all machines of the catalog, of which one model and one machine have hostile names."""
    models = [model("llama-3.1-405b"), MODELS[0] | {"name": HOSTILE}]
    machines = [*MACHINES, MACHINES[0] | {"name": HOSTILE, "title": HOSTILE}]
    document = purchase_plan(models, machines, OPTIONS, thread_figures(MODELS, MACHINES))
    path = tmp_path_factory.mktemp("plan") / "plan.html"
    path.write_text(forecast_page(json.loads(json.dumps(document))))
    return path


@pytest.mark.parametrize("width", [390, 1100])
def test_the_page_asks_for_nothing_complains_of_nothing_and_fits(page: Path, browser: Browser, width: int) -> None:
    check_whole(browser, page, width, "plan")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(page: Path, browser: Browser, axe: str, scheme: str) -> None:
    check_accessible(browser, axe, page, scheme)


def test_names_stay_text(page: Path, browser: Browser) -> None:
    browser.open(page, 1100)
    assert browser.run("document.querySelectorAll('script').length") == 0
    assert browser.run("document.querySelectorAll('h2')[1].textContent") == HOSTILE
    assert HOSTILE in browser.run("document.querySelector('tbody').textContent")


def test_every_machine_is_a_row_or_named_with_the_reason_and_every_figure_of_the_thread_is_there(
    page: Path, browser: Browser
) -> None:
    browser.open(page, 1100)
    rows = browser.run("[...document.querySelectorAll('tbody')].map(body => body.rows.length)")
    others = browser.run(
        "[...document.querySelectorAll('table + details + details')].map(each => each.children.length)"
    )
    count = len(MACHINES) + 1
    assert [row + other - 1 for row, other in zip(rows, others, strict=False)] == [count, count]
    assert rows[2] == len(thread_figures(MODELS, MACHINES))
