# SPDX-License-Identifier: MIT
"""Ansible module: find out which settings a model decodes fastest with."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_tune
short_description: Find out which settings a model decodes fastest with
version_added: 0.1.0
author: llamatower contributors
description:
  - Measures NUMA policies, load modes, huge pages, threads and flash attention with llama-bench, on the model and the
    build of a service, in a bounded search, and stores the fastest settings with the evidence. The role llama_service
    uses them.
  - The settings of the service stay the result unless others are faster by 1 % in the median and in three of four pairs
    of samples.
  - Measures beside the running service where memory allows that. Otherwise the service is stopped meanwhile, and started
    again whatever becomes of this module, by a unit that waits for its end. No setting of the service is changed.
  - What was measured is kept, so that a search that was killed goes on from there.
  - Runs detached from the connection and shows how far it is.
options:
  unit:
    description: The systemd unit of the service.
    type: str
    default: llama-server@main.service
  path:
    description: The file that keeps the result.
    type: path
    default: /var/lib/llamatower/tuning.json
  policies:
    description: The NUMA policies to compare; by default all that this tower can.
    type: list
    elements: str
    choices: [interleave, weighted, distribute, bind, none]
  load_modes:
    description: The load modes to compare; by default all.
    type: list
    elements: str
    choices: [dio, none, mmap]
  huge_pages:
    description: With which huge pages; by default with transparent ones and without, or the reserved pool of the service.
    type: list
    elements: str
    choices: [thp, none, hugetlb]
  threads:
    description: How many threads decode, the default first; by default all cores, fewer, and all hyper-threads.
    type: list
    elements: int
  threads_batch:
    description: How many threads read a prompt; by default all cores, and all hyper-threads.
    type: list
    elements: int
  flash_attention:
    description: With or without, the default first; by default both.
    type: list
    elements: bool
  again:
    description: Whether to measure although the stored result is of this build, model, tower and search.
    type: bool
    default: false
  progress_path:
    description: The file that tells how far it is.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Says whether it would measure.
  diff_mode:
    support: none
    description: A measurement is a record, not a state.
"""

EXAMPLES = r"""
- name: Find the fastest settings
  llama_tune:
    progress_path: /var/lib/llamatower/tune.progress.json
  register: tuned

- name: Compare only what keeps the service as it is otherwise
  llama_tune:
    policies: [interleave, none]
    load_modes: [dio]
    progress_path: /var/lib/llamatower/tune.progress.json
"""

RETURN = r"""
tuning:
  description: The stored result without its measurements; null in check mode where there is none yet.
  returned: success
  type: dict
  contains:
    measured: {description: When., type: str, returned: success, sample: "2026-01-31T12:00:00Z"}
    build: {description: The key of the build., type: str, returned: success}
    model: {description: Its name and the SHA-256 of its files., type: dict, returned: success}
    conditions: {description: What else it depends on., type: dict, returned: success}
    space: {description: What was compared., type: dict, returned: success}
    winner:
      description: numa_policy, load_mode, huge_pages, threads, threads_batch and flash_attention.
      type: dict
      returned: success
    confidence:
      description: C(certain) where each sample beats the next best arm, C(likely) where the median does, else C(tie).
      type: str
      returned: success
    evidence: {description: "Rates of the winner and of the next best arm, and load times.", type: dict, returned: success}
left_out:
  description: Why policies were not compared, by their names.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.benchmark.tuner import TuneError, Tuner
from ..module_utils.progress import Progress
from ..module_utils.service.tuned import without_measurements
from ..module_utils.service.unit import UnitError, read_unit


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "default": "llama-server@main.service"},
            "path": {"type": "path", "default": "/var/lib/llamatower/tuning.json"},
            "policies": {
                "type": "list",
                "elements": "str",
                "choices": ["interleave", "weighted", "distribute", "bind", "none"],
            },
            "load_modes": {"type": "list", "elements": "str", "choices": ["dio", "none", "mmap"]},
            "huge_pages": {"type": "list", "elements": "str", "choices": ["thp", "none", "hugetlb"]},
            "threads": {"type": "list", "elements": "int"},
            "threads_batch": {"type": "list", "elements": "int"},
            "flash_attention": {"type": "list", "elements": "bool"},
            "again": {"type": "bool", "default": False},
            "progress_path": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    options = module.params
    names = ("policies", "load_modes", "huge_pages", "threads", "threads_batch", "flash_attention")
    limits = {name: options[name] for name in names}
    path, lock = options["path"], f"{options['progress_path']}.lock"
    try:
        if module.check_mode:
            tuner = Tuner(read_unit(options["unit"]), path, lock, limits, lambda _line: None)
            known = tuner.stored()
            module.exit_json(
                changed=options["again"] or not known,
                tuning=known and without_measurements(known),
                left_out=tuner.left_out,
            )
        with Progress(options["progress_path"]) as progress:
            tuner = Tuner(read_unit(options["unit"]), path, lock, limits, progress.tell)
            known = None if options["again"] else tuner.stored()
            document = known or tuner.search()
    except (TuneError, UnitError, OSError) as error:
        module.fail_json(msg=f"The settings cannot be compared: {error}")
    module.exit_json(changed=known is None, tuning=without_measurements(document), left_out=tuner.left_out)


if __name__ == "__main__":
    main()
