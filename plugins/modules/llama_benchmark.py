# SPDX-License-Identifier: MIT
"""Ansible module: measure a tower and the service on it, and keep the result."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_benchmark
short_description: Measure a tower and the llama-server on it
version_added: 0.1.0
author: llamatower contributors
description:
  - Measures how fast memory is read (by a read probe), the disk of the model, SHA-256, the running service and
    llama-bench with the settings of that service, several times each, and adds the run to a history of files.
  - What cannot be measured is left out and named under C(skipped), with the reason.
  - Nothing is stopped or restarted unless asked for. A service that is stopped is started again also when the module
    is killed.
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.long
options:
  unit:
    description: The systemd unit of the service. Its model, settings and numactl words are those of llama-bench.
    type: str
    default: llama-server@main.service
  probe:
    description: The compiled read probe, which the role benchmark makes.
    type: path
    required: true
  directory:
    description: The directory of the history.
    type: path
    default: /var/lib/llamatower/benchmarks
  keep:
    description: How many runs are kept.
    type: int
    default: 52
  repetitions:
    description: How often everything is measured; C(service_load) and C(service_first) are measured once.
    type: int
    default: 5
  probe_mebibytes:
    description: The buffer of each core in MiB.
    type: int
    default: 256
  tokens:
    description: Tokens that are decoded in one repetition.
    type: int
    default: 64
  prompt_words:
    description: Words of the prompt that the service reads in one repetition, and tokens of llama-bench's.
    type: int
    default: 256
  disk_bytes:
    description: How much of the model is read from its disk, altogether.
    type: int
    default: 8589934592
  stop_service:
    description: Whether the service may be stopped where a second copy of its model does not fit beside it.
    type: bool
    default: false
  restart_service:
    description: Whether the service is restarted first, to measure how long it loads and its first request after that.
    type: bool
    default: false
  timeout:
    description: Seconds that the service may take to load its model, or to answer a request.
    type: int
    default: 7200
attributes:
  check_mode:
    support: full
    details: Measures nothing.
  diff_mode:
    support: none
    details: A measurement is a record, not a state.
"""

EXAMPLES = r"""
- name: Measure the tower
  llamatower.tower.llama_benchmark:
    probe: /usr/local/lib/llamatower/read_probe
    progress_path: /var/lib/llamatower/benchmark.progress.json
  register: measured

- name: Show what the memory allows, and which part of it the service reaches
  ansible.builtin.debug:
    var: measured.run.derived
  when: measured.run is not none
"""

RETURN = r"""
run:
  description: The run as it is kept, with the keys of RV(llamatower.tower.benchmark_info#module:benchmark.latest); null in check mode.
  returned: success
  type: dict
path:
  description: The file that keeps it; null in check mode.
  returned: success
  type: str
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.benchmark.history import keep_run
from ..module_utils.benchmark.run import Benchmark
from ..module_utils.progress import Progress
from ..module_utils.service.unit import UnitError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "default": "llama-server@main.service"},
            "probe": {"type": "path", "required": True},
            "directory": {"type": "path", "default": "/var/lib/llamatower/benchmarks"},
            "keep": {"type": "int", "default": 52},
            "repetitions": {"type": "int", "default": 5},
            "probe_mebibytes": {"type": "int", "default": 256},
            "tokens": {"type": "int", "default": 64, "no_log": False},
            "prompt_words": {"type": "int", "default": 256},
            "disk_bytes": {"type": "int", "default": 8 * 2**30},
            "stop_service": {"type": "bool", "default": False},
            "restart_service": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 7200},
            "progress_path": {"type": "path", "required": True},
            "by": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    options = module.params
    if module.check_mode:
        module.exit_json(changed=False, run=None, path=None)
    try:
        with Progress(options["progress_path"], "a benchmark", options["by"]) as progress:
            run = Benchmark(options, progress.lock_path, lambda what: progress.tell(f"measuring: {what}"))
            document = run.make()
            path = keep_run(options["directory"], document, options["keep"])
    except (UnitError, OSError) as error:
        module.fail_json(msg=f"The benchmark cannot go on: {error}", changed=False)
    if not document["results"]:
        os.unlink(path)
        module.fail_json(msg="\n".join(document["skipped"].values()), changed=False)
    module.exit_json(changed=options["restart_service"] or not run.beside, run=document, path=path)


if __name__ == "__main__":
    main()
