# SPDX-License-Identifier: MIT
"""What holds for every page of the report, whoever wrote it: asked of a real browser."""

from __future__ import annotations

import json
from pathlib import Path

from tests.render.browser import Browser

ARTIFACTS = Path(__file__).resolve().parents[2] / ".artifacts"


def check_whole(browser: Browser, page: Path, width: int, picture: str) -> None:
    """It asks for nothing, complains of nothing, and fits; a picture of it is kept in .artifacts."""
    browser.open(page, width)
    ARTIFACTS.mkdir(exist_ok=True)
    browser.screenshot(ARTIFACTS / f"page-{picture}-{width}.png")
    assert [url for url in browser.requests if not url.startswith("data:")] == [page.as_uri()]
    assert browser.complaints == []
    assert browser.run("document.documentElement.scrollWidth") <= width


def check_accessible(browser: Browser, axe: str, page: Path, scheme: str, width: int = 390) -> None:
    """axe-core finds no fault with it: contrast, labels, order; what is folded is unfolded first."""
    browser.open(page, width, scheme)
    browser.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    browser.run(axe + "; null")
    violations = browser.run("axe.run().then(found => JSON.stringify(found.violations))")
    assert violations == "[]", json.dumps(json.loads(violations), indent=1)


def slots(browser: Browser) -> dict[str, str]:
    """The slots that are drawn on the board, by name: populated, empty or spare."""
    found: dict[str, str] = browser.run(
        "Object.fromEntries([...document.querySelectorAll('.socket .slot')]"
        ".map(slot => [slot.textContent.split(':')[0], slot.classList[1]]))"
    )
    return found
