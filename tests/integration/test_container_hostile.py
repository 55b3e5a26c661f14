# SPDX-License-Identifier: MIT
"""site.yml, from a bare machine to an answer, where everything is as it should not be.

Root keeps its files to itself (umask 077), every directory has a blank and an umlaut, the language is C, there is no
way out but a proxy, and the container has half of the CPUs and, where this machine has two memory nodes, one of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.container_site import (
    HUB,
    INVENTORY,
    evidence,
    healthy,
    playbook,
    server_environment,
    stage,
    tower,
)
from tests.integration.vm_site import Run
from tests.proxy import Proxy, proxy

NAME, PORT, UNIT = "hostile", 18228, "llama-server@main.service"
PLACE = "/srv/große Ablage"
# As the towers of molecule/default see this machine.
HERE = "10.0.2.2"
HALF = sorted(os.sched_getaffinity(0))[: max(1, (os.cpu_count() or 2) // 2)]
NODES = sorted(Path("/sys/devices/system/node").glob("node[0-9]*"))
# What a root has who was told to (CIS), and the language of a machine that was given none.
HARDEN = f"""\
echo 'Defaults umask=0077, umask_override' > /etc/sudoers.d/umask
echo LC_ALL=C | tee -a /etc/environment > /etc/default/locale
mkdir -p '{PLACE}' && chmod 755 '{PLACE}' && ln -s /srv/ccache '{PLACE}/der Zwischenspeicher'
"""
ASK = """
import json, urllib.request
lines = open("/var/lib/llamatower/instances/main/current/keys").read().splitlines()
key = next(line for line in lines if not line.startswith("#"))
body = json.dumps({"prompt": "The sky is", "n_predict": 4}).encode()
request = urllib.request.Request("http://127.0.0.1:8080/completion", body, {"Authorization": f"Bearer {key}"})
print(json.load(urllib.request.urlopen(request, timeout=180))["content"])
"""


class Hostile:
    """The tower, its inventory, the proxy, and what the first run of site.yml did."""

    def __init__(self, directory: Path, server: Proxy) -> None:
        self.host = tower(NAME, PORT)
        self.host.check_output("sh -c %s", HARDEN)
        stage("fence", NAME)
        self.server = server
        towers = yaml.safe_load(INVENTORY.read_text())["towers"]
        # The reports and the inventory are in such a directory, too.
        self.directory = directory / "meine Türme"
        self.directory.mkdir()
        way = f"http://{HERE}:{server.server_port}"
        own = {
            "ansible_port": PORT,
            "benchmark_copy_dir": f"{self.directory}/die Messungen",
            "benchmark_dir": f"{PLACE}/das Maß",
            "llama_build_ccache_dir": f"{PLACE}/der Zwischenspeicher",
            "llama_build_root": f"{PLACE}/der Motor",
            "llama_build_transfer_dir": f"{self.directory}/die Archive",
            "llama_build_work_dir": f"{PLACE}/der Bau",
            "model_store_dir": f"{PLACE}/die Modelle",
            "model_store_hf_endpoint": "http://hub",
            "model_store_verify_timer": True,
            "report_dir": f"{self.directory}/die Berichte",
            "llamatower_proxy_environment": {"http_proxy": way, "https_proxy": way, "LC_ALL": "C"},
        }
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        everyone = {"hosts": {"localhost": {**local, "ansible_become": False}}, "vars": towers["vars"]}
        self.inventory = self.directory / "hosts.yml"
        self.inventory.write_text(yaml.safe_dump({"towers": {"hosts": {NAME: own}}, "all": everyone}))
        self.first = self.playbook("site.yml")

    def playbook(self, name: str, **variables: Any) -> Run:
        return playbook(name, inventory=self.inventory, host=NAME, **variables)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    options = [f"--cpuset-cpus={','.join(map(str, HALF))}", *(["--cpuset-mems=0"] if len(NODES) > 1 else [])]
    print(f"CPUs {HALF} of {os.cpu_count()}; this machine has {len(NODES)} memory nodes")
    stage("remove", NAME)
    stage("start", NAME, "bookworm", str(PORT), *options)
    with proxy({"hub": HUB.removeprefix("http://")}) as server:
        yield Hostile(tmp_path_factory.mktemp(NAME), server)
    stage("remove", NAME)


def test_the_machine_is_as_hostile_as_is_said(hostile: Hostile) -> None:
    assert hostile.host.check_output("umask") == "0077"
    assert hostile.host.check_output("printenv LC_ALL") == "C"
    assert hostile.host.check_output("nproc") == str(len(HALF))
    probe = "import socket; socket.create_connection(('192.0.2.1', 80), 5)"
    assert "Network is unreachable" in hostile.host.run("python3 -c %s", probe).stderr


def test_a_bare_machine_serves_and_answers(hostile: Hostile) -> None:
    assert (hostile.first.code, hostile.first.recap("failed")) == (0, 0), evidence(hostile.host)
    assert healthy(hostile.host, 8080)
    assert hostile.host.check_output("python3 -c %s", ASK)
    assert json.loads((hostile.directory / f"die Berichte/{NAME}.json").read_text())


def test_everything_came_by_the_proxy(hostile: Hostile) -> None:
    print(hostile.server.asked)
    assert "hub" in hostile.server.asked
    assert len(hostile.server.asked) > 1, "apt and pip asked it, too"


def test_threads_and_nodes_are_those_that_it_may_use(hostile: Hostile) -> None:
    environment = server_environment(hostile.host, UNIT)
    assert 1 <= int(environment["LLAMA_ARG_THREADS"]) <= len(HALF)
    assert environment["LLAMA_ARG_MODEL"].startswith(f"{PLACE}/die Modelle/")
    process = hostile.host.check_output(f"systemctl show --value --property=MainPID {UNIT}")
    status = hostile.host.check_output("grep allowed_list /proc/%s/status", process)
    print(status)
    assert len(NODES) < 2 or "Mems_allowed_list:\t0" in status.splitlines()


def test_the_timer_finds_its_directory(hostile: Hostile) -> None:
    hostile.host.check_output("systemctl start llama-models-verify.service")
    said = hostile.host.check_output("journalctl --no-pager -o cat -n 5 -u llama-models-verify")
    assert "1 of 1 files of 1 models have the SHA-256 of their manifest." in said


def test_a_second_run_changes_nothing(hostile: Hostile) -> None:
    again = hostile.playbook("site.yml")
    assert (again.code, again.recap("changed"), again.recap("failed")) == (0, 0, 0)
