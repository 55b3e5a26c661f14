# SPDX-License-Identifier: MIT
"""Ansible module: how llama-server is to be started on this tower."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_service_plan
short_description: How llama-server is to be started on a tower, and whether it can be
version_added: 0.2.0
author: llamatower contributors
description:
  - Reads the manifests of the build and of the model, what C(llamatower.tower.tune) and C(llamatower.tower.bench) measured,
    the memory nodes, and what C(llama-server --help) and C(numactl --help) say, and decides NUMA policy, load mode,
    threads and all other settings.
  - Refuses, in one sentence for each reason, what cannot work on this tower or with the installed build.
  - Changes nothing. What is not installed yet is not checked.
options:
  settings:
    description: The variables of the llama_service role without their prefix.
    type: dict
    required: true
  build_root:
    description: The directory of C(current).
    type: path
    required: true
  config_dir:
    description: Where environments of instances are; those of former plans are listed in RV(stale).
    type: path
    default: /etc/llama-server
  tuning_path:
    description: What C(llamatower.tower.tune) has stored.
    type: path
    default: /var/lib/llamatower/tuning.json
  benchmark_dir:
    description: Where C(llamatower.tower.bench) keeps its runs; weights of the nodes come from the last that read them all.
    type: path
    default: /var/lib/llamatower/benchmarks
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Reads only.
"""

EXAMPLES = r"""
- name: Decide how the server is started
  llama_service_plan:
    settings: "{{ __llama_service_settings }}"
    build_root: /opt/llama.cpp
  register: plan
"""

RETURN = r"""
plan:
  description: The settings, where they came from, and one entry in C(instances) for each unit.
  returned: always
  type: dict
  contains:
    numa_policy: {description: The policy that was chosen., type: str, returned: always}
    load_mode: {description: The load mode that was chosen., type: str, returned: always}
    huge_pages: {description: "thp, hugetlb or none.", type: str, returned: always}
    why: {description: Where policy and load mode came from., type: dict, returned: always}
    threads: {description: Threads that decode., type: int, returned: always}
    threads_batch: {description: Threads that read prompts., type: int, returned: always}
    flash_attention: {description: Whether flash attention is on; null leaves it to the server., type: bool, returned: always}
    options: {description: Words after the command., type: list, elements: str, returned: always}
    needed_bytes: {description: Bytes of model and KV cache., type: int, returned: always}
    start_seconds: {description: Seconds that a start may take., type: int, returned: always}
    weights: {description: Weights of the nodes to set before a start., type: dict, returned: always}
    instances: {description: "name, unit, port, node, url, prefix, environment and intent of each.", type: list, elements: dict, returned: always}
    problems: {description: Why it cannot be carried out., type: list, elements: str, returned: always}
build:
  description: The manifest of the installed build; empty without one.
  returned: always
  type: dict
model:
  description: The manifest of the installed model; empty without one.
  returned: always
  type: dict
missing:
  description: The manifests that are not there.
  returned: always
  type: list
  elements: str
stale:
  description: Instances with an environment that the plan does not have.
  returned: always
  type: list
  elements: str
"""

import json
import re
from pathlib import Path
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.benchmark.document import node_weights, read_history
from ..module_utils.service.numa_policy import memory_nodes
from ..module_utils.service.settings import make_plan
from ..module_utils.sysfs import read_int
from ..module_utils.tower import read_tower

WEIGHTS = Path("/sys/kernel/mm/mempolicy/weighted_interleave")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def output(module: AnsibleModule, argv: list[str]) -> Optional[str]:
    """What a program prints, None where there is no such program. numactl's usage ends with 1."""
    if not Path(argv[0]).exists():
        return None
    _rc, out, error = module.run_command(argv, environ_update={"LC_ALL": "C"})
    return f"{out}\n{error}"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "required": True},
            "build_root": {"type": "path", "required": True},
            "config_dir": {"type": "path", "default": "/etc/llama-server"},
            "tuning_path": {"type": "path", "default": "/var/lib/llamatower/tuning.json"},
            "benchmark_dir": {"type": "path", "default": "/var/lib/llamatower/benchmarks"},
        },
        supports_check_mode=True,
    )
    settings = module.params["settings"]
    current = Path(module.params["build_root"]) / "current"
    manifests = [current / "manifest.json", Path(settings["model_path"]) / "manifest.json"]
    build, model = map(read_json, manifests)
    tower = read_tower("/")
    wanted = {int(node): int(weight) for node, weight in (settings["numa_weights"] or {}).items()}
    wanted = wanted or node_weights(read_history(module.params["benchmark_dir"]), memory_nodes(tower))
    # Linux 6.9 has a file for every node that there could be.
    present = {node: read_int(WEIGHTS / f"node{node}") or 1 for node in memory_nodes(tower)}
    plan = make_plan(
        {**settings, "weights": {**present, **wanted}},
        tower,
        build,
        model,
        read_json(Path(module.params["tuning_path"])),
        output(module, [str(current / "bin/llama-server"), "--help"]),
        output(module, ["/usr/bin/numactl", "--help"]),
    )
    names = [instance["name"] for instance in plan["instances"]]
    # Only those that this role may have made before: other instances are somebody else's.
    pattern = re.compile(rf"{re.escape(settings['instance'])}(-node\d+)?")
    found = sorted(
        path.stem for path in Path(module.params["config_dir"]).glob("*.env") if pattern.fullmatch(path.stem)
    )
    module.exit_json(
        changed=False,
        plan={**plan, "weights": wanted if plan["numa_policy"] == "weighted" else {}},
        build=build,
        model=model,
        missing=[str(path) for path, manifest in zip(manifests, (build, model)) if not manifest],
        stale=[name for name in found if name not in names],
    )


if __name__ == "__main__":
    main()
