# SPDX-License-Identifier: MIT
"""Everything that a user can name answers ansible-doc, and modules take what they document."""

from __future__ import annotations

import functools
import importlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.basic import FILE_COMMON_ARGUMENTS

from tests.documented import ACTIONS, FILTERS, MODULES, argument_spec, returned
from tests.role_readmes import ROLES, specification

REPO = Path(__file__).resolve().parents[2]


@functools.cache
def ansible_doc(kind: str) -> dict[str, Any]:
    names = {"module": MODULES, "role": ROLES, "filter": FILTERS}[kind]
    command = ["ansible-doc", "--json", "-t", kind, *(f"llamatower.tower.{name}" for name in names)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


@pytest.mark.parametrize("name", MODULES)
def test_a_module_shows_options_examples_and_what_it_returns(name: str) -> None:
    shown = ansible_doc("module")[f"llamatower.tower.{name}"]
    assert shown["doc"]["short_description"]
    assert shown["doc"]["author"]
    assert all(option["description"] for option in shown["doc"].get("options", {}).values())
    assert {"check_mode", "diff_mode", "platform"} <= set(shown["doc"]["attributes"])
    assert yaml.safe_load(shown["examples"]), "an example that can be pasted"
    assert (shown["return"] or {}).keys() == returned(name).keys()


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_shows_what_it_takes_and_gives(name: str) -> None:
    shown = ansible_doc("filter")[f"llamatower.tower.{name}"]
    assert shown["doc"]["short_description"]
    assert yaml.safe_load(shown["examples"]), "an example that can be pasted"
    assert shown["return"]["_value"]["description"]


def test_every_filter_is_described_and_every_description_is_of_one() -> None:
    known: set[str] = set()
    for path in (REPO / "plugins/filter").glob("*.py"):
        known |= set(importlib.import_module(f"plugins.filter.{path.stem}").FilterModule().filters())
    assert known == set(FILTERS)


@pytest.mark.parametrize("name", ROLES)
def test_a_role_shows_every_entry_point_and_its_variables(name: str) -> None:
    shown = ansible_doc("role")[f"llamatower.tower.{name}"]["entry_points"]
    assert set(shown) == set(specification(name))
    for entry in shown.values():
        assert entry["short_description"]
        assert all(option["description"] for option in (entry.get("options") or {}).values())


def compared(options: dict[str, Any], inner: str) -> dict[str, Any]:
    """Options by name, with those inside them, which the code and the documentation keep under another key."""
    keys = ("type", "elements", "required", "default", "choices")
    quiet = {"required": False}
    return {
        name: {
            **{key: option.get(key, quiet.get(key)) for key in keys},
            "options": compared(option.get(inner) or {}, inner),
        }
        for name, option in options.items()
    }


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ACTIONS])
def test_a_module_takes_the_options_that_it_documents(name: str) -> None:
    spec, more = argument_spec(name)
    assert more["supports_check_mode"] is True
    documented = ansible_doc("module")[f"llamatower.tower.{name}"]["doc"].get("options", {})
    if more.get("add_file_common_args"):
        documented = {each: option for each, option in documented.items() if each not in FILE_COMMON_ARGUMENTS}
    assert compared(spec, "options") == compared(documented, "suboptions")


@pytest.mark.parametrize("name", ACTIONS)
def test_a_module_without_code_documents_an_action(name: str) -> None:
    assert (REPO / "plugins/action" / f"{name}.py").exists()
