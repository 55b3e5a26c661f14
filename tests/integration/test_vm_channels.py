# SPDX-License-Identifier: MIT
"""memory_channels_info through Ansible, from the /sys of machines with the boards of three profiles."""

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
    "mz73-lm1-full": [
        {"channels_total": 12, "channels_populated": 12, "empty_channels": []},
        {"channels_total": 12, "channels_populated": 12, "empty_channels": []},
    ],
    "desktop": [{"channels_total": 2, "channels_populated": 1, "empty_channels": ["B"]}],
}


@pytest.fixture(scope="module", params=EXPECTED)
def profile(request: pytest.FixtureRequest) -> Iterator[tuple[Site, list[dict[str, Any]]]]:
    """A freshly booted tower of a profile, and what its board is."""
    tower = Tower(f"channels-{request.param}", request.param)
    tower.destroy()
    tower.start()
    yield Site(tower), EXPECTED[request.param]
    tower.destroy()


def test_the_channels_of_the_board_are_reported_exactly(profile: tuple[Site, list[dict[str, Any]]]) -> None:
    site, expected = profile
    returned = site.module("memory_channels_info")
    channels = returned["memory_channels"]
    sockets = [{key: socket[key] for key in expected[0]} for socket in channels["sockets"]]
    print(channels["vendor"], channels["board"], channels["rule"], channels["confidence"], sockets)
    assert sockets == expected
    assert channels["source"] == "dmi-table"
    assert channels["confidence"] in ("certain", "high")
    assert not returned["changed"]


def test_the_advice_names_the_empty_channel(profile: tuple[Site, list[dict[str, Any]]]) -> None:
    site, expected = profile
    advice = site.module("memory_channels_info")["memory_channels"]["advice"]
    print(*advice, sep="\n")
    empty = [entry["message"] for entry in advice if entry["code"] == "empty-channel"]
    letters = [letter for socket in expected for letter in socket["empty_channels"]]
    assert bool(empty) == bool(letters)
    assert all(letter in " ".join(empty) for letter in letters)
