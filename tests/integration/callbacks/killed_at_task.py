# SPDX-License-Identifier: MIT
"""Ansible callback: kill the controller when a task starts, the one of the number KILLED_AT_TASK, counted from 1."""

from __future__ import annotations

import os
import signal
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible-core has no types
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "killed_at_task"

    def __init__(self) -> None:
        super().__init__()
        self.started = 0

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self.started += 1
        if self.started == int(os.environ["KILLED_AT_TASK"]):
            # With its workers, which else would end the task.
            os.killpg(os.getpgid(0), signal.SIGKILL)
