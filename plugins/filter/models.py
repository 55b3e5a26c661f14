# SPDX-License-Identifier: MIT
"""Filters over models; each is described in the file of its name beside this one."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.advice.suggestion import declared, suggestion
from ..module_utils.model.distribution import distribution_plan
from ..module_utils.model.document import ModelEntry
from ..module_utils.model.fit import disk_problem
from ..module_utils.model.store import model_plan


def catalog_model(catalog: list[ModelEntry], name: str) -> dict[str, str]:
    try:
        return declared(catalog, name)
    except KeyError as error:
        raise AnsibleFilterError(error.args[0]) from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {
            "catalog_model": catalog_model,
            "disk_problem": disk_problem,
            "distribution_plan": distribution_plan,
            "model_plan": model_plan,
            "model_suggestion": suggestion,
        }
