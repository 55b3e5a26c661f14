# SPDX-License-Identifier: MIT
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controller import Tower, tiny_hub
from tests.hub.hub import Hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with tiny_hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def tower(tmp_path: Path, repo: Path, hub: Hub) -> Tower:
    return Tower(repo, tmp_path, hub)
