# SPDX-License-Identifier: MIT
"""What ansible-playbook makes of a question before a purchase: the plan, its page, and what it refuses.

It is run as users run it: in the clone with its own inventory, whose interpreter is the system's Python; or where the
collection is installed, from any directory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.forecast_inputs import MACHINES, MODELS, machine, run
from tests.gguf_builder import gguf
from tests.hub.hub import Hub

REPO = Path(__file__).resolve().parents[2]
NO_HUB = "http://127.0.0.1:9"


def ansible(directory: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """ansible-playbook, run in a directory."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "HF_"))}
    environment |= {"ANSIBLE_NOCOLOR": "1", "HF_ENDPOINT": NO_HUB} | variables
    return subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", *words],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def installed(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return ansible(directory, *words, ANSIBLE_COLLECTIONS_PATH=str(REPO / ".collections"))


def plan(directory: Path, *words: str, hub: str = NO_HUB) -> subprocess.CompletedProcess[str]:
    """In the clone, with its own inventory and configuration; the plan goes to the directory."""
    return ansible(REPO, "llamatower.tower.plan", "-e", f"plan_dir={directory}", *words, HF_ENDPOINT=hub)


def document(directory: Path, done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((directory / "plan.json").read_text())


def test_the_whole_catalog_is_answered_where_the_user_stands_without_a_clone_or_a_network(tmp_path: Path) -> None:
    done = installed(tmp_path, "llamatower.tower.plan")
    reports = tmp_path / "reports"
    found = document(reports, done)
    assert [len(entry["answers"]) for entry in found["models"]] == [len(MACHINES)] * len(MODELS)
    assert found["thread_figures"]
    page = (reports / "plan.html").read_text()
    assert all(entry["name"] in page for entry in MODELS)
    assert found["recommendation"]["machine"] in done.stdout
    # What is between the name of the last task and the recap is the plan.
    said = done.stdout.partition("Show the plan]")[2].partition("PLAY RECAP")[0].splitlines()[1:]
    assert all(len(line) <= 80 for line in said if str(reports) not in line), "\n".join(said)
    assert f"All of it: {reports}/plan.html" in said
    assert "http:" not in page and "https:" not in page
    assert [path.name for path in tmp_path.iterdir()] == ["reports"]


def test_a_question_is_asked_as_people_write_it(tmp_path: Path) -> None:
    """The shell takes the quotes of plan_model="Llama 3.1 405B"."""
    given = ["-e", "plan_model=Llama 3.1 405B", "-e", "plan_budget=20k", "-e", "plan_users=4"]
    own = ["-e", "plan_machine=2x EPYC 9354, 24x32GB DDR5-4800, $9,000"]
    found = document(tmp_path, plan(tmp_path, *given, *own))
    answers = [(said["model"], said["machine"], said["cost_usd"]) for said in found["models"][0]["answers"]]
    assert answers == [("llama-3.1-405b", "2x EPYC 9354", 9000)]
    assert (found["options"]["budget"], found["options"]["users"]) == (20000, 4)
    assert found["recommendation"]["choice"] == "only"


def test_files_and_models_of_the_hub_are_planned_with_the_interpreter_of_the_inventory(tmp_path: Path) -> None:
    (tmp_path / "hub/acme/tiny-GGUF").mkdir(parents=True)
    for path in ("mine.gguf", "hub/acme/tiny-GGUF/tiny.gguf"):
        (tmp_path / path).write_bytes(gguf())
    sources = [
        {"name": "mine", "path": str(tmp_path / "mine.gguf")},
        {"name": "tiny", "repo": "acme/tiny-GGUF", "revision": "main", "files": "tiny.gguf"},
    ]
    with Hub(tmp_path / "hub") as hub:
        done = plan(tmp_path, "-e", json.dumps({"plan_sources": sources}), hub=hub.url)
    assert [entry["name"] for entry in document(tmp_path, done)["models"]] == ["mine", "tiny"]


def test_towers_are_planned_as_they_are_with_the_benchmarks_that_were_copied_here(tmp_path: Path) -> None:
    inventory = tmp_path / "towers.json"
    local = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
    inventory.write_text(json.dumps({"towers": {"hosts": {"tower1": local}}}))
    (tmp_path / "reports/benchmarks").mkdir(parents=True)
    (tmp_path / "reports/benchmarks/tower1.json").write_text(json.dumps({"history": [run(read_whole=530.0)]}))
    # A tower of the tests is a guest, whose forecast no benchmark changes: look at what was handed on.
    show = {"ansible.builtin.debug": {"msg": "{{ hostvars.tower1.__forecast_tower.runs | to_json }}"}}
    book = [
        {"ansible.builtin.import_playbook": "llamatower.tower.plan", "vars": {"plan_hosts": "towers"}},
        {"hosts": "localhost", "gather_facts": False, "tasks": [show]},
    ]
    (tmp_path / "mine.yml").write_text(json.dumps(book))
    done = installed(tmp_path, "-i", str(inventory), "mine.yml")
    found = document(tmp_path / "reports", done)
    assert [[said["machine"] for said in entry["answers"]] for entry in found["models"]] == [["tower1"]] * len(MODELS)
    assert "530.0" in done.stdout


def test_a_playbook_that_is_not_ours_uses_the_role(tmp_path: Path) -> None:
    role = {"role": "llamatower.tower.forecast", "forecast_models": ["glm-4.6:Q4_K_M"], "forecast_dir": "out"}
    (tmp_path / "mine.yml").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "roles": [role]}]))
    found = document(tmp_path / "out", installed(tmp_path, "mine.yml"))
    assert [entry["name"] for entry in found["models"]] == ["glm-4.6:Q4_K_M"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("plan_modles=glm-4.6", "plan_modles: this playbook has no such variable; it has plan_model, plan_machine, "),
        (
            '{"plan_model": "lama 405", "plan_machine": "2x EPYC 9999, 3 kg", "plan_budget": "lots"}',
            "plan_budget is 'lots': it has to be dollars, a number above 0, as 6000. There is no model lama 405 in the "
            "catalog: the nearest are llama-3.1-405b, ",
        ),
        ('{"plan_machines": ["tower9"]}', "There is no machine tower9 in the catalog"),
        ("plan_context=32k", "plan_context is '32k': it has to be a whole number of tokens"),
        ("plan_policy=interlave", "plan_policy is 'interlave': it has to be one of interleave, "),
        ("plan_hosts=fleet", "The inventory has no host of plan_hosts (fleet): "),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(tmp_path: Path, given: str, sentence: str) -> None:
    wrong = plan(tmp_path, "-e", given)
    assert wrong.returncode != 0
    assert sentence in " ".join((wrong.stdout + wrong.stderr).split())
    assert not list(tmp_path.iterdir())


def test_a_catalog_of_ones_own_is_planned_and_its_mistakes_are_named(tmp_path: Path) -> None:
    own = tmp_path / "catalog"
    own.mkdir()
    (own / "models.yml").write_text(
        yaml.safe_dump({"models": [next(entry for entry in MODELS if entry["name"] == "glm-4.6")]})
    )
    (own / "hardware.yml").write_text(yaml.safe_dump({"machines": [machine("epyc-9124-2s")]}))
    done = plan(tmp_path, "-e", f"plan_catalog={own}", "-e", "plan_context=32768")
    found = document(tmp_path, done)
    assert (found["options"]["context"], found["thread_figures"]) == (32768, [])
    (own / "hardware.yml").write_text(yaml.safe_dump({"machines": [machine("epyc-9124-2s") | {"memory_bytes": 384}]}))
    wrong = plan(tmp_path, "-e", f"plan_catalog={own}")
    assert wrong.returncode != 0
    assert "The memory_bytes of the machine epyc-9124-2s is 384" in " ".join((wrong.stdout + wrong.stderr).split())
