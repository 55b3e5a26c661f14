# SPDX-License-Identifier: MIT
"""How towers reach each other, and what they have in common whichever way they share."""

from __future__ import annotations

import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.model import share_rsync as model_rsync
from plugins.module_utils.model.share import Share, ShareError, SwarmPlace, at_port, own_address
from plugins.module_utils.progress import Progress

MODEL: Any = {
    "name": "big",
    "source": {"repo": "acme/big"},
    "bytes": 3,
    "files": [{"file": "big.gguf", "sha256": "0" * 64}],
}


def share(store: Path, receive: bool, port: int = 6881, **change: Any) -> Share:
    peer, givers = ("giver", ["giver"]) if receive else ("receiver", [])
    given = Share(MODEL, store, "::1", {peer: "::1"}, givers, receive, port, 20)
    return given._replace(**change)


def test_an_address_at_which_no_other_tower_reaches_this_one_is_named_with_what_mends_it(tmp_path: Path) -> None:
    lonely = share(tmp_path, True, address="127.0.1.1", peers={"tower2": "192.0.2.2"})
    with pytest.raises(ShareError, match=r"127\.0\.1\.1 on this tower.*: set model_store_address of that tower"):
        own_address(lonely)


@pytest.mark.parametrize(
    ("address", "peer"), [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2"), ("127.0.0.1", "127.0.0.2")]
)
def test_any_other_address_is_as_it_is(tmp_path: Path, address: str, peer: str) -> None:
    assert own_address(share(tmp_path, True, address=address, peers={"tower2": peer})) == address


def test_an_ipv6_address_is_in_brackets_before_a_port() -> None:
    assert at_port("192.0.2.1", 6881) == "192.0.2.1:6881"
    assert at_port("2001:db8::1", 6881) == "[2001:db8::1]:6881"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as end:
            end.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not (shutil.which("rsync") and has_ipv6()), reason="needs rsync and IPv6")
def test_towers_share_by_rsync_over_ipv6(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET6) as end:
        end.bind(("::1", 0))
        port = end.getsockname()[1]
    giver, receiver = tmp_path / "giver", tmp_path / "receiver"
    (giver / "big").mkdir(parents=True)
    (giver / "big/big.gguf").write_bytes(b"abc")
    given: list[Any] = []

    def give() -> None:
        with Progress(str(tmp_path / "giving")) as progress:
            given.append(model_rsync.share(share(giver, False, port), progress))

    giving = threading.Thread(target=give)
    giving.start()
    with Progress(str(tmp_path / "receiving")) as progress:
        got = model_rsync.share(share(receiver, True, port, model=MODEL | {"files": [whole()]}), progress)
    giving.join()
    assert got.received_bytes == 3
    assert (receiver / ".big.partial/big.gguf.part").read_bytes() == b"abc"
    assert given[0].unfinished == []


def whole() -> dict[str, Any]:
    return {"file": "big.gguf", "size": 3, "sha256": "0" * 64}


def test_pieces_of_what_the_model_was_before_are_in_nobodys_way(tmp_path: Path) -> None:
    swarm = tmp_path / ".big.swarm"
    swarm.mkdir()
    for name in ("small.gguf", "big.gguf"):
        (swarm / name).write_bytes(b"abc")
    place = SwarmPlace(tmp_path, MODEL)
    place.open()
    assert [path.name for path in swarm.iterdir()] == ["big.gguf"]
    place.close(whole=True)
    assert not swarm.exists()
    assert [path.name for path in (tmp_path / ".big.partial").iterdir()] == ["big.gguf.part"]


def test_a_job_goes_on_where_there_is_no_room_to_tell_how_far_it_is(tmp_path: Path) -> None:
    with Progress(str(tmp_path / "progress")) as progress:
        (tmp_path / "progress.partial").symlink_to("/dev/full")
        progress.tell("fetching", 1, 2, "bytes")
