# SPDX-License-Identifier: MIT
"""Rules of this repository that no linter knows."""

from __future__ import annotations

import configparser
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (REPO / "roles").iterdir() if path.is_dir())

# A host that may be named. Packages come from where the machine is set up to get them, so no index or mirror is here.
HOSTS = {
    "127.0.0.1", "10.0.2.2", "localhost", "192.0.2.11", "198.51.100.7", "example.com", "hub", "host",
    "bmc.lan", "proxy",
    "github.com", "huggingface.co", "docs.kernel.org", "git-lfs.github.com", "keepachangelog.com", "semver.org",
}  # fmt: skip


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def tasks_of(node: Any) -> Iterator[dict[str, Any]]:
    """Every task in a list of plays or tasks, blocks opened."""
    for entry in node or []:
        inner = [entry[key] for key in ("block", "rescue", "always", "tasks", "pre_tasks", "handlers") if key in entry]
        for part in inner:
            yield from tasks_of(part)
        yield entry


def test_every_source_file_names_its_license(sources: list[Path]) -> None:
    missing = []
    for path in sources:
        lines = path.read_text(errors="replace").splitlines()[:2] or [""]
        script = lines[0].startswith("#!")
        if script or path.suffix in {".py", ".pyi", ".sh", ".yml", ".j2", ".toml", ".txt", ".in"}:
            line = lines[-1] if script else lines[0]
            if "SPDX-License-Identifier: MIT" not in line:
                missing.append(str(path.relative_to(REPO)))
    assert missing == [], "these need `SPDX-License-Identifier: MIT` in their first line"


def test_a_file_is_executable_where_it_says_what_executes_it(sources: list[Path]) -> None:
    wrong = [str(path) for path in sources if path.read_bytes().startswith(b"#!") != os.access(path, os.X_OK)]
    assert wrong == []


def test_no_host_is_named_but_those_that_users_know(sources: list[Path]) -> None:
    found = {
        (host, str(path.relative_to(REPO)))
        for path in sources
        for host in re.findall(r"https?://(?:[^\s/@\"]*@)?([A-Za-z0-9.-]*)", path.read_text(errors="replace"))
    }
    assert {(host, path) for host, path in found if host.rstrip(".").lower() not in {*HOSTS, ""}} == set()


def test_requirements_are_pinned_by_hash_and_name_no_index(sources: list[Path]) -> None:
    files = [path for path in sources if re.fullmatch(r".*requirements.*\.txt", path.name)]
    assert files
    for path in files:
        entries = re.sub(r"\\\n", " ", path.read_text()).splitlines()
        for entry in (line for line in entries if line.strip() and not line.startswith("#")):
            assert re.match(r"[a-z0-9_.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", entry), f"{path.name}: {entry}"


@pytest.mark.parametrize("role", ROLES)
class TestRole:
    def test_defaults_and_argument_specs_have_the_same_variables(self, role: str) -> None:
        base = REPO / "roles" / role
        specs = load(base / "meta/argument_specs.yml")["argument_specs"]["main"]
        assert set(specs.get("options") or {}) == set(load(base / "defaults/main.yml") or {})
        assert specs["short_description"]

    def test_every_variable_has_the_name_of_its_role_and_a_comment(self, role: str) -> None:
        lines = (REPO / "roles" / role / "defaults/main.yml").read_text().splitlines()
        for before, line in itertools.pairwise(lines):
            if re.match(r"\w", line):
                assert line.startswith(f"{role}_"), line
                # One comment may speak for a few lines in a row.
                assert re.match(r"#|\w", before), f"no comment above {line}"

    def test_internal_variables_have_two_underscores(self, role: str) -> None:
        base = REPO / "roles" / role
        names = set(load(base / "vars/main.yml") or {}) if (base / "vars/main.yml").exists() else set()
        for path in (base / "tasks").glob("*.yml"):
            for task in tasks_of(load(path)):
                names |= {task["register"]} if "register" in task else set()
                names |= set(task.get("vars") or {})
        assert [name for name in names if not name.startswith(("__", "ansible_"))] == []

    def test_its_main_file_is_a_table_of_contents(self, role: str) -> None:
        path = REPO / "roles" / role / "tasks/main.yml"
        tasks = load(path)
        assert all("ansible.builtin.import_tasks" in task for task in tasks), "import_tasks only"
        assert len(tasks) <= 7
        assert len(path.read_text().splitlines()) <= 30


def yaml_files(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in REPO.glob(pattern))


def test_no_step_has_a_tag() -> None:
    """Every step needs what the one before it read, so none runs alone; a playbook is what runs alone."""
    files = yaml_files("playbooks/**/*.yml", "roles/*/tasks/*.yml", "roles/*/handlers/*.yml", "site.yml")
    assert [str(path) for path in files if any("tags" in entry for entry in tasks_of(load(path)))] == []


@pytest.mark.parametrize(
    "path", yaml_files("roles/*/tasks/*.yml", "playbooks/**/*.yml"), ids=lambda p: str(p.relative_to(REPO))
)
def test_conditions_are_booleans_without_braces(path: Path) -> None:
    # ansible-core 2.19 takes a template or text in a condition for an error, some only when the task is reached.
    for task in tasks_of(load(path)):
        found = [task.get(key) for key in ("when", "changed_when", "failed_when", "until")]
        found.append((task.get("ansible.builtin.assert") or {}).get("that"))
        for condition in (entry for value in found for entry in (value if isinstance(value, list) else [value])):
            if isinstance(condition, str):
                assert "{{" not in condition, condition
                # A bare name is a boolean only if it was declared as one.
                assert not re.fullmatch(r"(not )?[\w.]+", condition) or is_boolean(condition), condition


def is_boolean(condition: str) -> bool:
    name = condition.removeprefix("not ")
    if name in {"ansible_check_mode", "ansible_diff_mode"} or name.endswith(
        (".stat.exists", ".changed", ".present", "_here")
    ):
        return True
    for role in ROLES:
        options = load(REPO / "roles" / role / "meta/argument_specs.yml")["argument_specs"]["main"].get("options") or {}
        if name in options:
            return bool(options[name]["type"] == "bool")
    return False


def test_no_text_that_only_looks_like_a_boolean_or_a_nested_template(sources: list[Path]) -> None:
    found = [
        f"{path.relative_to(REPO)}: {match}"
        for path in sources
        if path.suffix in {".yml", ".j2"}
        for match in re.findall(
            r"\{%-? if [^%]*%\}\s*[Tt]rue\s*\{%|lookup\([^)]*'\{\{|\bansible_facts\.|inject_facts_as_vars: true",
            path.read_text(),
        )
    ]
    assert found == []


PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(path.relative_to(REPO)) for path in REPO.glob("docs/*.md"))]


@pytest.mark.parametrize("page", PAGES)
def test_what_the_documentation_names_is_there(page: str) -> None:
    text = (REPO / page).read_text()
    files = r"(?<![\w/.~<-])((?:bin|catalog|docs|inventory|molecule|playbooks|plugins|roles|tests)/[\w./@-]*\w)"
    missing = [name for name in set(re.findall(files, text)) if not (REPO / name).exists()]
    core = REPO / "plugins/module_utils"
    wings = "|".join(path.name for path in core.iterdir() if path.is_dir() and path.name != "__pycache__")
    missing += [name for name in set(re.findall(rf"`((?:{wings})/\w+\.py)`", text)) if not (core / name).exists()]
    for link in set(re.findall(r"\]\((?!https?:)([\w./#-]+)\)", text)):
        target, _, anchor = link.partition("#")
        path = (REPO / page).parent / target if target else REPO / page
        titles = re.findall(r"^#+ (.*)", path.read_text(), re.MULTILINE) if path.is_file() else []
        if not path.exists() or (anchor and anchor not in [re.sub(r"\W+", "-", title.lower()) for title in titles]):
            missing.append(link)
    ours = {path.stem for path in yaml_files("playbooks/*", "roles/*", "plugins/modules/*", "plugins/filter/*")}
    missing += [name for name in set(re.findall(r"llamatower\.tower\.([a-z_]+)", text)) if name not in ours]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_variables_that_the_documentation_names_are_those_of_roles(page: str) -> None:
    names = set(re.findall(rf"(?<![\w./])(?:{'|'.join(ROLES)})_\w+(?![\w./*])", (REPO / page).read_text()))
    known = {path.stem for path in yaml_files("plugins/modules/*")}
    for role in ROLES:
        known |= set(load(REPO / "roles" / role / "defaults/main.yml") or {})
    assert names - known == set()


def test_settings_of_ansible_that_the_documentation_recommends_are_those_of_the_clone() -> None:
    clone, shown = (configparser.ConfigParser(interpolation=None) for _ in range(2))
    clone.read(REPO / "ansible.cfg")
    block = re.search(r"```ini\n(.*?)```", (REPO / "docs/installation.md").read_text(), re.DOTALL)
    assert block
    shown.read_string(block.group(1))
    assert shown.sections()
    for section in shown.sections():
        assert dict(shown[section]).items() <= dict(clone[section]).items(), section
