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
  - Takes no page from a deployment that is served, and stops no server. Where servers have the memory that a pool needs,
    nothing is changed, and RV(deferred) is true; the switch to the deployment that needs it, which stops the server, then
    reserves it.
  - A node that cannot give its part fails the module with one sentence; the pool is then put back as it was.
  - Pages that are in use when a pool shrinks are given back when their process ends.
  - A pool of another page size that this one is to replace is given back first, since there is no memory for both, and
    put back with the rest where this one fails.
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
    description: Page sizes whose pools on the same nodes are given back for this one, besides that of O(at_boot).
    type: list
    elements: int
    choices: [2097152, 1073741824]
    default: []
  at_boot:
    description: Whether a file of tmpfiles.d reserves the pools early at each boot.
    type: bool
    default: false
  units:
    description: Pattern of systemd units whose memory may be in the way.
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
    at_boot: true
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
deferred:
  description: Whether servers have the memory that it needs, so that it is left to the switch.
  returned: success
  type: bool
found:
  description: Pages that each node could give, by node number, before the pool was put back.
  returned: failure
  type: dict
  sample: {"0": 150, "1": 120}
"""

import contextlib

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.lock import HeldError, changing, held_problem
from ..module_utils.service.deployment import current_deployments
from ..module_utils.service.huge_pages import Pool, read_boot_text, shortfall
from ..module_utils.service.pool import at_boot, read_at_boot, targets, write_at_boot
from ..module_utils.service.unit import module_call, started


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "page_bytes": {"type": "int", "required": True, "choices": [2**21, 2**30]},
            "pages": {"type": "dict", "required": True},
            "instead_of": {"type": "list", "elements": "int", "choices": [2**21, 2**30], "default": []},
            "at_boot": {"type": "bool", "default": False},
            "units": {"type": "str"},
        },
        supports_check_mode=True,
    )
    try:
        with contextlib.nullcontext() if module.check_mode else changing("the pool of huge pages"):
            resize(module)
    except HeldError as error:
        module.fail_json(msg=held_problem(error))
    except OSError as error:
        module.fail_json(msg=f"The pool of huge pages cannot be changed ({error}): make room there, or mount it.")


def resize(module: AnsibleModule) -> None:
    """Give the pool its pages, and exit."""
    options, page_bytes = module.params, module.params["page_bytes"]
    asked = {int(node): int(count) for node, count in options["pages"].items()}
    reserved = read_at_boot()
    former = {*options["instead_of"], *read_boot_text(reserved or "")} - {page_bytes}
    wanted = targets(page_bytes, asked, former, current_deployments())
    pools = {size: Pool(size, asked) for size in wanted}
    pool = pools[page_bytes]
    problem = pool.missing_problem(wanted[page_bytes]) or pool.never_problem(wanted[page_bytes])
    if problem:
        module.fail_json(msg=problem)
    before = {size: other.counts() for size, other in pools.items()}
    text = at_boot(wanted) if options["at_boot"] else reserved
    result = {"before": before[page_bytes], "after": wanted[page_bytes], "deferred": False}
    result["diff"] = {"before": before[page_bytes], "after": wanted[page_bytes]}
    if before == wanted and text == reserved:
        module.exit_json(changed=False, **result)
    freed = {node: sum((before[size][node] - wanted[size][node]) * size for size in former) for node in asked}
    if pool.lacks_room(wanted[page_bytes], freed):
        running = started(options["units"], module_call(module.run_command)) if options["units"] else []
        if running:
            module.warn(
                f"{', '.join(running)} has the memory that the pool of huge pages needs: it is reserved when "
                "llamatower.tower.serve switches to a deployment that needs it."
            )
            module.exit_json(changed=False, before=before[page_bytes], after=before[page_bytes], deferred=True)
    if module.check_mode:
        module.exit_json(changed=True, **result)
    for size in former:
        pools[size].reserve(wanted[size])
    found = pool.resize(wanted[page_bytes])
    problem = shortfall(wanted[page_bytes], found, page_bytes)
    if problem:
        for size in former:
            pools[size].reserve(before[size])
        module.fail_json(msg=problem, before=before[page_bytes], found=found)
    # After the kernel gave it: at a boot nothing would keep a pool that is too large from taking the last page of a node.
    write_at_boot(text)
    module.exit_json(changed=True, **result)


if __name__ == "__main__":
    main()
