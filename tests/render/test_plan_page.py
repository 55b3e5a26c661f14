# SPDX-License-Identifier: MIT
"""The page of playbooks/plan.yml in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plugins.filter.report_page import forecast_page
from plugins.module_utils.forecast.prices import priced
from plugins.module_utils.forecast.purchase import answer, purchase_plan
from plugins.module_utils.forecast.thread_figures import thread_figures
from plugins.module_utils.text import number
from tests.forecast_inputs import MACHINES, MEMORY, MODELS, OPTIONS, TODAY, machine, model
from tests.render.browser import Browser
from tests.render.page_checks import check_accessible, check_whole

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models on all machines of the catalog, of which one model and one machine have hostile names."""
    models = [model("llama-3.1-405b"), MODELS[0] | {"name": HOSTILE}]
    machines = [*MACHINES, MACHINES[0] | {"name": HOSTILE, "title": HOSTILE}]
    return written(tmp_path_factory, models, machines)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the whole catalog."""
    return written(tmp_path_factory, MODELS, MACHINES)


def written(tmp_path_factory: pytest.TempPathFactory, models: list[Any], machines: list[Any]) -> Path:
    document = purchase_plan(models, machines, OPTIONS, MEMORY, TODAY, thread_figures(MODELS, MACHINES, MEMORY))
    path = tmp_path_factory.mktemp("plan") / "plan.html"
    path.write_text(forecast_page(json.loads(json.dumps(document))))
    return path


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_asks_for_nothing_complains_of_nothing_and_fits(page: Path, browser: Browser, width: int) -> None:
    check_whole(browser, page, width, "plan")


def test_the_whole_catalog_is_at_most_twelve_screens_and_fits_a_phone(whole: Path, browser: Browser) -> None:
    check_whole(browser, whole, 390, "plan-catalog")
    check_whole(browser, whole, 1280, "plan-catalog")
    # The window is 900 high.
    assert browser.run("document.documentElement.scrollHeight") <= 12 * 900


def test_every_model_is_in_the_contents_and_in_the_matrix_and_its_links_lead_to_its_section(
    whole: Path, browser: Browser
) -> None:
    browser.open(whole, 1280)
    names = [entry["name"] for entry in MODELS]
    for links in ("nav a[href^='#model-']", "table.matrix th a"):
        found = browser.run(
            f"[...document.querySelectorAll({json.dumps(links)})].map(link => "
            "[link.textContent, document.querySelector(link.getAttribute('href')).textContent])"
        )
        assert found == [[name, name] for name in names]


def test_a_cell_of_the_matrix_is_a_speed_or_why_not(whole: Path, browser: Browser) -> None:
    browser.open(whole, 1280)
    cells = browser.run(
        "[...document.querySelectorAll('table.matrix tbody tr')].map(row => "
        "[...row.cells].slice(1).map(cell => [cell.dataset.name, cell.className, cell.textContent, cell.title]))"
    )
    assert [len(row) for row in cells] == [len(MACHINES)] * len(MODELS)
    for entry, row in zip(MODELS, cells, strict=True):
        for name, kind, text, why in row:
            said: Any = answer(priced(machine(name), MEMORY), entry)
            missing = said["missing_bytes"]
            assert kind == ("" if said["fits"] else "no"), (entry["name"], name)
            assert text == (f"-{missing / 1e9:,.0f}" if missing else number(said["tokens_per_second"]["expected"], 2))
            assert why == said["why"]


def test_what_is_recommended_is_first_with_bars_and_cost_against_speed(whole: Path, browser: Browser) -> None:
    browser.open(whole, 1280)
    assert "tokens/s" in browser.run("document.querySelector('h1 + p.recommended').textContent")
    bars = browser.run("[...document.querySelectorAll('.bars li > span')].map(bar => bar.textContent)")
    dots = browser.run("document.querySelector('.pictures svg').querySelectorAll('circle').length")
    best = purchase_plan(MODELS, MACHINES, OPTIONS, MEMORY, TODAY)["recommendation"]
    fitting = [entry for entry in MACHINES if best and answer(priced(entry, MEMORY), model(best["model"]))["fits"]]
    assert len(bars) == len(fitting) and 2 <= dots <= len(bars)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(page: Path, browser: Browser, axe: str, scheme: str) -> None:
    check_accessible(browser, axe, page, scheme)


def test_names_stay_text(page: Path, browser: Browser) -> None:
    browser.open(page, 1280)
    assert browser.run("document.querySelectorAll('script').length") == 0
    assert browser.run("document.querySelector('#model-2').textContent") == HOSTILE
    assert HOSTILE in browser.run("document.querySelector('table.rows tbody').textContent")


def test_every_machine_is_a_row_or_named_with_the_reason_and_every_figure_of_the_thread_is_there(
    page: Path, browser: Browser
) -> None:
    browser.open(page, 1280)
    rows = browser.run("[...document.querySelectorAll('table.rows tbody')].map(body => body.rows.length)")
    others = browser.run("[...document.querySelectorAll('details + details')].map(each => each.children.length)")
    count = len(MACHINES) + 1
    assert [row + other - 1 for row, other in zip(rows, others, strict=False)] == [count, count]
    assert rows[2] == len(thread_figures(MODELS, MACHINES, MEMORY))
