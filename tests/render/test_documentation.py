# SPDX-License-Identifier: MIT
"""What documentation says: down to the keys, by full names, and of every entry point that playbooks import."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documented import FILTERS, MODULES, block, returned
from tests.role_readmes import HANDS_ON, ROLES, listed, readme, specification

REPO = Path(__file__).resolve().parents[2]
PLUGINS = [*MODULES, *FILTERS]
ENTRIES = [(role, entry) for role in ROLES for entry in specification(role)]


def values(documented: dict[str, Any], above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every returned value, with those that it contains."""
    for name, value in documented.items():
        yield above + name, value
        yield from values(value.get("contains") or {}, f"{above}{name}.")


@pytest.mark.parametrize("plugin", PLUGINS)
def test_what_is_returned_is_described_down_to_the_keys(plugin: str) -> None:
    undescribed = []
    for name, value in values(returned(plugin)):
        assert value["description"], name
        keyed = value["type"] == "dict" or value.get("elements") == "dict"
        # Keys that are numbers or names are shown by a sample; the same keys as elsewhere by a reference.
        told = "contains" in value or "sample" in value or "RV(" in str(value["description"])
        if keyed and not told:
            undescribed.append(name)
    assert undescribed == []


@pytest.mark.parametrize("plugin", PLUGINS)
def test_examples_have_names_and_only_full_ones_of_plugins(plugin: str) -> None:
    text = block(plugin, "EXAMPLES")
    own = "|".join(PLUGINS)
    assert re.findall(rf"^  ({own}):|\| ({own})\b", text, re.MULTILINE) == []
    assert f"llamatower.tower.{plugin}" in text, "an example that uses it"
    assert all(task["name"] for task in yaml.safe_load(text))


@pytest.mark.parametrize("role", ROLES)
def test_the_readme_of_a_role_is_what_its_specification_says(role: str) -> None:
    path = REPO / "roles" / role / "README.md"
    assert path.exists() and path.read_text() == readme(role), f"{path.relative_to(REPO)} is stale: run bin/docs"


def test_every_entry_point_that_a_playbook_imports_is_specified() -> None:
    imported = {
        match
        for path in (REPO / "playbooks").glob("*.yml")
        for match in re.findall(r"name: llamatower\.tower\.(\w+)\n +tasks_from: (\S+)", path.read_text())
    }
    assert imported
    # With an ending, Ansible looks for a specification of that name, and finds none.
    assert imported - set(ENTRIES) == set()


def reads(role: str, entry: str) -> set[str]:
    """The variables of a role that an entry point reads, by way of internal ones and of the files it imports, too."""
    base = REPO / "roles" / role
    path = base / "vars/main.yml"
    internal = (yaml.safe_load(path.read_text()) if path.exists() else None) or {}
    names: set[str] = set()
    seen: set[str] = set()
    todo = [(base / f"tasks/{entry}.yml").read_text()]
    while todo:
        text = todo.pop()
        found = re.findall(rf"\b_*{role}_\w+", text)
        names |= {name for name in found if not name.startswith("_")}
        files = set(re.findall(r"import_tasks: (\w+\.yml)", text))
        todo += [(base / "tasks" / file).read_text() for file in files - seen]
        todo += [str(internal[name]) for name in set(found) - seen if name in internal]
        seen |= files | set(found)
    return names


@pytest.mark.parametrize(("role", "entry"), [pair for pair in ENTRIES if pair[1] != "main"])
def test_an_entry_point_has_the_variables_that_it_reads(role: str, entry: str) -> None:
    specs = specification(role)
    assert specs[entry]["short_description"]
    assert specs[entry]["description"]
    assert set(specs[entry]["options"]) == reads(role, entry) & set(specs["main"]["options"])


@pytest.mark.parametrize("role", ROLES)
def test_a_role_says_which_facts_it_hands_on(role: str) -> None:
    tasks = "".join(path.read_text() for path in (REPO / "roles" / role / "tasks").glob("*.yml"))
    facts = set(re.findall(rf"set_fact:\n +({role}_\w+):", tasks))
    said = " ".join(text for text in listed(specification(role)["main"]["description"]) if text.startswith(HANDS_ON))
    assert {fact for fact in facts if f"C({fact})" not in said} == set()


def test_a_playbook_says_what_it_is_for() -> None:
    """ansible-doc knows no playbooks: what begins the file is their documentation."""
    for path in (REPO / "playbooks").glob("*.yml"):
        assert path.read_text().splitlines()[1].startswith("# "), path.name


def test_operations_lists_every_playbook() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", (REPO / "docs/operations.md").read_text(), re.MULTILINE)
    assert {path.stem for path in (REPO / "playbooks").glob("*.yml")} - {"site"} <= set(listed)


def test_a_link_leads_to_what_the_archive_has() -> None:
    left_out = yaml.safe_load((REPO / "galaxy.yml").read_text())["build_ignore"]
    wrong = []
    for page in [*REPO.glob("*.md"), *REPO.glob("docs/*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            target = (page.parent / link).resolve().relative_to(REPO)
            names = [str(target), *map(str, target.parents)]
            ignored = any(fnmatch.fnmatch(name, pattern) for name in names if name != "." for pattern in left_out)
            if ignored or not (REPO / target).exists():
                wrong.append(f"{page.relative_to(REPO)}: {link}")
    assert wrong == []
