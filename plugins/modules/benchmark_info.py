# SPDX-License-Identifier: MIT
"""Ansible module: what the benchmarks of a tower said so far."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_info
short_description: What the benchmarks of a tower said so far
version_added: 0.1.0
author: llamatower contributors
description:
  - Reads the history that M(llama_benchmark) keeps, and the result of the tuner.
options:
  directory:
    description: The directory of the history.
    type: path
    default: /var/lib/llamatower/benchmarks
  tuning_path:
    description: The file in which M(llama_tune) keeps its result.
    type: path
    default: /var/lib/llamatower/tuning.json
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Reads only.
"""

EXAMPLES = r"""
- name: Read the history
  benchmark_info:
  register: known

- name: Show what became slower
  ansible.builtin.debug:
    var: known.benchmark.regressions
"""

RETURN = r"""
benchmark:
  description: The history; null where nothing was measured yet.
  returned: always
  type: dict
  contains:
    latest: {description: "The last run, as M(llama_benchmark) returns it.", type: dict, returned: always}
    history:
      description: All runs without their samples, the oldest first, the last one included.
      type: list
      elements: dict
      returned: always
    regressions:
      description: A sentence for each result of the last run that is worse than in the last run under the same conditions.
      type: list
      elements: str
      returned: always
    changed_conditions:
      description: Conditions that differ from the run before the last one; such runs are not compared.
      type: list
      elements: str
      returned: always
tuning:
  description: The stored result of the tuner without its measurements; null where there is none.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.benchmark.document import read_history, summary
from ..module_utils.service.tuned import read_stored, without_measurements


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "default": "/var/lib/llamatower/benchmarks"},
            "tuning_path": {"type": "path", "default": "/var/lib/llamatower/tuning.json"},
        },
        supports_check_mode=True,
    )
    tuning = read_stored(module.params["tuning_path"])
    module.exit_json(
        changed=False,
        benchmark=summary(read_history(module.params["directory"])),
        tuning=without_measurements(tuning) if tuning else None,
    )


if __name__ == "__main__":
    main()
