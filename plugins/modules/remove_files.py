# SPDX-License-Identifier: MIT
"""Ansible module: remove files by name, and the directories that nothing is left in."""

from __future__ import annotations

DOCUMENTATION = r"""
module: remove_files
short_description: Remove what roles made, and say what is left beside it
version_added: 0.1.0
author: llamatower contributors
description:
  - Removes files, links and whole directories by patterns, and then those of O(directories) that have nothing else.
  - Follows no link, and leaves a directory that is a link or a mount point where it is.
  - Refuses, and removes nothing, where a job that runs holds a lock among them (C(*.lock), as
    M(llamatower.tower.progress_info) knows them).
extends_documentation_fragment:
  - llamatower.tower.attributes
options:
  paths:
    description: What is removed, as patterns of the shell with absolute paths; those that match nothing are passed over.
    type: list
    elements: str
    required: true
  directories:
    description: Directories that are removed where nothing is left in them.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    support: full
    details: Says what it would remove.
  diff_mode:
    support: full
    details: The paths that are removed.
"""

EXAMPLES = r"""
- name: Remove what was measured
  llamatower.tower.remove_files:
    paths: [/var/lib/llamatower/benchmarks, /var/lib/llamatower/tuning-main.json]
    directories: [/var/lib/llamatower]
"""

RETURN = r"""
removed:
  description: The paths that are removed.
  returned: success
  type: list
  elements: str
  sample: [/var/lib/llamatower/tuning-main.json]
bytes:
  description: The space that they took.
  returned: success
  type: int
size:
  description: The same as text.
  returned: success
  type: str
  sample: 283 MB
left:
  description: What O(directories) have besides.
  returned: success
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.files import bytes_of, removal_problem
from ..module_utils.removal import emptied, held_locks, left_in, matching, remove
from ..module_utils.text import size


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "str", "required": True},
            "directories": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    patterns, directories = module.params["paths"], module.params["directories"]
    relative = [path for path in [*patterns, *directories] if not os.path.isabs(path)]
    if relative:
        module.fail_json(msg=f"{relative[0]} is no absolute path: nothing was removed.")
    paths = matching(patterns)
    held = held_locks(paths)
    if held:
        module.fail_json(msg=f"A job that runs holds {held[0]}: wait for it; nothing was removed.")
    taken, empty = bytes_of(paths), emptied(directories, paths)
    left = [path for directory in directories for path in left_in(directory, [*paths, *empty])]
    if not module.check_mode:
        try:
            remove(paths)
            for path in empty:
                os.rmdir(path)
        except OSError as error:
            module.fail_json(msg=removal_problem(error))
    gone = [*paths, *empty]
    module.exit_json(
        changed=bool(gone),
        removed=gone,
        bytes=taken,
        size=size(taken),
        left=left,
        diff={"before": "".join(f"{path}\n" for path in gone), "after": ""},
    )


if __name__ == "__main__":
    main()
