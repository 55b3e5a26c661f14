# SPDX-License-Identifier: MIT
"""Which way models take to several towers, and the metadata that describes one to them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from plugins.module_utils.model.distribution import Pieces, bencode, distribution_plan, piece_bytes, torrent


def model(state: str = "absent", **source: str) -> Any:
    files = [{"file": "Q6_K/big.gguf", "size": 300 * 10**9, "sha256": "0" * 64}]
    return {
        "name": "big",
        "state": state,
        "bytes": 300 * 10**9,
        "files": files,
        "source": source or {"repo": "a/b"},
    }


def fleet(count: int, **source: str) -> dict[str, Any]:
    return {f"tower{number}": [model(**source)] for number in range(1, count + 1)}


@pytest.mark.parametrize(
    ("towers", "options", "way"),
    [
        (fleet(8), {}, "swarm"),
        (fleet(2), {}, "rsync"),
        (fleet(2), {"wanted": "swarm"}, "swarm"),
        (fleet(8), {"wanted": "rsync"}, "rsync"),
        (fleet(1), {}, "direct"),
        (fleet(8), {"wanted": "direct"}, "direct"),
        (fleet(8, path="/mnt/usb"), {}, "direct"),
        (fleet(8), {"forks": 5}, "direct"),
        ({"a": [model("present")], "b": [model("present")]}, {}, "direct"),
    ],
)
def test_the_way_follows_from_towers_and_sources(towers: Any, options: dict[str, Any], way: str) -> None:
    plan = distribution_plan(towers, **options)
    print(plan)
    assert plan["way"] == way
    assert bool(plan["models"]) == (way != "direct")


def test_the_estimate_counts_one_copy_and_not_one_a_tower() -> None:
    reason = distribution_plan(fleet(8))["reason"]
    assert reason.startswith("swarm: 8 towers, 1 Gb/s: about 47 min over the LAN instead of 5.0 h"), reason


def test_a_tower_that_has_the_model_is_the_seed() -> None:
    towers = {**fleet(2), "tower3": [model("present")]}
    assert distribution_plan(towers)["models"][0]["seed"] == "tower3"
    assert distribution_plan(towers, seed="tower2")["models"][0]["seed"] == "tower2"


def test_another_way_is_refused() -> None:
    with pytest.raises(ValueError, match="set it to one of auto, direct, rsync, swarm"):
        distribution_plan(fleet(3), "carrier pigeon")


def test_pieces_go_on_from_file_to_file() -> None:
    pieces = Pieces(4)
    for block in (b"abc", b"", b"defghi", b"j"):
        pieces.update(block)
    expected = b"".join(hashlib.sha1(part).digest() for part in (b"abcd", b"efgh", b"ij"))
    assert pieces.digest() == expected


def test_the_metadata_is_sorted_and_always_the_same() -> None:
    assert bencode({"b": [1, b"x"], "a": "y"}) == b"d1:a1:y1:bli1e1:xee"
    assert torrent(model(), b"x" * 20, 2**18) == torrent(model(), b"x" * 20, 2**18)
    assert b"4:pathl8:big.gguf" in torrent(model(), b"", 2**18)


@pytest.mark.parametrize(
    ("size", "piece"), [(1, 2**18), (97_000_000, 2**18), (2**30, 2**21), (300 * 10**9, 2**24), (10**12, 2**24)]
)
def test_a_piece_is_about_a_thousandth_within_its_bounds(size: int, piece: int) -> None:
    assert piece_bytes(size) == piece
