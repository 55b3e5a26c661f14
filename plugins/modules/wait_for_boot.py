# SPDX-License-Identifier: MIT
"""Documentation of the wait_for_boot action, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wait_for_boot
short_description: Wait until a host has booted anew
version_added: 0.1.0
author: llamatower contributors
description:
  - Waits for a restart that something else has begun, such as a BMC. The host may still answer for a while, then not at
    all, and then anew; it is back when its boot has another identity than before.
  - M(ansible.builtin.wait_for_connection) would take a host that has not gone down yet for one that is back, and
    M(ansible.builtin.reboot) begins the restart itself.
extends_documentation_fragment:
  - llamatower.tower.attributes
options:
  boot:
    description:
      - Identity of the boot before, RV(llamatower.tower.tower_info#module:tower.boot_id). Without it, the first answer
        counts.
    type: str
  timeout:
    description: Seconds to wait.
    type: float
    default: 1800
  fix:
    description: What to do where it does not come back, a sentence that ends the message.
    type: str
attributes:
  check_mode:
    support: full
    details: Waits for nothing.
  diff_mode:
    support: none
    details: Changes nothing.
"""

EXAMPLES = r"""
- name: Read the tower before
  llamatower.tower.tower_info:
  register: before

- name: Wait until the tower has restarted
  llamatower.tower.wait_for_boot:
    boot: "{{ before.tower.boot_id }}"
    timeout: 1800
    fix: See its console.
  register: after
"""

RETURN = r"""
tower:
  description: The new boot, with the keys of RV(llamatower.tower.tower_info#module:tower); null in check mode.
  returned: success
  type: dict
"""
