# SPDX-License-Identifier: MIT
"""A directory that a user sets is used everywhere: nothing else spells the default of a role's variable."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.service.memory_budget import DEFAULT_CHECKPOINTS, DEFAULT_RESERVE

REPO = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (REPO / "plugins/modules").glob("*.py"))
USES = sorted(
    path
    for pattern in ("roles/*/[thvf]*/*", "playbooks/*.yml")
    for path in REPO.glob(pattern)
    if path.is_file() and path.parent.name in ("tasks", "templates", "handlers", "vars", "files", "playbooks")
)


@functools.cache
def default_places() -> set[str]:
    """The directories and files that variables of roles have where nobody sets them."""
    found: set[str] = set()
    for path in REPO.glob("roles/*/defaults/main.yml"):
        for value in (yaml.safe_load(path.read_text()) or {}).values():
            found |= set(re.findall(r"^/[^{}]+$|(?<=default\(')/[^']+(?='\))", str(value)))
    return found


def within(path: Any, places: set[str]) -> bool:
    return any(f"{path}/".startswith(f"{place}/") for place in places)


def test_roles_have_such_directories() -> None:
    assert {"/var/lib/llamatower", "/var/lib/llama-models", "/opt/llama.cpp"} <= default_places()


@pytest.mark.parametrize("path", USES, ids=lambda path: str(path.relative_to(REPO)))
def test_no_task_and_no_template_spells_one(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    words = {word for line in lines for word in re.findall(r"(?<![\w}/])/[\w./-]+", line)}
    # What instances run is always there, wherever measurements are kept.
    words -= {word for word in words if within(word, {"/var/lib/llamatower/instances"})}
    assert sorted(word for word in words if within(word, default_places())) == []


def options_of(module: str) -> dict[str, Any]:
    """The options of a module that have such a default, which a task has to hand over."""
    tree = ast.parse((REPO / "plugins/modules" / f"{module}.py").read_text())
    text = next(
        str(ast.literal_eval(node.value))
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DOCUMENTATION"
    )
    options = yaml.safe_load(text).get("options") or {}
    return {name: entry["default"] for name, entry in options.items() if within(entry.get("default"), default_places())}


def tasks_of(node: Any) -> Iterator[dict[str, Any]]:
    """Every task in a file, those in blocks and plays included."""
    if isinstance(node, list):
        for entry in node:
            yield from tasks_of(entry)
    elif isinstance(node, dict):
        yield node
        for key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
            yield from tasks_of(node.get(key))


@pytest.mark.parametrize("module", [name for name in MODULES if options_of(name)])
def test_every_task_hands_over_an_option_whose_default_is_one(module: str) -> None:
    wanted = set(options_of(module))
    for path in [path for path in USES if path.suffix == ".yml"]:
        for task in tasks_of(yaml.safe_load(path.read_text())):
            if f"llamatower.tower.{module}" in task:
                missing = wanted - set(task[f"llamatower.tower.{module}"] or {})
                assert not missing, f"{path.relative_to(REPO)}: {task['name']} leaves {', '.join(sorted(missing))} out"


# What asks other machines than those of the inventory.
GO_OUT = {
    "ansible.builtin.apt",
    *(f"llamatower.tower.{name}" for name in ("llama_build", "model_fetch", "model_source_info")),
}


def test_whatever_goes_out_on_a_tower_has_the_environment_of_its_proxy() -> None:
    found = 0
    for path in sorted(REPO.glob("roles/*/tasks/*.yml")):
        for task in tasks_of(yaml.safe_load(path.read_text())):
            used = next((task[name] for name in GO_OUT if name in task), None)
            # The controller has its own, and what is removed comes from nowhere.
            if used is None or task.get("delegate_to") == "localhost" or used.get("state") == "absent":
                continue
            if path.parents[1].name == "forecast":  # runs on the controller
                continue
            found += 1
            said = str(task.get("environment"))
            assert re.search("llamatower_proxy_environment|__llama_build_environment", said), f"{path}: {task['name']}"
    assert found >= 11


def test_what_is_counted_without_a_role_is_the_role_s_default() -> None:
    defaults = yaml.safe_load((REPO / "roles/llama_service/defaults/main.yml").read_text())
    found = defaults["llama_service_memory_reserve_bytes"], defaults["llama_service_context_checkpoints"]
    assert found == (DEFAULT_RESERVE, DEFAULT_CHECKPOINTS)
    assert f"default({DEFAULT_CHECKPOINTS})" in (REPO / "roles/hugepages/defaults/main.yml").read_text()
