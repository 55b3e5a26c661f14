# SPDX-License-Identifier: MIT
"""Wait until a host has booted anew; see the module of this name."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

# Each look is a new connection and a Python on the host.
POLL_SECONDS = 3.0


class ActionModule(ActionBase):
    """Asks tower_info over a new connection each time: the old one leads to a system that is gone, and may hang."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(
            {"boot": {"type": "str"}, "timeout": {"type": "float", "default": 1800}, "fix": {"type": "str"}}
        )
        boot, seconds = arguments["boot"], arguments["timeout"]
        if self._task.check_mode:
            return {"changed": False, "tower": None, "skipped": True}
        end = time.monotonic() + seconds
        while True:
            try:
                self._connection.reset()
                found = self._execute_module(
                    module_name="llamatower.tower.tower_info", module_args={}, task_vars=task_vars
                )
                tower = found.get("tower") or {}
                if tower and tower["boot_id"] != boot:
                    return {"changed": False, "tower": tower}
                last = "it has not restarted" if tower else f"it answers: {found.get('msg') or found}"
            except AnsibleError as error:  # no connection, or one that ended before sudo answered
                last = f"it does not answer: {' '.join(str(error).split()).rstrip('.')}"
            if time.monotonic() > end:
                host = (task_vars or {}).get("inventory_hostname")
                sentence = f"{host} did not come back within {seconds:g} seconds; {last}."
                return {"failed": True, "msg": f"{sentence} {arguments['fix'] or ''}".strip()}
            time.sleep(min(POLL_SECONDS, seconds / 10))
