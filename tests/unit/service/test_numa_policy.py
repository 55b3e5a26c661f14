# SPDX-License-Identifier: MIT
"""What a policy becomes on a tower, and which towers cannot carry it out."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.service.numa_policy import (
    POLICIES,
    bindable_nodes,
    launch,
    memory_nodes,
    policy_problem,
    weights,
    weights_problem,
)

GIB = 2**30
SERVER_HELP = """\
--numa TYPE                             attempt optimizations that help on some NUMA systems
                                        - distribute: spread execution evenly over all nodes
                                        - isolate: only spawn threads on CPUs on the node that execution
                                        (env: LLAMA_ARG_NUMA)
"""


def tower(*sizes: int, kernel: str = "6.12.48+deb13-amd64", cpus: int = 64) -> Any:
    """Nodes of these sizes in GiB with two cores each; a negative size is memory without cores."""
    nodes = [
        {"node": number, "memory_bytes": abs(size) * GIB, "cpus": [] if size < 0 else [2 * number, 2 * number + 1]}
        for number, size in enumerate(sizes)
    ]
    return {"nodes": nodes, "kernel": kernel, "cpus": cpus}


@pytest.mark.parametrize(
    ("policy", "prefix", "settings", "kernel_policy", "nodes"),
    [
        ("interleave", ["/usr/bin/numactl", "--interleave=0,2"], {}, "interleave:0,2", [0, 2]),
        ("weighted", ["/usr/bin/numactl", "--weighted-interleave=0,2"], {}, "weighted interleave:0,2", [0, 2]),
        ("distribute", [], {"LLAMA_ARG_NUMA": "distribute"}, None, [0, 2]),
        ("bind", ["/usr/bin/numactl", "--cpunodebind=2", "--membind=2"], {}, "bind:2", [2]),
        ("none", [], {}, None, [0, 2]),
    ],
)
def test_a_policy_on_nodes_of_which_one_has_no_memory(
    policy: str, prefix: list[str], settings: dict[str, str], kernel_policy: str | None, nodes: list[int]
) -> None:
    assert launch(policy, tower(192, 0, 256)) == (prefix, settings, kernel_policy, nodes)


def test_memory_without_cores_has_no_threads_to_bring_it_pages() -> None:
    assert launch("distribute", tower(192, 256, -512)).nodes == [0, 1]
    assert launch("interleave", tower(192, 256, -512)).nodes == [0, 1, 2]


def test_nodes_that_are_not_numbered_one_after_the_other_are_not_distributed_over() -> None:
    machine = tower(192, 0, 256)
    assert policy_problem("distribute", machine) is None
    del machine["nodes"][1]
    assert "this tower has 0,2" in str(policy_problem("distribute", machine))


def test_per_node_and_bind_take_the_node_that_is_named() -> None:
    for policy in ("bind", "per_node"):
        found = launch(policy, tower(192, 256), node=0)
        assert found.prefix == ["/usr/bin/numactl", "--cpunodebind=0", "--membind=0"]
        assert found.nodes == [0]


@pytest.mark.parametrize("policy", POLICIES)
def test_one_memory_node_needs_nothing_and_refuses_nothing(policy: str) -> None:
    assert launch(policy, tower(384, 0)) == ([], {}, None, [0])
    assert policy_problem(policy, tower(384, 0, kernel="5.15.0"), 10**15, 1, "", "") is None


def test_an_unknown_policy_is_named() -> None:
    with pytest.raises(ValueError, match="'mirror' is none of interleave"):
        launch("mirror", tower(1, 1))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_tower_that_can_is_not_refused(policy: str) -> None:
    assert policy_problem(policy, tower(192, 192), 100 * GIB, 32, SERVER_HELP, "--weighted-interleave, -w") is None


def test_nodes_that_can_be_bound_to_are_those_with_cores_the_largest_first() -> None:
    machine = tower(192, 256, -512, 256)
    assert [node["node"] for node in bindable_nodes(machine)] == [1, 3, 0]
    assert memory_nodes(machine) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("policy", "machine", "options", "sentence"),
    [
        ("weighted", tower(1, 1, kernel="6.1.0-42-amd64"), {}, "Linux 6.1.0-42-amd64 cannot interleave by weight"),
        ("weighted", tower(1, 1), {"numactl_help": "--interleave, -i"}, "2.0.19"),
        ("distribute", tower(*[1] * 12), {}, "this tower has 12 and 64"),
        ("distribute", tower(1, 1, cpus=768), {}, "this tower has 2 and 768"),
        ("distribute", tower(*[1] * 8), {"threads": 6}, "each of the 8 nodes, and 6 decode"),
        ("distribute", tower(1, 1), {"server_help": "--numa TYPE\n  - isolate: …\n"}, "no --numa distribute"),
        (
            "interleave",
            tower(512, 512, -64),
            {"needed_bytes": 300 * 10**9},
            "100.0 GB on each memory node, and node 2 has 68.7",
        ),
        ("bind", tower(192, 256), {"needed_bytes": 300 * 10**9}, "300.0 GB on node 1, which has 274.9"),
        ("bind", tower(192, 256), {"needed_bytes": 210 * 10**9, "node": 0}, "on node 0, which has 206.2"),
        ("bind", tower(192, -256), {"node": 1}, "cannot use node 1"),
        ("per_node", tower(192, 256), {"needed_bytes": 210 * 10**9}, "on node 0, which has 206.2"),
        ("per_node", tower(-192, -256), {}, "there is none"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason_and_a_way_out(
    policy: str, machine: Any, options: dict[str, Any], sentence: str
) -> None:
    problem = policy_problem(policy, machine, **options)
    assert problem is not None
    assert sentence in problem
    assert "interleave" in problem or "another" in problem


def test_memory_of_other_sizes_is_no_problem_while_every_node_has_its_share() -> None:
    assert policy_problem("interleave", tower(256, 128), 256 * GIB) is None


@pytest.mark.parametrize("given", [{0: 0}, {0: 256}, {7: 1}])
def test_weights_that_the_kernel_would_not_take_are_named(given: dict[int, int]) -> None:
    assert "of one of the memory nodes 0-1" in str(weights_problem({1: 3, **given}, tower(192, 192)))
    assert weights_problem({0: 255, 1: 1}, tower(192, 192)) is None


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({0: 400.0, 1: 401.0}, {0: 1, 1: 1}),
        ({0: 400.0, 1: 200.0}, {0: 2, 1: 1}),
        ({0: 300.0, 1: 200.0}, {0: 3, 1: 2}),
        ({0: 400.0, 1: 360.0, 2: 60.0}, {0: 13, 1: 12, 2: 2}),
        ({0: 1000.0, 1: 1.0}, {0: 255, 1: 1}),
    ],
)
def test_weights_are_the_smallest_numbers_with_the_shares_of_the_bandwidth(
    rates: dict[int, float], expected: dict[int, int]
) -> None:
    assert weights(rates) == expected


@pytest.mark.parametrize("policy", ["bind", "per_node"])
def test_where_no_node_has_both_cores_and_memory_there_is_a_sentence(policy: str) -> None:
    machine = tower(0, -64, -64)
    assert "there is none: use interleave" in str(policy_problem(policy, machine, 1))
    assert launch(policy, machine).prefix == []
