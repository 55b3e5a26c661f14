# SPDX-License-Identifier: MIT
"""A server that hangs, dies or cannot start: what systemd makes of it. Where memory lies is for the virtual tower."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.container_site import Places, evidence, healthy, pid, server_environment, tower
from tests.waiting import wait_until

PLACES = Places("trixie")
UNIT = PLACES.unit


# Keeps so many connections with half a request open, and so many with a whole one: each that ends is opened again.
CROWD = """
import json, socket, time
key = next(line.strip() for line in open("{keys}") if not line.startswith("#"))
body = json.dumps({{"prompt": "Once", "n_predict": 200, "ignore_eos": True}})
fields = ["POST /completion HTTP/1.1", "Host: x", "Content-Type: application/json", "Authorization: Bearer " + key]
whole = "\\r\\n".join([*fields, f"Content-Length: {{len(body)}}", "", body]).encode()
texts = [whole[:60]] * {half} + [whole] * {whole}
opened = [None] * len(texts)
while True:
    for number, text in enumerate(texts):
        try:
            if opened[number] is None:
                opened[number] = socket.create_connection(("127.0.0.1", {port}), 0.05)
                opened[number].sendall(text)
                opened[number].setblocking(False)
            elif not opened[number].recv(65536):
                raise ConnectionError
        except BlockingIOError:
            pass
        except OSError:
            opened[number] = None
    time.sleep(0.5)
"""


@pytest.fixture(scope="module")
def host() -> Any:
    return tower(PLACES.name)


@pytest.fixture(autouse=True)
def serving(host: Any) -> Iterator[None]:
    """Afterwards it serves, whatever happened."""
    yield
    if not healthy(host, PLACES.port):
        restart(host)


def restart(host: Any) -> int:
    """How systemctl ends."""
    return int(host.run(f"systemctl restart {UNIT}").rc)


def last_words(host: Any, unit: str) -> str:
    return str(host.check_output(f"journalctl --no-pager -o cat -n 15 -u {unit}"))


def cpu_seconds(host: Any) -> float:
    """What the server has used."""
    user, system = host.check_output(f"cat /proc/{pid(host, UNIT)}/stat").rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / 100


def another_answers(host: Any, process: int) -> None:
    wait_until(
        lambda: pid(host, UNIT) not in (0, process) and healthy(host, PLACES.port), "another process answers", 180
    )


def test_a_server_that_hangs_is_killed_and_serves_again(host: Any) -> None:
    process = pid(host, UNIT)
    host.check_output(f"kill -STOP {process}")
    # 30 s until the timer, 32 s of asking, 6 s of waiting, and the start.
    wait_until(lambda: pid(host, UNIT) != process, "it is killed within the time that docs/operations.md states", 120)
    another_answers(host, process)
    assert "gave no answer on /health" in last_words(host, PLACES.check_unit)


def test_a_server_that_decodes_is_not_killed_whoever_keeps_it_from_answering(host: Any) -> None:
    """1,200 connections with half a request and 1,000 whole ones; a container has 1,024 descriptors, so that most of
    them wait until the kernel lets them in."""
    process, used = pid(host, UNIT), cpu_seconds(host)
    crowd = "systemd-run --quiet --collect --property=LimitNOFILE=1024 --unit=test-crowd-%s python3 -c %s"
    for number in range(4):
        host.check_output(crowd, str(number), CROWD.format(port=PLACES.port, keys=PLACES.keys, half=300, whole=250))
    try:
        wait_until(lambda: cpu_seconds(host) > used + 1, "the server decodes", 60)
        # The timer's own may be under way, and is waited for; then once more, from its beginning.
        for _round in range(2):
            host.run(f"systemctl start {PLACES.check_unit}")
        assert pid(host, UNIT) == process, last_words(host, PLACES.check_unit)
    finally:
        host.run("systemctl stop 'test-crowd-*'")
    wait_until(lambda: healthy(host, PLACES.port), "it answers when they are gone", 120)
    assert pid(host, UNIT) == process


def test_a_twelfth_crash_of_a_day_is_waited_for_and_not_the_end(host: Any) -> None:
    """The eleven before it are written down, which would take five hours."""
    restarts = f"/run/llamatower/{PLACES.instance}.restarts"
    uptime = float(host.check_output("cat /proc/uptime").split()[0])
    host.check_output(f"install -d /run/llamatower && echo {' '.join([str(uptime)] * 11)} > {restarts}")
    process = pid(host, UNIT)
    host.check_output(f"kill -KILL {process}")
    wait_until(lambda: "started again in 60 min" in last_words(host, UNIT), "the wait is said", 60)
    assert host.service(UNIT).systemd_properties["ActiveState"] == "activating"
    assert len(host.check_output(f"cat {restarts}").split()) == 12
    # A person does not wait.
    assert restart(host) == 0
    another_answers(host, process)


def test_a_server_that_is_killed_while_it_loads_serves_again(host: Any) -> None:
    before = pid(host, UNIT)
    host.check_output(f"systemctl restart --no-block {UNIT}")
    wait_until(lambda: pid(host, UNIT) not in (0, before), "the server loads", 60)
    process = pid(host, UNIT)
    host.check_output(f"kill -KILL {process}")
    another_answers(host, process)


def test_ten_restarts_in_a_row_end_in_a_running_server(host: Any) -> None:
    host.check_output(f"for n in 1 2 3 4 5 6 7 8 9 10; do systemctl restart --no-block {UNIT}; sleep 0.5; done")
    wait_until(lambda: host.service(UNIT).systemd_properties["ActiveState"] == "active", "the unit is active", 180)
    assert healthy(host, PLACES.port), evidence(host)


def test_a_missing_file_of_the_model_ends_in_a_failed_unit_that_says_so(host: Any) -> None:
    model = server_environment(host, UNIT)["LLAMA_ARG_MODEL"]
    host.check_output(f"mv {model} {model}.away")
    ended = restart(host)
    state = host.run(f"systemctl is-failed {UNIT}").stdout.strip()
    said = last_words(host, UNIT)
    host.check_output(f"mv {model}.away {model}")
    assert (ended != 0, state) == (True, "failed")
    assert re.search(r"failed to (open|load)|No such file", said)
    assert restart(host) == 0, evidence(host)


@pytest.mark.parametrize("fault", ["Read-only file system", "No space left on device"])
def test_a_var_that_cannot_be_written_changes_nothing_and_is_told(fault: str, host: Any) -> None:
    """The server starts there, and its page tables, which may be those of hundreds of gigabytes, are walked once an
    hour all the same."""
    record, note = (f"/{place}/llama-server/{PLACES.instance}.json" for place in ("var/lib", "run"))
    # The test starts it more often in a row than its timer ever does.
    check = f"systemctl reset-failed {PLACES.check_unit}; systemctl start {PLACES.check_unit}"
    since = host.check_output(f"systemctl stop llama-server-check@{PLACES.instance}.timer; rm {note}; date +@%s")
    if fault.startswith("Read-only"):
        place = "/var"
        # The journal's own mount stays as it is.
        host.check_output(f"mount --rbind {place} {place} && mount -o remount,ro,bind {place}")
    else:
        place = "/var/lib/llama-server"
        host.check_output(f"mount -t tmpfs -o size=4k full {place} && head -c 4096 /dev/zero > {place}/all")
    try:
        walks = []
        for _round in range(3):
            assert host.run(check).rc != 0
            walks.append(host.check_output(f"grep -o '\"boot_seconds\": [0-9.]*' {note}"))
        said = host.check_output(f"journalctl --output=cat --unit={PLACES.check_unit} --since={since}")
        assert len(set(walks)) == 1, walks
        assert said.count(f"{record} cannot be written ({fault})") == 3, said
        assert "Traceback" not in said
        assert restart(host) == 0
        assert healthy(host, PLACES.port)
    finally:
        host.check_output(f"umount --lazy {place}")
        host.check_output(f"systemctl start llama-server-check@{PLACES.instance}.timer")
    assert host.run(check).rc == 0
    assert json.loads(host.file(record).content_string)["history"][-1]["pid"] == pid(host, UNIT)
