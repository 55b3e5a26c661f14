# SPDX-License-Identifier: MIT
"""Run one of the collection's modules as Ansible's wrapper does, but in this process: patches of a test hold in it."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
from typing import Any

import pytest
from ansible.module_utils import _internal, basic
from ansible.module_utils.common import warnings


def run_module(name: str, /, *, check: bool = False, diff: bool = False, **arguments: Any) -> dict[str, Any]:
    """What the module answers, warnings included."""
    given = {**arguments, "_ansible_check_mode": check, "_ansible_diff": diff}
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode())
        patch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        # Where a test has imported what only a controller has, warnings would be shown instead of returned.
        patch.setattr(_internal, "is_controller", False)
        # They are kept for a process, which is that of one module elsewhere.
        patch.setattr(warnings, "_global_warnings", {})
        with pytest.raises(SystemExit):
            importlib.import_module(f"plugins.modules.{name}").main()
    answer: dict[str, Any] = json.loads(said.getvalue().splitlines()[-1])
    return answer
