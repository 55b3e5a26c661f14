# SPDX-License-Identifier: MIT
"""The board as text."""

from __future__ import annotations

import pytest

from plugins.module_utils.memory.drawing import draw
from tests.boards.described import CPUS, described


@pytest.mark.parametrize("scheme", [*CPUS, "nameless"])
def test_the_drawing_fits_a_terminal(scheme: str) -> None:
    lines = draw(described(scheme)).splitlines()
    assert lines
    assert max(map(len, lines)) <= 80


def test_the_drawing_marks_the_empty_channel() -> None:
    assert "R:[--]" in draw(described(empty=["DIMM_P1_R0"]))
