# SPDX-License-Identifier: MIT
"""Changes of what a tower runs: what does not prove itself is taken back, and a killed run leaves one of the two."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.integration.container_site import (
    Places,
    evidence,
    healthy,
    pid,
    playbook,
    server_environment,
    start,
    tower,
)
from tests.integration.vm_site import REPO
from tests.waiting import wait_until

PLACES = Places("bookworm")
LIMIT = ("--limit", PLACES.name)
# llama-server ends over it before it reads the model.
DOES_NOT_START: dict[str, Any] = {"llama_service_extra": {"LLAMA_ARG_CACHE_TYPE_K": "no-such-type"}}
# A program that is a llama-server until it has a model to load.
BROKEN_SERVER = """#!/bin/sh
case "$*" in *--version*|*--help*) exec {server} "$@" ;; esac
echo "This engine cannot load the model." >&2
exit 1
"""
FORGE = """
import hashlib, json, os, shutil, sys
root, good, key, text = sys.argv[1:]
release = root + "/releases/" + key
shutil.copytree(good, release, copy_function=os.link)
manifest = json.load(open(good + "/manifest.json"))
if text:
    os.unlink(release + "/bin/llama-server")
    with open(release + "/bin/llama-server", "w") as file:
        file.write(text.replace("{server}", good + "/bin/llama-server"))
    os.chmod(release + "/bin/llama-server", 0o755)
    manifest["binaries"]["llama-server"] = hashlib.sha256(open(release + "/bin/llama-server", "rb").read()).hexdigest()
os.unlink(release + "/manifest.json")
json.dump({**manifest, "key": key}, open(release + "/manifest.json", "w"))
os.symlink("releases/" + key, root + "/current.partial")
os.replace(root + "/current.partial", root + "/current")
"""


@pytest.fixture(scope="module")
def host() -> Any:
    """The tower; afterwards it has the engine, the model and the settings of its inventory."""
    host = tower(PLACES.name)
    release = host.check_output(f"readlink {PLACES.builds}/current")
    yield host
    host.check_output(f"ln -sfn {release} {PLACES.builds}/current")
    assert playbook("playbooks/models.yml", *LIMIT).code == 0
    assert playbook("playbooks/serve.yml", *LIMIT).code == 0


def deployed(host: Any, link: str = "current") -> str:
    return str(host.run(f"readlink {PLACES.deployments}/{link}").stdout.strip().rpartition("/")[2])


def runs(host: Any) -> str:
    """The deployment that the process of the server says that it runs."""
    return server_environment(host, PLACES.unit).get("LLAMATOWER_DEPLOYMENT", "")


def settled(host: Any, *expected: str) -> str:
    """Wait until nothing is wanted any more and the server answers; which deployment that is."""
    wait_until(lambda: not deployed(host, "wanted") and healthy(host, PLACES.port), "one deployment serves", 180)
    found = runs(host)
    assert found in expected, evidence(host)
    assert deployed(host) == deployed(host, "good") == found
    unread = host.check_output(f"systemctl show --value --property=NeedDaemonReload {PLACES.unit}")
    assert unread == "no"
    return found


def test_a_setting_that_does_not_load_is_taken_back(host: Any) -> None:
    before, was = deployed(host), pid(host, PLACES.unit)
    run = playbook("playbooks/serve.yml", *LIMIT, **DOES_NOT_START)
    assert run.code != 0
    assert run.finds(f"did not prove itself, and {before}, which served before, serves again")
    assert settled(host, before) == before
    assert pid(host, PLACES.unit) != was
    again = playbook("playbooks/serve.yml", *LIMIT)
    assert (again.code, again.recap("changed")) == (0, 0)


def test_an_engine_that_fails_on_the_model_is_taken_back_and_the_one_that_served_stays(host: Any) -> None:
    first, engine = deployed(host), host.check_output(f"readlink -f {PLACES.builds}/current")
    host.check_output("python3 -c %s %s %s broken %s", FORGE, PLACES.builds, engine, BROKEN_SERVER)
    run = playbook("playbooks/serve.yml", *LIMIT)
    assert run.code != 0
    assert run.finds("serves again")
    settled(host, first)
    host.check_output("python3 -c %s %s %s mended ''", FORGE, PLACES.builds, engine)
    assert playbook("playbooks/serve.yml", *LIMIT).code == 0
    mended = settled(host, deployed(host))
    assert mended != first
    # The build that comes next removes what is neither current nor needed: not the one that served.
    rolled = playbook("playbooks/rollback.yml", *LIMIT)
    assert rolled.code == 0
    assert settled(host, first) == first
    assert host.file(f"{engine}/bin/llama-server").exists
    host.check_output(f"rm -r {PLACES.builds}/releases/broken; ln -sfn {engine} {PLACES.builds}/current")


def test_a_model_that_comes_under_the_name_and_does_not_load_leaves_the_one_before(host: Any) -> None:
    first = deployed(host)
    served = json.loads(host.file(f"{PLACES.deployments}/current/deployment.json").content_string)["model"]
    # The same file with an architecture that no engine has.
    host.check_output("mkdir -p /srv/other")
    host.check_output(f"sed '0,/gemma3/s//gemmaX/' {PLACES.model} > /srv/other/other.gguf")
    other = [{"name": PLACES.model_name, "path": "/srv/other/other.gguf", "sha256": ""}]
    other[0]["sha256"] = host.file("/srv/other/other.gguf").sha256sum
    variables: dict[str, Any] = {"model_store_models": other, "model_store_lock_file": "/nonexistent/lock.yml"}
    assert playbook("playbooks/models.yml", *LIMIT, **variables).code == 0
    assert healthy(host, PLACES.port)
    run = playbook("playbooks/serve.yml", *LIMIT, **variables)
    assert run.code != 0
    assert run.finds("serves again")
    settled(host, first)
    assert host.file(f"{served['directory']}/{served['files'][0]}").sha256sum == served["sha256"][0]
    host.check_output("rm -r /srv/other")
    assert playbook("playbooks/models.yml", *LIMIT).code == 0
    again = playbook("playbooks/serve.yml", *LIMIT)
    assert (again.code, again.recap("changed")) == (0, 0)


def test_a_controller_that_is_killed_at_any_task_leaves_one_of_the_two(host: Any) -> None:
    task, context, seen = 0, 1024, []
    before = settled(host, deployed(host))
    while True:
        task += 1
        settings = {"ANSIBLE_CALLBACK_PLUGINS": str(REPO / "tests/integration/callbacks"), "KILLED_AT_TASK": str(task)}
        settings["ANSIBLE_CALLBACKS_ENABLED"] = "killed_at_task"
        run = start("playbooks/serve.yml", *LIMIT, settings=settings, llama_service_context=context)
        output, _ = run.communicate()
        if run.returncode == 0:
            break
        assert run.returncode < 0, output
        # Of a switch that goes on without it.
        time.sleep(1)
        wait_until(lambda: not deployed(host, "wanted") and healthy(host, PLACES.port), "one deployment serves", 180)
        seen.append(runs(host))
        assert deployed(host) == deployed(host, "good") == seen[-1], (task, output[-500:])
    print(f"{task} tasks; deployments that served after each: {seen}")
    assert seen[0] == before
    assert len(set(seen)) == 2, seen
    assert seen == sorted(seen, key=lambda name: name != before), "back and forth"
    again = playbook("playbooks/serve.yml", *LIMIT, llama_service_context=context)
    assert (again.code, again.recap("changed")) == (0, 0)
    assert settled(host, seen[-1])


def test_two_runs_at_once_end_in_one_of_the_two(host: Any) -> None:
    runs_of = [start("playbooks/serve.yml", *LIMIT, llama_service_context=context) for context in (1152, 1280)]
    outputs = [run.communicate()[0] for run in runs_of]
    print("\n".join(output[-1500:] for output in outputs))
    assert [run.returncode for run in runs_of] == [0, 0]
    settled(host, deployed(host))
    found = json.loads(host.file(f"{PLACES.deployments}/current/deployment.json").content_string)
    assert found["context"] in (1152, 1280)
