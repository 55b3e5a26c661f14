# SPDX-License-Identifier: MIT
"""Filters of llamatower.tower.plan; each is described in the file of its name beside this one."""

from __future__ import annotations

import json
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.forecast.catalog import (
    PlanError,
    check_catalog,
    choose_machines,
    choose_models,
    from_source,
    from_tower,
)
from ..module_utils.forecast.document import MachineEntry, PlanDocument
from ..module_utils.forecast.purchase import options_of, purchase_plan
from ..module_utils.forecast.thread_figures import thread_figures
from ..module_utils.model.document import ModelEntry, ResolvedModel
from ..module_utils.report.plan_text import plan_text


def forecast_problem(models: Any, machines: Any, names: dict[str, Any], options: dict[str, Any]) -> str | None:
    try:
        options_of(options)
        check_catalog(models, machines)
        choose_models(models, names["models"])
        choose_machines(machines, names["machines"])
    except PlanError as error:
        return str(error)
    return None


def forecast_plan(
    models: list[ModelEntry],
    machines: list[MachineEntry],
    names: dict[str, Any],
    sources: list[ResolvedModel],
    towers: list[dict[str, Any]],
    options: dict[str, Any],
) -> PlanDocument:
    try:
        asked = options_of(options)
        check_catalog(models, machines)
        # Who names models or towers of their own wants those, and of the catalog only what they name.
        chosen = [] if sources and not names["models"] else choose_models(models, names["models"])
        boxes = [] if towers and not names["machines"] else choose_machines(machines, names["machines"])
    except PlanError as error:
        raise AnsibleFilterError(str(error)) from error
    figures = thread_figures(models, machines) if not sources and not towers else []
    own: list[MachineEntry] = [from_tower(**tower) for tower in towers]
    document = purchase_plan([*map(from_source, sources), *chosen], [*own, *boxes], asked, figures)
    # Plain data: what Ansible hands over may be its own kinds of text.
    plain: PlanDocument = json.loads(json.dumps(document))
    return plain


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {
            "forecast_plan": forecast_plan,
            "forecast_problem": forecast_problem,
            "forecast_text": plan_text,
        }
