# SPDX-License-Identifier: MIT
"""Ansible module: end long jobs that other runs left."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stop_jobs
short_description: End long jobs that other runs left
version_added: 0.1.0
author: llamatower contributors
description:
  - A fetch, a build, a benchmark, a search or the hashing of models goes on when the connection or the controller is
    lost. This ends the one that works at each of the progress files, and what it has started.
  - Nothing is lost but its time. What it has fetched or compiled is there for the next run, and a service that it has
    stopped is started again.
  - A run that waits for such a job gets its turn then. A switch to another deployment is no such job.
extends_documentation_fragment:
  - llamatower.tower.attributes
options:
  paths:
    description: The progress files, as M(llamatower.tower.progress_info) reads them.
    type: list
    elements: path
    required: true
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: It returns whom it has ended.
"""

EXAMPLES = r"""
- name: End a fetch that was started wrongly
  llamatower.tower.stop_jobs:
    paths: [/var/lib/llama-models/.progress.json]
"""

RETURN = r"""
stopped:
  description: Whose jobs were ended, a line each.
  returned: success
  type: list
  elements: str
  sample: ["the fetch of glm-4.6 by ann@desk:4711, process 812 since 2026-01-31T12:00:00Z"]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.lock import HeldError, end, held, holder, words
from ..module_utils.progress import lock_of


def main() -> None:
    module = AnsibleModule(
        argument_spec={"paths": {"type": "list", "elements": "path", "required": True}},
        supports_check_mode=True,
    )
    locks = [path for path in map(lock_of, dict.fromkeys(module.params["paths"])) if held(path)]
    try:
        stopped = [words(holder(path) if module.check_mode else end(path)) for path in locks]
    except (HeldError, PermissionError) as error:
        module.fail_json(msg=f"A job does not end ({error}): end that process on the tower, as root.")
    module.exit_json(changed=bool(stopped), stopped=stopped)


if __name__ == "__main__":
    main()
