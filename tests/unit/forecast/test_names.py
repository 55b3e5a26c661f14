# SPDX-License-Identifier: MIT
"""Names as people write them: which entry they mean, and what is offered where they mean none or several."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.forecast.catalog import PlanError
from plugins.module_utils.forecast.names import choose_model, matching, nearest
from tests.forecast_inputs import MACHINES, MODELS


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Llama 3.1 405B", "llama-3.1-405b"),
        ("llama3.1-405b", "llama-3.1-405b"),
        ("Meta-Llama-3.1-405B-Instruct", "llama-3.1-405b"),
        ("unsloth/GLM-4.6-GGUF", "glm-4.6"),
        ("DeepSeek R1 0528", "deepseek-r1-0528"),
        ("Qwen3 235B A22B", "qwen3-235b-a22b"),
        ("gpt oss 120b", "gpt-oss-120b"),
        ("Llama 3.1 405B Q4_K_M", "llama-3.1-405b:Q4_K_M"),
        ("glm4.6:q4_k_m", "glm-4.6:Q4_K_M"),
    ],
)
def test_a_name_as_it_is_written_is_that_model(text: str, name: str) -> None:
    assert choose_model(text, MODELS)["name"] == name


def test_another_number_is_another_model() -> None:
    with pytest.raises(PlanError, match=r"There is no model Llama 3\.5 405B in the catalog: the nearest are llama-3"):
        choose_model("Llama 3.5 405B", MODELS)


def test_what_several_have_in_their_names_is_not_guessed() -> None:
    with pytest.raises(PlanError, match=r"Llama 3.2 may be llama-3\.2-3b, llama-3\.2-1b: name one of these models\."):
        choose_model("Llama 3.2", MODELS)


def test_the_nearest_are_offered_for_a_slip() -> None:
    assert nearest("Lama 3.1 405", [entry["name"] for entry in MODELS])[0] == "llama-3.1-405b"


@pytest.mark.parametrize(
    ("text", "name"),
    [("Mac Studio 512", "mac-studio-m3-ultra"), ("two EPYC 9354", "epyc-9354-2s"), ("3090", "gpu-24gb")],
)
def test_a_machine_is_also_known_by_what_it_is(text: str, name: str) -> None:
    assert [entry["name"] for entry in matching(text, MACHINES)] == [name]


def test_every_entry_is_found_by_its_own_name() -> None:
    for entries in (MODELS, MACHINES):
        assert [matching(entry["name"], entries) for entry in entries] == [[entry] for entry in entries]


@given(st.text(max_size=40))
def test_any_text_is_a_model_or_a_sentence(text: str) -> None:
    try:
        choose_model(text, MODELS)
    except PlanError as error:
        assert str(error).endswith((".", "out."))
