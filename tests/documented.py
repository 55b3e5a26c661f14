# SPDX-License-Identifier: MIT
"""What modules and filters say of themselves: their blocks of YAML, and the options that they take."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils import basic

REPO = Path(__file__).resolve().parents[1]
MODULES = sorted(path.stem for path in (REPO / "plugins/modules").glob("*.py"))
FILTERS = sorted(path.stem for path in (REPO / "plugins/filter").glob("*.yml"))
# These run on the controller, and the module of their name is their documentation.
ACTIONS = [name for name in MODULES if "AnsibleModule(" not in (REPO / f"plugins/modules/{name}.py").read_text()]


class SpecError(Exception):
    """Stops a module where it has told what it takes."""


def block(name: str, part: str) -> str:
    """DOCUMENTATION, EXAMPLES or RETURN of a module or filter, as YAML."""
    path = REPO / f"plugins/filter/{name}.yml"
    if path.exists():
        found = yaml.safe_load(path.read_text())[part]
        return found if isinstance(found, str) else yaml.safe_dump(found)
    path = REPO / f"plugins/modules/{name}.py"
    match = re.search(rf'^{part} = r"""(.*?)"""', path.read_text(), re.MULTILINE | re.DOTALL)
    assert match, f"{path.name} has no {part}"
    return match[1]


def returned(name: str) -> dict[str, Any]:
    """What a module or filter returns, by name; nothing where RETURN is a bare comment."""
    return yaml.safe_load(block(name, "RETURN")) or {}


def argument_spec(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options that a module takes, and what else it says of them."""

    def stop(_self: Any, argument_spec: dict[str, Any], **more: Any) -> None:
        raise SpecError(argument_spec, more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(basic.AnsibleModule, "__init__", stop)
        with pytest.raises(SpecError) as raised:
            importlib.import_module(f"plugins.modules.{name}").main()
    spec, more = raised.value.args
    return spec, more
