# SPDX-License-Identifier: MIT
"""What all levels share: this project's module_utils under Ansible's name, and a marker by directory."""

from __future__ import annotations

import subprocess
from pathlib import Path

import ansible.module_utils
import pytest

REPO = Path(__file__).resolve().parents[1]

# As Ansible does it: `from ansible.module_utils.x import …` finds this project's own modules.
ansible.module_utils.__path__.append(str(REPO / "plugins" / "module_utils"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        level = item.path.relative_to(REPO / "tests").parts[0]
        if level == "integration":
            level = "container" if item.path.name.startswith("test_container_") else "vm"
        item.add_marker(getattr(pytest.mark, level))


@pytest.fixture(scope="session")
def repo() -> Path:
    return REPO


@pytest.fixture(scope="session")
def sources() -> list[Path]:
    """Every text file of the repository, those not yet added included; links are left to what they lead to."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPO, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    return [path for name in listed if (path := REPO / name).is_file() and not path.is_symlink()]
