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
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.long
options:
  unit:
    description: The systemd unit of the service.
    type: str
    default: llama-server@main.service
  path:
    description: The file that keeps the result.
    type: path
    default: /var/lib/llamatower/tuning-main.json
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
attributes:
  check_mode:
    support: full
    details: Says whether it would measure.
  diff_mode:
    support: none
    details: A measurement is a record, not a state.
"""

EXAMPLES = r"""
- name: Find the fastest settings
  llamatower.tower.llama_tune:
    progress_path: /var/lib/llamatower/tune.progress.json
  register: tuned

- name: Compare only what keeps the service as it is otherwise
  llamatower.tower.llama_tune:
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
    schema_version: {description: Of this document., type: int, returned: success}
    measured: {description: When., type: str, returned: success, sample: "2026-01-31T12:00:00Z"}
    build: {description: The key of the build., type: str, returned: success}
    model:
      description: The model.
      type: dict
      returned: success
      contains:
        name: {description: Its name., type: str, returned: success}
        sha256: {description: SHA-256 of its files., type: list, elements: str, returned: success}
    conditions:
      description: What else it depends on.
      type: dict
      returned: success
      contains:
        kernel: {description: Kernel release., type: str, returned: success}
        bios: {description: Version of the firmware., type: str, returned: success}
        cpu: {description: Brand of the CPU., type: str, returned: success}
        cores: {description: Physical cores., type: int, returned: success}
        threads_per_core: {description: Logical CPUs of a core., type: int, returned: success}
        nodes: {description: NUMA nodes., type: int, returned: success}
        thp: {description: Transparent huge pages., type: str, returned: success}
        governor: {description: CPU frequency governor., type: str, returned: success}
    space:
      description: What the search was to compare.
      type: dict
      returned: success
      contains:
        loads: {description: "NUMA policy, load mode and huge pages of each.", type: list, elements: list, returned: success, sample: [[interleave, dio, thp]]}
        threads: {description: Threads that decode., type: list, elements: int, returned: success}
        threads_batch: {description: Threads that read a prompt., type: list, elements: int, returned: success}
        flash_attention: {description: With or without., type: list, elements: bool, returned: success}
        bound_threads: {description: Threads that decode under the policy bind., type: list, elements: int, returned: success}
        bound_threads_batch: {description: Threads that read a prompt under the policy bind., type: list, elements: int, returned: success}
    winner:
      description: The fastest settings.
      type: dict
      returned: success
      contains:
        numa_policy: {description: NUMA policy., type: str, returned: success, sample: interleave}
        load_mode: {description: Load mode., type: str, returned: success, sample: dio}
        huge_pages: {description: Huge pages., type: str, returned: success, sample: thp}
        threads: {description: Threads that decode., type: int, returned: success}
        threads_batch: {description: Threads that read a prompt., type: int, returned: success}
        flash_attention: {description: With or without flash attention., type: bool, returned: success}
    confidence:
      description: >-
        C(certain) where each sample beats those of the next best settings, C(likely) where the median does, else C(tie).
      type: str
      returned: success
    evidence:
      description: What that rests on.
      type: dict
      returned: success
      contains:
        decode_tokens_per_second:
          description: What the fastest settings decode, in tokens/s.
          type: dict
          returned: success
          contains: &rates
            median: {description: The median., type: float, returned: success}
            low: {description: The lowest sample., type: float, returned: success}
            high: {description: The highest sample., type: float, returned: success}
            samples: {description: Number of samples., type: int, returned: success}
        prompt_tokens_per_second:
          description: What they read of a prompt, in tokens/s; null where that was not compared.
          type: dict
          returned: success
          contains: *rates
        load_seconds: {description: What loading the model took., type: list, elements: float, returned: success}
        runner_up:
          description: The next best settings; null without any.
          type: dict
          returned: success
          contains:
            numa_policy: {description: NUMA policy., type: str, returned: success}
            load_mode: {description: Load mode., type: str, returned: success}
            huge_pages: {description: Huge pages., type: str, returned: success}
            threads: {description: Threads that decode., type: int, returned: success}
            flash_attention: {description: With or without flash attention., type: bool, returned: success}
            decode_tokens_per_second:
              description: What they decode, in tokens/s.
              type: dict
              returned: success
              contains: *rates
left_out:
  description: Why policies were not compared, by their names.
  returned: success
  type: dict
  sample: {bind: Node 0 has too little memory for the model.}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.benchmark.document import Limits
from ..module_utils.benchmark.history import without_measurements
from ..module_utils.benchmark.tuner import TuneError, Tuner
from ..module_utils.progress import Progress, lock_of
from ..module_utils.service.served import read_unit
from ..module_utils.service.unit import UnitError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "default": "llama-server@main.service"},
            "path": {"type": "path", "default": "/var/lib/llamatower/tuning-main.json"},
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
            "by": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    options = module.params
    limits: Limits = {
        "policies": options["policies"],
        "load_modes": options["load_modes"],
        "huge_pages": options["huge_pages"],
        "threads": options["threads"],
        "threads_batch": options["threads_batch"],
        "flash_attention": options["flash_attention"],
    }
    path, lock = options["path"], lock_of(options["progress_path"])
    try:
        if module.check_mode:
            tuner = Tuner(read_unit(options["unit"]), path, lock, limits, lambda _line: None)
            known = tuner.stored()
            module.exit_json(
                changed=options["again"] or not known,
                tuning=known and without_measurements(known),
                left_out=tuner.left_out,
            )
        with Progress(options["progress_path"], "the search for the fastest settings", options["by"]) as progress:
            tuner = Tuner(read_unit(options["unit"]), path, lock, limits, progress.tell)
            known = None if options["again"] else tuner.stored()
            document = known or tuner.search()
    except (TuneError, UnitError, OSError) as error:
        module.fail_json(msg=f"The settings cannot be compared: {error}")
    module.exit_json(changed=known is None, tuning=without_measurements(document), left_out=tuner.left_out)


if __name__ == "__main__":
    main()
