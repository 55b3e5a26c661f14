# SPDX-License-Identifier: MIT
"""The memory_board filter; it is described in memory_board.yml."""

from __future__ import annotations

from typing import Any

from ..module_utils.memory.drawing import draw


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Any]:
        return {"memory_board": draw}
