# SPDX-License-Identifier: MIT
"""Every byte crosses the line once, whatever happens to the client, to the line and to the disk."""

from __future__ import annotations

import email.utils
import functools
import hashlib
import http.server
import itertools
import json
import os
import random
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.model import http_source, transfer
from plugins.module_utils.model.http_source import Remote, origin
from plugins.module_utils.model.transfer import Local, PartFile, Tally, TransferError, fetch, sync_bytes
from tests.gguf_builder import LLAMA, Q6_K, gguf
from tests.hub.hub import Hub
from tests.page_cache import resident_pages

REPO = "acme/large-GGUF"
SHARDS = 4
SIZE = 280_000_000
# A real process, with nothing but the project's own files, as on a tower; run as a program it installs a model.
PROGRAM = """\
import json, os, pathlib, sys
from plugins.module_utils.model.fetch import FetchError, install_model
from plugins.module_utils.progress import Progress
model, store, hub, synced = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4]
datasync = os.fdatasync
def note(descriptor):
    size = os.fstat(descriptor).st_size
    datasync(descriptor)
    name = os.readlink(f"/proc/self/fd/{descriptor}").replace("/", "_")
    with open(f"{synced}/{name}", "a") as file:
        file.write(f"{size}\\n")
os.fdatasync = note
with Progress(str(store / ".progress.json")) as progress:
    try:
        done = install_model(model, store, hub, None, progress)
    except FetchError as error:
        sys.exit(str(error))
(memory,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(json.dumps({**done.transfer, "kilobytes": int(memory.split()[1])}))
"""


class Large:
    """A model in shards on the test hub, and a tower that fetches it in a process of its own."""

    def __init__(self, hub: Hub, place: Path, repo: Path) -> None:
        self.hub, self.place, self.store, self.synced = hub, place, place / "store", place / "synced"
        self.synced.mkdir()
        files = hub.files(REPO)
        self.model: dict[str, Any] = {
            "name": "large",
            "source": {"repo": REPO, "revision": "main", "files": "*.gguf"},
            "commit": hub.commit(files),
            "files": [{"file": file.name, "size": file.size, "sha256": file.sha256} for file in files.values()],
        }
        self.size = sum(file.size for file in files.values())
        self.repo = repo
        self.command = [sys.executable, "-c", PROGRAM, json.dumps(self.model), str(self.store), hub.url]
        self.command.append(str(self.synced))

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self.command, cwd=self.repo, stdout=subprocess.PIPE, text=True)

    def finish(self) -> dict[str, Any]:
        """Install it, and see that every byte is right."""
        with self.start() as process:
            told, _errors = process.communicate(timeout=120)
        assert process.returncode == 0
        for entry in self.model["files"]:
            assert hashlib.sha256((self.store / "large" / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
        return dict(json.loads(told))

    def there(self) -> int:
        return sum(path.stat().st_size for path in (self.store / ".large.partial").glob("*.gguf*"))

    def kill_at(self, count: float) -> None:
        """Start it, and kill it when so many bytes are there."""
        with self.start() as process:
            while self.there() < count:
                assert process.poll() is None, "it ended before"
                time.sleep(0.002)
            process.kill()
        assert not (self.store / "large").exists()

    def ratio(self) -> float:
        sent = sum(self.hub.bytes_sent().values())
        print(f"the hub sent {sent} bytes for {self.size}: {sent / self.size:.4f}")
        return sent / self.size


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a hub with 280 MB in four shards."""
    root = tmp_path_factory.mktemp("hub")
    (root / REPO).mkdir(parents=True)
    for number in range(SHARDS):
        split = {"split.no": number, "split.count": SHARDS, "split.tensors.count": SHARDS}
        head = gguf({**(LLAMA if number == 0 else {}), **split}, [(f"{number}.weight", [512, 4], Q6_K)])
        rest = random.Random(number).randbytes(SIZE // SHARDS - len(head))
        (root / REPO / f"large-{number + 1:05}-of-{SHARDS:05}.gguf").write_bytes(head + rest)
    return root


@pytest.fixture
def large(shards: Path, tmp_path: Path, repo: Path) -> Iterator[Large]:
    with Hub(shards) as hub:
        yield Large(hub, tmp_path, repo)


def test_connections_that_are_cut_after_20_mb_cost_nothing(large: Large) -> None:
    large.hub.faults = [{"kind": "drop", "at": 20_000_000}]
    told = large.finish()
    assert large.ratio() <= 1.02
    assert told["received_bytes"] == large.size and told["retries"] == 3 * SHARDS
    # Its memory does not grow with the model: this is Python itself, and a block for each stream.
    assert told["kilobytes"] < 64_000


def test_a_client_that_is_killed_five_times_loses_little(large: Large) -> None:
    """What is in the buffers of the loopback, on which the hub is as fast as it can be."""
    points = sorted(random.Random().uniform(0.05, 0.95) for _ in range(5))
    print(f"killed at {points}")
    for point in points:
        large.kill_at(point * large.size)
    told = large.finish()
    assert large.ratio() <= 1.02
    assert told["resumed_bytes"] >= points[-1] * large.size


def test_a_power_failure_costs_no_more_than_what_is_not_on_the_disk_yet(large: Large) -> None:
    """As bad as it can be: of each file only that much is left of which fdatasync has said that it is on the disk."""
    large.kill_at(random.Random().uniform(0.3, 0.9) * large.size)
    lost = 0
    for path in (large.store / ".large.partial").glob("*.gguf.part"):
        noted = large.synced / str(path).replace("/", "_")
        safe = int(noted.read_text().split()[-1]) if noted.exists() else 0
        lost += path.stat().st_size - safe
        os.truncate(path, safe)
    print(f"{lost} bytes were lost")
    large.finish()
    assert large.ratio() <= 1.02


def test_no_page_of_the_model_stays_in_the_page_cache(large: Large) -> None:
    probe = large.place / "probe"
    probe.write_bytes(bytes(2**20))
    with probe.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if resident_pages(probe):
        pytest.skip(f"{large.place} is in memory, where every page is always resident")
    with large.start() as process:
        process.communicate(timeout=120)
    resident = {path.name: resident_pages(path) for path in (large.store / "large").glob("*.gguf")}
    print(resident)
    assert len(resident) == SHARDS
    assert sum(resident.values()) * os.sysconf("SC_PAGESIZE") < 0.01 * large.size


def test_a_full_disk_is_one_sentence_and_the_next_run_goes_on(large: Large) -> None:
    """In a mount namespace of its own, a disk of 60 % of the model, which is enlarged afterwards."""
    large.store.mkdir()
    script = (
        'mount -t tmpfs -o size="$1" none "$2" || exit 77; shift 2; "$@"; echo "exit $?"; '
        'mount -o remount,size=400m "$STORE" && "$@"; echo "exit $?"'
    )
    size = str(int(large.size * 0.6))
    command = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c", script, "sh"]
    environment = {**os.environ, "STORE": str(large.store)}
    run = subprocess.run(
        [*command, size, str(large.store), *large.command], env=environment, capture_output=True, text=True, check=False
    )
    if run.returncode == 77:
        pytest.skip(f"a mount namespace is not allowed here: {run.stderr}")
    print(run.stdout, run.stderr)
    first, told, second = run.stdout.splitlines()
    assert (first, second) == ("exit 1", "exit 0")
    assert run.stderr.splitlines()[-1] == (
        f"The disk of {large.store} is full: make room, and run the same command again; it goes on from there."
    )
    assert json.loads(told)["resumed_bytes"] >= 0.55 * large.size
    assert large.ratio() <= 1.02


def serve(hub: Hub, data: bytes) -> str:
    """The URL of a file with that content."""
    (hub.root / REPO).mkdir(parents=True, exist_ok=True)
    (hub.root / REPO / "one.gguf").write_bytes(data)
    return f"{hub.url}/{REPO}/resolve/main/one.gguf"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    (tmp_path / "hub").mkdir()
    monkeypatch.setattr(transfer, "FIRST_PAUSE", 0.001)
    with Hub(tmp_path / "hub", token="hf_right") as hub:
        yield hub


DATA = random.Random(1).randbytes(1_000_000)


@pytest.mark.parametrize("there", [0, 1, 300_000, len(DATA) - 1, len(DATA), len(DATA) + 1])
def test_what_is_there_is_gone_on_from(hub: Hub, tmp_path: Path, there: int) -> None:
    part, tally = tmp_path / "part", Tally()
    part.write_bytes((DATA + b"x")[:there])
    digest = fetch(Remote(serve(hub, DATA), "one"), str(part), len(DATA), tally)
    assert digest == hashlib.sha256(DATA).hexdigest() and part.read_bytes() == DATA
    resumed = there if there <= len(DATA) else 0  # more than all is not its beginning
    assert (tally.resumed, tally.received, tally.hashed) == (resumed, len(DATA) - resumed, resumed)
    assert sum(hub.bytes_sent().values()) == len(DATA) - resumed


def test_a_server_without_ranges_sends_all_of_it_again(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [{"kind": "norange"}, {"kind": "drop", "at": 600_000, "count": 1}]
    url, tally = serve(hub, DATA), Tally()
    assert fetch(Remote(url, "one"), str(tmp_path / "part"), len(DATA), tally) == hashlib.sha256(DATA).hexdigest()
    assert [entry["status"] for entry in hub.log if entry["origin"] == "cdn"] == [200, 200]
    assert (tally.received, tally.retries) == (len(DATA), 1)


def test_a_file_that_shrank_meanwhile_is_noticed(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(DATA[:500_000])
    url = serve(hub, DATA[:400_000])
    with pytest.raises(TransferError, match=r"has 400000 bytes from .* and should have 1000000"):
        fetch(Remote(url, "one"), str(tmp_path / "part"), len(DATA), Tally())


def test_a_source_is_left_alone_for_as_long_as_it_asks(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses, tally = list[float](), Tally()
    monkeypatch.setattr(tally.stop, "wait", pauses.append)
    hub.faults = [
        {"kind": "status", "code": 429, "retry_after": 7, "count": 1},
        {"kind": "status", "code": 503, "retry_after": 86_400, "count": 1, "on": "hub"},
        {"kind": "status", "code": 429, "headers": {"RateLimit": '"api";r=0;t=120'}, "count": 1, "on": "hub"},
    ]
    fetch(Remote(serve(hub, DATA), "one"), str(tmp_path / "part"), len(DATA), tally)
    assert sorted(pauses) == [7.0, 120.0, http_source.LONGEST_RETRY_AFTER]


def test_a_source_that_asks_for_no_time_at_all_is_left_alone_as_any_other(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses, tally = list[float](), Tally()
    monkeypatch.setattr(tally.stop, "wait", pauses.append)
    hub.faults = [{"kind": "status", "code": 429, "retry_after": 0, "count": 1}]
    fetch(Remote(serve(hub, DATA), "one"), str(tmp_path / "part"), len(DATA), tally)
    assert len(pauses) == 1 and pauses[0] > 0


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """Redirects /0 to the first of these places, and so on, and answers whatever else with its path."""

    places: ClassVar[list[str]] = [
        "http://[",
        "http://127.0.0.1:none/",
        "file:///etc/passwd",
        "http://127.0.0.1../",
        "/0",
    ]
    good = "/a file with ümlaut?Signature=a+b%2F"

    def do_GET(self) -> None:
        number = self.path.strip("/")
        if number.isdigit():
            self.send_response(302)
            self.send_header("Location", [*self.places, self.good][int(number)])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(transfer, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(transfer, "ATTEMPTS", 3)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("number", range(len(Elsewhere.places)))
def test_a_redirect_to_no_place_is_one_sentence(elsewhere: str, tmp_path: Path, number: int) -> None:
    source = Remote(f"{elsewhere}/{number}", "one", token="hf_right")
    with pytest.raises(TransferError, match=r"^one .*: correct its source\.$"):
        fetch(source, str(tmp_path / "part"), 10, Tally())


def test_a_redirect_with_blanks_and_umlauts_is_followed_as_it_is_meant(elsewhere: str, tmp_path: Path) -> None:
    wanted = "/a%20file%20with%20%FCmlaut?Signature=a+b%2F"
    fetch(Remote(f"{elsewhere}/{len(Elsewhere.places)}", "one"), str(tmp_path / "part"), len(wanted), Tally())
    assert (tmp_path / "part").read_text() == wanted


NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("12", 12.0),
        ("-5", 0.0),
        ("soon", None),
        ("nan", None),
        ("Fri, 99999999999999999999 Jan 2027 08:00:00 GMT", None),
        ("inf", http_source.LONGEST_RETRY_AFTER),
        (email.utils.formatdate(NOW + 90, usegmt=True), 90.0),
        (email.utils.formatdate(NOW - 90, usegmt=True), 0.0),
        (email.utils.formatdate(NOW + 10**6, usegmt=True), http_source.LONGEST_RETRY_AFTER),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    assert http_source.retry_after(header, NOW) == seconds


@pytest.mark.parametrize(
    ("code", "headers", "seconds"),
    [
        (429, {}, None),
        (429, {"RateLimit": '"api";r=0;t=120', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}, 120.0),
        (429, {"RateLimit": '"resolvers";r=4;t=250, "api";r=0;t=7'}, 7.0),
        (429, {"RateLimit": '"api";r=0;t=5,"pages";r=0;t=90'}, 90.0),
        (429, {"RateLimit": "limit=500, remaining=0, reset=44"}, 44.0),
        (429, {"RateLimit": '"api";r=0;t=120', "Retry-After": "0"}, 120.0),
        (429, {"RateLimit-Policy": '"fixed window";"api";q=500;w=300'}, 300.0),
        (429, {"RateLimit-Remaining": "0", "RateLimit-Reset": "30"}, 30.0),
        (429, {"X-RateLimit-Reset": str(int(NOW) + 61)}, 61.0),
        (429, {"X-RateLimit-Reset": str(int(NOW) - 61)}, 0.0),
        (429, {"RateLimit": '"api";r=0;t=86400'}, http_source.LONGEST_RETRY_AFTER),
        (429, {"RateLimit": "soon", "RateLimit-Policy": "later", "X-RateLimit-Reset": "never"}, None),
        # A server that fails for another reason tells its limits all the same.
        (503, {"RateLimit": '"api";r=499;t=290', "RateLimit-Policy": '"api";q=500;w=300'}, None),
        (503, {"RateLimit": '"api";r=499;t=290', "Retry-After": "3"}, 3.0),
    ],
)
def test_a_rate_limit_says_how_long_to_wait(code: int, headers: dict[str, str], seconds: float | None) -> None:
    assert http_source.told_wait(code, headers, NOW) == seconds


@given(st.integers(0, transfer.ATTEMPTS))
def test_a_pause_grows_to_a_limit_and_is_random(fruitless: int) -> None:
    most = min(transfer.LONGEST_PAUSE, transfer.FIRST_PAUSE * 2**fruitless)
    assert most / 2 <= transfer.pause(fruitless) <= most


@given(st.integers(0, 2**45))
def test_a_checkpoint_is_at_most_a_256th_within_its_bounds(size: int) -> None:
    step = sync_bytes(size)
    assert transfer.LEAST_CHECKPOINT <= step <= transfer.MOST_CHECKPOINT
    assert step <= max(size / 256, transfer.LEAST_CHECKPOINT)


def test_what_is_written_is_on_the_disk_at_every_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, datasync = [0], os.fdatasync

    def note(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        datasync(descriptor)

    monkeypatch.setattr(os, "fdatasync", note)
    with PartFile(str(tmp_path / "part"), 2**32, Tally()) as part:
        for _ in range(200):
            part.write(bytes(2**18))
    steps = [after - before for before, after in itertools.pairwise(sizes)]
    assert sizes[-1] == 200 * 2**18 and max(steps) <= sync_bytes(2**32)


def test_a_certificate_that_nobody_vouches_for_is_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate, part = tmp_path / "key.pem", tmp_path / "certificate.pem", tmp_path / "part"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    (tmp_path / "one").write_bytes(DATA)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = Remote(f"https://localhost:{server.server_port}/one", "one")
        with pytest.raises(TransferError, match="install the certificate of its authority, or correct the clock"):
            fetch(source, str(part), len(DATA), Tally())
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert fetch(source, str(part), len(DATA), Tally()) == hashlib.sha256(DATA).hexdigest()
        server.shutdown()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://huggingface.co/a", "https://huggingface.co:443/b?c", True),
        ("https://huggingface.co/a", "http://huggingface.co/a", False),
        ("https://huggingface.co/a", "https://huggingface.co:8443/a", False),
        ("https://huggingface.co/a", "https://huggingface.co@example.com/a", False),
    ],
)
def test_who_is_meant_by_a_url(one: str, other: str, same: bool) -> None:
    assert (origin(one) == origin(other)) is same


def test_a_local_file_that_grew_is_reported(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(DATA)
    with pytest.raises(TransferError, match="has 1000000 bytes now and had 5"):
        fetch(Local(str(tmp_path / "one")), str(tmp_path / "part"), 5, Tally())


def test_a_transfer_that_is_stopped_ends_at_once(hub: Hub, tmp_path: Path) -> None:
    tally = Tally()
    tally.stop.set()
    with pytest.raises(TransferError):
        fetch(Remote(serve(hub, DATA), "one"), str(tmp_path / "part"), len(DATA), tally)
    assert 0 < (tmp_path / "part").stat().st_size < len(DATA)
