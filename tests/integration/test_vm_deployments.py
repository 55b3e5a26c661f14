# SPDX-License-Identifier: MIT
"""Changes on real memory nodes: a placement that is wrong is taken back, and a power failure leaves one of the two."""

from __future__ import annotations

import json
import os

import pytest

from tests.integration.vm_site import DEPLOYMENTS, UNIT, Site, last_words, pid, wait_until

WRONG = f"/etc/systemd/system/{UNIT}.d/wrong.conf"
CONTEXT = 1536
# As the launcher, but without numactl for one context.
LAUNCHER = f"""
import os
from llamatower.service.deployment import current_unit, server_command, server_environment
instance, identity, deployment, unit = current_unit("main")
words = server_command(deployment, {{**unit, "prefix": [] if deployment["context"] == {CONTEXT} else unit["prefix"]}})
os.execve(words[0], words, {{**os.environ, **server_environment(instance, identity, deployment, unit)}})
"""


def named(site: Site, link: str) -> str:
    return site.tower.ssh(f"readlink {DEPLOYMENTS}/{link} || true").rpartition("/")[2]


def serving(site: Site) -> dict[str, object]:
    """The deployment that the process runs, when nothing is wanted any more and it answers."""
    wait_until(lambda: not named(site, "wanted") and site.healthy(), "one deployment serves", 600)
    environment = site.ssh(f"sudo cat /proc/{pid(site)}/environ | tr '\\0' '\\n' | grep ^LLAMATOWER_DEPLOYMENT=")
    identity = environment.partition("=")[2]
    assert identity == named(site, "current") == named(site, "good"), last_words(site)
    assert site.ssh(f"systemctl show --value --property=NeedDaemonReload {UNIT}") == "no"
    found = json.loads(site.ssh(f"sudo cat {DEPLOYMENTS}/current/deployment.json"))
    return {"identity": identity, "context": found["context"]}


def test_a_placement_that_is_wrong_is_taken_back(site: Site) -> None:
    before = serving(site)
    site.ssh(f"sudo tee /opt/launcher.py > /dev/null <<'END'\n{LAUNCHER}\nEND")
    site.ssh(
        f"sudo mkdir -p {os.path.dirname(WRONG)}; "
        "printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/python3 /opt/launcher.py\\n' "
        f"| sudo tee {WRONG} > /dev/null; "
        "sudo systemctl daemon-reload"
    )
    run = site.playbook("playbooks/serve.yml", llama_service_context=CONTEXT)
    site.ssh(f"sudo rm {WRONG} /opt/launcher.py; sudo systemctl daemon-reload")
    assert run.code != 0
    assert run.finds(f"did not prove itself, and {before['identity']}, which served before, serves again")
    assert run.finds("has the policy default")
    assert serving(site) == before


@pytest.mark.parametrize("moment", ["it is wanted", "it is current"])
def test_a_power_failure_in_a_switch_leaves_one_of_the_two_and_the_next_run_ends_it(site: Site, moment: str) -> None:
    before = serving(site)
    wanted = CONTEXT + (64 if moment == "it is wanted" else 128)
    run = site.start("playbooks/serve.yml", llama_service_context=wanted)

    def reached() -> bool:
        if moment == "it is wanted":
            return bool(named(site, "wanted"))
        return named(site, "current") != before["identity"]

    wait_until(lambda: reached() or run.poll() is not None, f"{moment}", 300)
    assert run.poll() is None, run.communicate()[0]
    site.tower.stop(hard=True)
    site.tower.start()
    run.kill()
    run.communicate()
    assert serving(site)["context"] in (before["context"], wanted)
    again = site.playbook("playbooks/serve.yml", llama_service_context=wanted)
    assert again.code == 0
    assert serving(site)["context"] == wanted


def test_what_served_before_comes_back_on_request(site: Site) -> None:
    before = serving(site)
    assert site.playbook("playbooks/rollback.yml").code == 0
    rolled = serving(site)
    assert rolled != before
    assert rolled["context"] == CONTEXT + 64, "the one that served before the last"
    assert site.playbook("playbooks/serve.yml").code == 0
