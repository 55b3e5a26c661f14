# SPDX-License-Identifier: MIT
"""What all levels share: this project's module_utils under Ansible's name, and a marker by directory."""

from __future__ import annotations

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
