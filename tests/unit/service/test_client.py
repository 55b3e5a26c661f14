# SPDX-License-Identifier: MIT
"""What llama_server.py makes of the answers of a server."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.service.client import ServerError, healthy, read_completion

ANSWER: dict[str, Any] = {
    "choices": [{"text": " Blue light scatters most. "}],
    "usage": {"completion_tokens": 6, "prompt_tokens": 14},
    "timings": {"predicted_per_second": 12.5, "prompt_per_second": 80.0},
}


def test_text_tokens_and_speeds_are_taken_from_the_answer() -> None:
    assert read_completion(ANSWER) == {
        "text": "Blue light scatters most.",
        "tokens": 6,
        "tokens_per_second": 12.5,
        "prompt_tokens": 14,
        "prompt_tokens_per_second": 80.0,
    }


def test_a_server_that_tells_no_timings_has_no_speed() -> None:
    assert read_completion({key: ANSWER[key] for key in ("choices", "usage")})["tokens_per_second"] is None


def test_another_answer_is_quoted_in_the_error() -> None:
    with pytest.raises(ServerError, match=r"no 'usage'.*something else"):
        read_completion({"error": "something else"})


def test_where_nothing_listens_is_not_healthy() -> None:
    assert healthy("http://127.0.0.1:1") is False
