# SPDX-License-Identifier: MIT
"""Where the weights lie, from the text of numa_maps and smaps."""

from __future__ import annotations

from ansible.module_utils.placement import imbalance, parse_numa_maps, placement_problem, summarize

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


def test_an_even_spread_is_no_problem() -> None:
    assert placement_problem(summarize(ANONYMOUS, ANONYMOUS_SMAPS), [0, 1], 0.02) is None


def test_a_few_huge_pages_apart_are_even_whatever_the_size() -> None:
    small = {"nodes": {"0": 150 * MEBIBYTE, "1": 140 * MEBIBYTE}, "swapped_bytes": 0}
    assert placement_problem(small, [0, 1], 0.02) is None
    large = {"nodes": {"0": 190 * MEBIBYTE, "1": 140 * MEBIBYTE}, "swapped_bytes": 0}
    assert "30.3% apart" in str(placement_problem(large, [0, 1], 0.02))


def test_weights_on_one_node_are_named_with_their_bytes() -> None:
    problem = placement_problem(summarize(MAPPED, ""), [0, 1], 0.02)
    assert problem is not None
    assert "node 0: 0.21 GB" in problem
    assert "200.0% apart" in problem
    assert "restart the service" in problem


def test_a_server_without_weights_is_a_problem() -> None:
    problem = placement_problem(summarize("", ""), [0, 1], 0.02)
    assert problem is not None
    assert "no model" in problem


def test_swapped_weights_are_a_problem() -> None:
    problem = placement_problem(
        summarize(ANONYMOUS, ANONYMOUS_SMAPS.replace("Swap:                  0", "Swap:            1000000")),
        [0, 1],
        0.02,
    )
    assert problem is not None
    assert "swapoff" in problem
