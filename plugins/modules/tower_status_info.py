# SPDX-License-Identifier: MIT
"""Ansible module: how a tower is now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tower_status_info
short_description: How a tower is now
version_added: 0.1.0
author: llamatower contributors
description:
  - Says of each instance of the service which deployment its process runs and since when that is proven, whether it
    answers, where the last hourly check found its memory, how fast it was measured, and what happened last; and what
    goes on on the tower, by whom and since when.
  - Takes a second, and reads no byte of a model.
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.attributes.info
options:
  benchmark_dir:
    description: The directory of the benchmarks.
    type: path
    default: /var/lib/llamatower/benchmarks
  progress_paths:
    description: Files in which long jobs tell how far they are.
    type: list
    elements: path
    default: []
  instances_path:
    description: The directory of the instances.
    type: path
    default: /var/lib/llamatower/instances
"""

EXAMPLES = r"""
- name: See how the tower is
  llamatower.tower.tower_status_info:
    progress_paths: [/var/lib/llama-models/.progress.json]
  register: asked

- name: Show what does not serve
  ansible.builtin.debug:
    msg: "{{ asked.tower_status.instances | rejectattr('state', 'eq', 'serving') }}"
"""

RETURN = r"""
tower_status:
  description: The tower.
  type: dict
  returned: always
  contains:
    instances:
      description: The instances by name.
      type: list
      elements: dict
      returned: always
      contains:
        instance: {description: Its name., type: str, returned: always, sample: main}
        state:
          description:
            - C(serving); C(loading), where it starts; C(switching), from one deployment to another; C(silent), where it runs
              and does not answer; C(stopped), C(failed), or C(nothing), where it has no deployment.
          type: str
          returned: always
        deployment: {description: The one that its process runs; null where none runs., type: str, returned: always}
        since: {description: "When that was proven last, UTC; null where it was not.", type: str, returned: always}
        model: {description: The name of its model., type: str, returned: always}
        engine: {description: The key of its build., type: str, returned: always}
        nodes: {description: "Bytes of its memory by node, as the last check found them; null where it has not looked yet.", type: dict, returned: always, sample: {"0": 150000000000}}
        checked: {description: "When that was, UTC.", type: str, returned: always}
        misplaced: {description: A sentence where they do not lie as intended., type: str, returned: always}
        tokens_per_second: {description: What was measured last of this build and model; null where that was not., type: float, returned: always}
        measured: {description: "When that was, UTC.", type: str, returned: always}
        event:
          description: What happened last; null where nothing is known.
          type: dict
          returned: always
          contains:
            code: {description: "C(switched), C(taken_back), C(switch_failed), C(restarted), C(misplaced) or C(started).", type: str, returned: always}
            when: {description: "When, UTC.", type: str, returned: always}
            deployment: {description: The one that a switch was to., type: str, returned: always}
            count: {description: Restarts within a day., type: int, returned: always}
        problem: {description: A sentence where it does not serve what it is to; else null., type: str, returned: always}
    jobs:
      description: What goes on now.
      type: list
      elements: dict
      returned: always
      contains:
        holder:
          description: What is done, by whom, as which process, and since when (UTC).
          type: dict
          returned: always
          sample: {what: the fetch of glm-4.6, by: ann@desk, pid: 812, since: "2026-01-31T12:00:00Z"}
        line: {description: How far it is; null where it does not tell., type: str, returned: always}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.benchmark.history import read_history, speed_of
from ..module_utils.lock import CHANGE
from ..module_utils.service.deployment import INSTANCES, instances
from ..module_utils.service.status import TowerStatus, instance_status, running_jobs


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "benchmark_dir": {"type": "path", "default": "/var/lib/llamatower/benchmarks"},
            "progress_paths": {"type": "list", "elements": "path", "default": []},
            "instances_path": {"type": "path", "default": INSTANCES},
        },
        supports_check_mode=True,
    )
    options = module.params
    runs = read_history(options["benchmark_dir"])
    found: TowerStatus = {"instances": [], "jobs": running_jobs([CHANGE], options["progress_paths"])}
    for instance in instances(options["instances_path"]):
        status = instance_status(instance)
        deployment = instance.read(status["deployment"] or "")
        speed = speed_of(runs, deployment) if deployment else None
        if speed:
            status["tokens_per_second"], status["measured"] = speed[0]["median"], speed[1]
        found["instances"].append(status)
    module.exit_json(changed=False, tower_status=found)


if __name__ == "__main__":
    main()
