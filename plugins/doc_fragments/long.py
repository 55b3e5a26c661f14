# SPDX-License-Identifier: MIT
"""The option of modules that take minutes or hours."""

from __future__ import annotations


class ModuleDocFragment:
    """``llamatower.tower.long``: a module that the action ``long_module`` runs."""

    DOCUMENTATION = r"""
options:
  progress_path:
    description:
      - The file on the host that tells how far the module is, as M(llamatower.tower.progress_info) reads it. A lock
        beside it lets one job after the other work.
    type: path
    required: true
  by:
    description: Who wants it, for those who wait; the action of this module says it.
    type: str
    default: ""
notes:
  - Runs detached from the connection, and shows how far it is. When the connection or the controller is lost, it goes
    on; the next run waits for it, or goes on from where it was killed.
"""
