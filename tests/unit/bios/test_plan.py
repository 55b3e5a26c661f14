# SPDX-License-Identifier: MIT
"""BIOS settings: what is planned from the documents of a BMC, and what stands in the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.bios.plan import bios_plan, measured_problems, refusal, settings_text, taken_over, to_reset
from plugins.module_utils.bios.settings import words

REPO = Path(__file__).resolve().parents[3]
SPELLINGS: dict[str, Any] = yaml.safe_load((REPO / "catalog/bios.yml").read_text())["settings"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NumaNodesPerSocket", "numa nodes per socket"),
        ("NUMANodesPerSocket_703E", "numa nodes per socket"),
        ("DFCstates_7103", "df cstates"),
        ("Last-Level Cache (LLC) As NUMA Node", "last level cache llc as numa node"),
        ("Hyper-Threading [ALL]", "hyper threading all"),
        ("NPS1", "nps1"),
    ],
)
def test_names_as_words(name: str, expected: str) -> None:
    assert words(name) == expected


def board(*entries: tuple[str, str, list[Any], Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    bios = {"Attributes": {name: now for name, _display, _values, now in entries}}
    registry = [
        {"AttributeName": name, "DisplayName": display, "Type": "Enumeration",
         "Value": [{"ValueName": value, "ValueDisplayName": str(value)} for value in values]}
        for name, display, values, _now in entries
    ]  # fmt: skip
    return bios, {"RegistryEntries": {"Attributes": registry}}


def test_two_attributes_that_could_be_meant_are_listed_and_none_is_written() -> None:
    bios, registry = board(
        ("X0001", "NUMA nodes per socket", ["NPS1", "NPS4"], "NPS4"),
        ("X0002", "NUMA Nodes Per Socket", ["NPS1", "NPS4"], "NPS4"),
    )
    planned = bios_plan(bios, None, registry, {"nodes_per_socket": 1}, SPELLINGS)
    assert planned["changes"] == {}
    assert "X0001 (NUMA nodes per socket), X0002 (NUMA Nodes Per Socket)" in planned["problems"][0]


def test_without_a_registry_nothing_is_written() -> None:
    bios, _registry = board(("NumaNodesPerSocket", "NUMA Nodes Per Socket", ["1", "4"], "4"))
    planned = bios_plan(bios, None, None, {"nodes_per_socket": 1}, SPELLINGS)
    assert (planned["changes"], len(planned["problems"])) == ({}, 1)


def test_a_value_that_the_board_lacks_is_named_with_those_it_has() -> None:
    bios, registry = board(("X0001", "NUMA nodes per socket", ["NPS2", "NPS4"], "NPS4"))
    planned = bios_plan(bios, None, registry, {"nodes_per_socket": 1}, SPELLINGS)
    assert planned["problems"] == ["X0001 (NUMA nodes per socket) has no value that means 1: it has NPS2, NPS4."]


def test_numbers_and_their_text_are_one_value() -> None:
    bios, registry = board(("SncEn", "SNC", [0, 1], "0"))
    planned = bios_plan(bios, None, registry, {"snc": False}, SPELLINGS)
    assert [entry["state"] for entry in planned["settings"]] == ["same"]


@pytest.mark.parametrize(
    "values",
    [
        ["Disabled", "2-Way", "4-Way"],
        ["Disabled", "2-Way Clustering", "4-Way Clustering"],
        ["Disabled", "SNC2", "SNC4"],
        ["Disable", "Enable SNC2 (2-clusters)", "Enable SNC4 (4-clusters)"],
        ["Auto", "Disabled", "SNC3"],
    ],
)
def test_clusters_are_meant_by_their_number(values: list[str]) -> None:
    bios, registry = board(("SubNumaCluster", "Sub NUMA Cluster", values, "none of them"))
    for value in values:
        number = next((int(one) for one in value if one.isdigit()), False)
        planned = bios_plan(bios, None, registry, {"snc": number}, SPELLINGS)
        assert value == "Auto" or planned["changes"] == {"SubNumaCluster": value}, planned["problems"]


def test_a_value_is_written_as_the_board_writes_it() -> None:
    bios, registry = board(("SncEn", "SNC", ["0", "1"], 1), ("Nps", "NUMA nodes per socket", ["1", "4"], "4"))
    planned = bios_plan(bios, None, registry, {"snc": False}, SPELLINGS, {"Nps": 1})
    assert planned["changes"] == {"SncEn": 0, "Nps": "1"}
    assert [type(value) for value in planned["changes"].values()] == [int, str]


def test_of_several_attributes_of_one_name_the_one_that_is_not_hidden_is_meant() -> None:
    bios, registry = board(
        ("NpsRome", "NUMA nodes per socket", ["NPS1", "NPS4"], "NPS4"),
        ("NpsGenoa", "NUMA nodes per socket", ["NPS1", "NPS4"], "NPS4"),
    )
    registry["RegistryEntries"]["Attributes"][0]["Hidden"] = True
    assert bios_plan(bios, None, registry, {"nodes_per_socket": 1}, SPELLINGS)["changes"] == {"NpsGenoa": "NPS1"}


PROFILE = {
    "Dependency": {
        "MapFrom": [{"MapFromAttribute": "Profile", "MapFromCondition": "NEQ", "MapFromValue": "Custom"}],
        "MapToAttribute": "Nps",
        "MapToProperty": "GrayOut",
        "MapToValue": True,
    }
}


@pytest.mark.parametrize(
    ("pending", "exact", "problems"),
    [
        ({}, {}, 1),
        ({"Profile": "Custom"}, {}, 0),  # the same reset applies it
        ({}, {"Profile": "Custom"}, 0),
        ({"Profile": "Custom"}, {"Profile": "Fast"}, 1),
    ],
)
def test_what_is_pending_or_written_along_unlocks(
    pending: dict[str, Any], exact: dict[str, Any], problems: int
) -> None:
    bios, registry = board(
        ("Profile", "Workload Profile", ["Fast", "Custom"], "Fast"),
        ("Nps", "NUMA nodes per socket", ["NPS1", "NPS4"], "NPS4"),
    )
    registry["RegistryEntries"]["Dependencies"] = [PROFILE]
    planned = bios_plan(bios, {"Attributes": pending}, registry, {"nodes_per_socket": 1}, SPELLINGS, exact)
    assert len(planned["problems"]) == problems, planned["problems"]


def test_a_lock_by_an_attribute_that_the_board_lacks_is_none() -> None:
    bios, registry = board(("Nps", "NUMA nodes per socket", ["NPS1", "NPS4"], "NPS4"))
    registry["RegistryEntries"]["Dependencies"] = [PROFILE]
    assert bios_plan(bios, None, registry, {"nodes_per_socket": 1}, SPELLINGS)["problems"] == []


def test_attributes_are_known_by_the_settings_they_stand_for() -> None:
    bios, registry = board(
        ("Rome0075", "NUMA nodes per socket", ["NPS1", "NPS2", "Auto"], "NPS2"),
        ("Rome0059", "SMT Control", ["Auto", "Disable"], "Disable"),
    )
    wanted = {"Rome0075": "NPS1", "Rome0059": "Auto"}
    planned = bios_plan(bios, None, registry, {}, SPELLINGS, wanted)
    assert planned["meanings"] == {"nodes_per_socket": 1}, "what Auto is differs from board to board"


def test_hpe_asks_for_apbdis_the_other_way_around() -> None:
    bios, registry = board(("ApplicationPowerBoost", "Application Power Boost", ["Enabled", "Disabled"], "Enabled"))
    assert bios_plan(bios, None, registry, {"apbdis": True}, SPELLINGS)["changes"] == {
        "ApplicationPowerBoost": "Disabled"
    }


def test_the_plan_as_text() -> None:
    bios, registry = board(("X0001", "NUMA nodes per socket", ["NPS1", "NPS4"], "NPS4"))
    planned = bios_plan(bios, {"Attributes": {"X0001": "NPS1"}}, registry, {"nodes_per_socket": 1}, SPELLINGS)
    assert settings_text(planned) == (
        "nodes_per_socket: NUMA nodes per socket (X0001) is NPS4, pending NPS1, which the next reboot applies"
    )


@pytest.mark.parametrize(
    ("wanted", "tower", "problems"),
    [
        ({"nodes_per_socket": 1}, {"nodes_per_socket": 1, "smt_active": True}, 0),
        ({"nodes_per_socket": 1}, {"nodes_per_socket": 4, "smt_active": True}, 1),
        ({"nodes_per_socket": 1, "smt": False}, {"nodes_per_socket": None, "smt_active": True}, 1),
        ({"nodes_per_socket": 1}, {"nodes_per_socket": None, "smt_active": None}, 0),
        ({"snc": False}, {"nodes_per_socket": 1, "smt_active": True}, 0),
        ({"snc": False}, {"nodes_per_socket": 2, "smt_active": True}, 1),
        ({"snc": 2}, {"nodes_per_socket": 2, "smt_active": True}, 0),
    ],
)
def test_linux_has_the_last_word(wanted: dict[str, Any], tower: Any, problems: int) -> None:
    assert len(measured_problems(tower, wanted)) == problems


def plan_in(state: str, **changes: Any) -> Any:
    """A plan of one setting in a state, which is all that decides."""
    entry = {"setting": "said", "attribute": "X", "display": "said", "current": "said", "pending": "said"}
    changing = {"X": "1"} if state == "change" else {}
    return {
        "settings": [{**entry, "wanted": "said", "state": state}],
        "changes": changing,
        "previous": changing,
        "others": {},
        "problems": [],
        "cold": False,
        "meanings": {},
    } | changes


@pytest.mark.parametrize(
    ("state", "entry", "accept", "refused"),
    [
        ("planned", "change", False, False),
        ("applied", "change", False, True),
        ("applied", "change", True, False),
        ("applied", "pending", False, False),
        ("reset", "pending", False, True),
        ("reset", "pending", True, False),
        ("reset", "change", False, False),
    ],
)
def test_what_somebody_else_left_pending_refuses_only_what_would_apply_it(
    state: str, entry: str, accept: bool, refused: bool
) -> None:
    assert bool(refusal(plan_in(entry, others={"Y": "2"}), state, accept, "bmc1")) is refused


@pytest.mark.parametrize(("state", "said"), [("planned", None), ("applied", "a b"), ("reset", "a b")])
def test_problems_refuse_everything_but_the_plan(state: str, said: str | None) -> None:
    assert refusal(plan_in("locked", problems=["a", "b"]), state, True, "bmc1") == said


@pytest.mark.parametrize(
    ("entry", "before", "now", "taken"),
    [
        ("same", None, None, True),
        ("same", "12:00", "12:05", True),
        ("same", "12:00", "12:00", False),
        ("pending", "12:00", "12:05", False),
    ],
)
def test_new_values_count_only_after_another_reset(
    entry: str, before: str | None, now: str | None, taken: bool
) -> None:
    assert taken_over(plan_in(entry), before, now) is taken


@pytest.mark.parametrize(("entry", "needed"), [("pending", True), ("change", False), ("same", False)])
def test_only_what_is_pending_needs_a_reset(entry: str, needed: bool) -> None:
    assert to_reset(plan_in(entry)) is needed
