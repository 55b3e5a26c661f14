# SPDX-License-Identifier: MIT
"""The catalog: everything that cannot be computed with is named in one sentence, and names choose of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.forecast.catalog import PlanError, catalog_problems, quantized
from plugins.module_utils.forecast.names import choose_model
from plugins.module_utils.forecast.purchase import answer
from tests.forecast_inputs import HARDWARE, MACHINES, MODELS, machine, model

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
    assert catalog_problems(MODELS, MACHINES, HARDWARE["memory"]) == []


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
    assert [said[: len(sentence)] for said in catalog_problems(MODELS, [machine])] == [sentence]


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
    found = catalog_problems([MODELS[0] | {"name": "mine"} | changed], MACHINES)
    assert [said[: len(sentence)] for said in found] == [sentence]


def test_what_is_unknown_may_be_null() -> None:
    models = [MODELS[0] | {"kv": None, "context": None}]
    assert catalog_problems(models, [entry("cpu", watts=None), entry("gpu", price_usd=None)], None) == []


@pytest.mark.parametrize(("models", "machines"), [(None, MACHINES), (MODELS, {}), ("glm", MACHINES)])
def test_a_file_without_its_list_is_named(models: Any, machines: Any) -> None:
    assert catalog_problems(models, machines)[0].startswith("The catalog has no list of m")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"usd_per_gb": 0}, "The usd_per_gb of the memory in the catalog is 0: it has to be a number above 0."),
        ({"date": "2026"}, "The date of the memory in the catalog is '2026': it has to be a day, as 2026-01-31."),
        ({"source": ""}, "The source of the memory in the catalog is ''"),
    ],
)
def test_a_price_of_memory_that_cannot_be_used_is_named(changed: dict[str, Any], sentence: str) -> None:
    assert catalog_problems(MODELS, MACHINES, {**HARDWARE["memory"], **changed})[0].startswith(sentence)


@given(st.sampled_from(["cpu", "gpu", "disk"]), st.data())
def test_no_value_breaks_the_check(kind: str, data: st.DataObject) -> None:
    machine = entry(kind)
    key = data.draw(st.sampled_from(sorted(machine)))
    assert not any("\n" in said for said in catalog_problems([], [machine | {key: data.draw(JUNK)}]))


@pytest.mark.parametrize(
    ("name", "what"),
    [("glm-4.6:Q7", "The type Q7 is not known"), ("gpt-oss-120b:Q4_K_M", "gpt-oss-120b is only made in MXFP4")],
)
def test_a_type_that_a_model_cannot_have_is_named(name: str, what: str) -> None:
    with pytest.raises(PlanError, match=what):
        choose_model(name, MODELS)


def test_another_type_has_its_own_sizes() -> None:
    large, smaller = model("llama-3.3-70b"), model("llama-3.3-70b:Q4_K_M")
    assert smaller["bytes"] == pytest.approx(42.5e9, rel=0.01)  # the file on the hub has 42.52 GB
    assert smaller["active_bytes"] / large["active_bytes"] == pytest.approx(smaller["bytes"] / large["bytes"], rel=0.01)


def test_a_type_by_hand_is_one_of_its_types() -> None:
    entry = model("glm-4.6:UD-Q4_K_XL")
    assert (entry["name"], entry["quantization"], entry["bytes"]) == (
        "glm-4.6:UD-Q4_K_XL",
        "UD-Q4_K_XL",
        204_000_000_000,
    )
    assert model("kimi-k2.6:UD-Q4_K_XL") == model("kimi-k2.6")
    with pytest.raises(PlanError, match="UD-Q4_K_XL"):
        model("glm-4.6:UD-Q9")


def test_without_types_of_its_own_a_model_is_as_large_as_its_bits_say() -> None:
    entry: Any = {key: value for key, value in model("llama-3.3-70b").items() if key != "types"}
    assert quantized(entry, "Q4_K_M")["bytes"] == pytest.approx(42.5e9, rel=0.01)
    assert quantized(entry, "F16")["bytes"] == pytest.approx(entry["parameters"] * 2)


def test_rows_that_fall_back_to_a_larger_type_do_so_in_another_type_too() -> None:
    # Expert matrices of 1408 columns: computed by tensor, Q4_K_M has 5.4 bits a weight, and not 4.82.
    air = model("glm-4.5-air:Q4_K_M")
    assert air["bytes"] == pytest.approx(72e9, rel=0.01)
    bare: Any = {key: value for key, value in model("glm-4.5-air").items() if key != "types"}
    assert quantized(bare, "Q4_K_M")["bytes"] == pytest.approx(air["bytes"], rel=0.02)
    said = answer(machine("epyc-9124-2s"), model("glm-4.5-air:Q4_K_M"))
    assert "Q4_K_M" not in [entry["change"] for entry in said["sensitivity"]]
