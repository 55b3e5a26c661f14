# SPDX-License-Identifier: MIT
"""The pool of huge pages: its size on each node, what is refused, and what a node could not give."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.service.huge_pages import (
    boot_parameters,
    boot_text,
    could_give,
    pool_pages,
    pool_plan,
    read_boot_text,
    shortfall,
)
from plugins.module_utils.service.plan import make_plan
from tests.llama_server import settings as service
from tests.llama_server import tower as llama_tower

GB = 10**9
KV: Any = {"elements": 250_000, "window_elements": 0, "window": 0, "state_bytes": 0}
MODEL: Any = {"name": "a-model", "bytes": 300 * GB, "gguf": {"kv": KV}}
SIZE_2M, SIZE_1G = 2**21, 2**30


def tower(*gigabytes: int, **changes: Any) -> Any:
    nodes = [
        {"node": number, "memory_bytes": size * GB, "cpus": [number]}
        for number, size in enumerate(gigabytes or (192, 192))
    ]
    return {
        "nodes": nodes,
        "thp": {"enabled": "madvise", "defrag": "madvise"},
        "container": None,
        "kernel": "6.12.48",
        "cpus": 64,
        "command_line": "root=/dev/nvme0n1 rw quiet",
    } | changes


def settings(*others: dict[str, Any], **changes: Any) -> Any:
    """Of one instance, and of others with their changes of it."""
    instance = {
        "model": "a-model",
        "context": 8192,
        "parallel": 1,
        "checkpoints": 8,
        "flash_attention": None,
        "extra": {},
        "numa_policy": "auto",
        "numa_node": None,
        "numa_weights": {},
        "load_mode": "auto",
    }
    own = {key: value for key, value in changes.items() if key in instance}
    return {
        "mode": "hugetlb",
        "size": "2M",
        "bytes": None,
        "models": [MODEL],
        "instances": [{**instance, **each} for each in (own, *others)],
        "reserve": "runtime",
        "boot_consent": False,
    } | {key: value for key, value in changes.items() if key not in own}


def test_the_pool_is_the_sum_of_all_instances() -> None:
    models = [{**MODEL, "bytes": 100 * GB}, {**MODEL, "name": "small", "bytes": 20 * GB}]
    main = pool_plan(tower(), settings(models=models))["pages"]
    bound = {"model": "small", "numa_policy": "bind", "numa_node": 1}
    small = pool_plan(tower(), settings(models=models, **bound))["pages"]
    assert small[0] == 0 < small[1]
    assert pool_plan(tower(), settings(bound, models=models))["pages"] == {
        node: main[node] + small[node] for node in main
    }
    mapped = pool_plan(tower(), settings({**bound, "load_mode": "mmap"}, models=models))
    assert "Nothing would use a pool" in str(mapped["problem"])


@pytest.mark.parametrize(("name", "page"), [("2M", SIZE_2M), ("1G", SIZE_1G)])
def test_the_pool_is_as_large_as_the_budget_of_the_server_evenly_on_the_nodes(name: str, page: int) -> None:
    found = pool_plan(tower(), settings(size=name))
    assert found["problem"] is None
    given = service(context=8192, huge_pages="hugetlb", huge_page_bytes=page)
    pages = -(-make_plan(given, llama_tower(), None, MODEL | {"files": []})["needed_bytes"] // page)
    assert found["pages"] == {0: -(-pages // 2), 1: -(-pages // 2)}


def test_checkpoints_and_scores_are_in_the_pool() -> None:
    windowed: Any = {**MODEL, "gguf": {"kv": {**KV, "window_elements": 250_000, "window": 1024}}}

    def pages(**changes: Any) -> int:
        return sum(pool_plan(tower(), settings(models=[windowed], **changes))["pages"].values())

    assert pages(checkpoints=0) < pages(checkpoints=8) < pages(checkpoints=8, flash_attention=False)


def test_bytes_that_are_set_are_what_is_reserved() -> None:
    assert pool_plan(tower(), settings(bytes=2**30))["pages"] == {0: 256, 1: 256}
    given = service(huge_pages="hugetlb", pool_bytes=2**30)
    assert make_plan(given, llama_tower(), None, MODEL | {"files": []})["pool"] == {
        "page_bytes": SIZE_2M,
        "pages": {0: 256, 1: 256},
    }


@pytest.mark.parametrize(
    ("policy", "options", "expected"),
    [
        ("interleave", {}, {0: 50, 1: 50}),
        ("weighted", {"weights": {0: 3, 1: 1}}, {0: 75, 1: 25}),
        ("bind", {"node": 1}, {0: 0, 1: 100}),
        ("per_node", {}, {0: 100, 1: 100}),
    ],
)
def test_the_pool_lies_where_the_policy_puts_the_memory(
    policy: str, options: dict[str, Any], expected: dict[int, int]
) -> None:
    assert pool_pages(100 * SIZE_2M, SIZE_2M, tower(), policy, **options) == expected


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"load_mode": "mmap"}, "Nothing would use a pool"),
        ({"numa_policy": "distribute"}, "Nothing would use a pool"),
        ({"bytes": 500 * GB}, "node 0 has 192.0 GB and needs 250.0"),
        ({"models": []}, "cannot be sized without a model"),
        ({"reserve": "boot"}, "hugepages_boot_consent"),
        ({"numa_policy": "weighted"}, "set llama_service_numa_weights"),
    ],
)
def test_a_pool_that_cannot_be_or_that_nothing_would_use_is_refused(changes: dict[str, Any], sentence: str) -> None:
    assert sentence in str(pool_plan(tower(), settings(**changes))["problem"])


def test_what_is_reserved_at_boot_is_read_back() -> None:
    pools = {SIZE_2M: {0: 160, 1: 150}, SIZE_1G: {0: 5, 1: 0}}
    assert read_boot_text(boot_text(pools)) == pools
    assert "w /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages - - - - 150\n" in boot_text(pools)
    assert read_boot_text("# Somebody's own.\nw /sys/kernel/mm/ksm/run - - - - 0\n") == {}


def test_a_kernel_that_does_not_know_nodes_at_boot_is_refused() -> None:
    at_boot = settings(reserve="boot", boot_consent=True)
    assert "came with 5.16" in str(pool_plan(tower(kernel="5.15.0-139-generic"), at_boot)["problem"])
    assert pool_plan(tower(kernel="5.15.0-139-generic"), settings())["problem"] is None
    assert pool_plan(tower(), at_boot)["problem"] is None


def test_transparent_huge_pages_need_a_kernel_that_gives_them() -> None:
    off = {"enabled": "never", "defrag": "madvise"}
    assert "kernel_tuning_thp" in str(pool_plan(tower(thp=off), settings(mode="thp"))["problem"])
    assert pool_plan(tower(thp=off, container="podman"), settings(mode="thp"))["problem"] is None
    assert pool_plan(tower(thp=None), settings(mode="none"))["problem"] is None
    assert pool_plan(tower(), settings(mode="thp"))["pages"] == {0: 0, 1: 0}


def test_what_a_node_did_not_give_is_told_by_node() -> None:
    assert shortfall({0: 100, 1: 100}, {0: 100, 1: 100}, SIZE_2M) is None
    sentence = shortfall({0: 100, 1: 100}, {0: 100, 1: 37}, SIZE_2M)
    assert "huge pages of 2 MB: node 1 gave 37 of 100." in str(sentence)


def test_a_pool_leaves_a_node_what_the_system_needs() -> None:
    node = {"MemTotal": 100 * SIZE_1G, "MemFree": 30 * SIZE_1G, "Active(file)": SIZE_1G, "Inactive(file)": 7 * SIZE_1G}
    assert could_give(node, 0, SIZE_1G) == 30
    assert could_give(node, 60, SIZE_1G) == 90
    assert could_give({"MemTotal": 100 * SIZE_1G, "MemFree": SIZE_1G}, 5, SIZE_1G) == 5


def test_at_boot_the_pool_is_words_of_the_command_line() -> None:
    assert boot_parameters({0: 150, 1: 0, 2: 151}, SIZE_1G) == "hugepagesz=1G hugepages=0:150,2:151"
    found = pool_plan(tower(), settings(reserve="boot", boot_consent=True, bytes=2**30))
    assert found["boot_parameters"] == "hugepagesz=2M hugepages=0:256,1:256"
