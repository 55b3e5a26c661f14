# SPDX-License-Identifier: MIT
"""Filters over what a tower is and what it serves with; each is described in the file of its name."""

from __future__ import annotations

from typing import Any

from ..module_utils.advice.kernel import kernel_differences
from ..module_utils.advice.preflight import tower_problems
from ..module_utils.memory.drawing import draw
from ..module_utils.report.document import build_report
from ..module_utils.report.terminal import report_text
from ..module_utils.service.account import account_problem
from ..module_utils.service.api_keys import key_problems
from ..module_utils.service.huge_pages import pool_plan
from ..module_utils.service.instances import instance_certificates, instance_settings, service_result
from ..module_utils.service.unit_files import unit_word
from ..module_utils.sysfs import format_cpu_list
from ..module_utils.text import file_name, tower_names


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {
            "api_key_problems": key_problems,
            "account_problem": account_problem,
            "cpu_list": format_cpu_list,
            "file_name": file_name,
            "hugepage_plan": pool_plan,
            "instance_certificates": instance_certificates,
            "instance_settings": instance_settings,
            "kernel_differences": kernel_differences,
            "memory_board": draw,
            "report_text": report_text,
            "service_result": service_result,
            "tower_names": tower_names,
            "tower_problems": tower_problems,
            "tower_report": build_report,
            "unit_word": unit_word,
        }
