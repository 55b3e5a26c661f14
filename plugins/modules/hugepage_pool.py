# SPDX-License-Identifier: MIT
"""Ansible module: the pool of huge pages of each memory node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hugepage_pool
short_description: Reserve huge pages on each memory node, or give them back
version_added: 0.1.0
author: llamatower contributors
description:
  - Sets C(nr_hugepages) of each node and reads back what the kernel reserved. Memory is compacted first.
  - Where a pool must grow beyond the free memory, the units in O(units) are stopped for it.
  - A node that cannot give its part fails the module with one sentence; the pool is then put back as it was, and the
    units are started again.
  - Pages that are in use when a pool shrinks are given back when their process ends.
  - A pool of another page size that this one is to replace, O(instead_of), is given back first, since there is no memory
    for both, and put back with the rest where this one fails.
extends_documentation_fragment:
  - llamatower.tower.attributes
options:
  page_bytes:
    description: Size of a page.
    type: int
    choices: [2097152, 1073741824]
    required: true
  pages:
    description: Number of pages by node number.
    type: dict
    required: true
  instead_of:
    description: Page sizes whose pools on the same nodes are given back for this one.
    type: list
    elements: int
    choices: [2097152, 1073741824]
    default: []
  units:
    description: Pattern of systemd units whose memory is in the way.
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows the pages of each node.
"""

EXAMPLES = r"""
- name: Reserve 300 GB on two nodes
  llamatower.tower.hugepage_pool:
    page_bytes: 1073741824
    pages: {0: 150, 1: 150}
    units: llama-server@*.service
"""

RETURN = r"""
before:
  description: Pages of each node before, by node number.
  returned: always
  type: dict
  sample: {"0": 0, "1": 0}
after:
  description: Pages of each node now, by node number; in check mode those that are wanted.
  returned: success
  type: dict
  sample: {"0": 150, "1": 150}
stopped:
  description: Units that were stopped.
  returned: success
  type: list
  elements: str
found:
  description: Pages that each node could give, by node number, before the pool was put back.
  returned: failure
  type: dict
  sample: {"0": 150, "1": 120}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.service.huge_pages import could_give, shortfall
from ..module_utils.sysfs import NODES, node_meminfo, read_int

COMPACT = Path("/proc/sys/vm/compact_memory")
# Compaction moves what it can at the moment; what was pinned then may be movable a moment later.
ATTEMPTS = 3


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "page_bytes": {"type": "int", "required": True, "choices": [2**21, 2**30]},
            "pages": {"type": "dict", "required": True},
            "instead_of": {"type": "list", "elements": "int", "choices": [2**21, 2**30], "default": []},
            "units": {"type": "str"},
        },
        supports_check_mode=True,
    )
    page_bytes = module.params["page_bytes"]
    wanted = {int(node): int(count) for node, count in module.params["pages"].items()}

    def pool(node: int, size: int = page_bytes) -> Path:
        return NODES / f"node{node}/hugepages/hugepages-{size // 1024}kB/nr_hugepages"

    def counts(size: int = page_bytes) -> dict[int, int]:
        return {node: read_int(pool(node, size)) or 0 for node in wanted}

    def reserve(numbers: dict[int, int], size: int = page_bytes) -> None:
        for node, count in numbers.items():
            if (read_int(pool(node, size)) or 0) != count:
                pool(node, size).write_text(f"{count}\n", encoding="ascii")

    missing = [str(pool(node)) for node, count in wanted.items() if count and not pool(node).exists()]
    if missing:
        module.fail_json(msg=f"{missing[0]} is not there: this CPU or kernel has no huge pages of that size; use 2M.")
    before = counts()
    replaced = {size: found for size in module.params["instead_of"] if any((found := counts(size)).values())}
    stopped: list[str] = []
    diff = {"before": before, "after": wanted}
    changed = before != wanted or bool(replaced)
    if module.check_mode or not changed:
        module.exit_json(changed=changed, before=before, after=wanted, stopped=stopped, diff=diff)

    def free_bytes(node: int) -> int:
        return node_meminfo(node, NODES).get("MemFree", 0)

    if module.params["units"] and any((wanted[n] - before[n]) * page_bytes > free_bytes(n) for n in wanted):
        listing = ["systemctl", "list-units", "--state=active,activating", "--plain", "--no-legend"]
        _rc, text, _error = module.run_command([*listing, module.params["units"]], check_rc=True)
        stopped = [line.split()[0] for line in text.splitlines() if line.strip()]
        if stopped:
            module.run_command(["systemctl", "stop", *stopped], check_rc=True)
    for size in replaced:
        reserve(dict.fromkeys(wanted, 0), size)
    meminfo = {node: node_meminfo(node, NODES) for node in wanted}
    found = {node: min(wanted[node], could_give(meminfo[node], before[node], page_bytes)) for node in wanted}
    # A pool that takes the last page of a node has the kernel kill others for it: that is not even tried.
    for _attempt in range(ATTEMPTS if found == wanted else 0):
        if any(wanted[node] > count for node, count in counts().items()):
            COMPACT.write_text("1\n", encoding="ascii")
        reserve(wanted)
        found = counts()
        if found == wanted:
            break
    problem = shortfall(wanted, found, page_bytes)
    if problem:
        reserve(before)
        for size, numbers in replaced.items():
            reserve(numbers, size)
        if stopped:
            module.run_command(["systemctl", "start", "--no-block", *stopped])
        module.fail_json(msg=problem, before=before, found=found)
    if stopped:
        module.warn(
            f"{', '.join(stopped)} had to make room for the pool and is stopped: llamatower.tower.serve starts it."
        )
    module.exit_json(changed=True, before=before, after=found, stopped=stopped, diff=diff)


if __name__ == "__main__":
    main()
