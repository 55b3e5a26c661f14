# SPDX-License-Identifier: MIT
"""Changes of what a tower runs that do not prove themselves are taken back. Others are in test_changes_cuts.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.container_site import Places, Service, healthy, pid, playbook
from tests.integration.unproven import BROKEN_SERVER, DOES_NOT_START, FORGE

PLACES = Places("bookworm")
LIMIT = ("--limit", PLACES.name)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Afterwards it has the engine, the model and the settings of its inventory."""
    service = Service(PLACES.name)
    release = service.host.check_output(f"readlink {PLACES.builds}/current")
    yield service
    service.host.check_output(f"ln -sfn {release} {PLACES.builds}/current")
    assert playbook("playbooks/models.yml", *LIMIT).code == 0
    assert playbook("playbooks/serve.yml", *LIMIT).code == 0


@pytest.fixture
def host(service: Service) -> Any:
    return service.host


def test_a_setting_that_does_not_load_is_taken_back(service: Service, host: Any) -> None:
    before, was = service.named("current"), pid(host, PLACES.unit)
    run = playbook("playbooks/serve.yml", *LIMIT, **DOES_NOT_START)
    assert run.code != 0
    assert run.finds(f"did not prove itself, and {before}, which served before, serves again")
    assert service.settled() == before
    assert pid(host, PLACES.unit) != was
    again = playbook("playbooks/serve.yml", *LIMIT)
    assert (again.code, again.recap("changed")) == (0, 0)


def test_an_engine_that_fails_on_the_model_is_taken_back_and_the_one_that_served_stays(
    service: Service, host: Any
) -> None:
    first, engine = service.named("current"), host.check_output(f"readlink -f {PLACES.builds}/current")
    host.check_output("python3 -c %s %s %s broken %s", FORGE, PLACES.builds, engine, BROKEN_SERVER)
    run = playbook("playbooks/serve.yml", *LIMIT)
    assert run.code != 0
    assert run.finds("serves again")
    assert service.settled() == first
    host.check_output("python3 -c %s %s %s mended ''", FORGE, PLACES.builds, engine)
    assert playbook("playbooks/serve.yml", *LIMIT).code == 0
    mended = service.settled()
    assert mended != first
    # The build that comes next removes what is neither current nor needed: not the one that served.
    rolled = playbook("playbooks/rollback.yml", *LIMIT)
    assert rolled.code == 0
    assert service.settled() == first
    assert host.file(f"{engine}/bin/llama-server").exists
    host.check_output(f"rm -r {PLACES.builds}/releases/broken; ln -sfn {engine} {PLACES.builds}/current")


def test_a_model_that_comes_under_the_name_and_does_not_load_leaves_the_one_before(service: Service, host: Any) -> None:
    first = service.named("current")
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
    assert service.settled() == first
    assert host.file(f"{served['directory']}/{served['files'][0]}").sha256sum == served["sha256"][0]
    host.check_output("rm -r /srv/other")
    assert playbook("playbooks/models.yml", *LIMIT).code == 0
    again = playbook("playbooks/serve.yml", *LIMIT)
    assert (again.code, again.recap("changed")) == (0, 0)
