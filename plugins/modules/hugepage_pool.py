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

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.service.huge_pages import Pool, shortfall
from ..module_utils.service.unit import started


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
    options = module.params
    wanted = {int(node): int(count) for node, count in options["pages"].items()}
    pool = Pool(options["page_bytes"], wanted)
    problem = pool.missing_problem(wanted)
    if problem:
        module.fail_json(msg=problem)
    before = pool.counts()
    others = {other: other.counts() for other in (Pool(size, wanted) for size in options["instead_of"])}
    others = {other: counts for other, counts in others.items() if any(counts.values())}
    diff = {"before": before, "after": wanted}
    changed = before != wanted or bool(others)
    if module.check_mode or not changed:
        module.exit_json(changed=changed, before=before, after=wanted, stopped=[], diff=diff)

    def run(words: list[str]) -> str:
        return str(module.run_command(words, check_rc=True)[1])

    stopped = started(options["units"], run) if options["units"] and pool.lacks_room(wanted) else []
    if stopped:
        run(["systemctl", "stop", *stopped])
    for other in others:
        other.reserve(dict.fromkeys(wanted, 0))
    found = pool.resize(wanted)
    problem = shortfall(wanted, found, pool.page_bytes)
    if problem:
        for other, counts in others.items():
            other.reserve(counts)
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
