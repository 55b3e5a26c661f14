# SPDX-License-Identifier: MIT
"""Ansible module: how far a long job is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: progress_info
short_description: How far a long job is
version_added: 0.1.0
author: llamatower contributors
description:
  - Reads the progress file of a module that takes long, such as M(llamatower.tower.llama_build) or
    M(llamatower.tower.model_fetch), and whether the job still holds its lock.
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.attributes.info
options:
  path:
    description: The progress file.
    type: path
    required: true
  job_path:
    description: The file in which Ansible's async wrapper keeps the result of the job.
    type: path
"""

EXAMPLES = r"""
- name: See whether a build runs
  llamatower.tower.progress_info:
    path: /var/cache/llama.cpp/progress.json
  register: job

- name: Say how far it is
  ansible.builtin.debug:
    msg: "{{ job.line or 'nothing runs' }}"
"""

RETURN = r"""
running:
  description: Whether a job holds the lock; null where it is another user's, and who asks is not root.
  type: bool
  returned: always
holder:
  description: Who holds it, null where nobody does - what is done, by whom, as which process, and since when (UTC).
  type: dict
  returned: always
  sample: {what: the fetch of glm-4.6, by: ann@desk, pid: 812, since: "2026-01-31T12:00:00Z"}
held_by:
  description: The same as words, or null.
  type: str
  returned: always
  sample: the fetch of glm-4.6 by ann@desk, process 812 since 2026-01-31T12:00:00Z
ended:
  description: Whether the wrapper has the job's result; null without O(job_path).
  type: bool
  returned: always
progress:
  description: What it last told; null where it has told nothing.
  type: dict
  returned: always
  contains:
    label: {description: What it does., type: str, returned: always, sample: compiling}
    done: {description: How much is done., type: int, returned: always}
    total: {description: How much there is to do; 0 where that is not known., type: int, returned: always}
    unit: {description: "What is counted, a plural noun or C(bytes).", type: str, returned: always}
    first: {description: How much was done when it began., type: int, returned: always}
    started: {description: "When it began, in seconds since 1970.", type: float, returned: always}
    updated: {description: "When it told so, in seconds since 1970.", type: float, returned: always}
line:
  description: The same as a line, or null.
  type: str
  returned: always
  sample: compiling 120 of 361, 33 %, 5 min left
"""

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.lock import holder, words
from ..module_utils.progress import ProgressInfo, job_running, lock_of, progress_line, read


def ended(job_path: str) -> bool:
    """The wrapper marks a job that runs as started, and replaces that by the result."""
    try:
        return "started" not in json.loads(Path(job_path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def main() -> None:
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "required": True}, "job_path": {"type": "path"}},
        supports_check_mode=True,
    )
    path, job_path = module.params["path"], module.params["job_path"]
    # In this order: a job gives its lock back before the wrapper writes its result.
    is_running = job_running(path)
    state = read(path)
    holds = holder(lock_of(path))
    found: ProgressInfo = {
        "running": is_running,
        "holder": holds,
        "held_by": words(holds) if is_running else None,
        "ended": ended(job_path) if job_path else None,
        "progress": state,
        "line": progress_line(state) if state else None,
    }
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
