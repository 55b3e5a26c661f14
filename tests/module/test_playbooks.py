# SPDX-License-Identifier: MIT
"""Playbooks and inventories as Ansible reads them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.controller import play
from tests.role_readmes import ROLES, specification

REPO = Path(__file__).resolve().parents[2]
INVENTORIES = [
    "inventory/localhost.yml",
    *(str(path.relative_to(REPO)) for path in (REPO / "inventory/example").iterdir()),
]
# All but the plan, which needs no machine.
OF_TOWERS = sorted({path.name for path in (REPO / "playbooks").glob("*.yml")} - {"plan.yml"})


def test_every_playbook_passes_the_syntax_check() -> None:
    patterns = ("site.yml", "playbooks/*.yml", "molecule/*/create.yml", "molecule/*/destroy.yml")
    playbooks = sorted(path for pattern in patterns for path in REPO.glob(pattern))
    done = subprocess.run(
        ["ansible-playbook", "--syntax-check", *playbooks], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "", "no warning either"


@pytest.mark.parametrize(
    ("playbook", "inventory"), [*((playbook, "") for playbook in OF_TOWERS), ("site.yml", "[towers]\n")]
)
def test_a_run_without_a_tower_ends_with_one_sentence(playbook: str, inventory: str, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text(inventory)
    done = subprocess.run(
        ["ansible-playbook", "-i", tmp_path / "hosts", f"playbooks/{playbook}"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0, done.stdout
    assert "The inventory has no host in the group towers" in done.stdout
    assert done.stdout.count("\nPLAY [") == 1, done.stdout


@pytest.mark.parametrize(
    ("name", "declared", "said"),
    [
        ("glm-4.6", [], "unsloth/GLM-4.6-GGUF"),
        ("GLM 4.6", [], "unsloth/GLM-4.6-GGUF"),
        ("GLM 4.66", [], "There is no model GLM 4.66 in the catalog: the nearest are glm-4.6, "),
        ("glm-4.6", [{"name": "own", "repo": "acme/own"}], "acme/own"),
        (None, [], "no models"),
    ],
)
def test_a_model_of_the_catalog_is_taken_by_its_name_where_none_is_declared(
    name: str | None, declared: list[dict[str, str]], said: str, tmp_path: Path
) -> None:
    variables = {"ansible_connection": "local", "model_store_models": declared}
    (tmp_path / "hosts.json").write_text(json.dumps({"towers": {"hosts": {"tower1": variables}}}))
    show = {"ansible.builtin.debug": {"msg": "{{ model_store_models | default([], true) or 'no models' }}"}}
    plays: list[dict[str, Any]] = [{"import_playbook": f"{REPO}/playbooks/plays/has_towers.yml"}]
    plays.append({"hosts": "towers", "gather_facts": False, "tasks": [show]})
    (tmp_path / "play.yml").write_text(json.dumps(plays))
    done = play(tmp_path / "hosts.json", tmp_path / "play.yml", *(["-e", f"model='{name}'"] if name else []))
    print(done.stdout, done.stderr)
    assert said in done.stdout + done.stderr


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_every_inventory_has_towers_and_sets_only_variables_that_exist(inventory: str) -> None:
    done = subprocess.run(
        ["ansible-inventory", "-i", inventory, "--list"], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    variables = {name for role in ROLES for name in specification(role)["main"].get("options") or {}}
    for host, values in listed["_meta"]["hostvars"].items():
        ours = {name for name in values if name.startswith(tuple(f"{role}_" for role in ROLES))}
        assert ours <= variables, host
    assert "towers" in listed
