# SPDX-License-Identifier: MIT
"""Filters of llamatower.tower.plan; each is described in the file of its name beside this one."""

from __future__ import annotations

import json
from typing import Any

from ansible import context
from ansible.errors import AnsibleFilterError

from ..module_utils.forecast.catalog import PlanError, from_source, from_tower
from ..module_utils.forecast.document import MachineEntry, PlanDocument
from ..module_utils.forecast.purchase import purchase_plan
from ..module_utils.forecast.question import Question, as_typed, question
from ..module_utils.forecast.thread_figures import thread_figures
from ..module_utils.model.document import ResolvedModel
from ..module_utils.report.plan_text import plan_text


def _asked(models: Any, machines: Any, names: dict[str, Any], options: dict[str, Any]) -> Question:
    arguments = [str(argument) for argument in context.CLIARGS.get("extra_vars") or ()]
    given = {key: as_typed(value, f"plan_{key}", arguments) for key, value in names.items()}
    return question(models, machines, given, options)


def forecast_problem(models: Any, machines: Any, names: dict[str, Any], options: dict[str, Any]) -> str | None:
    try:
        _asked(models, machines, names, options)
    except PlanError as error:
        return str(error)
    return None


def forecast_plan(
    models: Any,
    machines: Any,
    names: dict[str, Any],
    sources: list[ResolvedModel],
    towers: list[dict[str, Any]],
    options: dict[str, Any],
) -> PlanDocument:
    try:
        asked = _asked(models, machines, names, options)
    except PlanError as error:
        raise AnsibleFilterError(str(error)) from error
    # Who names models or towers of their own wants those, and of the catalog only what they name.
    chosen = [] if sources and asked.models is models else asked.models
    boxes = [] if towers and asked.machines is machines else asked.machines
    own: list[MachineEntry] = [from_tower(**tower) for tower in towers]
    document = purchase_plan(
        [*map(from_source, sources), *chosen],
        [*own, *boxes],
        asked.options,
        asked.memory,
        str(options["today"]),
        thread_figures(models, machines, asked.memory) if not sources and not towers else [],
    )
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
