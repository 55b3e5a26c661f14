# SPDX-License-Identifier: MIT
"""What ansible-playbook makes of a question before a purchase: the plan, its page, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.forecast_inputs import MACHINES, MODELS, machine
from tests.gguf_builder import gguf

REPO = Path(__file__).resolve().parents[2]


def playbook(directory: Path, *extra: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "playbooks/plan.yml", "-i", "localhost,"]
    return subprocess.run(
        [*command, "-e", f"ansible_python_interpreter={sys.executable}", "-e", f"plan_dir={directory}", *extra],
        cwd=REPO,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "HF_ENDPOINT": "http://127.0.0.1:9"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def test_the_playbook_answers_for_the_whole_catalog_without_a_network(tmp_path: Path) -> None:
    done = playbook(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "plan.json").read_text())
    assert [len(entry["answers"]) for entry in document["models"]] == [len(MACHINES)] * len(MODELS)
    assert document["thread_figures"]
    page = (tmp_path / "plan.html").read_text()
    assert all(entry["name"] in page and entry["name"] in done.stdout for entry in MODELS)
    assert "http:" not in page and "https:" not in page


def test_the_playbook_plans_a_file_and_names_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(gguf())
    sources = json.dumps({"plan_sources": [{"name": "mine", "path": str(tmp_path / "mine.gguf")}]})
    done = playbook(tmp_path, "-e", sources)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "plan.json").read_text())
    assert [entry["name"] for entry in document["models"]] == ["mine"]
    wrong = playbook(tmp_path, "-e", '{"plan_machines": ["tower9"]}')
    assert wrong.returncode != 0
    assert "There is no machine tower9 in the catalog" in wrong.stdout + wrong.stderr


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("plan_modles=glm-4.6", "plan_modles: this playbook has no such variable; it has plan_models, "),
        ("plan_context=32k", "plan_context is '32k': it has to be a whole number of tokens"),
        ("plan_policy=interlave", "plan_policy is 'interlave': it has to be one of interleave, "),
        ("plan_hosts=towers", "The inventory has no host of plan_hosts (towers): "),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(tmp_path: Path, given: str, sentence: str) -> None:
    wrong = playbook(tmp_path, "-e", given)
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
    done = playbook(tmp_path, "-e", f"plan_catalog={own}", "-e", "plan_context=32768")
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "plan.json").read_text())
    assert (document["options"]["context"], document["thread_figures"]) == (32768, [])
    (own / "hardware.yml").write_text(yaml.safe_dump({"machines": [machine("epyc-9124-2s") | {"memory_bytes": 384}]}))
    wrong = playbook(tmp_path, "-e", f"plan_catalog={own}")
    assert wrong.returncode != 0
    assert "The memory_bytes of the machine epyc-9124-2s is 384" in " ".join((wrong.stdout + wrong.stderr).split())
