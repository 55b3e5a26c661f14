# SPDX-License-Identifier: MIT
"""Check the variables of a host against the roles' argument specs; see the module of this name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ..module_utils.advice.preflight import HANDED_ON, proxy_problem, variable_problems


class ActionModule(ActionBase):
    """Runs on the controller only."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec({"roles_path": {"type": "path", "required": True}})
        specs: dict[str, dict[str, Any]] = {}
        prefixes = []
        for path in sorted(Path(arguments["roles_path"]).glob("*/meta/argument_specs.yml")):
            prefixes.append(f"{path.parents[1].name}_")
            for entry_point in yaml.safe_load(path.read_text())["argument_specs"].values():
                specs.update(entry_point.get("options", {}))
        values = {}
        broken = []
        for name, value in (task_vars or {}).items():
            if name.startswith(tuple(prefixes)) and name not in HANDED_ON:
                try:
                    values[name] = self._templar.template(value)
                except AnsibleError as error:
                    broken.append(f"{name} cannot be worked out: {error.message}")
        wrong = variable_problems(values, specs)
        problems = broken + list(wrong.values())
        for name, value in sorted(values.items()):
            if name not in wrong and value is not None:
                result = ArgumentSpecValidator({name: specs[name]}).validate({name: value})
                problems += [f"{message.rstrip('.')}." for message in result.error_messages]
        proxies = self._templar.template((task_vars or {}).get("llamatower_proxy_environment", {}))
        problems += filter(None, [proxy_problem(proxies)])
        if problems:
            return {"failed": True, "changed": False, "msg": "\n".join(problems), "problems": problems}
        return {"changed": False, "problems": []}
