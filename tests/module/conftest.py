# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controller import Tower, tiny_hub
from tests.hub.hub import Hub


@pytest.fixture(scope="session", autouse=True)
def compiled(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the Pythons of towers compile of Ansible's modules is kept for the next task."""
    os.environ["PYTHONPATH"] = str(repo / "tests/images/compiled")
    os.environ["LLAMATOWER_TEST_COMPILED"] = str(tmp_path_factory.mktemp("compiled"))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with tiny_hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def tower(tmp_path: Path, repo: Path, hub: Hub) -> Tower:
    return Tower(repo, tmp_path, hub)
