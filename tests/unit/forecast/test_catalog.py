# SPDX-License-Identifier: MIT
"""What is asked of a plan, and its catalog: everything that cannot be computed with is named in one sentence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.forecast.catalog import PlanError, check_catalog, options_of
from tests.forecast_inputs import MACHINES, MODELS, OPTIONS

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.lists(st.integers()),
    st.dictionaries(st.text(), st.none()),
)


def entry(like: str, **changed: Any) -> dict[str, Any]:
    found = next(machine for machine in MACHINES if machine["kind"] == like)
    return {**found, **changed, "name": "mine"}


def test_the_catalog_of_this_project_has_nothing_wrong() -> None:
    check_catalog(MODELS, MACHINES)


@pytest.mark.parametrize(
    ("machine", "sentence"),
    [
        (entry("cpu", channels=0), "The channels of the machine mine is 0: it has to be a whole number from 1 to"),
        (entry("cpu", channels="12"), "The channels of the machine mine is '12'"),
        (entry("cpu", channels=24), "The channels of the machine mine are 24: it has 1 x 12"),
        (entry("cpu", mts=4.8), "The mts of the machine mine is 4.8"),
        (entry("cpu", cores=True), "The cores of the machine mine is True"),
        (entry("cpu", sockets=10**400), "The sockets of the machine mine is 1000"),
        (entry("cpu", memory_bytes=384), "The memory_bytes of the machine mine is 384"),
        (entry("cpu", watts=-1), "The watts of the machine mine is -1: it has to be a number above 0, or null"),
        (entry("cpu", watts=float("nan")), "The watts of the machine mine is nan"),
        (entry("cpu", parts=[{"part": "CPU", "price_usd": -5}]), "The parts of the machine mine is"),
        (entry("cpu", kind="tpu"), "The kind of the machine mine is 'tpu': it has to be one of cpu, gpu, disk"),
        (entry("gpu", usable=90), "The usable of the machine mine is 90: it has to be a number from 0.3 to 1"),
        (entry("gpu", host=None), "The host of the machine mine is None"),
        (entry("gpu", price_usd=-1), "The price_usd of the machine mine is -1"),
        ({"name": "mine", "title": "mine", "kind": "disk", "watts": 5, "parts": []}, "The machine mine lacks gb_s"),
        ({"title": "mine"}, "Entry 1 of the machines in the catalog has no name"),
        ("mine", "Entry 1 of the machines in the catalog has no name"),
    ],
)
def test_a_machine_that_cannot_be_computed_with_is_named(machine: Any, sentence: str) -> None:
    with pytest.raises(PlanError) as error:
        check_catalog(MODELS, [machine])
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"active_bytes": 10**15}, "The active_bytes of the model mine are more than its bytes"),
        ({"layers": 0}, "The layers of the model mine is 0"),
        ({"kv": {"elements": 1}}, "The kv of the model mine is {'elements': 1}"),
        ({"context": "128k"}, "The context of the model mine is '128k'"),
    ],
)
def test_a_model_that_cannot_be_computed_with_is_named(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PlanError) as error:
        check_catalog([MODELS[0] | {"name": "mine"} | changed], MACHINES)
    assert str(error.value).startswith(sentence)


def test_what_is_unknown_may_be_null() -> None:
    check_catalog([MODELS[0] | {"kv": None, "context": None}], [entry("cpu", watts=None), entry("gpu", price_usd=None)])


@pytest.mark.parametrize(("models", "machines"), [(None, MACHINES), (MODELS, {}), ("glm", MACHINES)])
def test_a_file_without_its_list_is_named(models: Any, machines: Any) -> None:
    with pytest.raises(PlanError, match=r"^The catalog has no list of m"):
        check_catalog(models, machines)


@given(st.sampled_from(["cpu", "gpu", "disk"]), st.data())
def test_no_value_breaks_the_check(kind: str, data: st.DataObject) -> None:
    machine = entry(kind)
    key = data.draw(st.sampled_from(sorted(machine)))
    try:
        check_catalog([], [machine | {key: data.draw(JUNK)}])
    except PlanError as error:
        assert "\n" not in str(error)


def test_numbers_of_the_command_line_are_text() -> None:
    assert options_of(OPTIONS | {"context": "32768", "price_kwh": "0.15"}) == OPTIONS | {
        "context": 32768,
        "price_kwh": 0.15,
    }


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"context": "32k"}, "plan_context is '32k': it has to be a whole number of tokens"),
        ({"context": -1}, "plan_context is -1"),
        ({"context": None}, "plan_context is None"),
        ({"context": "9" * 400}, "plan_context is '999"),
        ({"price_kwh": "0,30"}, "plan_price_kwh is '0,30': it has to be dollars for a kilowatt-hour"),
        ({"price_kwh": -0.1}, "plan_price_kwh is -0.1"),
        ({"price_kwh": "nan"}, "plan_price_kwh is 'nan'"),
        ({"kv_type": "q9"}, "plan_kv_type is 'q9': it has to be one of f32, f16"),
        ({"policy": "interlave"}, "plan_policy is 'interlave': it has to be one of interleave, "),
    ],
)
def test_an_option_that_cannot_be_used_is_named(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PlanError) as error:
        options_of(OPTIONS | changed)
    assert str(error.value).startswith(sentence)
