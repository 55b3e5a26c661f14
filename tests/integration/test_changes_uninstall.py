# SPDX-License-Identifier: MIT
"""A tower that was bare, got everything by site.yml, and is left as it was.

Every directory, user, port and name is another than by default, as on the tower trixie: what uninstall would look for
in the wrong place stays, and is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.container_site import INVENTORY, Places, playbook, stage, tower
from tests.integration.machine_state import PROGRAM, differences, stays
from tests.integration.vm_site import Run

NAME, PORT = "leaving", 18224
PLACES = Places("trixie")


class Leaving:
    """The tower, and an inventory in which it is the only one; its build comes from a builder that stays."""

    def __init__(self, directory: Path) -> None:
        towers = yaml.safe_load(INVENTORY.read_text())["towers"]
        places = {name: f"{directory}/{name}" for name in ("report_dir", "benchmark_copy_dir")}
        own = {**towers["hosts"]["trixie"], **places, "ansible_port": PORT}
        builders = {"hosts": {"bookworm": towers["hosts"]["bookworm"]}}
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        everyone = {"hosts": {"localhost": {**local, "ansible_become": False}}, "vars": towers["vars"]}
        self.inventory = directory / "leaving.yml"
        self.inventory.write_text(
            yaml.safe_dump({"towers": {"hosts": {NAME: own}}, "builders": builders, "all": everyone})
        )
        self.host = tower(NAME, PORT)
        self.bare = self.state()

    def state(self) -> str:
        return str(self.host.check_output("sh -c %s", PROGRAM))

    def playbook(self, name: str, *arguments: str, **variables: Any) -> Run:
        return playbook(name, *arguments, inventory=self.inventory, host=NAME, **variables)


@pytest.fixture(scope="module")
def leaving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leaving]:
    stage("start", NAME, "trixie", str(PORT))
    found = Leaving(tmp_path_factory.mktemp(NAME))
    assert found.playbook("site.yml").code == 0
    yield found
    stage("remove", NAME)


def test_a_check_run_removes_nothing(leaving: Leaving) -> None:
    before = leaving.state()
    checked = leaving.playbook("playbooks/uninstall.yml", "--check", "--diff")
    assert checked.code == 0
    assert f"-{PLACES.builds}\n" in checked.output
    assert f"-{PLACES.instance}\n" in checked.output
    # What Ansible keeps for itself, and the check of the server, whose timer runs out when it does.
    checks = ["unit", "/var/lib/llama-server*"]
    assert differences(before, leaving.state(), [*stays(), "/run/*", *checks]) == []


def test_without_further_consent_models_and_nothing_else_is_kept(leaving: Leaving) -> None:
    model = leaving.host.file(PLACES.model).sha256sum
    run = leaving.playbook("playbooks/uninstall.yml", uninstall_consent=f"{NAME},other", uninstall_packages=True)
    assert run.code == 0
    assert run.finds(f"{NAME} keeps models, 253 MB in {PLACES.models}, until uninstall_models is true")
    assert differences(leaving.bare, leaving.state(), [*stays(), PLACES.models]) == []
    assert leaving.host.file(PLACES.model).sha256sum == model


def test_with_all_consents_only_what_is_documented_differs(leaving: Leaving) -> None:
    everything = {"uninstall_models": True, "uninstall_measurements": True, "uninstall_packages": True}
    run = leaving.playbook("playbooks/uninstall.yml", uninstall_consent=[NAME], **everything)
    assert run.code == 0
    assert run.recap("changed") == 1, "the models; a second run finds all else gone"
    assert differences(leaving.bare, leaving.state(), stays()) == []
