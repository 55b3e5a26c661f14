# SPDX-License-Identifier: MIT
"""Ansible module: where the memory of a running server lies."""

from __future__ import annotations

DOCUMENTATION = r"""
module: numa_placement_info
short_description: On which NUMA nodes the weights of a running server lie
version_added: 0.1.0
author: llamatower contributors
description:
  - Reads C(/proc/PID/numa_maps) and C(/proc/PID/smaps) of a process once and sums the mappings of model
    files and the large anonymous buffers by NUMA node, page size and memory policy.
  - Return codes of mbind or numactl prove nothing; this is what the kernel really did.
  - Needs root or the user of the process.
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.attributes.info
options:
  unit:
    description: The systemd unit whose main process is read. One of O(unit), O(pid) and O(path) is needed.
    type: str
  pid:
    description: The process to read.
    type: int
  path:
    description: A directory with saved C(numa_maps) and C(smaps) files to read instead of a process.
    type: path
  intent:
    description: Where the memory should lie, as M(llamatower.tower.llama_service_plan) returns it for an instance.
    type: dict
    suboptions:
      nodes:
        description: The nodes that should hold it.
        type: list
        elements: int
        required: true
      weights:
        description: How much each node should have of it, by node; empty for the same.
        type: dict
        required: true
      kernel_policy:
        description: The kernel's memory policy, such as V(interleave:0-1); null for any.
        type: str
      huge_pages:
        description: The kind of its pages.
        type: str
        choices: [thp, hugetlb, none]
        required: true
      page_bytes:
        description: Bytes of a page of the pool; null without one.
        type: int
      tolerance:
        description: How far the nodes may be apart, as a part of their mean; null for any.
        type: float
      least_share:
        description: How much of the mean each node has at least; null for any.
        type: float
      url:
        description: Where the server answers; not used here, as those below.
        type: str
      warm_up_tokens:
        description: Tokens that are generated before it counts as started.
        type: int
      placement_failure:
        description: Whether memory that lies elsewhere makes the start fail, or is a warning.
        type: str
        choices: [fail, warn]
"""

EXAMPLES = r"""
- name: See where the weights of the main server lie
  llamatower.tower.numa_placement_info:
    unit: llama-server@main.service
  register: placement

- name: See where they lay on another machine, from saved files
  llamatower.tower.numa_placement_info:
    path: /srv/saved/llama-server
    intent:
      nodes: [0, 1]
      weights: {}
      kernel_policy: interleave:0-1
      huge_pages: none
      page_bytes: null
      tolerance: 0.01
      least_share: null
  register: saved

- name: Say whether they lay where they should
  ansible.builtin.debug:
    msg: "{{ saved.problem or 'as intended' }}"
"""

RETURN = r"""
numa_placement:
  description: Sizes in bytes. All but C(source) and C(pid) are null when the process does not run.
  returned: always
  type: dict
  contains:
    source: {description: "What was read, C(none) where nothing runs.", type: str, returned: always, sample: /proc/1234}
    pid: {description: The process; null for saved files or a unit that does not run., type: int, returned: always}
    nodes: {description: Bytes by node number., type: dict, returned: always, sample: {"0": 141000000, "1": 141000000}}
    bytes: {description: Sum over the nodes., type: int, returned: always}
    huge_bytes: {description: Bytes of them in huge pages of any kind., type: int, returned: always}
    pool_bytes: {description: Bytes of them in pages of a pool (hugetlb)., type: int, returned: always}
    swapped_bytes: {description: Bytes swapped out., type: int, returned: always}
    policies: {description: Bytes by the kernel's policy string., type: dict, returned: always, sample: {"interleave:0-1": 282000000}}
    files: {description: Model files that are mapped., type: list, elements: str, returned: always}
    mappings: {description: Number of mappings counted., type: int, returned: always}
problem:
  description: One sentence where the memory does not lie as O(intent) says; null where it does, or without O(intent).
  returned: always
  type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.service.document import Placement
from ..module_utils.service.placement import placement_problem, summarize
from ..module_utils.service.unit import main_pid, module_call

# Null is never required: where it is, Ansible refuses it as a number and makes the word None of it as a text.
INTENT = {
    "nodes": {"type": "list", "elements": "int", "required": True},
    "weights": {"type": "dict", "required": True},
    "kernel_policy": {"type": "str"},
    "huge_pages": {"type": "str", "choices": ["thp", "hugetlb", "none"], "required": True},
    "page_bytes": {"type": "int"},
    "tolerance": {"type": "float"},
    "least_share": {"type": "float"},
    "url": {"type": "str"},
    "warm_up_tokens": {"type": "int", "no_log": False},
    "placement_failure": {"type": "str", "choices": ["fail", "warn"]},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str"},
            "pid": {"type": "int"},
            "path": {"type": "path"},
            "intent": {"type": "dict", "options": INTENT},
        },
        mutually_exclusive=[("unit", "pid", "path")],
        required_one_of=[("unit", "pid", "path")],
        supports_check_mode=True,
    )
    pid = module.params["pid"]
    if module.params["unit"]:
        pid = main_pid(module.params["unit"], module_call(module.run_command))
    source = module.params["path"] or (f"/proc/{pid}" if pid else "none")
    found = None
    if source != "none":
        try:
            found = summarize(*((Path(source) / name).read_text() for name in ("numa_maps", "smaps")))
        except OSError as error:
            module.fail_json(
                msg=f"{error.filename or source} cannot be read ({error.strerror}): run as root, and give a process that runs."
            )
    intent = module.params["intent"]
    problem = placement_problem(found or summarize("", ""), intent) if intent else None
    placement = found or dict.fromkeys(Placement.__annotations__)
    module.exit_json(changed=False, numa_placement={"source": source, "pid": pid, **placement}, problem=problem)


if __name__ == "__main__":
    main()
