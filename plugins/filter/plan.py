# SPDX-License-Identifier: MIT
"""Filters of llamatower.tower.plan; each is described in the file of its name beside this one."""

from __future__ import annotations

import json
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.forecast import purchase as plan
from ..module_utils.forecast.catalog import PlanError, check_catalog, options_of


def forecast_problem(models: Any, machines: Any, names: dict[str, Any], options: dict[str, Any]) -> str | None:
    try:
        options_of(options)
        check_catalog(models, machines)
        plan.choose(models, names["models"], "model")
        plan.choose(machines, names["machines"], "machine")
    except PlanError as error:
        return str(error)
    return None


def forecast_plan(
    models: list[dict[str, Any]],
    machines: list[dict[str, Any]],
    names: dict[str, list[str]],
    sources: list[dict[str, Any]],
    towers: list[dict[str, Any]],
    options: dict[str, Any],
) -> dict[str, Any]:
    try:
        options = options_of(options)
        check_catalog(models, machines)
        found = [plan.from_source(entry) for entry in sources]
        # Who names models or towers of their own wants those, and of the catalog only what they name.
        chosen = [] if found and not names["models"] else plan.choose(models, names["models"], "model")
        boxes = [] if towers and not names["machines"] else plan.choose(machines, names["machines"], "machine")
    except PlanError as error:
        raise AnsibleFilterError(str(error)) from error
    figures = plan.thread_figures(models, machines) if not found and not towers else []
    document = plan.plan([*found, *chosen], [*(plan.from_tower(**tower) for tower in towers), *boxes], options, figures)
    # Plain data: what Ansible hands over may be its own kinds of text.
    plain: dict[str, Any] = json.loads(json.dumps(document))
    return plain


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {
            "forecast_plan": forecast_plan,
            "forecast_problem": forecast_problem,
            "forecast_text": plan.plan_text,
        }
