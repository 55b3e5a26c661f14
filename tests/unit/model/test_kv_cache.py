# SPDX-License-Identifier: MIT
"""The KV cache: what windows, types and states take, and the longest context that fits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.model.document import KvGeometry
from plugins.module_utils.model.kv_cache import context_that_fits, kv_bytes

WINDOWED: KvGeometry = {"elements": 100, "window_elements": 500, "window": 1024, "state_bytes": 4096}


def test_a_window_holds_no_more_than_itself_and_a_batch() -> None:
    assert kv_bytes(WINDOWED, 512) == (100 * 512 + 500 * 512) * 2 + 4096
    assert kv_bytes(WINDOWED, 100_000) == (100 * 100_000 + 500 * 1536) * 2 + 4096
    assert kv_bytes(WINDOWED, 100_000, parallel=2) == (100 * 100_000 + 500 * 2560) * 2 + 8192


def test_types_of_the_cache_have_their_sizes() -> None:
    plain = WINDOWED | {"window_elements": 0, "state_bytes": 0}
    assert [kv_bytes(plain, 320, kind) for kind in ("f32", "f16", "q8_0", "q4_0")] == [128000, 64000, 34000, 18000]


@given(st.integers(0, 10**12), st.integers(0, 200_000))
def test_the_longest_context_fits_and_one_more_does_not(room: int, most: int) -> None:
    found = context_that_fits(WINDOWED, room, most) or 0
    assert found <= most
    assert not found or kv_bytes(WINDOWED, found) <= room
    assert found == most or kv_bytes(WINDOWED, found + 1) > room


def test_an_unknown_geometry_takes_nothing_and_promises_nothing() -> None:
    assert (kv_bytes(None, 8192), context_that_fits(None, 10**12, 8192)) == (0, None)
