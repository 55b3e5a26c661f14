# SPDX-License-Identifier: MIT
"""The check_variables action, through ansible-playbook and the roles' real argument specs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.advice.preflight import HANDED_ON
from tests.controller import play

ROOT = Path(__file__).resolve().parents[2]
# Each wrong variable is that of a tower of its own, since a task ends with all problems of one tower.
WRONG: dict[str, tuple[dict[str, object], str]] = {
    "text": ({"llama_service_metrics": "false"}, "llama_service_metrics is the text 'false', not a boolean"),
    "misspelled": ({"llama_service_prot": 1}, "did you mean llama_service_port?"),
    "type": ({"llama_service_port": "http"}, "llama_service_port"),
    "choice": ({"hugepages_mode": "huge"}, "value of hugepages_mode must be one of: thp, hugetlb, none"),
    "home": ({"model_store_dir": "~/models"}, "which is no directory for everybody on the tower"),
    "proxy": ({"llamatower_proxy_environment": {"https_proxy": "http://host:b@hub"}}, "has a password in https_proxy"),
    "null": ({"llama_service_extra": None}, "llama_service_extra is null, and has to be something: leave it out"),
    "null in an entry": ({"llama_service_instances": [{"name": "main", "port": None}]}, "port of entry 1 of llama"),
    "undefined": ({"llama_service_host": "{{ nowhere }}"}, "llama_service_host cannot be worked out"),
}
# API keys in another form than the list that they are.
SECRET: dict[str, Any] = {
    "keys as a text": "S3cret",
    "keys without names": ["S3cret"],
    "key under another word": [{"name": "ann", "kee": "S3cret"}],
    "keys by their names": {"ann": "S3cret"},
}


def handed_on() -> set[str]:
    """The facts that roles set for the plays after them."""
    return {
        name
        for path in (ROOT / "roles").glob("*/tasks/*.yml")
        for task in yaml.safe_load(path.read_text())
        for name in task.get("ansible.builtin.set_fact", {})
        if not name.startswith("__")
    }


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the action answers, by the name of the tower."""
    directory = tmp_path_factory.mktemp("towers")
    right: dict[str, dict[str, object]] = {
        "right": {"llama_service_port": 8081, "llama_service_metrics": True, "llama_service_threads": None},
        "handed_on": dict.fromkeys(handed_on(), "something"),
    }
    hosts = right | {name: variables for name, (variables, _sentence) in WRONG.items()}
    hosts |= {name: {"llama_service_api_keys": value} for name, value in SECRET.items()}
    (directory / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    tasks = [
        {
            "llamatower.tower.check_variables": {"roles_path": str(ROOT / "roles")},
            "register": "found",
            "ignore_errors": True,
        },
        {"ansible.builtin.debug": {"msg": "@@{{ {inventory_hostname: found} | to_json }}@@"}},
    ]
    (directory / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    inventory, playbook = directory / "hosts.json", directory / "play.yml"
    done = play(inventory, playbook, "-c", "local", ANSIBLE_CALLBACK_RESULT_FORMAT="json")
    answers: dict[str, Any] = {}
    for shown in re.findall(r'"msg": ("@@.*@@")', done.stdout):
        answers |= json.loads(json.loads(shown).strip("@"))
    assert answers.keys() == hosts.keys(), done.stdout + done.stderr
    return answers


def test_right_variables_pass(said: dict[str, Any]) -> None:
    assert (said["right"]["failed"], said["right"]["problems"]) == (False, [])


def test_what_roles_hand_on_is_passed_over(said: dict[str, Any]) -> None:
    # Two playbooks in one command: facts of the first are still there in the second.
    assert handed_on() == HANDED_ON
    assert (said["handed_on"]["failed"], said["handed_on"]["problems"]) == (False, [])


@pytest.mark.parametrize("tower", WRONG)
def test_a_wrong_variable_fails_with_its_sentence(tower: str, said: dict[str, Any]) -> None:
    assert said[tower]["failed"] is True
    (problem,) = said[tower]["problems"]
    assert WRONG[tower][1] in problem
    assert said[tower]["msg"] == problem


@pytest.mark.parametrize("tower", SECRET)
def test_keys_in_a_wrong_form_are_refused_and_not_shown(tower: str, said: dict[str, Any]) -> None:
    assert said[tower]["failed"] is True
    assert "llama_service_api_keys" in said[tower]["msg"]
    assert "S3cret" not in str(said[tower])
