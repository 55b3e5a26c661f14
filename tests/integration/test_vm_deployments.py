# SPDX-License-Identifier: MIT
"""Changes of a tower with real memory nodes and a real disk: what does not prove itself is taken back, what served
before comes back on request, and a power failure at any moment leaves one of the two.

The model is replaced as models.yml leaves it; that playbook, and the controller that is killed at any task, are in
test_changes_deployments.py and test_changes_cuts.py.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.integration.unproven import BROKEN_SERVER, DOES_NOT_START, FORGE, REPLACE, without_numactl
from tests.integration.vm_site import DEPLOYMENTS, MODEL_DIR, UNIT, Site, last_words
from tests.waiting import wait_until

CHANGE = "tests/integration/change.yml"
BUILDS = "/opt/llama.cpp"
# Contexts of changes: one whose placement is wrong, and one that serves.
MISPLACED, OTHER = 1536, 1600
# Which deployment the process of the server says that it runs, and in what the tower is not as that wants it, as the
# switch itself asks.
STATE = """
import json, subprocess, sys
from llamatower.service.deployment import Instance
from llamatower.service.switch import differences
command = ["systemctl", "show", "--property=MainPID,NeedDaemonReload", sys.argv[1]]
shown = dict(line.split("=", 1) for line in subprocess.check_output(command, text=True).splitlines())
words = open(f"/proc/{shown['MainPID']}/environ").read().split("\\0")
identity = next(word for word in words if word.startswith("LLAMATOWER_DEPLOYMENT=")).partition("=")[2]
instance = Instance("main")
found = list(differences(instance, identity, instance.read(identity)))
print(json.dumps({"runs": identity, "reload": shown["NeedDaemonReload"], "differences": found}))
"""
BEGIN = """
import sys
from llamatower.service.deployment import Instance
from llamatower.service.switch import begin
begin(Instance("main"), sys.argv[1])
"""
# Half of them in a switch, and half in the boot after that. Each takes a boot, a minute and more where it is emulated.
POWER_FAILURES = int(os.environ.get("POWER_FAILURES", "2"))
# About what either takes, emulated.
SWITCH_SECONDS, BOOT_SECONDS = 30, 60


def root_python(site: Site, program: str, *arguments: str) -> str:
    """What a program prints that root runs on the tower, with the project's own modules."""
    words = shlex.join(["python3", "-c", program, *arguments])
    return site.ssh(f"sudo env PYTHONPATH=/usr/local/lib/llamatower {words}")


def named(site: Site, link: str) -> str:
    return site.tower.ssh(f"readlink {DEPLOYMENTS}/{link} || true").rpartition("/")[2]


def serving(site: Site) -> str:
    """The deployment that the process runs, when nothing is wanted any more and it answers; all of the tower is so."""
    wait_until(lambda: not named(site, "wanted") and site.healthy(), "one deployment serves", 600)
    found: dict[str, Any] = json.loads(root_python(site, STATE, UNIT))
    # That current and good lead there, and that its units run it and are enabled, is among the differences.
    assert (found["reload"], found["differences"]) == ("no", []), last_words(site)
    return str(found["runs"])


@contextmanager
def engine(site: Site, key: str, text: str) -> Iterator[str]:
    """Meanwhile a forged release is the current one; the directory of the other."""
    good = site.ssh(f"readlink -f {BUILDS}/current")
    root_python(site, FORGE, BUILDS, good, key, text)
    yield good
    site.ssh(f"sudo ln -sfn releases/{good.rpartition('/')[2]} {BUILDS}/current")


@contextmanager
def faulty(site: Site, what: str) -> Iterator[dict[str, Any]]:
    """Meanwhile this makes the next deployment fail; the variables of it."""
    if what == "setting":
        yield DOES_NOT_START
    elif what == "engine":
        with engine(site, "broken", BROKEN_SERVER):
            yield {}
        site.ssh(f"sudo rm -r {BUILDS}/releases/broken")
    elif what == "model":
        root_python(site, REPLACE, MODEL_DIR, "llama")
        yield {}
        site.ssh(f"sudo rm -r {MODEL_DIR}; sudo mv {MODEL_DIR}.before {MODEL_DIR}")
    else:
        with without_numactl(site, MISPLACED):
            yield {"llama_service_context": MISPLACED}


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("setting", "no-such-type"),
        ("engine", "This engine cannot load the model"),
        ("model", "unknown model architecture"),
        ("placement", "has the policy default"),
    ],
)
def test_a_change_that_does_not_prove_itself_is_taken_back(site: Site, what: str, said: str) -> None:
    before = serving(site)
    with faulty(site, what) as variables:
        run = site.playbook(CHANGE, **variables)
    assert run.code != 0
    assert run.finds(f"did not prove itself, and {before}, which served before, serves again")
    assert run.finds(said), "for this reason"
    assert site.healthy(), "when the run ends"
    assert serving(site) == before


@pytest.fixture(scope="module")
def two(site: Site) -> Iterator[tuple[str, str]]:
    """Two deployments that were proven, of which the first serves. The other one has another engine and context."""
    first = serving(site)
    with engine(site, "other", "") as good:
        run = site.playbook(CHANGE, llama_service_context=OTHER)
    assert run.code == 0
    other = serving(site)
    assert other != first
    assert site.playbook("playbooks/rollback.yml").code == 0
    assert not site.tower.fails(f"test -x {good}/bin/llama-server")
    yield first, other
    site.ssh(f"sudo rm -r {BUILDS}/releases/other {DEPLOYMENTS}/deployments/{other}")


def test_what_served_before_comes_back_on_request(site: Site, two: tuple[str, str]) -> None:
    first, _other = two
    assert serving(site) == first


def test_power_failures_leave_one_of_the_two_and_the_next_run_ends_it(site: Site, two: tuple[str, str]) -> None:
    seed = time.time_ns() % 10**6
    chance = random.Random(seed)
    print(f"seed {seed}")
    found = serving(site)
    for _round in range(POWER_FAILURES // 2):
        before = found
        wanted = next(identity for identity in two if identity != before)
        root_python(site, BEGIN, wanted)
        site.ssh("sudo systemctl enable --quiet llamatower-switch@main")
        site.ssh("sudo systemctl start --no-block llamatower-switch@main")
        cut = chance.uniform(0, SWITCH_SECONDS)
        time.sleep(cut)
        # Where it was then.
        print(site.tower.ssh(f"cd {DEPLOYMENTS}; ls -l current good wanted | grep -o '[a-z]* ->.*'", check=False))
        site.tower.stop(hard=True)
        site.tower.power_on()
        boot = chance.uniform(5, BOOT_SECONDS)
        time.sleep(boot)
        site.tower.stop(hard=True)
        site.tower.start()
        found = serving(site)
        print(f"{before} -> {wanted}: cut after {cut:.1f} s, and {boot:.1f} s after the start; {found} serves")
        assert found in two
    run = site.playbook("playbooks/serve.yml")
    assert run.code == 0
    assert (run.recap("changed") > 0) == (found != two[0])
    assert serving(site) == two[0]
