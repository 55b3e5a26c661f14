# SPDX-License-Identifier: MIT
"""playbooks/models.yml for towers that are network namespaces: the internet once, then the LAN. Runs as root only."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.fleet import Fleet
from tests.gguf_builder import shards
from tests.page_cache import resident_pages

REPO = "acme/fleet-GGUF"
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 12


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    """Two shards of 48 MB that do not compress."""
    return {name: head + os.urandom(48_000_000) for name, head in shards("big", 2).items()}


@pytest.fixture
def fleet(request: pytest.FixtureRequest, tmp_path: Path, contents: dict[str, bytes]) -> Iterator[Fleet]:
    """Four towers, or as many as the test asks for."""
    models = tmp_path / "models" / REPO
    models.mkdir(parents=True)
    for name, data in contents.items():
        (models / name).write_bytes(data)
    with Fleet(ROOT, tmp_path, getattr(request, "param", 4), tmp_path / "models") as made:
        yield made


def variables(fleet: Fleet, contents: dict[str, bytes]) -> dict[str, Any]:
    declared = {"name": "big", "repo": REPO, "revision": "0" * 40, "files": "*.gguf"}
    files = [{"file": n, "size": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in contents.items()]
    entry = {
        "name": "big",
        "source": {key: value for key, value in declared.items() if key != "name"},
        "commit": "main",
        "bytes": sum(map(len, contents.values())),
        "files": files,
        "gguf": None,
    }
    lock = fleet.directory / "models.lock.yml"
    lock.write_text(json.dumps({"schema_version": 1, "models": [entry]}))
    return {
        "model_store_models": [declared],
        "model_store_lock_file": str(lock),
        "model_store_patience": PATIENCE,
    }


def play(fleet: Fleet, contents: dict[str, bytes], **more: Any) -> tuple[int, str]:
    log = fleet.directory / "log"
    code = fleet.start(log, **variables(fleet, contents), **more).wait()
    return code, log.read_text()


def assert_verified_copies(fleet: Fleet, contents: dict[str, bytes], log: str) -> None:
    for tower in fleet.names:
        for name, data in contents.items():
            path = fleet.store(tower) / "big" / name
            assert path.exists(), f"{tower} lacks {name}\n{log}"
            # Whoever gave it has read it, and whoever received it has written it.
            assert resident_pages(path) * os.sysconf("SC_PAGESIZE") < 0.01 * len(data), (tower, name)
            assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(data).digest()
        assert (fleet.store(tower) / "big/manifest.json").exists()
        assert not (fleet.store(tower) / ".big.swarm").exists()


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[bytes], log: Path) -> Any:
    while process.poll() is None:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"the play ended before that\n{log.read_text()}")


def test_a_fleet_crosses_the_internet_once_and_the_seed_sends_it_little_more_than_once(
    fleet: Fleet, contents: dict[str, bytes]
) -> None:
    size = sum(map(len, contents.values()))
    before = fleet.sent("tower1")
    code, log = play(fleet, contents)
    assert code == 0, log
    print(f"hub {fleet.hub_bytes() / size:.3f}, seed {(fleet.sent('tower1') - before) / size:.3f} of the model")
    assert_verified_copies(fleet, contents, log)
    assert fleet.hub_bytes() <= 1.05 * size
    assert fleet.sent("tower1") - before <= 1.3 * size
    assert "swarm: 4 towers" in log
    code, log = play(fleet, contents)
    assert code == 0 and not re.search(r"changed=[1-9]", log), log
    assert all(int(count) <= 4 for count in re.findall(r"ok=(\d+)", log)), log


@pytest.mark.parametrize("fleet", [2], indirect=True)
def test_two_towers_share_by_rsync(fleet: Fleet, contents: dict[str, bytes]) -> None:
    size = sum(map(len, contents.values()))
    before = fleet.sent("tower1")
    code, log = play(fleet, contents)
    assert code == 0, log
    assert "rsync: 2 towers" in log
    assert_verified_copies(fleet, contents, log)
    assert fleet.hub_bytes() <= 1.05 * size
    assert fleet.sent("tower1") - before <= 1.1 * size


# Of two receivers, the other is left with what nobody passes on to it any more.
@pytest.mark.parametrize(
    ("fleet", "victim"), [(3, "tower3"), (4, "tower1")], ids=["receiver", "seed"], indirect=["fleet"]
)
def test_a_tower_killed_in_the_middle_has_a_verified_copy_after_the_next_run(
    fleet: Fleet, contents: dict[str, bytes], victim: str
) -> None:
    size = sum(map(len, contents.values()))
    fleet.limit("80mbit")  # so slow that there is a middle
    log = fleet.directory / "log"
    process = fleet.start(log, **variables(fleet, contents))

    def middle() -> bool:
        return fleet.sent("tower1") > size / 3

    wait_for(middle, process, log)
    pids = fleet.module_pids(victim, "model_share")
    assert pids, log.read_text()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert process.wait() != 0
    left = log.read_text()
    print(left)
    others = [tower for tower in fleet.names if tower != victim]
    if victim != "tower1":
        assert all((fleet.store(tower) / "big/manifest.json").exists() for tower in others), left
    code, again = play(fleet, contents)
    assert code == 0, again
    assert_verified_copies(fleet, contents, again)
    print(f"hub {fleet.hub_bytes() / size:.3f} of the model in both runs")
    assert fleet.hub_bytes() <= 1.05 * size


# Two towers, of which one gives and the other, whose disk is as large as the test says, receives.
PAIR = """\
import hashlib, json, os, pathlib, signal, subprocess, sys, time
from plugins.module_utils.model import share_rsync, share_swarm
from plugins.module_utils.model.share import Share, ShareError
from plugins.module_utils.progress import Progress
way, model, place = sys.argv[1], json.loads(sys.argv[2]), pathlib.Path(sys.argv[3])
names = {"giver": "192.0.2.1", "receiver": "192.0.2.2"}
for address in names.values():
    subprocess.run(["ip", "addr", "add", address, "dev", "lo"], check=True)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + sys.argv[4], "none", str(place / "receiver")], check=True)
torrent = ""
if way == "swarm":
    with Progress(str(place / "describing")) as progress:
        torrent = share_swarm.torrent_of(model, place / "giver", progress)
def share(name):
    (peer,) = names.keys() - {name}
    given = Share(model, place / name, names[name], {peer: names[peer]}, ["giver"], name == "receiver", 6881, 60)
    # Where the role has it: on a disk that is full, there is no room for it either.
    with Progress(str(place / name / ".progress.json")) as progress:
        return share_swarm.share(given, torrent, progress) if torrent else share_rsync.share(given, progress)
def wait_until_listening(wanted):
    while (b":1AE1" in pathlib.Path("/proc/net/tcp").read_bytes()) != wanted:  # 6881
        time.sleep(0.02)
def start(name):
    pid = os.fork()
    if not pid:
        print(name, share(name)._asdict(), flush=True)
        os._exit(0)
    return pid
giver = start("giver")
if "kill the first giver" in sys.argv:
    wait_until_listening(True)
    os.kill(giver, signal.SIGKILL)
    os.waitpid(giver, 0)
    wait_until_listening(False)
    giver = start("giver")
if "kill the first receiver" in sys.argv:
    # So slow that there is a middle.
    shape = "tc qdisc add dev lo root tbf rate 160mbit burst 256k latency 50ms"
    subprocess.run(shape.split(), check=True)
    receiver = start("receiver")
    while sum(path.stat().st_size for path in (place / "receiver").rglob("*.part")) < model["bytes"] / 4:
        time.sleep(0.02)
    os.kill(receiver, signal.SIGKILL)
    os.waitpid(receiver, 0)
try:
    print("receiver", share("receiver")._asdict(), flush=True)
    os.waitpid(giver, 0)
    parts = (place / "receiver").rglob("*.part")
    print("sha256", {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in parts})
except ShareError as error:
    print(error)
    os.kill(giver, signal.SIGTERM)
    os.waitpid(giver, 0)
"""


# With a process namespace, so that nothing is left of what does not end.
APART = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "/usr/bin/python3", "-c"]


def given_model(directory: Path, contents: dict[str, bytes]) -> dict[str, Any]:
    """The model that a giver has, and a receiver beside it has not."""
    for name in ("giver/big", "receiver"):
        (directory / name).mkdir(parents=True)
    for name, data in contents.items():
        (directory / "giver/big" / name).write_bytes(data)
    files = [{"file": n, "size": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in contents.items()]
    return {"name": "big", "source": {"repo": REPO}, "bytes": sum(map(len, contents.values())), "files": files}


def pair(way: str, directory: Path, contents: dict[str, bytes], *arguments: str) -> str:
    """What the receiver says in the end."""
    model = given_model(directory, contents)
    command = [*APART, PAIR, way]
    command += [json.dumps(model), str(directory), *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    print(run.stderr)
    return run.stdout.strip()


@pytest.mark.parametrize("way", ["rsync", "swarm"])
def test_a_disk_that_fills_while_towers_share_is_one_sentence(
    way: str, tmp_path: Path, contents: dict[str, bytes]
) -> None:
    assert pair(way, tmp_path, contents, "60m") == (
        f"The disk of {tmp_path}/receiver is full: make room, and run the same command again; it goes on from there."
    )


# A tower that gives to nobody but 192.0.2.2, and who asks it for the model at another address.
STRANGER = """\
import base64, json, os, pathlib, subprocess, sys, time
import libtorrent
from plugins.module_utils.model import share_swarm
from plugins.module_utils.model.share import Share
from plugins.module_utils.progress import Progress
model, place, stranger = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
for number in 1, 2, 3:
    subprocess.run(["ip", "addr", "add", f"192.0.2.{number}", "dev", "lo"], check=True)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
with Progress(str(place / "progress")) as progress:
    torrent = share_swarm.torrent_of(model, place / "giver", progress)
    if not os.fork():
        given = Share(model, place / "giver", "192.0.2.1", {"friend": "192.0.2.2"}, [], False, 6881, 30)
        share_swarm.share(given, torrent, progress)
        os._exit(0)
while b":1AE1" not in pathlib.Path("/proc/net/tcp").read_bytes():  # 6881
    time.sleep(0.02)
plain = {"in_enc_policy": 2, "out_enc_policy": 2, "enable_dht": False, "enable_lsd": False}
plain["min_reconnect_time"] = 1
session = libtorrent.session({"listen_interfaces": f"{stranger}:6882", "outgoing_interfaces": stranger, **plain})
asking = libtorrent.add_torrent_params()
asking.save_path = str(place / "receiver")
asking.flags = libtorrent.torrent_flags.disable_dht  # and not paused, as it is by default
asking.ti = libtorrent.torrent_info(libtorrent.bdecode(base64.b64decode(torrent)))
handle = session.add_torrent(asking)
end, answered = time.monotonic() + 12, False
while time.monotonic() < end and not answered:
    handle.connect_peer(("192.0.2.1", 6881))
    time.sleep(0.25)
    answered = any(not peer.flags & (peer.handshake | peer.connecting) for peer in handle.get_peer_info())
print("answered" if answered else "not answered")
"""


@pytest.mark.parametrize(("stranger", "said"), [("192.0.2.2", "answered"), ("192.0.2.3", "not answered")])
def test_a_swarm_answers_nobody_but_the_towers_of_the_fleet(
    stranger: str, said: str, tmp_path: Path, contents: dict[str, bytes]
) -> None:
    model = given_model(tmp_path, contents)
    command = [*APART, STRANGER, json.dumps(model), str(tmp_path), stranger]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert run.stdout.strip() == said, run.stderr


@pytest.mark.parametrize("victim", ["giver", "receiver"])
def test_who_was_killed_leaves_nothing_in_the_way_of_the_next(
    victim: str, tmp_path: Path, contents: dict[str, bytes]
) -> None:
    """No daemon that keeps the port, and no copy that still appends to the file."""
    size = sum(map(len, contents.values()))
    said = pair("rsync", tmp_path, contents, "200m", f"kill the first {victim}")
    print(said)
    told = {name: ast.literal_eval(values) for name, _, values in (line.partition(" ") for line in said.splitlines())}
    assert told["giver"] == {"received_bytes": 0, "uploaded_bytes": size, "unfinished": []}
    assert told["receiver"]["received_bytes"] <= (0.75 * size if victim == "receiver" else size)
    assert told["sha256"] == {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
