# SPDX-License-Identifier: MIT
"""memory_channels_info through Ansible, from the /sys of machines with two boards.

What it makes of the tables of all profiles is in tests/unit/memory/test_channels.py; here a kernel shows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.vm_site import Site
from tests.virtual_tower.virtual_tower import Tower

EXPECTED = {
    "mz73-lm1": [
        {"channels_total": 12, "channels_populated": 12, "empty_channels": []},
        {"channels_total": 12, "channels_populated": 11, "empty_channels": ["R"]},
    ],
    "desktop": [{"channels_total": 2, "channels_populated": 1, "empty_channels": ["B"]}],
}


@pytest.fixture(scope="module")
def desktop() -> Iterator[Site]:
    """A freshly booted machine of another kind."""
    tower = Tower("desktop-channels", "desktop")
    tower.destroy()
    tower.start()
    yield Site(tower)
    tower.destroy()


@pytest.fixture(scope="module", params=EXPECTED)
def found(request: pytest.FixtureRequest) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the module returns on a machine, and what its board is."""
    one: Site = request.getfixturevalue("desktop" if request.param == "desktop" else "site")
    return one.module("llamatower.tower.memory_channels_info"), EXPECTED[request.param]


def test_the_channels_of_the_board_are_reported_exactly(
    found: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    returned, expected = found
    channels = returned["memory_channels"]
    sockets = [{key: socket[key] for key in expected[0]} for socket in channels["sockets"]]
    print(channels["vendor"], channels["board"], channels["rule"], channels["confidence"], sockets)
    assert sockets == expected
    assert channels["source"] == "dmi-table"
    assert channels["confidence"] in ("certain", "high")
    assert not returned["changed"]


def test_the_advice_names_the_empty_channel(found: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    returned, expected = found
    advice = returned["memory_channels"]["advice"]
    print(*advice, sep="\n")
    empty = [entry["message"] for entry in advice if entry["code"] == "empty-channel"]
    letters = [letter for socket in expected for letter in socket["empty_channels"]]
    assert bool(empty) == bool(letters)
    assert all(letter in " ".join(empty) for letter in letters)
