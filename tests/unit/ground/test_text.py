# SPDX-License-Identifier: MIT
"""How numbers are said."""

from __future__ import annotations

import pytest

from plugins.module_utils.text import number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.00001234, "0.0000123"),
        (0.02263, "0.0226"),
        (1.2345, "1.23"),
        (9.999, "10.0"),
        (16.0, "16.0"),
        (123.4, "123"),
        (999.6, "1,000"),
        (30_012.0, "30,000"),
    ],
)
def test_numbers_have_three_figures_and_no_exponent(value: float | None, text: str) -> None:
    assert number(value) == text
