# SPDX-License-Identifier: MIT
"""Two instances with a model each on one tower: what becomes of one leaves the process, the unit and the memory of the
other as they are."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.benchmark_model import Size, make
from tests.integration.container_site import STATE, Places, evidence, healthy, pid, playbook, server_environment, tower
from tests.integration.vm_site import Run

PLACES = Places("bookworm")
# Large enough for its weights to be found among the memory of the server.
SECOND_MODEL = Size(4, 1024, 4096, 4096)
STORED = "/srv/other/small.gguf"
SECOND, SECOND_PORT = "llama-server@small.service", 8091
SECOND_KEYS = "/var/lib/llamatower/instances/small/current/keys"
KEY = "a-key-of-the-second-instance"
STATUS = """
import sys, urllib.error, urllib.request as u
try:
    asked = u.Request("http://127.0.0.1:" + sys.argv[1] + "/props", headers={"Authorization": "Bearer " + sys.argv[2]})
    print(u.urlopen(asked, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
TAKE_AWAY = (
    "systemctl disable --now llama-server@small.service llamatower-switch@small.service; "
    "rm -rf /etc/systemd/system/llama-server@small.service.d /var/lib/llamatower/instances/small "
    "/var/lib/llama-server/small.json /srv/other; systemctl daemon-reload"
)


class Tower:
    """The tower, and runs of ``serve`` with these instances and both models."""

    def __init__(self, host: Any, sha256: str) -> None:
        self.host = host
        self.models = [*PLACES.declared, {"name": "small", "path": STORED, "sha256": sha256}]

    def run(self, name: str, main: dict[str, Any] | None = None, small: dict[str, Any] | None = None) -> Run:
        instances = [{"name": "main", **(main or {})}]
        if small is not None:
            own = {"model": "small", "port": SECOND_PORT, "context": 512, "api_keys": [{"name": "ann", "key": KEY}]}
            instances.append({"name": "small", **own, **small})
        return playbook(
            f"playbooks/{name}.yml",
            "--limit",
            PLACES.name,
            llama_service_instances=instances,
            model_store_models=self.models,
            # That of the inventory has one model.
            model_store_lock_file="/nonexistent/lock.yml",
        )

    def of_the_first(self) -> dict[str, Any]:
        """What the other one must not touch: process, files that systemd reads, what is protected, and its memory."""
        own = f"/etc/systemd/system/{PLACES.unit}.d/deployment.conf {PLACES.deployments}/current/deployment.json"
        process = pid(self.host, PLACES.unit)
        return {
            "unit": self.host.check_output(
                f"systemctl show --property=MainPID,InvocationID,NRestarts,MemoryMin,NeedDaemonReload {PLACES.unit}"
            ),
            "files": self.host.check_output(f"stat -L -c '%n %i %Y %s' {own}"),
            # But for what is shared with the second: the program and its libraries.
            "anonymous": int(self.host.check_output(f"awk '/^Anonymous:/ {{print $2}}' /proc/{process}/smaps_rollup")),
        }

    def status(self, port: int, key: str) -> int:
        return int(self.host.check_output("python3 -c %s %s %s", STATUS, str(port), key))

    def slice_bytes(self) -> int:
        return int(self.host.check_output("systemctl show --value --property=MemoryMin llama.slice"))

    def needed_bytes(self, instance: str) -> int:
        path = f"/var/lib/llamatower/instances/{instance}/current/deployment.json"
        return int(json.loads(self.host.file(path).content_string)["needed_bytes"])


def same(before: dict[str, Any], now: dict[str, Any]) -> None:
    assert {**now, "anonymous": 0} == {**before, "anonymous": 0}
    # A question that it was asked leaves some of its own behind.
    assert abs(now["anonymous"] - before["anonymous"]) < 0.05 * before["anonymous"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tower]:
    """The tower with the second model on its disk; afterwards it has the first alone, as before."""
    file = tmp_path_factory.mktemp("model") / "small.gguf"
    make(file, SECOND_MODEL)
    host = tower(PLACES.name)
    host.check_output("mkdir -p /srv/other")
    send(file)
    found = Tower(host, host.file(STORED).sha256sum)
    assert found.run("models").code == 0
    yield found
    host.run(TAKE_AWAY)
    assert playbook("playbooks/models.yml", "--limit", PLACES.name, model_store_prune=["small"]).code == 0
    assert playbook("playbooks/serve.yml", "--limit", PLACES.name).code == 0


def send(file: Path) -> None:
    """To the tower, as the administrator that Ansible is there."""
    options = ["-i", str(STATE / "key"), "-o", f"UserKnownHostsFile={STATE / 'known_hosts'}"]
    command = ["ssh", *options, "-p", str(PLACES.ssh_port), "admin@127.0.0.1", f"sudo tee {STORED} > /dev/null"]
    subprocess.run(command, input=file.read_bytes(), check=True)


def test_a_second_one_comes_beside_the_first_with_its_own_model_port_and_keys(site: Tower) -> None:
    before = site.of_the_first()
    first_key = site.host.check_output(f"grep -vm1 '^#' {PLACES.keys}")
    assert site.run("serve", small={}).code == 0, evidence(site.host)
    same(before, site.of_the_first())
    assert healthy(site.host, PLACES.port) and healthy(site.host, SECOND_PORT)
    assert server_environment(site.host, SECOND)["LLAMA_ARG_MODEL"].endswith("/small.gguf")
    keys = {(port, key): site.status(port, key) for port in (PLACES.port, SECOND_PORT) for key in (first_key, KEY)}
    assert keys == {
        (PLACES.port, first_key): 200,
        (PLACES.port, KEY): 401,
        (SECOND_PORT, first_key): 401,
        (SECOND_PORT, KEY): 200,
    }
    assert site.slice_bytes() == site.needed_bytes("main") + site.needed_bytes("small")
    again = site.run("serve", small={})
    assert (again.code, again.recap("changed")) == (0, 0)


def test_a_change_of_the_second_leaves_the_first(site: Tower) -> None:
    before, second = site.of_the_first(), pid(site.host, SECOND)
    assert site.run("serve", small={"context": 256}).code == 0
    assert pid(site.host, SECOND) != second
    assert server_environment(site.host, SECOND)["LLAMA_ARG_CTX_SIZE"] == "256"
    same(before, site.of_the_first())


def test_one_that_fails_keeps_no_other_from_its_change(site: Tower) -> None:
    before, second = site.of_the_first(), pid(site.host, SECOND)
    run = site.run("serve", {"context": 1024}, {"context": 256, "extra": {"LLAMA_ARG_CACHE_TYPE_K": "no-such-type"}})
    assert run.code != 0
    assert run.finds(r"of small did not prove itself, and \w+, which served before, serves again")
    assert pid(site.host, SECOND) != second
    assert healthy(site.host, SECOND_PORT)
    assert site.of_the_first()["unit"] != before["unit"]
    assert server_environment(site.host, PLACES.unit)["LLAMA_ARG_CTX_SIZE"] == "1024"


def test_a_port_that_the_other_has_is_refused_before_anything_is_touched(site: Tower) -> None:
    before, second = site.of_the_first(), pid(site.host, SECOND)
    run = site.run("serve", {"context": 1024}, {"port": PLACES.port})
    assert run.code != 0
    assert run.finds(f"The instances main and small both listen on port {PLACES.port}: give one of them another")
    same(before, site.of_the_first())
    assert pid(site.host, SECOND) == second


def test_one_that_is_not_declared_any_more_is_named_and_left_alone(site: Tower) -> None:
    before, second = site.of_the_first(), pid(site.host, SECOND)
    run = site.run("serve", {"context": 1024})
    assert (run.code, run.recap("changed")) == (0, 0)
    assert run.finds("small is deployed here, not declared in llama_service_instances, and left alone")
    assert run.finds("uninstall_instances=small takes it away")
    assert pid(site.host, SECOND) == second
    same(before, site.of_the_first())
    site.host.check_output(TAKE_AWAY)
    same(before, site.of_the_first())
    assert not site.host.run(f"test -e {SECOND_KEYS}").succeeded
