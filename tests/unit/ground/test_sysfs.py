# SPDX-License-Identifier: MIT
"""What the small files of /proc and /sys mean."""

from __future__ import annotations

import pytest

from plugins.module_utils.sysfs import format_cpu_list, parse_cpu_list, parse_cpuinfo, selected


def test_only_the_first_processor_of_cpuinfo_is_read() -> None:
    text = (
        "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9124\nstepping\t: 1\n"
        "flags\t\t: fpu avx2 avx512f\n\nprocessor\t: 1\nmodel name\t: another\n"
    )
    assert parse_cpuinfo(text) == {
        "vendor": "AuthenticAMD",
        "model": "AMD EPYC 9124",
        "family": 25,
        "model_number": 17,
        "stepping": 1,
        "flags": ["avx2", "avx512f", "fpu"],
    }


@pytest.mark.parametrize(
    ("text", "numbers"), [("0-2,8", [0, 1, 2, 8]), ("", []), ("5", [5]), ("0-1\n", [0, 1]), ("0,2,4-5", [0, 2, 4, 5])]
)
def test_kernel_lists_are_read_and_written(text: str, numbers: list[int]) -> None:
    assert parse_cpu_list(text) == numbers
    assert format_cpu_list(numbers) == text.strip()


def test_the_chosen_word_is_the_bracketed_one() -> None:
    assert selected("always [madvise] never") == "madvise"
    assert selected("nothing chosen") is None
    assert selected(None) is None
