# SPDX-License-Identifier: MIT
"""What a build's help text says of its settings."""

from __future__ import annotations

from plugins.module_utils.service.settings import load_mode_settings, option_choices, server_settings
from tests.llama_server import HELP, OLD_HELP


def test_the_help_text_tells_names_and_choices() -> None:
    assert {"LLAMA_ARG_LOAD_MODE", "LLAMA_ARG_ENDPOINT_SLOTS"} <= server_settings(HELP)
    assert option_choices(HELP, "--load-mode") == ["auto", "none", "mmap", "mlock", "mmap+mlock", "dio"]
    assert option_choices(HELP, "--threads") == []


def test_a_build_before_load_modes_gets_its_own_switches() -> None:
    assert load_mode_settings("none", OLD_HELP) == {"LLAMA_ARG_NO_MMAP": "1"}
    assert load_mode_settings("mmap", OLD_HELP) == {"LLAMA_ARG_MMAP": "1"}
    assert load_mode_settings("dio", OLD_HELP + "(env: LLAMA_ARG_DIO)") == {
        "LLAMA_ARG_NO_MMAP": "1",
        "LLAMA_ARG_DIO": "1",
    }
