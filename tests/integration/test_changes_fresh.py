# SPDX-License-Identifier: MIT
"""A machine that has nothing yet: what a check run of each playbook says of it, and that it touches nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.container_site import footprint, playbook, stage, tower
from tests.integration.vm_site import REPO

NAME, PORT = "virgin", 18227
# What needs something that is not there says so, and how one gets it; all others end well.
NEED = {
    "rollback.yml": "There is no deployment of main to go back to",
    "tune.yml": "has no deployment with llama-server@main.service: run ansible-playbook llamatower.tower.serve.",
    "status.yml": "Nothing is deployed here: run ansible-playbook llamatower.tower.site.",
}
# What is planned is of no tower, and site.yml is some of the others.
PLAYBOOKS = sorted({path.name for path in (REPO / "playbooks").glob("*.yml")} - {"plan.yml", "site.yml", *NEED})


@pytest.fixture(scope="module")
def host() -> Iterator[Any]:
    stage("remove", NAME)
    stage("start", NAME, "bookworm", str(PORT))
    yield tower(NAME, PORT)
    stage("remove", NAME)


@pytest.fixture
def only(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "virgin.yml").write_text(f"towers: {{hosts: {{{NAME}: {{ansible_port: {PORT}}}}}}}\n")
    return ("-i", str(tmp_path / "virgin.yml"), "--limit", NAME, "--check")


def test_a_check_run_of_every_playbook_ends_well_and_touches_nothing(
    host: Any, only: tuple[str, ...], tmp_path: Path
) -> None:
    before = footprint(host)
    # One after the other in one run: each finds the machine as the first does.
    run = playbook(
        f"playbooks/{PLAYBOOKS[0]}", *(f"playbooks/{name}" for name in PLAYBOOKS[1:]), *only, host=NAME,
        report_dir=str(tmp_path / "reports"), benchmark_copy_dir=str(tmp_path / "reports"),
    )  # fmt: skip
    assert (run.code, run.recap("failed"), run.recap("unreachable")) == (0, 0, 0)
    assert footprint(host) == before


@pytest.mark.parametrize("name", NEED)
def test_what_needs_something_says_so_in_one_sentence(name: str, host: Any, only: tuple[str, ...]) -> None:
    before = footprint(host)
    run = playbook(f"playbooks/{name}", *only, host=NAME)
    assert run.code != 0
    assert run.finds(NEED[name])
    assert "Traceback" not in run.output
    assert footprint(host) == before
