# SPDX-License-Identifier: MIT
"""Filters that render reports as HTML, Markdown and text; each is described in the file of its name beside this one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from ..module_utils.advice.fleet import fleet_differences
from ..module_utils.forecast.document import PlanDocument
from ..module_utils.report.document import Report, reports_of
from ..module_utils.report.fleet_page import fleet_view
from ..module_utils.report.markdown import tower_markdown
from ..module_utils.report.page import tower_view
from ..module_utils.report.plan_page import plan_view
from ..module_utils.report.terminal import fleet_text as towers_text
from ..module_utils.text import printable_data

ROLES = Path(__file__).resolve().parents[2] / "roles"
TEMPLATES = [ROLES / "report" / "templates", ROLES / "forecast" / "templates"]


def _render(name: str, view: Mapping[str, object]) -> str:
    # Ansible's own templating does not escape, and names of DIMMs and models are whatever somebody wrote there.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Plain data: what Ansible hands over may be its own kinds of text, some of which count as escaped.
    return environment.get_template(name).render(**printable_data(json.loads(json.dumps(view))))


def tower_page(document: Report) -> str:
    return _render("tower.html", tower_view(document))


def fleet_page(documents: list[Any], hosts: list[str], read: list[str], generated: str, plan: bool = False) -> str:
    known = reports_of(documents, hosts)
    return _render("fleet.html", fleet_view(known, fleet_differences(known), hosts, read, generated, plan))


def fleet_text(documents: list[Any], read: list[str], directory: str) -> str:
    return towers_text(reports_of(documents, read), directory)


def forecast_page(document: PlanDocument) -> str:
    return _render("plan.html", plan_view(document))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {
            "fleet_page": fleet_page,
            "fleet_text": fleet_text,
            "forecast_page": forecast_page,
            "tower_markdown": tower_markdown,
            "tower_page": tower_page,
        }
