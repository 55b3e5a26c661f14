# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

from tests.tiny_build import tiny_build


@pytest.fixture(scope="package")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A build, with its manifest."""
    return tiny_build(tmp_path_factory.mktemp("work"))
