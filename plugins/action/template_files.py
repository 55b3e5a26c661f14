# SPDX-License-Identifier: MIT
"""Render templates and hand them to the module of this name, which writes them."""

from __future__ import annotations

import os
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader


class ActionModule(ActionBase):
    """All of them in one go: a tower that is far away, or emulated, takes seconds for every call of a module."""

    _supports_check_mode = True
    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        lookup = lookup_loader.get("ansible.builtin.template", loader=self._loader, templar=self._templar)
        files = {}
        for path in self._task.args.get("paths", []):
            (files[path],) = lookup.run([f"{os.path.basename(path)}.j2"], variables=task_vars)
        result: dict[str, Any] = self._execute_module(
            module_args={**self._task.args, "files": files}, task_vars=task_vars
        )
        # It has the text of all files, which the difference shows as far as it matters.
        result.pop("invocation", None)
        return result
