# SPDX-License-Identifier: MIT
"""Run a module that takes long, detached from the connection, and show how far it is.

The modules that need it are routed here by meta/runtime.yml. Such a module has a ``progress_path`` and works under
module_utils/progress.py; called without one, it is not long. It runs in Ansible's own async wrapper, so it goes on when
the connection or the controller goes away; the next run starts another one, which waits for the first, says whose that
is, shows the same lines, and then finds the work done or goes on from there.
"""

from __future__ import annotations

import getpass
import os
import time
from typing import Any, cast

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.progress import ProgressInfo, killed_problem, waiting_line

display = Display()

# A week: longer than any download that somebody still waits for.
LIMIT_SECONDS = 7 * 24 * 3600
# A job that has no result and holds no lock for so long was killed together with its wrapper.
DEAD_SECONDS = 20
# A tower may reboot or lose its network meanwhile.
LOST_SECONDS = 600


def pause(elapsed: float) -> float:
    """Seconds until the next look: often at first, and at most 5 % late; each look costs the host a Python."""
    return min(20.0, max(2.0, elapsed / 20))


class ActionModule(ActionBase):
    """Runs the module of the task's own name."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        name = self._task.action
        if self._task.check_mode or not self._task.args.get("progress_path"):
            result: dict[str, Any] = self._execute_module(module_name=name, task_vars=task_vars)
            return result
        # Whose it is: a person, and the process here, which is another one for each task.
        arguments = {"by": f"{getpass.getuser()}@{os.uname().nodename}:{os.getpid()}", **self._task.args}
        self._task.async_val = LIMIT_SECONDS
        try:
            job: dict[str, Any] = self._execute_module(name, arguments, task_vars=task_vars, wrap_async=True)
        finally:
            self._task.async_val = 0
        if job.get("failed") or "ansible_job_id" not in job:
            return job
        return self._wait(name, arguments["by"], job, task_vars or {})

    def _wait(self, name: str, by: str, job: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        host = task_vars.get("inventory_hostname", "")
        arguments = {"path": self._task.args["progress_path"], "job_path": job["results_file"]}
        began = alive = answered = time.monotonic()
        shown = waited_for = ""
        while True:
            time.sleep(pause(time.monotonic() - began))
            now = time.monotonic()
            try:
                answer: dict[str, Any] = self._execute_module(
                    module_name="llamatower.tower.progress_info", module_args=arguments, task_vars=task_vars
                )
                if answer.get("failed"):
                    return answer
                state = cast("ProgressInfo", answer)
                if state["ended"]:
                    return self._result(name, job, task_vars)
            except AnsibleConnectionFailure as error:
                if now - answered > LOST_SECONDS:
                    raise
                if shown != "lost":
                    display.display(f"{host}: the connection was lost; the job goes on there, trying again ({error})")
                shown = "lost"
                self._connection.reset()
                continue
            answered = now
            if state["running"]:
                alive = now
            elif now - alive > DEAD_SECONDS:
                return {"failed": True, "changed": False, "msg": killed_problem(name)}
            if state["holder"] and state["holder"]["by"] not in (by, waited_for):
                waited_for = state["holder"]["by"]
                # A switch to another deployment ends by itself, whole.
                line = waiting_line(state["holder"], not name.endswith((".llama_deployment", ".llama_instance")))
                display.display(f"{host}: {line}")
            if state["line"] and state["line"] != shown:
                display.display(f"{host}: {state['line']}")
                shown = state["line"]

    def _result(self, name: str, job: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """The module's own result. A module that was killed left none, only what the wrapper made of it."""
        arguments = {"jid": job["ansible_job_id"], "_async_dir": os.path.dirname(job["results_file"])}
        result: dict[str, Any] = self._execute_module(
            module_name="ansible.legacy.async_status",
            module_args={**arguments, "mode": "status"},
            task_vars=task_vars,
        )
        self._execute_module(
            module_name="ansible.legacy.async_status",
            module_args={**arguments, "mode": "cleanup"},
            task_vars=task_vars,
        )
        if result.get("failed") and "cmd" in result and ("data" in result or "outdata" in result):
            return {"failed": True, "changed": False, "msg": killed_problem(name, str(result.get("stderr", "")))}
        for key in ("ansible_job_id", "started", "finished", "results_file"):
            result.pop(key, None)
        return result
