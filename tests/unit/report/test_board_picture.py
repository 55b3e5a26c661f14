# SPDX-License-Identifier: MIT
"""The picture of a board: every slot where it is, and in the state it is in."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from plugins.module_utils.report.board_picture import CPU_WIDTH, WIDTH, picture

GENOA = {"model": "AMD EPYC 9124 16-Core Processor", "family": 25, "model_number": 17}


def document(cpu: dict[str, Any] | None = None, **changes: Any) -> Any:
    """A report whose one socket has two channels of two slots."""
    dimm = {"socket": 0, "type": "DDR5", "manufacturer": "A", "part_number": "B", "size_bytes": 2**34}
    dimms = [
        {**dimm, "channel": name, "slot": slot, "locator": f"{name}{slot}", "populated": filled, "configured_mts": 4800}
        for name, slot, filled in (("B", 1, False), ("B", 0, True), ("A", 0, False), ("A", 1, False))
    ]
    socket = {
        "socket": 0,
        "populated": True,
        "cpu": None,
        "channels_total": 2,
        "channels_populated": 1,
        "channels_bounds": [1, 1],
        "empty_channels": ["A"],
        "l3_domains": 5,
    }
    memory = {"sockets": [{**socket, **changes}], "dimms": dimms, "bandwidth": None}
    tower = {"cpu": cpu or {"model": "CPU"}, "nodes": [{"node": 0}, {"node": 2}], "nodes_per_socket": 2, "sockets": 1}
    return {"tower": tower, "memory_channels": memory}


def only_socket(found: Any) -> dict[str, Any]:
    drawn = picture(found)
    assert drawn
    (socket,) = drawn["sockets"]
    return dict(socket)


def test_slots_of_an_empty_channel_are_empty_and_others_spare() -> None:
    socket = only_socket(document())
    seen = [(channel["name"], [slot["state"] for slot in channel["slots"]]) for channel in socket["channels"]]
    assert seen == [("A", ["empty", "empty"]), ("B", ["populated", "spare"])]
    assert socket["said"] == "1 of 2 channels in use"


def test_the_memory_of_a_socket_is_told_in_words() -> None:
    assert only_socket(document())["facts"] == ("1 of 2 channels in use, 16 GiB, 38.4 GB/s, nodes 0, 2, 5 L3 caches")
    links = only_socket(document(GENOA, l3_domains=4))["facts"]
    assert links.endswith("nodes 0, 2, 4 dies with cores, 49.9 to 66.0 GB/s through the link of each")
    unknown = document(channels_populated=None, l3_domains=None)
    unknown["tower"] |= {"hypervisor": True}
    assert only_socket(unknown)["facts"] == "1 to 1 channels in use, 16 GiB"


def test_a_slot_says_what_is_in_it() -> None:
    socket = only_socket(document())
    assert socket["channels"][1]["slots"][0]["text"] == "B0: 16 GiB, DDR5 A B, 4800 MT/s"


def test_an_empty_channel_without_a_record_is_drawn() -> None:
    socket = only_socket(document(empty_channels=["A", "C"]))
    assert [channel["name"] for channel in socket["channels"]] == ["A", "B", "C"]


def test_a_socket_whose_channels_are_unknown_shows_its_slots_and_bounds() -> None:
    found = document(channels_populated=None, channels_bounds=[1, 2], empty_channels=None)
    for dimm in found["memory_channels"]["dimms"]:
        dimm["channel"] = None
    socket = only_socket(found)
    assert socket["said"] == "1 to 2 channels in use"
    assert [channel["slots"][0]["state"] for channel in socket["channels"]] == ["spare", "spare", "populated", "spare"]


def test_a_machine_without_a_table_has_no_picture() -> None:
    assert picture(document() | {"memory_channels": None}) is None


@pytest.mark.parametrize(("cpu", "domains", "dies"), [(GENOA, 4, 4), (GENOA, 12, 12), (GENOA, 16, 16), (None, 5, 5)])
def test_dies_lie_within_the_cpu_and_apart(cpu: dict[str, Any] | None, domains: int, dies: int) -> None:
    socket = only_socket(document(cpu, l3_domains=domains))
    box = socket["box"]
    assert len(socket["dies"]) == dies
    for die in socket["dies"]:
        assert (WIDTH - CPU_WIDTH) / 2 <= die["x"] <= die["x"] + die["width"] <= (WIDTH + CPU_WIDTH) / 2
        assert box["y"] <= die["y"] <= die["y"] + die["height"] <= box["y"] + box["height"]
    places = sorted((die["x"], die["y"], die["height"]) for die in socket["dies"])
    for (x, y, height), (other_x, other_y, _height) in pairwise(places):
        assert other_x > x or y + height < other_y


def test_dies_have_links_only_where_the_cpu_is_built_so() -> None:
    assert all(die["link"] for die in only_socket(document(GENOA, l3_domains=4))["dies"])
    assert not any(die["link"] for die in only_socket(document(l3_domains=1))["dies"])


def test_two_l3_caches_of_a_dense_cpu_share_a_die() -> None:
    dense = {"model": "AMD EPYC 9754 128-Core Processor", "family": 25, "model_number": 160}
    assert len(only_socket(document(dense, l3_domains=16))["dies"]) == 8
