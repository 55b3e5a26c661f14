# SPDX-License-Identifier: MIT
"""Ansible callback: run the shell command CUT when the task of the name CUT_AT_TASK starts, and say at the end of a run
which tasks did something on a tower."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from ansible.plugins.callback import CallbackBase

# Actions that the controller carries out by itself: between others nothing has happened on a tower.
ITS_OWN = {"debug", "fail", "include_tasks", "set_fact", "validate_argument_spec"}


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible-core has no types
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "cut_at_task"

    def __init__(self) -> None:
        super().__init__()
        self.reached: list[str] = []

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        if task.name == os.environ["CUT_AT_TASK"]:
            subprocess.run(os.environ["CUT"], shell=True, check=True)

    def v2_runner_on_ok(self, result: Any) -> None:
        # From ansible-core 2.19 on the task is no longer a private attribute.
        task = getattr(result, "task", None) or result._task
        if task.action.rpartition(".")[2] not in ITS_OWN and task.name not in self.reached:
            self.reached.append(task.name)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        for name in self.reached:
            print(f"reached {name}", file=sys.stderr, flush=True)
