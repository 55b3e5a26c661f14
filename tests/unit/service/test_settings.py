# SPDX-License-Identifier: MIT
"""What a build's help text says of its settings, and which settings are refused."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.service.numa_policy import POLICIES
from plugins.module_utils.service.plan import make_plan
from plugins.module_utils.service.settings import (
    FREE,
    OLD_LOAD_MODES,
    OWNERS,
    extra_settings,
    load_mode_settings,
    option_choices,
    server_settings,
    setting_problems,
)
from tests.llama_server import HELP, OLD_HELP, settings, tower


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


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("LLAMA_ARG_PORT", "llama_service_port"),
        ("LLAMA_ARG_MODEL_URL", "llama_service_model"),
        ("LLAMA_API_KEY", "llama_service_api_keys"),
        ("LLAMA_ARG_CTX_SIZE", "llama_service_context"),
        ("LLAMA_ARG_MLOCK", "llama_service_load_mode"),
        ("LLAMA_ARG_NO_MMAP", "llama_service_load_mode"),
        ("LLAMA_ARG_NO_DIO", "llama_service_load_mode"),
        ("LLAMA_ARG_NO_ENDPOINT_METRICS", "llama_service_metrics"),
        ("GLIBC_TUNABLES", "llama_service_huge_pages"),
    ],
)
def test_what_a_variable_decides_cannot_be_an_extra_setting(name: str, variable: str) -> None:
    assert setting_problems(settings(extra={name: "x"})) == [
        f"llama_service_extra has {name}, which {variable} decides: set that variable instead."
    ]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"extra": {"LLAMA_ARG_API_PREFIX": "/x"}}, "ask without one"),
        ({"extra": {"--top-k": 5}}, "has the name '--top-k'"),
        ({"extra": {"A\nB": 5}}, "has the name 'A\\nB'"),
        ({"extra": {"LLAMA_ARG_X": "a\nLLAMA_API_KEY=x"}}, "has more than one line"),
        ({"extra": {"LLAMA_ARG_X": None}}, "The value of LLAMA_ARG_X in llama_service_extra is empty"),
        ({"context": 0}, "llama_service_context is 0: it must be at least 1"),
        ({"context": -1}, "llama_service_context is -1"),
        ({"parallel": 0}, "llama_service_parallel is 0"),
        ({"model_path": "/home/ann/models/m"}, "llama_service_model_dir leads to /home/ann/models/m"),
        ({"model_path": "/srv/../root/m"}, "sees nothing below /root"),
        ({"build_root": "/tmp"}, "llama_service_build_root leads to /tmp"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(changes: dict[str, Any], sentence: str) -> None:
    (problem,) = setting_problems(settings(**changes))
    assert sentence in problem


def test_what_looks_like_it_is_not_refused() -> None:
    fine = {"model_path": "/homes/m", "build_root": "/srv/tmp", "tls_backend_port": 8080}
    assert setting_problems(settings(**fine, extra={"LLAMA_ARG_TOP_K": 20, "OMP_WAIT_POLICY": "passive"})) == []


def test_lists_and_dictionaries_become_json() -> None:
    assert extra_settings({"A": {"thinking": False}, "B": ["x\ny"], "C": "a b"}) == {
        "A": '{"thinking": false}',
        "B": '["x\\ny"]',
        "C": "a b",
    }


def test_every_name_that_a_plan_sets_is_a_variable_s_or_free() -> None:
    everything = {"tls": True, "metrics": True, "flash_attention": True}
    names: set[str] = set()
    for policy in POLICIES:
        for mode in (*OLD_LOAD_MODES, "auto"):
            for text in (None, HELP, OLD_HELP + "(env: LLAMA_ARG_DIO) (env: LLAMA_ARG_MLOCK)"):
                made = make_plan(
                    settings(numa_policy=policy, load_mode=mode, **everything), tower(), None, None, None, text
                )
                names |= {name for instance in made["units"] for name in instance["environment"]}
    assert {"LLAMA_ARG_NUMA", "GLIBC_TUNABLES", "LLAMA_ARG_DIO", "LLAMA_ARG_LOAD_MODE"} <= names
    assert names - set(OWNERS) == FREE


def test_the_server_is_given_no_certificate_of_its_own() -> None:
    """It would read one at its start only; and whoever names one in llama_service_extra is told which variable does."""
    (problem,) = setting_problems(settings(extra={"LLAMA_ARG_SSL_CERT_FILE": "/etc/ssl/tower.pem"}))
    assert "which llama_service_tls_certificate decides" in problem


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        # A negative number of checkpoints is no limit to the engine, and was counted as none.
        ({"checkpoints": -1}, "llama_service_context_checkpoints is -1: it must be at least 0."),
        ({"reserve_bytes": -(10**12)}, "llama_service_memory_reserve_bytes is -1000000000000: it must be at least 0."),
        ({"bytes_per_second": 0}, "llama_service_slowest_load_bytes_per_second is 0: it must be at least 1."),
        ({"tolerance": float("nan")}, "llama_service_placement_tolerance is nan: it must be at least 0."),
        ({"check_tokens": 0}, "llama_service_check_tokens is 0: it must be at least 1."),
        ({"check_tokens": -1}, "llama_service_check_tokens is -1: it must be at least 1."),
        ({"threads": 0}, "llama_service_threads is 0: it must be at least 1."),
        ({"threads_batch": -4}, "llama_service_threads_batch is -4: it must be at least 1."),
        ({"pool_bytes": -5}, "llama_service_pool_bytes is -5: it must be at least 1."),
        ({"port": 0}, "llama_service_port is 0, and a port is a number from 1 to 65535: give it another."),
        ({"port": 65535, "numa_policy": "per_node"}, "llama_service_port is 65535, and a port is a number from 1"),
        ({"port": 443}, "llama_service_port is 443, and the server's user may listen from 1024 on"),
        (
            {"numa_policy": "per_node", "tls": True, "tls_backend_port": 8081},
            "Behind TLS a server would listen on the port of another one's clients",
        ),
        ({"host": "0.0.0.0 ssl"}, "llama_service_host is '0.0.0.0 ssl'"),
        ({"numa_weights": {"first": 2}}, "llama_service_numa_weights has what is no number"),
        ({"extra": {"LLAMA_ARG_UBATCH": "4096k"}}, "LLAMA_ARG_UBATCH in llama_service_extra is '4096k'"),
        ({"extra": {"LLAMA_ARG_CACHE_RAM": "-1.0"}}, "LLAMA_ARG_CACHE_RAM in llama_service_extra is '-1.0'"),
    ],
    ids=str,
)
def test_what_the_server_would_take_otherwise_than_it_is_counted_is_refused(
    changes: dict[str, Any], problem: str
) -> None:
    (found,) = make_plan(settings(**changes), tower(), None, None)["problems"]
    assert found.startswith(problem)


def test_https_may_listen_on_its_own_port_and_a_refused_port_is_read_by_nobody() -> None:
    assert make_plan(settings(port=443, tls=True), tower(), None, None)["problems"] == []
    found = make_plan(settings(extra={"LLAMA_ARG_PORT": "many"}), tower(), None, None)
    assert "which llama_service_port decides" in found["problems"][0]
    assert found["units"][0]["environment"]["LLAMA_ARG_PORT"] == "8080"
