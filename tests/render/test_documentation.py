# SPDX-License-Identifier: MIT
"""Everything that a user can name has documentation that ansible-doc shows."""

from __future__ import annotations

import functools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (REPO / "plugins/modules").glob("*.py"))
ROLES = sorted(path.name for path in (REPO / "roles").iterdir() if path.is_dir())
# As filters() returns them, and no other dictionary of the file.
FILTERS = sorted(
    name
    for path in (REPO / "plugins/filter").glob("*.py")
    for name in re.findall(r'^ {12}"(\w+)": \w+', path.read_text(), re.MULTILINE)
)


@functools.cache
def ansible_doc(kind: str) -> dict[str, Any]:
    names = {"module": MODULES, "role": ROLES, "filter": FILTERS}[kind]
    command = ["ansible-doc", "--json", "-t", kind, *(["-r", "roles"] if kind == "role" else []), *names]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


@pytest.mark.parametrize("name", MODULES)
def test_a_module_shows_options_examples_and_what_it_returns(name: str) -> None:
    shown = ansible_doc("module")[name]
    assert shown["doc"]["short_description"]
    assert shown["doc"]["author"]
    assert all(option["description"] for option in shown["doc"].get("options", {}).values())
    assert name in shown["examples"], "an example that uses it"
    assert yaml.safe_load(shown["examples"]), "an example that can be pasted"
    assert shown["return"], "what it returns"


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_shows_what_it_takes_and_gives(name: str) -> None:
    shown = ansible_doc("filter")[name]
    assert shown["doc"]["short_description"]
    assert name in shown["examples"], "an example that uses it"
    assert yaml.safe_load(shown["examples"]), "an example that can be pasted"
    assert shown["return"]["_value"]["description"]


@pytest.mark.parametrize("name", ROLES)
def test_a_role_shows_its_promise_and_its_variables(name: str) -> None:
    main = ansible_doc("role")[name]["entry_points"]["main"]
    assert main["short_description"]
    assert all(option["description"] for option in (main.get("options") or {}).values())


@pytest.mark.parametrize("name", MODULES)
def test_a_module_works_in_check_mode(name: str) -> None:
    source = (REPO / "plugins/modules" / f"{name}.py").read_text()
    action = REPO / "plugins/action" / f"{name}.py"
    if "AnsibleModule(" in source:
        assert "supports_check_mode=True" in source
    else:
        assert action.exists(), "a module without code is only the documentation of an action"
