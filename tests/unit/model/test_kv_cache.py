# SPDX-License-Identifier: MIT
"""The KV cache: what windows, types and states take, and the longest context that fits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.model.document import KvGeometry
from plugins.module_utils.model.kv_cache import checkpoint_bytes, kv_buffers, kv_bytes, longest, request_cells

WINDOWED: KvGeometry = {"elements": 100, "window_elements": 500, "window": 1024, "state_bytes": 4096}


def test_a_window_holds_no_more_than_itself_and_a_batch() -> None:
    assert kv_bytes(WINDOWED, 512) == (100 * 512 + 500 * 512) * 2 + 4096
    assert kv_bytes(WINDOWED, 100_000) == (100 * 100_000 + 500 * 1536) * 2 + 4096


def test_each_request_has_its_part_of_the_context_and_a_window_of_its_own() -> None:
    assert kv_buffers(WINDOWED, 102_400, parallel=2) == [100 * 102_400 * 2, 2 * 500 * 1536 * 2, 8192]


def test_a_cache_is_made_of_whole_blocks_of_256_tokens_for_each_request() -> None:
    """As the engine prints it: 5120 cells for one request of 5000 tokens, 2560 for each of two, 1792 of three."""
    assert [request_cells(5000, parallel) for parallel in (1, 2, 3)] == [5120, 2560, 1792]


def test_a_checkpoint_holds_the_window_and_the_state_of_a_request() -> None:
    assert checkpoint_bytes(WINDOWED, 102_400, parallel=2) == 500 * 1024 * 2 + 4096
    assert checkpoint_bytes(WINDOWED, 512) == 500 * 512 * 2 + 4096
    plain = WINDOWED | {"window_elements": 0, "window": 0, "state_bytes": 0}
    assert (checkpoint_bytes(plain, 8192), checkpoint_bytes(None, 8192)) == (0, 0)


def test_types_of_the_cache_have_their_sizes() -> None:
    plain = WINDOWED | {"window_elements": 0, "state_bytes": 0}
    assert [kv_bytes(plain, 320, kind) for kind in ("f32", "f16", "q8_0", "q4_0")] == [128000, 64000, 34000, 18000]


@given(st.integers(0, 10**12), st.integers(0, 200_000))
def test_the_longest_context_fits_and_one_more_does_not(room: int, most: int) -> None:
    found = longest(lambda context: kv_bytes(WINDOWED, context), room, most)
    assert found <= most
    assert not found or kv_bytes(WINDOWED, found) <= room
    assert found == most or kv_bytes(WINDOWED, found + 1) > room


def test_an_unknown_geometry_takes_nothing() -> None:
    assert (kv_bytes(None, 8192), kv_buffers(None, 8192)) == (0, [])
