# SPDX-License-Identifier: MIT
"""Several instances on one tower: what each is set to, and what is refused of all of them together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.service.deployment import SCHEMA_VERSION, current_deployments
from plugins.module_utils.service.instances import (
    beside_problems,
    instance_certificates,
    instance_settings,
    name_problems,
    plans,
    switch_order,
    together_problems,
)
from plugins.module_utils.service.plan import make_plan
from tests.llama_server import GB, settings, tower

RESERVE = 4 * GB


def plan(gigabytes: int = 100, **changes: Any) -> tuple[str, Any]:
    """The plan of an instance whose model is so large, on a tower of two nodes with 192 GB each."""
    model: Any = {"name": "a-model", "bytes": gigabytes * GB, "files": [], "gguf": {"kv": None}}
    wanted = settings(**{"reserve_bytes": RESERVE, "port": 8080, **changes})
    return wanted["instance"], make_plan(wanted, tower(), None, model)


def deployed(gigabytes: int = 100, **changes: Any) -> Any:
    """The same as it is deployed: as JSON has it."""
    name, made = plan(gigabytes, **changes)
    return json.loads(json.dumps({**made, "schema_version": SCHEMA_VERSION, "instance": name}))


def problems(*planned: tuple[str, Any], others: Any = ()) -> list[str]:
    return together_problems(planned, others, tower(), RESERVE)


SECOND: dict[str, Any] = {"instance": "small", "port": 8081}


def test_an_entry_has_what_it_names_and_the_variables_say_the_rest() -> None:
    defaults = {"model": "large", "model_dir": "/srv/models", "port": 8080, "checkpoints": 8, "threads": 16}
    declared: list[dict[str, Any]] = [
        {"name": "main"},
        {"name": "small", "model": "tiny", "port": 8081, "context_checkpoints": 0, "threads": None, "api_keys": []},
    ]
    assert instance_settings(declared, defaults) == [
        {
            "instance": "main",
            "model": "large",
            "model_path": "/srv/models/large",
            "port": 8080,
            "checkpoints": 8,
            "threads": 16,
        },
        {
            "instance": "small",
            "model": "tiny",
            "model_path": "/srv/models/tiny",
            "port": 8081,
            "checkpoints": 0,
            "threads": None,
        },
    ]


def test_of_a_certificate_the_settings_say_only_that_there_is_one() -> None:
    defaults = {"model": "m", "tls_certificate": "/c.pem", "tls_key": "/k.pem"}
    declared: list[dict[str, Any]] = [
        {"name": "main"},
        {"name": "own", "tls_certificate": "PEM", "tls_key": "SECRET"},
        {"name": "plain", "tls_certificate": None, "tls_key": None},
        {"name": "half", "tls_key": None},
    ]
    found = instance_settings(declared, defaults)
    assert [entry["tls"] for entry in found] == [True, True, False, True]
    assert "SECRET" not in str(found) and "/k.pem" not in str(found)
    assert instance_certificates(declared, "/c.pem", "/k.pem") == {
        "main": {"certificate": "/c.pem", "key": "/k.pem"},
        "own": {"certificate": "PEM", "key": "SECRET"},
        "half": {"certificate": "/c.pem", "key": None},
    }


def test_a_server_behind_tls_has_two_ports_that_nobody_else_can_have() -> None:
    front = plan(tls=True, host="0.0.0.0")
    assert problems(front, plan(instance="small", port=8081, tls=True)) == []
    for port in (8080, 18080):
        (problem,) = problems(front, plan(instance="small", port=port))
        assert f"both listen on port {port}" in problem


def test_what_fits_beside_each_other_is_not_refused() -> None:
    assert problems(plan(200), plan(150, **SECOND)) == []


def test_what_is_wrong_with_one_alone_is_said_of_it() -> None:
    (problem,) = problems(plan(), plan(context=0, **SECOND))
    assert problem == "Instance small: llama_service_context is 0: it must be at least 1."
    assert problems(plan(context=0)) == ["llama_service_context is 0: it must be at least 1."]


def test_the_sum_is_refused_with_the_bytes_of_each() -> None:
    (problem,) = problems(plan(250), plan(140, **SECOND))
    assert problem.startswith(
        "The instances do not fit the memory together: main with 250.7 GB, small with 140.7 GB and "
    )
    assert " and 4.0 GB of reserve are more than 384.0 GB: choose a smaller model" in problem
    assert "uninstall" not in problem


def test_what_does_not_fit_alone_is_said_once() -> None:
    (problem,) = problems(plan(400), plan(100, **SECOND))
    assert problem.startswith("Instance main: Model a-model does not fit the memory")


@pytest.mark.parametrize("policy", ["interleave", "distribute"])
def test_the_sum_is_taken_of_each_node(policy: str) -> None:
    """Half of what is spread, and all of what is bound there."""
    spread = plan(200, numa_policy=policy)
    assert problems(spread, plan(80, numa_policy="bind", numa_node=1, **SECOND)) == []
    (problem,) = problems(spread, plan(100, numa_policy="bind", numa_node=1, **SECOND))
    assert problem.startswith(
        "The instances do not fit memory node 1 together: main with 100.3 GB, small with 100.7 GB"
    )
    assert "are more than 192.0 GB: bind one of them to another node" in problem


def nodes(gigabytes: dict[str, int], *deployed: Any, large: int = 192) -> list[int | None]:
    """On which node each of these bound instances is, on a tower whose second node is larger than the first."""
    machine = tower()
    machine["nodes"][1]["memory_bytes"] += (large - 192) * GB
    wanted = [
        settings(instance=name, model=name, port=8080 + number, numa_policy="bind", reserve_bytes=RESERVE)
        for number, name in enumerate(gigabytes)
    ]

    def make(of: Any) -> Any:
        model: Any = {"name": of["model"], "bytes": gigabytes[of["model"]] * GB, "files": [], "gguf": {"kv": None}}
        return make_plan(of, machine, None, model)

    made = plans(wanted, deployed, machine, make)
    problems = together_problems(list(zip(gigabytes, made, strict=True)), [], machine, RESERVE)
    on_nodes = [made_plan["units"][0]["node"] for made_plan in made]
    assert bool(problems) == (
        sum(gigabytes[name] for name, on in zip(gigabytes, on_nodes, strict=True) if not on) > 180
    )
    return on_nodes


def test_one_that_is_bound_and_not_told_where_takes_the_largest_node_with_room() -> None:
    assert nodes({"a": 100}) == [0]
    assert nodes({"a": 100}, large=200) == [1]
    assert nodes({"a": 100, "b": 60}) == [0, 0]
    assert nodes({"a": 100, "b": 100}) == [0, 1]
    assert nodes({"a": 100, "b": 100}, large=200) == [1, 0]
    assert nodes({"a": 100, "b": 100, "c": 60}) == [0, 1, 0]
    assert nodes({"a": 100, "b": 100, "c": 100}) == [0, 1, 0], "refused"


def test_a_bound_instance_stays_where_it_is() -> None:
    """Whatever comes before it in the list, or was beside it."""
    there = [deployed(100, instance=name, numa_policy="bind", numa_node=node) for name, node in (("a", 0), ("b", 1))]
    assert nodes({"a": 100, "b": 100}, *there) == [0, 1]
    assert nodes({"b": 100, "a": 100}, *there) == [1, 0]
    assert nodes({"b": 100}, there[1]) == [1]
    assert nodes({"new": 80, "b": 100}, there[1]) == [0, 1]
    assert nodes({"new": 60, "a": 100}, there[0], large=150) == [0, 0]
    # What it has grown to has room elsewhere only.
    assert nodes({"a": 160, "b": 60}, *(deployed(60, instance=n, numa_policy="bind", numa_node=0) for n in "ab")) == [
        1,
        0,
    ]


def test_per_node_takes_of_each_node() -> None:
    (problem,) = problems(plan(100, numa_policy="per_node"), plan(95, numa_policy="bind", instance="b", port=9000))
    assert "memory node 0 together: main with 100.7 GB, b with 95.7 GB and 2.0 GB of reserve" in problem


def test_weights_decide_how_much_is_on_a_node() -> None:
    uneven = plan(200, numa_policy="weighted", weights={0: 3, 1: 1})
    (problem,) = problems(uneven, plan(60, numa_policy="bind", numa_node=0, **SECOND))
    assert "memory node 0 together: main with 150.5 GB, small with 60.7 GB" in problem
    assert problems(uneven, plan(120, numa_policy="bind", numa_node=1, **SECOND)) == []


def test_the_kernel_has_one_set_of_weights() -> None:
    one = plan(50, numa_policy="weighted", weights={0: 3, 1: 1})
    (problem,) = problems(one, plan(50, numa_policy="weighted", weights={0: 1, 1: 1}, **SECOND))
    assert problem.startswith("The instances main and small are interleaved by different weights")
    assert problems(one, plan(50, numa_policy="weighted", weights={0: 3, 1: 1}, **SECOND)) == []


@pytest.mark.parametrize(
    ("host", "other", "clash"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "localhost", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("10.0.0.5", "::", True),
        ("10.0.0.5", "127.0.0.1", False),
    ],
)
def test_one_port_of_one_address_is_of_one_instance(host: str, other: str, clash: bool) -> None:
    found = problems(plan(host=host), plan(host=other, instance="small"))
    assert [problem.partition(":")[0] for problem in found] == (
        ["The instances main and small both listen on port 8080"] if clash else []
    )


def test_per_node_has_a_port_for_each_node() -> None:
    (problem,) = problems(plan(50, numa_policy="per_node"), plan(50, **SECOND))
    assert problem.startswith("The instances main-node1 and small both listen on port 8081:")


def test_what_is_deployed_and_not_declared_has_its_port_and_its_memory() -> None:
    (problem,) = problems(plan(), others=[deployed(instance="old")])
    assert problem.startswith("The instances main and old both listen on port 8080: give one of them another")
    assert problem.endswith("ansible-playbook llamatower.tower.uninstall -e uninstall_instances=old.")
    (problem,) = problems(plan(250), others=[deployed(140, instance="old", port=9000, weights={0: 1})])
    assert "main with 250.7 GB, old with 140.7 GB" in problem
    assert "uninstall_instances=old" in problem
    assert problems(plan(), others=[deployed(instance="old", port=9000)]) == []


def test_one_of_before_is_refused_where_the_others_have_its_room_now() -> None:
    now = deployed(150, **SECOND)
    (problem,) = beside_problems(deployed(250), [now], tower(), RESERVE)
    assert "main with 250.7 GB, small with 150.7 GB" in problem
    assert beside_problems(deployed(200), [now], tower(), RESERVE) == []


def test_two_that_are_both_undeclared_are_left_alone() -> None:
    assert problems(plan(10, port=7000), others=[deployed(10, instance="a"), deployed(10, instance="b")]) == []


@pytest.mark.parametrize("name", ["", "-x", "a b", "main-node0", "../x", "ä"])
def test_a_name_that_no_unit_can_have_is_refused(name: str) -> None:
    (problem,) = name_problems([name])
    assert problem.startswith(f"llama_service_instances has the name {name!r}: a name has letters")


def test_names_are_there_and_are_different() -> None:
    assert name_problems(["main", "Small.2-node"]) == []
    assert name_problems(["main", "main"]) == ["Two of llama_service_instances have the name main: give each its own."]
    (problem,) = name_problems([])
    assert "names no instance" in problem


def test_what_is_deployed_is_read_from_the_tower(tmp_path: Path) -> None:
    for name, gigabytes in (("main", 100), ("old", 50)):
        place = tmp_path / name / "deployments/a1"
        place.mkdir(parents=True)
        (place / "deployment.json").write_text(json.dumps(deployed(gigabytes, instance=name)))
        (tmp_path / name / "current").symlink_to("deployments/a1")
    assert [other["instance"] for other in current_deployments(str(tmp_path), but=["main", "new"])] == ["old"]


def order(*planned: tuple[str, Any], now: Any) -> tuple[list[str], list[str]]:
    return switch_order(planned, now, tower(), RESERVE)


def test_those_that_become_smaller_are_switched_first() -> None:
    now = [deployed(250), deployed(100, **SECOND)]
    assert order(plan(100), plan(250, **SECOND), now=now) == (["main", "small"], [])
    assert order(plan(60, **SECOND), plan(280), now=now) == (["small", "main"], [])


def test_one_waits_for_the_port_that_another_leaves() -> None:
    now = [deployed(50, port=8080), deployed(50, **SECOND)]
    assert problems(plan(50, port=8081), plan(50, instance="small", port=8082)) == []
    found = order(plan(50, port=8081), plan(50, instance="small", port=8082), now=now)
    assert found == (["small", "main"], [])


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ({"port": 8080}, {"port": 8081}, "both listen on port 8081"),
        (
            {"port": 8080, "numa_policy": "bind", "numa_node": 0},
            {"port": 8081, "numa_policy": "bind", "numa_node": 1},
            "do not fit memory node 1 together",
        ),
    ],
    ids=["ports", "nodes"],
)
def test_two_that_exchange_what_they_have_are_refused_before_one_is_touched(
    one: dict[str, Any], other: dict[str, Any], why: str
) -> None:
    """Each would be refused beside the other as it is now, after validate had let both through."""
    if why.startswith("both"):
        wanted = [plan(150, **other), plan(150, instance="small", **one)]
    else:
        wanted = [plan(150, **{**other, "port": 8080}), plan(150, instance="small", **{**one, "port": 8081})]
    now = [deployed(150, **one), deployed(150, instance="small", **other)]
    assert problems(*wanted) == []
    names, (problem,) = order(*wanted, now=now)
    assert sorted(names) == ["main", "small"]
    assert problem.startswith("None of the instances main, small can be switched while the others are as they are now")
    assert why in problem


def test_several_that_are_weighted_can_all_be_given_other_weights() -> None:
    """As after a benchmark, which measures them a little otherwise each time."""
    weighted: dict[str, Any] = {"numa_policy": "weighted", "weights": {0: 3, 1: 2}}
    now = [deployed(50, **weighted), deployed(50, **SECOND, **weighted)]
    weighted = {"numa_policy": "weighted", "weights": {0: 2, 1: 1}}
    assert order(plan(50, **weighted), plan(50, **SECOND, **weighted), now=now) == (["main", "small"], [])
    assert beside_problems(deployed(50, **weighted), now[1:], tower(), RESERVE) == []


def test_a_name_that_is_a_number_is_the_same_everywhere() -> None:
    declared: list[dict[str, Any]] = [{"name": 1, "tls_key": "k"}]
    (found,) = instance_settings(declared, {"model": "m"})
    assert found["instance"] == "1" and list(instance_certificates(declared, "c", None)) == ["1"]


def test_a_name_has_room_in_the_names_of_units_and_sockets() -> None:
    assert name_problems(["x" * 50]) == []
    (problem,) = name_problems(["x" * 51])
    assert problem == f"llama_service_instances has a name of 51 characters, {'x' * 20}…: a name has at most 50."
