# SPDX-License-Identifier: MIT
"""Changes that are cut off, and changes at once: a tower always serves one of the two, whole."""

from __future__ import annotations

import base64
import bz2
import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.container_site import CACHE, INVENTORY, Service, pid, playbook, stage, start
from tests.integration.vm_site import REPO, Run
from tests.tiny_model import tiny_manifest, tiny_model
from tests.waiting import wait_until

# Which tower loses its power when a change is cut off. The other one loses the controller, which dies with it.
WITHOUT_POWER = "trixie"
STAGE = REPO / "molecule/default/stage"
CUT = f"{shlex.quote(str(STAGE))} cut {WITHOUT_POWER} && kill -KILL 0"
CONTEXTS = (1024, 1152, 1280)
# The tasks of serve.yml that do something on these towers.
TASKS = [
    "See whether the user that runs the server is there",
    "Write down what the machine was, where this is the first run",
    "Install numactl",
    "Install what the tower runs by itself",
    "Install the wrapper for any other command",
    "Install the units",
    "Decide how the servers are started",
    "Switch to these settings, this engine and this model, or go back",
    "Wait until each server answers, and ask it one question",
    "Read where its weights lie",
]
# Threads that wait for each other in a loop take the CPUs of what is tested, which is no speed, and loading a real
# model took two thirds of a switch.
QUICK: dict[str, Any] = {
    "llama_service_model": "quick",
    "llama_service_threads": 1,
    "llama_service_threads_batch": 1,
    "llama_service_check_tokens": 4,
}
# Who changes the tower, and since when.
WAITS = r"waits for a deployment of \w+ by \S+, process \d+ since \d{4}-\d\d-\d\dT[\d:]+Z"
HOLDER = r"a deployment of \w+ by racer[01] since \d{4}-\d\d-\d\dT[\d:]+Z"
PAIRS, RACES = 15, Path(__file__).parent / "racing_changes.py"


@pytest.fixture(scope="module")
def services() -> Iterator[list[Service]]:
    """Of both towers; afterwards they have the settings of their inventory."""
    found = [Service("bookworm"), Service(WITHOUT_POWER)]
    for service in found:
        put_quick_model(service)
    assert playbook("playbooks/serve.yml", llama_service_context=CONTEXTS[-1], **QUICK).code == 0
    yield found
    assert playbook("playbooks/serve.yml").code == 0
    for service in found:
        service.host.check_output(f"rm -r {service.places.models}/quick")


def put_quick_model(service: Service) -> None:
    """As one that was fetched."""
    name, time_of_file = QUICK["llama_service_model"], 1_700_000_000
    data = base64.b64encode(bz2.compress(tiny_model())).decode()
    unpack = "import base64, bz2, sys; sys.stdout.buffer.write(bz2.decompress(base64.b64decode(sys.argv[1])))"
    place = f"{service.places.models}/{name}"
    service.host.check_output(
        f"install -d {place} && cd {place} && python3 -c %s %s > {name}.gguf && "
        f"touch --date=@{time_of_file} {name}.gguf && printf %s %s > manifest.json",
        unpack,
        data,
        "%s",
        json.dumps(tiny_manifest(name, time_of_file)),
    )


class Change:
    """A change of both towers to another context and from an older version of what is installed there."""

    OLDER = "# Of an older version."
    FILES = "/etc/systemd/system/llama-server@.service /usr/local/lib/llamatower/llamatower/service/launcher.py"

    def __init__(self, services: list[Service]) -> None:
        self.services = services
        for service in services:
            service.host.check_output(f"echo '{self.OLDER}' | tee -a {self.FILES} && systemctl daemon-reload")
        self.before = [service.settled() for service in services]
        contexts = [service.context() for service in services]
        self.wanted = next(context for context in CONTEXTS if context not in contexts)

    def start(self, **settings: str) -> subprocess.Popen[str]:
        return start("playbooks/serve.yml", settings=settings, llama_service_context=self.wanted, **QUICK)

    def cut_at(self, task: str) -> tuple[int, str]:
        """How it ends where it is cut off when this task starts, and what it said."""
        callbacks = str(REPO / "tests/integration/callbacks")
        settings = {"ANSIBLE_CALLBACK_PLUGINS": callbacks, "ANSIBLE_CALLBACKS_ENABLED": "cut_at_task"}
        run = self.start(**settings, CUT_AT_TASK=task, CUT=CUT)
        output, _ = run.communicate()
        return run.returncode, output

    def ends(self, what: str) -> None:
        """After it was cut off: each tower serves one of the two once it is booted, and the next run ends it."""
        stage("boot", WITHOUT_POWER)
        found = []
        for service, identity in zip(self.services, self.before, strict=True):
            now = service.serving()
            found.append(service.context())
            assert now == identity or found[-1] == self.wanted, what
        print(f"{what}: {found} serve, {self.wanted} is wanted")
        processes = [pid(service.host, service.places.unit) for service in self.services]
        run = playbook("playbooks/serve.yml", llama_service_context=self.wanted, **QUICK)
        assert run.code == 0, what
        for service, context, process in zip(self.services, found, processes, strict=True):
            if context == self.wanted:
                # The tower has ended its switch by itself; at most what nobody needs any more is left to be removed.
                assert pid(service.host, service.places.unit) == process, what
            else:
                assert Run(run.code, run.output, service.places.name).recap("changed") > 0, what
        self.is_whole(what)

    def is_whole(self, what: str) -> None:
        for service in self.services:
            service.settled()
            assert service.context() == self.wanted, what
            older = service.host.run(f"grep -l '{self.OLDER}' {self.FILES}").stdout
            assert older == "", what


@pytest.mark.parametrize("task", TASKS)
def test_a_change_that_is_cut_off_at_any_task_leaves_one_of_the_two(task: str, services: list[Service]) -> None:
    change = Change(services)
    code, output = change.cut_at(task)
    assert code == -signal.SIGKILL, output
    change.ends(task)


def test_there_is_no_other_task_at_which_it_could_be_cut_off(services: list[Service]) -> None:
    change = Change(services)
    code, output = change.cut_at("none")
    assert code == 0, output
    change.is_whole("not cut off")
    assert re.findall("^reached (.*)", output, re.MULTILINE) == TASKS


@pytest.mark.parametrize("link", ["wanted", "current"])
def test_a_change_that_is_cut_off_in_its_switch_leaves_one_of_the_two(services: list[Service], link: str) -> None:
    last = services[-1]
    change = Change(services)
    before = last.named(link)
    run = change.start()
    wait_until(lambda: last.named(link) not in ("", before) or run.poll() is not None, f"another is {link}", 180)
    assert run.poll() is None, run.communicate()[0]
    workers = subprocess.run(["pgrep", "-P", str(run.pid)], stdout=subprocess.PIPE, text=True, check=False).stdout
    stage("cut", WITHOUT_POWER)
    for process in (run.pid, *map(int, workers.split())):
        os.kill(process, signal.SIGKILL)
    run.communicate()
    change.ends(f"when another is {link}")


def test_of_two_runs_at_once_one_waits_for_the_other(services: list[Service]) -> None:
    contexts = (1408, 1664)
    runs = [start("playbooks/serve.yml", llama_service_context=context, **QUICK) for context in contexts]
    outputs = [run.communicate()[0] for run in runs]
    print("\n".join(output[-1500:] for output in outputs))
    assert [run.returncode for run in runs] == [0, 0]
    for service in services:
        service.settled()
        assert service.context() in contexts
    assert any(re.search(WAITS, " ".join(output.split())) for output in outputs)


def packed_module(service: Service, deployment: str) -> str:
    """Where the module is on its tower, as Ansible brings it there, with a change to a deployment as its arguments."""
    directory, name = "/var/tmp/changes", service.places.name
    arguments = {
        "state": "rolled_back",
        "instance": service.places.instance,
        "deployment": deployment,
        "user": service.places.user,
        "progress_path": f"/run/llamatower/{service.places.instance}.json",
        "by": "racer",
    }
    # What a run that was stopped has left.
    service.host.check_output(f"rm -rf {directory}")
    settings = {"ANSIBLE_KEEP_REMOTE_FILES": "1", "ANSIBLE_REMOTE_TMP": directory, "LLAMATOWER_CACHE": str(CACHE)}
    module = ["--become", "-m", "llamatower.tower.llama_deployment", "-a", json.dumps(arguments)]
    subprocess.run(
        ["ansible", "-i", str(INVENTORY), name, *module],
        cwd=REPO, env={**os.environ, **settings}, stdin=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    return str(service.host.check_output(f"ls {directory}/*/AnsiballZ_llama_deployment.py"))


def pairs(service: Service, seed: int) -> tuple[list[str], list[dict[str, Any]]]:
    """Two deployments of a tower, and what came of two changes at once to them, again and again."""
    current = service.named("current")
    proven = service.host.check_output(f"ls {service.places.deployments}/deployments/*/proven").split()
    deployments = [current, next(name for path in proven if (name := path.split("/")[-2]) != current)]
    path = packed_module(service, current)
    arguments = (service.places.instance, str(seed), str(PAIRS), path, *deployments)
    command = f"python3 -c %s {' '.join(arguments)} && rm -r /var/tmp/changes"
    output = service.host.check_output(command, RACES.read_text())
    return deployments, [json.loads(line) for line in output.splitlines()]


def test_of_two_changes_at_once_one_waits_and_names_the_other(services: list[Service]) -> None:
    # So that there are two deployments.
    assert playbook("playbooks/serve.yml", llama_service_context=1536, **QUICK).code == 0
    seed = time.time_ns() % 10**6
    print(f"seed {seed}")
    with ThreadPoolExecutor() as pool:
        towers = list(pool.map(lambda service: pairs(service, seed + service.places.ssh_port), services))
    for deployments, found in towers:
        assert len(found) == PAIRS
        for pair in found:
            print(pair)
            assert [each["code"] for each in pair["outcomes"]] == [0, 0]
            assert pair["current"] == pair["good"] == pair["runs"]
            assert pair["current"] in deployments
            assert (pair["wanted"], pair["NeedDaemonReload"], pair["ActiveState"]) == (None, "no", "active")
            # One that wants what is there already ends at once.
            if all(each["changed"] for each in pair["outcomes"]):
                assert pair["holders"]
                assert all(re.fullmatch(HOLDER, words) for words in pair["holders"])
