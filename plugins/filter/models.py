# SPDX-License-Identifier: MIT
"""Filters over models; each is described in the file of its name beside this one."""

from __future__ import annotations

from typing import Any

from ..module_utils.model.distribution import distribution_plan
from ..module_utils.model.fit import disk_problem
from ..module_utils.model.store import model_plan
from ..module_utils.service.suggestion import suggestion


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {
            "disk_problem": disk_problem,
            "distribution_plan": distribution_plan,
            "model_plan": model_plan,
            "model_suggestion": suggestion,
        }
