# SPDX-License-Identifier: MIT
from __future__ import annotations

import os

import pytest

from tests.integration.vm_site import Site
from tests.virtual_tower.virtual_tower import Tower


@pytest.fixture(scope="session")
def site() -> Site:
    """The tower that molecule/two_socket has converged, or the one that LLAMATOWER_TEST_TOWER names."""
    tower = Tower(os.environ.get("LLAMATOWER_TEST_TOWER", "two_socket"))
    if not tower.pid:
        pytest.fail(f"The tower {tower.name} does not run: molecule converge -s two_socket", pytrace=False)
    return Site(tower)
