# SPDX-License-Identifier: MIT
"""What the server is started with, where each setting came from, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.service.plan import make_plan
from tests.llama_server import HELP, OLD_HELP, settings, tower

GB = 10**9


BUILD: Any = {"key": "0123456789abcdef"}
MODEL: Any = {
    "name": "a-model",
    "bytes": 100 * GB,
    "files": [{"file": "m-00001-of-00002.gguf", "sha256": "0" * 64}, {"file": "m-00002-of-00002.gguf", "sha256": "1"}],
    "gguf": {"kv": {"elements": 500_000, "window_elements": 0, "window": 0, "state_bytes": 0}},
}


def tuning(**winner: Any) -> Any:
    return {
        "schema_version": 1,
        "build": BUILD["key"],
        "model": {"sha256": [entry["sha256"] for entry in MODEL["files"]]},
        "conditions": {"cpu": "A CPU", "cores": 32, "threads_per_core": 2, "nodes": 2},
        "winner": {
            "numa_policy": "bind",
            "load_mode": "mmap",
            "huge_pages": "none",
            "threads": 12,
            "threads_batch": 32,
            "flash_attention": True,
        }
        | winner,
    }


def plan(stored: Any = None, machine: Any = None, text: str = HELP, **changes: Any) -> Any:
    return make_plan(settings(**changes), machine or tower(), BUILD, MODEL, stored, text)


def test_without_a_measurement_weights_are_interleaved_in_huge_pages_over_all_cores() -> None:
    found = plan()
    assert (found["numa_policy"], found["load_mode"], found["huge_pages"]) == ("interleave", "dio", "thp")
    assert (found["threads"], found["threads_batch"], found["problems"]) == (32, 32, [])
    (instance,) = found["units"]
    assert instance["prefix"] == ["/usr/bin/numactl", "--interleave=0-1"]
    environment = instance["environment"]
    assert environment["LLAMA_ARG_MODEL"] == "/var/lib/llama-models/a-model/m-00001-of-00002.gguf"
    assert environment["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4194304"
    assert environment["LLAMA_ARG_CORS_ORIGINS"] == "http://127.0.0.1:8080"
    assert not any("TOOLS" in name or "MCP" in name for name in environment)
    assert found["needed_bytes"] == found["budget"]["total"]
    # 1000 tokens have 1024 cells.
    assert (found["budget"]["weights"], found["budget"]["kv_cache"]) == (100 * GB, 1_024_000_000)
    assert found["start_seconds"] == 1600
    assert "not measured" in found["why"]["numa_policy"]


def test_what_was_measured_for_this_build_and_model_is_used() -> None:
    found = plan(tuning())
    assert (found["numa_policy"], found["load_mode"], found["huge_pages"]) == ("bind", "mmap", "none")
    assert (found["threads"], found["threads_batch"], found["flash_attention"]) == (12, 32, True)
    assert found["units"][0]["environment"]["LLAMA_ARG_FLASH_ATTN"] == "on"
    assert "hugetlb" not in found["units"][0]["environment"]["GLIBC_TUNABLES"]
    assert found["units"][0]["intent"]["kernel_policy"] == "bind:0"


def test_flash_attention_is_not_left_out_where_its_scores_do_not_fit() -> None:
    """It is measured at a short context."""
    without = tuning(numa_policy="interleave", load_mode="dio", huge_pages="thp", flash_attention=False)
    assert plan(without)["flash_attention"] is False
    assert plan(without, huge_pages="hugetlb")["flash_attention"] is None
    # 100 GB of weights, 131 GB of cache, 54 GB of scores.
    assert plan(without, tower(2, 120), context=131_072)["flash_attention"] is None


def test_a_measurement_of_another_build_is_not_used() -> None:
    assert plan(tuning() | {"build": "f" * 16})["numa_policy"] == "interleave"


def test_what_is_set_goes_before_what_was_measured() -> None:
    found = plan(tuning(), numa_policy="interleave", threads=8, flash_attention=False)
    assert (found["numa_policy"], found["threads"], found["flash_attention"]) == ("interleave", 8, False)
    assert found["load_mode"] == "dio"


def test_a_measured_combination_that_the_unit_would_refuse_is_not_used() -> None:
    found = plan(tuning(numa_policy="distribute", load_mode="dio"))
    assert (found["numa_policy"], found["problems"]) == ("interleave", [])


def test_a_measured_policy_that_no_longer_fits_is_not_used() -> None:
    assert plan(tuning(), tower(2, 90))["numa_policy"] == "interleave"


def test_a_measurement_of_other_hardware_is_not_used() -> None:
    found = plan(tuning(numa_policy="none", threads=128), tower(4))
    assert (found["numa_policy"], found["threads"]) == ("interleave", 64)


def test_a_policy_that_was_measured_with_another_load_mode_than_the_one_set_is_not_used() -> None:
    found = plan(tuning(numa_policy="distribute"), load_mode="dio")
    assert (found["numa_policy"], found["load_mode"], found["problems"]) == ("interleave", "dio", [])
    assert "does not go with the other settings" in found["why"]["numa_policy"]


def test_threads_that_were_measured_on_other_cpus_are_not_used() -> None:
    whole = tuning(numa_policy="interleave", load_mode="dio", huge_pages="thp", threads=32)
    assert [plan(whole, numa_policy=policy)["threads"] for policy in ("bind", "per_node")] == [16, 16]
    bound = tuning(threads=12)
    assert plan(bound, numa_policy="interleave")["threads"] == 32
    assert plan(bound, numa_policy="per_node")["threads"] == 12
    assert plan(bound, numa_policy="bind", numa_node=1)["threads"] == 16


def test_what_was_measured_on_a_node_is_not_looked_for_where_no_node_has_both_cpus_and_memory() -> None:
    machine = tower()
    for node in machine["nodes"]:
        node["cpus"] = []
    assert plan(tuning(), machine)["numa_policy"] == "interleave"


def test_a_model_that_nearly_fills_the_memory_is_mapped() -> None:
    found = plan(machine=tower(2, 52))
    assert (found["load_mode"], found["huge_pages"]) == ("mmap", "none")
    assert "too little" in found["why"]["load_mode"]


def test_distribute_maps_the_file_and_warms_up_by_generating() -> None:
    found = plan(numa_policy="distribute")
    (instance,) = found["units"]
    assert (found["load_mode"], instance["prefix"]) == ("mmap", [])
    assert instance["environment"]["LLAMA_ARG_NUMA"] == "distribute"
    assert "--no-warmup" in found["options"]
    assert instance["intent"]["warm_up_tokens"] > 0
    assert (instance["intent"]["tolerance"], instance["intent"]["least_share"]) == (None, 0.25)
    assert plan()["units"][0]["intent"]["least_share"] is None


def test_distribute_has_all_threads_take_the_same_parts_of_the_weights() -> None:
    found = plan(numa_policy="distribute", threads=8)
    assert (found["threads_batch"], found["problems"]) == (8, [])
    (problem,) = plan(numa_policy="distribute", threads=8, threads_batch=1)["problems"]
    assert "needs a thread on each of the 2 nodes, and 1 decode or read prompts" in problem


def test_per_node_is_one_instance_a_node_with_its_own_port_and_the_node_s_cores() -> None:
    found = plan(numa_policy="per_node")
    assert [(entry["name"], entry["port"], entry["node"]) for entry in found["units"]] == [
        ("main-node0", 8080, 0),
        ("main-node1", 8081, 1),
    ]
    assert found["threads"] == 16
    assert [entry["intent"]["kernel_policy"] for entry in found["units"]] == ["bind:0", "bind:1"]


def test_weighted_expects_shares_by_the_weights() -> None:
    (instance,) = plan(numa_policy="weighted", weights={0: 3, 1: 2})["units"]
    assert instance["intent"]["weights"] == {0: 3, 1: 2}
    assert instance["prefix"][1] == "--weighted-interleave=0-1"
    assert "has 1: 300" in plan(numa_policy="weighted", weights={0: 3, 1: 300})["problems"][0]


def test_a_pool_of_huge_pages_is_asked_for_by_its_page_size() -> None:
    found = plan(huge_pages="hugetlb", huge_page_bytes=2**30)
    assert found["units"][0]["environment"]["GLIBC_TUNABLES"].startswith("glibc.malloc.hugetlb=1073741824:")
    assert found["units"][0]["intent"]["page_bytes"] == 2**30
    assert plan()["units"][0]["intent"]["page_bytes"] is None


def test_an_open_server_is_asked_over_loopback() -> None:
    unit = plan(host="0.0.0.0")["units"][0]
    assert (unit["url"], unit["intent"]["url"], unit["tls"]) == ("http://127.0.0.1:8080", "http://127.0.0.1:8080", None)


def test_with_tls_clients_come_to_the_same_port_and_the_server_is_on_loopback_behind_it() -> None:
    found = plan(host="0.0.0.0", tls=True)
    (unit,) = found["units"]
    assert (unit["url"], unit["port"], unit["tls"]) == ("https://127.0.0.1:8080", 8080, "0.0.0.0:8080")
    names = ("LLAMA_ARG_HOST", "LLAMA_ARG_PORT", "LLAMA_ARG_CORS_ORIGINS")
    assert [unit["environment"][name] for name in names] == ["127.0.0.1", "18080", "https://127.0.0.1:8080"]
    # The check of the server does not depend on what is before it, and kills it for no certificate.
    assert unit["intent"]["url"] == "http://127.0.0.1:18080"
    assert found["problems"] == []


def test_with_tls_each_server_of_a_node_has_its_own_port_behind() -> None:
    units = plan(tls=True, tls_backend_port=9000, numa_policy="per_node")["units"]
    assert [unit["tls"] for unit in units] == ["127.0.0.1:8080", "127.0.0.1:8081"]
    assert [unit["environment"]["LLAMA_ARG_PORT"] for unit in units] == ["9000", "9001"]


def test_addresses_of_ipv6_are_in_brackets() -> None:
    for host, url in (("::", "http://[::1]:8080"), ("2001:db8::7", "http://[2001:db8::7]:8080")):
        assert plan(host=host)["units"][0]["url"] == url


def test_booleans_are_written_in_the_server_s_words() -> None:
    environment = plan(extra={"LLAMA_ARG_A": True, "LLAMA_ARG_B": False, "LLAMA_ARG_C": 1})["units"][0]["environment"]
    assert [environment[f"LLAMA_ARG_{name}"] for name in "ABC"] == ["true", "false", "1"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"machine": {**tower(), "nodes": [*tower()["nodes"], {"node": 2, "memory_bytes": 20 * GB, "cpus": []}]}},
            "node 2 has 20.0",
        ),
        ({"numa_policy": "bind", "context": 100_000}, "needs 204.9 GB on node 0"),
        ({"numa_policy": "distribute", "load_mode": "dio"}, "places the pages of a mapped file"),
        ({"numa_policy": "per_node", "load_mode": "mmap"}, "needs a copy of the weights on each node"),
        ({"huge_pages": "hugetlb", "load_mode": "mmap"}, "Nothing would use the pool of huge pages"),
        ({"text": OLD_HELP, "load_mode": "mlock"}, "cannot load in mode mlock"),
        ({"text": HELP.replace("- dio:", "- other:")}, "cannot load in mode dio"),
        ({"text": HELP.replace("--threads-batch", "--tb")}, "does not know --threads-batch"),
        ({"extra": {"LLAMA_ARG_TOP_KK": 5}}, "does not know LLAMA_ARG_TOP_KK"),
        ({"tls": True, "tls_backend_port": 8080}, "Behind TLS the server would listen on port 8080"),
        ({"tls": True, "port": 60000}, "Behind TLS the server would listen on port 70000"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, Any], sentence: str) -> None:
    problems = plan(**changes)["problems"]
    assert sentence in " ".join(problems), problems


def test_nothing_installed_yet_is_nothing_refused() -> None:
    found = make_plan(settings(), tower(), None, None)
    assert found["problems"] == []
    assert found["needed_bytes"] == 0
