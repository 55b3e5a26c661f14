# SPDX-License-Identifier: MIT
"""Where the weights lie, from the text of numa_maps and smaps."""

from __future__ import annotations

from typing import Any

from plugins.module_utils.service.placement import imbalance, parse_numa_maps, placement_problem, summarize
from tests import llama_server

MEBIBYTE = 2**20

# A server that read its weights into anonymous memory under numactl --interleave=0-1.
ANONYMOUS = """\
55d0c0a00000 interleave:0-1 file=/opt/llama.cpp/current/bin/llama-server mapped=300 N0=150 N1=150 kernelpagesize_kB=4
7f0000000000 interleave:0-1 anon=69120 dirty=69120 active=0 N0=34560 N1=34560 kernelpagesize_kB=4
7f8000000000 interleave:0-1 anon=16 dirty=16 N0=16 kernelpagesize_kB=4
7ffd00000000 interleave:0-1 stack anon=9 dirty=9 N0=5 N1=4 kernelpagesize_kB=4
"""
ANONYMOUS_SMAPS = """\
7f0000000000-7f0010e00000 rw-p 00000000 00:00 0
Size:             276480 kB
AnonHugePages:    270336 kB
Swap:                  0 kB
7f8000000000-7f8000010000 rw-p 00000000 00:00 0
AnonHugePages:         0 kB
"""
# A mapped model whose pages were cached on node 0 before.
MAPPED = """\
7f0000000000 interleave:0-1 file=/models/model-00001-of-00002.gguf mapped=51200 N0=51200 kernelpagesize_kB=4
"""
# A pool of static huge pages: the kernel counts pages of 2 MB.
HUGETLB = (
    "7f0000000000 interleave:0-1 file=/anon_hugepage\\040(deleted) huge "
    "anon=140 dirty=140 N0=70 N1=70 kernelpagesize_kB=2048\n"
)


def test_large_anonymous_buffers_count_and_small_ones_do_not() -> None:
    found = summarize(ANONYMOUS, ANONYMOUS_SMAPS)
    assert found["nodes"] == {"0": 34560 * 4096, "1": 34560 * 4096}
    assert found["bytes"] == 270 * MEBIBYTE
    assert found["mappings"] == 1


def test_huge_pages_come_from_smaps() -> None:
    assert summarize(ANONYMOUS, ANONYMOUS_SMAPS)["huge_bytes"] == 264 * MEBIBYTE


def test_pages_of_a_model_file_count() -> None:
    found = summarize(MAPPED, "")
    assert found["nodes"] == {"0": 51200 * 4096}
    assert found["files"] == ["/models/model-00001-of-00002.gguf"]
    assert summarize(MAPPED.replace(".gguf", ".gguf\\040(deleted)"), "") == found


def test_static_huge_pages_are_counted_in_their_own_size() -> None:
    (mapping,) = parse_numa_maps(HUGETLB)
    assert mapping.nodes == {0: 140 * MEBIBYTE, 1: 140 * MEBIBYTE}
    found = summarize(HUGETLB, "7f0000000000-7f0011800000 rw-p 00000000 00:00 0\nPrivate_Hugetlb:   286720 kB\n")
    assert found["bytes"] == found["huge_bytes"] == 280 * MEBIBYTE


def test_lines_that_are_no_mappings_are_passed_over() -> None:
    assert parse_numa_maps("nonsense\n\n7f00 default\nzzzz interleave:0-1 N0=1\n") == []


def test_imbalance_is_relative_to_the_mean() -> None:
    assert imbalance({0: 100, 1: 100}, [0, 1]) == 0.0
    assert imbalance({0: 101, 1: 99}, [0, 1]) == 0.02
    assert imbalance({0: 100}, [0, 1]) == 2.0
    assert imbalance({0: 100}, [0]) == 0.0
    assert imbalance({}, [0, 1]) is None


def intent(**changes: Any) -> Any:
    """An interleaved server on two nodes without huge pages."""
    return llama_server.intent() | changes


def placed(*sizes: int, **changes: Any) -> Any:
    """A placement with these MiB on the nodes."""
    total = sum(sizes) * MEBIBYTE
    return {
        "nodes": {str(node): size * MEBIBYTE for node, size in enumerate(sizes)},
        "bytes": total,
        "huge_bytes": 0,
        "pool_bytes": 0,
        "swapped_bytes": 0,
        "policies": {"interleave:0-1": total},
    } | changes


def test_an_even_spread_is_no_problem() -> None:
    assert placement_problem(summarize(ANONYMOUS, ANONYMOUS_SMAPS), intent(huge_pages="thp")) is None


def test_a_few_huge_pages_apart_are_even_whatever_the_size() -> None:
    assert placement_problem(placed(150, 140), intent()) is None
    assert "30.3% apart" in str(placement_problem(placed(190, 140), intent()))


def test_a_few_pages_of_a_pool_apart_are_even_whatever_their_size() -> None:
    """80 GB of weights in pages of 1 GB over two nodes, and three buffers that each begin with the first node."""
    placement = placed(42 * 1024, 39 * 1024)
    placement["pool_bytes"] = placement["bytes"]
    assert placement_problem(placement, intent(huge_pages="hugetlb", page_bytes=2**30)) is None
    assert "7.4% apart" in str(placement_problem(placement, intent(huge_pages="hugetlb", page_bytes=2**21)))
    one_sided: Any = {**placed(80 * 1024, 1024), "pool_bytes": placement["bytes"]}
    assert "apart" in str(placement_problem(one_sided, intent(huge_pages="hugetlb", page_bytes=2**30)))


def test_shares_are_judged_by_the_weights_of_the_nodes() -> None:
    weighted = {"kernel_policy": None, "weights": {"0": 3, "1": 1}}
    assert placement_problem(placed(3000, 1000), intent(**weighted)) is None
    assert "weighted 3:1; 100.0% apart" in str(placement_problem(placed(2000, 2000), intent(**weighted)))


def test_weighted_interleave_is_the_policy_of_two_words() -> None:
    text = "7f0000000000 weighted interleave:0-1 anon=69120 dirty=69120 N0=51840 N1=17280 kernelpagesize_kB=4\n"
    found = summarize(text, "")
    assert found["policies"] == {"weighted interleave:0-1": 270 * MEBIBYTE}
    weighted = intent(kernel_policy="weighted interleave:0-1", weights={"0": 3, "1": 1})
    assert placement_problem(found, weighted) is None


def test_weights_on_one_node_are_named_with_their_bytes() -> None:
    problem = placement_problem(summarize(MAPPED, ""), intent())
    assert problem is not None
    assert "node 0: 210 MB" in problem
    assert "200.0% apart" in problem
    assert "restart the service" in problem


def test_memory_beside_the_node_that_it_is_bound_to_is_a_problem() -> None:
    bound = intent(nodes=[1], kernel_policy="bind:1")
    assert placement_problem(placed(0, 300, policies={"bind:1": 300 * MEBIBYTE}), bound) is None
    problem = placement_problem(placed(100, 200, policies={"bind:1": 300 * MEBIBYTE}), bound)
    assert "105 MB of the memory do not lie on node 1" in str(problem)


def test_another_policy_than_the_unit_s_is_named() -> None:
    problem = placement_problem(placed(150, 150, policies={"default": 300 * MEBIBYTE}), intent())
    assert "has the policy default (315 MB), not interleave:0-1" in str(problem)


def test_where_nothing_is_promised_of_nodes_nothing_is_demanded() -> None:
    free = intent(kernel_policy=None, tolerance=None)
    assert placement_problem(placed(300, 0, policies={"default": 300 * MEBIBYTE}), free) is None


def test_where_threads_take_their_parts_no_node_is_left_out() -> None:
    parts = intent(nodes=[0, 1, 2, 3], kernel_policy=None, tolerance=None, least_share=0.25)
    # The KV cache is all on the first node.
    assert placement_problem(placed(3000, 1000, 900, 1100), parts) is None
    assert "Node 2 has no part" in str(placement_problem(placed(1000, 1000, 10, 1000), parts))
    assert "Node 1 has no part" in str(placement_problem(placed(4000), parts))
    assert "Node 2 has no part" in str(placement_problem(placed(14, 14), parts))


def test_small_pages_where_huge_ones_were_asked_for_are_a_problem() -> None:
    small = summarize(ANONYMOUS, ANONYMOUS_SMAPS.replace("270336", "20000"))
    problem = placement_problem(small, intent(huge_pages="thp"))
    assert "Only 20 MB of 283 MB lie in huge pages" in str(problem)
    assert "llamatower.tower.prepare" in str(problem)


def test_a_pool_that_was_too_small_is_a_problem_even_with_transparent_huge_pages() -> None:
    problem = placement_problem(summarize(ANONYMOUS, ANONYMOUS_SMAPS), intent(huge_pages="hugetlb"))
    assert "Only 0 B of 283 MB lie in huge pages of the pool" in str(problem)
    smaps = "7f0000000000-7f0011800000 rw-p 00000000 00:00 0\nPrivate_Hugetlb:   286720 kB\n"
    assert placement_problem(summarize(HUGETLB, smaps), intent(huge_pages="hugetlb")) is None


def test_a_server_without_weights_is_a_problem() -> None:
    assert "no model" in str(placement_problem(summarize("", ""), intent()))


def test_swapped_weights_are_a_problem() -> None:
    smaps = ANONYMOUS_SMAPS.replace("Swap:                  0", "Swap:            1000000")
    assert "swapoff" in str(placement_problem(summarize(ANONYMOUS, smaps), intent()))
