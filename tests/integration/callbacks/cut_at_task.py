# SPDX-License-Identifier: MIT
"""Ansible callback: run the shell command CUT when a task starts, the one of the number CUT_AT_TASK, counted from 1.

Only tasks that reach a tower are counted: between others nothing has happened there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from ansible.plugins.callback import CallbackBase

# Actions that the controller carries out by itself.
ITS_OWN = {"debug", "fail", "include_tasks", "set_fact", "validate_argument_spec"}


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible-core has no types
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "cut_at_task"

    def __init__(self) -> None:
        super().__init__()
        self.started = 0

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        if task.action.rpartition(".")[2] in ITS_OWN:
            return
        self.started += 1
        if self.started == int(os.environ["CUT_AT_TASK"]):
            print(f"cut at {task.name}", file=sys.stderr, flush=True)
            subprocess.run(os.environ["CUT"], shell=True, check=True)
