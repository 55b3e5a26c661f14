# SPDX-License-Identifier: MIT
"""The memory_board filter; it is described in memory_board.yml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ansible.module_utils

# Filters and modules share their pure code; Ansible itself adds this directory for modules only.
ansible.module_utils.__path__.append(str(Path(__file__).resolve().parents[1] / "module_utils"))

from ansible.module_utils.memory_drawing import draw


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Any]:
        return {"memory_board": draw}
