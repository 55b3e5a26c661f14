# SPDX-License-Identifier: MIT
"""What all levels share: the repository, its sources, a browser, and a marker by directory or name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import yaml

from plugins.module_utils import lock
from plugins.module_utils.model.document import ModelEntry
from tests.render.browser import Browser

REPO = Path(__file__).resolve().parents[1]
# How long an example takes says nothing on a machine that others use.
hypothesis.settings.register_profile("llamatower", deadline=None)
hypothesis.settings.load_profile("llamatower")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        level = item.path.relative_to(REPO / "tests").parts[0]
        if level == "integration":
            level = item.path.stem.split("_")[1]
        item.add_marker(getattr(pytest.mark, level))


@pytest.fixture(autouse=True)
def lock_of_changes(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a test changes in its own process is no change of this machine."""
    monkeypatch.setattr(lock, "CHANGE", str(tmp_path_factory.getbasetemp() / "run/change.lock"))


@pytest.fixture(scope="session")
def repo() -> Path:
    return REPO


@pytest.fixture(scope="session")
def catalog() -> list[ModelEntry]:
    """The models of the catalog."""
    models: list[ModelEntry] = yaml.safe_load((REPO / "catalog/models.yml").read_text())["models"]
    return models


@pytest.fixture(scope="session")
def sources() -> list[Path]:
    """Every text file of the repository, those not yet added included; links are left to what they lead to."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPO, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    return [path for name in listed if (path := REPO / name).is_file() and not path.is_symlink()]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all pages."""
    with Browser() as started:
        yield started


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core."""
    target = tmp_path_factory.mktemp("axe")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--target", str(target), "-r", str(REPO / "tests/render/axe.txt")]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return (target / "axe_playwright_python/axe.min.js").read_text()
