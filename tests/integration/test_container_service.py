# SPDX-License-Identifier: MIT
"""A server that hangs, dies or cannot start: what systemd makes of it. Where memory lies is for the virtual tower."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.container_site import Places, evidence, healthy, pid, server_environment, tower
from tests.waiting import wait_until

PLACES = Places("trixie")
UNIT = PLACES.unit


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


def another_answers(host: Any, process: int) -> None:
    wait_until(
        lambda: pid(host, UNIT) not in (0, process) and healthy(host, PLACES.port), "another process answers", 180
    )


def test_a_server_that_hangs_is_killed_and_serves_again(host: Any) -> None:
    process = pid(host, UNIT)
    host.check_output(f"kill -STOP {process}")
    # 30 s until the timer, 32 s of asking, 6 s of waiting, and the start.
    another_answers(host, process)
    assert "gave no answer on /health" in last_words(host, PLACES.check_unit)


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
