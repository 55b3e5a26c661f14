# SPDX-License-Identifier: MIT
"""Hand what a tower runs by itself to the module of this name, which writes it there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils.service.programs import read_programs


class ActionModule(ActionBase):
    """Reads the programs out of the collection that it is in, so that they are always the ones of this version."""

    _supports_check_mode = True
    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        programs = read_programs(str(Path(__file__).resolve().parents[1] / "module_utils"))
        result: dict[str, Any] = self._execute_module(
            module_args={**self._task.args, "programs": programs}, task_vars=task_vars
        )
        # It has the text of all programs, which nobody reads at -vvv.
        result.pop("invocation", None)
        return result
