# SPDX-License-Identifier: MIT
"""The shape of the collection: short files and functions, full names, no tricks to find its own code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
PLUGINS = REPO / "plugins"
TESTS = REPO / "tests"
MODULES = {path.stem for kind in ("modules", "action") for path in (PLUGINS / kind).glob("*.py")}
FILTERS = {path.stem for path in (PLUGINS / "filter").glob("*.yml")}
ROLES = {path.name for path in (REPO / "roles").iterdir() if path.is_dir()}

FILE_LINES = 400
FUNCTION_LINES = 60
# Of what Ansible calls, without its documentation: arguments, read, call, exit.
EDGE_LINES = 120
# What stands in a long file's first lines or right above a long function says why it is not split.
REASON = "# long: "


def relative(path: Path) -> str:
    return str(path.relative_to(REPO))


def functions(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Every function with its lines, and whether a reason stands above it."""
    lines = path.read_text().splitlines()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            reason = REASON in lines[first - 2]
            yield f"{relative(path)}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1, reason


def long_files(root: Path) -> list[tuple[str, int]]:
    found = [(path, path.read_text().splitlines()) for path in sorted(root.rglob("*.py"))]
    return [
        (path.name, len(lines))
        for path, lines in found
        if len(lines) > FILE_LINES and REASON not in "\n".join(lines[:20])
    ]


def test_no_file_of_the_pure_code_is_long() -> None:
    assert long_files(PLUGINS / "module_utils") == []


def code_lines(path: Path) -> int:
    """The lines of a module without those of its documentation."""
    text = path.read_text()
    documentation = [
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in {"DOCUMENTATION", "EXAMPLES", "RETURN"}
    ]
    return len(text.splitlines()) - sum((node.end_lineno or 0) - node.lineno + 1 for node in documentation)


def test_modules_actions_and_filters_are_thin() -> None:
    edges = [path for kind in ("modules", "action", "filter") for path in (PLUGINS / kind).glob("*.py")]
    assert len(edges) > 30, "the search is wrong"
    lines = {relative(path): code_lines(path) for path in edges}
    assert max(lines.values()) > 60, "the count is wrong"
    assert {path: count for path, count in lines.items() if count > EDGE_LINES} == {}, (
        "what parses or decides belongs into module_utils"
    )


def test_no_function_is_long() -> None:
    every = [entry for path in sorted(PLUGINS.rglob("*.py")) for entry in functions(path)]
    assert len(every) > 500, "the search is wrong"
    assert [f"{name}: {lines} lines" for name, lines, reason in every if lines > FUNCTION_LINES and not reason] == []


def test_a_long_file_and_a_long_function_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.lint.test_structure.REPO", tmp_path)
    body = "    pass\n" * FUNCTION_LINES
    (tmp_path / "one.py").write_text(f"def f():\n{body}\n\n{REASON}a table\ndef g():\n{body}")
    assert list(functions(tmp_path / "one.py")) == [("one.py:1 f", 61, False), ("one.py:65 g", 61, True)]
    assert long_files(tmp_path) == []
    (tmp_path / "two.py").write_text("\n" * (FILE_LINES + 1))
    assert long_files(tmp_path) == [("two.py", FILE_LINES + 1)]


def test_nothing_is_found_by_a_changed_search_path() -> None:
    """Imports lead where the directories lead, for Ansible, pytest, mypy and readers alike."""
    trick = re.compile(r"__path__|^\s*sys\.path\b|syspath_prepend")
    found = [
        f"{relative(path)}: {line.strip()}"
        for path in [*PLUGINS.rglob("*.py"), *TESTS.rglob("*.py")]
        if path != Path(__file__)
        for line in path.read_text().splitlines()
        if trick.search(line)
    ]
    assert found == []


def test_no_plugin_is_a_link() -> None:
    assert [relative(path) for path in PLUGINS.rglob("*") if path.is_symlink()] == []


def test_no_test_file_imports_another() -> None:
    found = [
        f"{relative(path)}: {line}"
        for path in TESTS.rglob("*.py")
        for line in path.read_text().splitlines()
        if re.match(r"\s*(from|import) tests\.[\w.]*\btest_", line)
    ]
    assert found == [], "what two test files need is in a module of its own"


def tasks(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a list of plays or tasks, blocks opened."""
    for entry in node if isinstance(node, list) else []:
        if isinstance(entry, dict):
            yield entry
            for value in entry.values():
                yield from tasks(value)


def short_names(path: Path) -> list[str]:
    """Own modules, roles and filters that a file names without the collection."""
    text = path.read_text()
    found = [f"filter {name}" for name in re.findall(r"\|\s*(\w+)\b(?!\.)", text) if name in FILTERS]
    if path.suffix == ".yml":
        for entry in tasks(yaml.safe_load(text)):
            found += [f"module {key}" for key in entry if key in MODULES]
            included = [entry.get(f"ansible.builtin.{verb}_role") or {} for verb in ("import", "include")]
            roles = [role if isinstance(role, str) else role.get("role") for role in entry.get("roles") or []]
            named = [*roles, *(role.get("name") for role in included)]
            found += [f"role {name}" for name in named if name in ROLES]
    return found


def test_own_modules_filters_and_roles_have_their_full_names() -> None:
    parts = ("roles", "playbooks", "inventory", "molecule")
    files = [path for part in parts for kind in ("yml", "j2") for path in (REPO / part).rglob(f"*.{kind}")]
    assert len(files) > 50 and FILTERS and MODULES, "the search is wrong"
    found = [f"{relative(path)}: {name}" for path in sorted(files) for name in short_names(path)]
    assert found == [], "name them as llamatower.tower.…, which works in an installed collection, too"


def test_a_short_name_is_found(tmp_path: Path) -> None:
    page = tmp_path / "tasks.yml"
    page.write_text(
        "- hosts: towers\n  roles: [bios, {role: llamatower.tower.bios}]\n  tasks:\n"
        "    - block:\n        - tower_info:\n        - llamatower.tower.tower_info:\n"
        '    - ansible.builtin.debug: {msg: "{{ x | tower_problems }} {{ x | llamatower.tower.tower_problems }}"}\n'
        "    - ansible.builtin.import_role: {name: model_store}\n"
    )
    assert short_names(page) == ["filter tower_problems", "role bios", "module tower_info", "role model_store"]
