# SPDX-License-Identifier: MIT
"""A virtual tower is left as it was before the first run: settings of its kernel, pools, units, users, boot files.

The last file of this level, since nothing is left for another one.
"""

from __future__ import annotations

import shlex

from tests.integration.machine_state import PROGRAM, differences, stays
from tests.integration.vm_site import Site

# What other tests of this level have installed and written.
OF_OTHERS = ["/usr/*", "/usr", "/var/*", "/lib/*", "/boot", "/home/*", "/root/*", "package"]
POOL = {"hugepages_mode": "hugetlb", "hugepages_bytes": 64 * 2**20}


def test_everything_is_as_before_the_first_run(site: Site) -> None:
    bare = (site.tower.dir / "bare.txt").read_text()
    settings = [line for line in bare.splitlines() if " value " in line]
    assert any("swappiness" in line for line in settings), settings
    assert site.playbook("playbooks/prepare.yml", **POOL).code == 0
    run = site.playbook("playbooks/uninstall.yml", uninstall_consent=[site.tower.name])
    assert run.code == 0
    assert run.finds(f"{site.tower.name} keeps models, .* until uninstall_models is true"), run.output
    after = site.tower.ssh(f"sudo sh -c {shlex.quote(PROGRAM)}")
    found = differences(bare, after, [*stays(), *OF_OTHERS])
    assert [line for line in found if "llama" in line or not line.startswith(("-unit", "+unit"))] == []
