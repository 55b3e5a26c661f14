# SPDX-License-Identifier: MIT
"""Keep all towers' URLs and API keys in one file of the controller; see the module of this name."""

from __future__ import annotations

import os
import stat
from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils.files import make_directory, read_json, write_json

PRIVATE = 0o600


class ActionModule(ActionBase):
    """Runs on the controller only."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(
            {"path": {"type": "path", "required": True}, "towers": {"type": "dict", "required": True}}
        )
        path, given = os.path.abspath(arguments["path"]), arguments["towers"]
        before = read_json(path)
        old = before if isinstance(before, dict) else {}
        towers = {name: given[name].get("access", old.get(name)) for name in sorted(given)}
        wanted = {name: found for name, found in towers.items() if found is not None}
        changed = before != wanted or stat.S_IMODE(os.stat(path).st_mode) != PRIVATE
        try:
            if changed and not self._task.check_mode:
                make_directory(os.path.dirname(path))
                write_json(path, wanted, PRIVATE)
        except OSError as error:
            return {"failed": True, "changed": False, "msg": f"{path} cannot be written ({error}): name another file."}
        return {"changed": changed}
