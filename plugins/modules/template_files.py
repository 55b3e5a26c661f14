# SPDX-License-Identifier: MIT
"""Ansible module: files written from templates, several in one go."""

from __future__ import annotations

DOCUMENTATION = r"""
module: template_files
short_description: Write several files from templates in one go
version_added: 0.1.0
author: llamatower contributors
description:
  - Renders a template for each file, as M(ansible.builtin.template) does, and writes those that differ. A loop over that
    module asks the tower twice for every file, and this one once for all.
  - Each file is whole or as it was, belongs to root, and is readable by everybody, whatever the umask of root is.
extends_documentation_fragment:
  - llamatower.tower.attributes
options:
  paths:
    description:
      - The files. The template of F(/etc/sysctl.d/90-llamatower.conf) is C(90-llamatower.conf.j2), wherever
        M(ansible.builtin.template) would find it.
    type: list
    elements: path
    required: true
  files:
    description:
      - The text of each file.
      - The action of this name renders it; leave it out.
    type: dict
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
"""

EXAMPLES = r"""
- name: Write the settings for every boot
  llamatower.tower.template_files:
    paths: [/etc/sysctl.d/90-llamatower.conf, /etc/tmpfiles.d/llamatower.conf]
"""

RETURN = r"""
written:
  description: The files that were written or given their mode.
  returned: success
  type: list
  elements: str
  sample: [/etc/sysctl.d/90-llamatower.conf]
"""

import os
import stat

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.files import write_beside, write_problem

MODE = 0o644


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "required": True},
            "files": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    files = module.params["files"] or {}
    if set(files) != set(module.params["paths"]):
        module.fail_json(
            msg="The text of the files is missing: leave the option out, and the action of this module renders it."
        )
    differences: list[dict[str, str]] = []
    for path, text in files.items():
        try:
            before = None
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    before = file.read()
            if before == text and stat.S_IMODE(os.stat(path).st_mode) == MODE:
                continue
            if not module.check_mode:
                write_beside(path, text, MODE)
        except OSError as error:
            module.fail_json(msg=write_problem(path, error), changed=bool(differences) and not module.check_mode)
        differences.append({"before_header": path, "after_header": path, "before": before or "", "after": text})
    module.exit_json(changed=bool(differences), written=[one["after_header"] for one in differences], diff=differences)


if __name__ == "__main__":
    main()
