# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.integration.vm_bios import Change, change_to_one_node
from tests.integration.vm_site import Site
from tests.virtual_tower.virtual_tower import Tower


@pytest.fixture(scope="session")
def tower() -> Tower:
    """The tower that molecule/two_socket has converged, or the one that LLAMATOWER_TEST_TOWER names."""
    found = Tower(os.environ.get("LLAMATOWER_TEST_TOWER", "two_socket"))
    if not found.pid:
        pytest.fail(f"The tower {found.name} does not run: molecule converge -s two_socket", pytrace=False)
    return found


@pytest.fixture(scope="session")
def nodes_per_socket(tower: Tower, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Change]:
    """The BIOS of the tower, changed from two memory nodes a socket to one."""
    if len(tower.profile["nodes"]) != 4:
        pytest.fail("The BIOS of this tower has been changed: molecule destroy, create and converge", pytrace=False)
    yield change_to_one_node(Site(tower), tmp_path_factory.mktemp("bmc"))


@pytest.fixture(scope="session")
def site(tower: Tower, request: pytest.FixtureRequest) -> Site:
    """The tower with two memory nodes, as site.yml left it after its BIOS was changed."""
    if len(tower.profile["nodes"]) == 4:
        request.getfixturevalue("nodes_per_socket")
    return Site(tower)
