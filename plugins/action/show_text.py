# SPDX-License-Identifier: MIT
"""Print a text in the terminal as it is; see the module of this name."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display


class ActionModule(ActionBase):
    """Runs on the controller only."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec({"text": {"type": "str", "required": True}})
        known = task_vars or {}
        # Texts of several hosts come in any order, and before the line in which the callback names the host.
        several = len(known.get("ansible_play_hosts_all", [])) > 1 and not self._task.run_once
        whose = f"{known['inventory_hostname']}:\n" if several else ""
        if arguments["text"]:
            Display().display(whose + arguments["text"])
        return {"changed": False}
