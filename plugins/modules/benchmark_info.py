# SPDX-License-Identifier: MIT
"""Ansible module: what the benchmarks of a tower said so far."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_info
short_description: What the benchmarks of a tower said so far
version_added: 0.1.0
author: llamatower contributors
description:
  - Reads the history that M(llamatower.tower.llama_benchmark) keeps, and what M(llamatower.tower.llama_tune) found.
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.attributes.info
options:
  directory:
    description: The directory of the history.
    type: path
    default: /var/lib/llamatower/benchmarks
  tuning_path:
    description: The file in which M(llamatower.tower.llama_tune) keeps its result.
    type: path
    default: /var/lib/llamatower/tuning-main.json
"""

EXAMPLES = r"""
- name: Read the history
  llamatower.tower.benchmark_info:
  register: known

- name: Show what became slower
  ansible.builtin.debug:
    var: known.benchmark.regressions
  when: known.benchmark is not none
"""

RETURN = r"""
benchmark:
  description: The history; null where nothing was measured yet.
  returned: always
  type: dict
  contains:
    latest:
      description: The last run.
      type: dict
      returned: always
      contains:
        schema_version: {description: Of this document., type: int, returned: always}
        started: {description: When it began., type: str, returned: always, sample: "2026-01-31T12:00:00Z"}
        conditions:
          description: Runs are compared where all of these are equal.
          type: dict
          returned: always
          contains:
            kernel: {description: Kernel release., type: str, returned: always}
            bios: {description: Version of the firmware., type: str, returned: always}
            cpu: {description: Brand of the CPU., type: str, returned: always}
            cores: {description: Physical cores., type: int, returned: always}
            threads_per_core: {description: Logical CPUs of a core., type: int, returned: always}
            nodes: {description: NUMA nodes., type: int, returned: always}
            thp: {description: Transparent huge pages., type: str, returned: always, sample: madvise}
            governor: {description: CPU frequency governor., type: str, returned: always}
            build: {description: The key of the build; null without a service., type: str, returned: always}
            model: {description: Name and a digest of the model; null without a service., type: str, returned: always}
            prefix: {description: The words of numactl before the server., type: list, elements: str, returned: always}
            settings: {description: What else of its environment llama-bench was given., type: dict, returned: always, sample: {LLAMA_ARG_LOAD_MODE: dio}}
            beside_service: {description: Whether the service ran meanwhile., type: bool, returned: always}
            restarted: {description: Whether the service was restarted first., type: bool, returned: always}
            probe_mebibytes: {description: The buffer of each core in MiB., type: int, returned: always}
            tokens: {description: Tokens that were decoded in a repetition., type: int, returned: always}
            prompt_words: {description: Words of the prompt that was read in a repetition., type: int, returned: always}
        results:
          description:
            - C(unit), C(samples), C(median) and C(spread) (the largest minus the smallest over the median) by the name
              of the result; higher is better.
            - In GB/s C(read_node0_node1) (the cores of node 0, the memory of node 1) and so on, C(read_whole),
              C(disk_read), C(hash) and C(service_load); in tokens/s C(bench_decode), C(bench_prompt), C(service_first),
              C(service_steady) and C(service_prompt).
          type: dict
          returned: always
          sample: {read_whole: {unit: GB/s, samples: [401.2, 402.8], median: 402.0, spread: 0.004}}
        skipped: {description: "Why a result is missing, by its name.", type: dict, returned: always, sample: {service_load: The service was not restarted.}}
        derived:
          description: What the memory allows, and which part of it the service reaches; null where it was not measured.
          type: dict
          returned: always
          contains:
            active_bytes: {description: Bytes of weights that a token reads., type: int, returned: always}
            roofline_tokens_per_second: {description: How often the memory can be read so., type: float, returned: always}
            service_of_roofline: {description: The part of that which the service reaches., type: float, returned: always}
            service_of_bench: {description: The part of what llama-bench reaches., type: float, returned: always}
    history:
      description: All runs, the oldest first, the last one included, each like RV(benchmark.latest) without samples.
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
  description: The stored result of the tuner without its measurements, as RV(llamatower.tower.llama_tune#module:tuning); null where there is none.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.benchmark.history import history_summary, read_history, read_tuning, without_measurements


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "default": "/var/lib/llamatower/benchmarks"},
            "tuning_path": {"type": "path", "default": "/var/lib/llamatower/tuning-main.json"},
        },
        supports_check_mode=True,
    )
    tuning = read_tuning(module.params["tuning_path"])
    module.exit_json(
        changed=False,
        benchmark=history_summary(read_history(module.params["directory"])),
        tuning=without_measurements(tuning) if tuning else None,
    )


if __name__ == "__main__":
    main()
