# SPDX-License-Identifier: MIT
"""Several instances of the service on one tower: what each is set to, and whether they go together.

Each is decided by itself (:mod:`plan`), so that a change of one leaves the processes of the others alone: what another
one is given only decides on which node a bound one begins. Together they are only refused. An instance that is deployed
on the tower and not declared any more still has its memory and its port; only uninstall takes it away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Callable, NamedTuple, Optional

from ..build.document import BuildManifest
from ..model.document import Manifest, PlanEntry
from ..text import size
from ..tower_document import Tower
from .access import clients_address
from .client import EVERY_ADDRESS, LOOPBACK
from .deployment import NAME, OF_NODE, Deployment, current_deployments
from .document import Plan, PlannedUnit, ServerResult, ServiceResult, Settings
from .numa_policy import bindable_nodes, given_weights, kernel_weights, memory_nodes
from .plan import make_plan

# Keys of llama_service_instances that the settings have another name for. The keys of clients are no setting.
RENAMED = {"name": "instance", "context_checkpoints": "checkpoints", "placement_tolerance": "tolerance"}
NO_SETTING = ("api_keys",)
TLS = ("tls_certificate", "tls_key")
# The path of the socket of its HAProxy has 107 bytes, of which other words and a number of a node take 57.
LONGEST_NAME = 50


class Share(NamedTuple):
    """What an instance has of a tower: its units, bytes of each, and the weights that it sets the kernel ({}: none)."""

    name: str
    policy: str
    units: list[PlannedUnit]
    needed_bytes: int
    weights: dict[int, int]
    declared: bool

    @property
    def bytes(self) -> int:
        """Of all units."""
        return self.needed_bytes * len(self.units)


class Known(NamedTuple):
    """What there is of an instance, each None where it is not known yet; ``tuned`` is what the tuner stored, and
    ``undeclared`` the sentence where nobody declares its model."""

    build: Optional[BuildManifest]
    model: Manifest | PlanEntry | None
    tuned: Any
    server_help: Optional[str]
    undeclared: Optional[str]


def share_of(name: str, of: Plan | Deployment, declared: bool = True) -> Share:
    """What an instance has by its plan, or by its deployment."""
    weights = {int(node): int(weight) for node, weight in of["weights"].items()}
    return Share(name, of["numa_policy"], of["units"], of["needed_bytes"], weights, declared)


def instance_settings(declared: Sequence[Mapping[str, Any]], defaults: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings of each entry of llama_service_instances; what it does not name comes from ``defaults``.

    ``model_dir`` of these becomes the path of each model.
    """
    found = []
    for entry in declared:
        own = {RENAMED.get(key, key): value for key, value in entry.items() if key not in NO_SETTING}
        own["instance"] = str(own.get("instance", ""))  # a number is a name, too
        settings = {**defaults, **own, "model": own.get("model") or defaults["model"]}
        # A key is no setting, and where it is from changes no server.
        given = [settings.pop(name) for name in TLS if name in settings]
        if given:
            settings["tls"] = any(given)
        if "model_dir" in settings:
            settings["model_path"] = f"{settings.pop('model_dir')}/{settings['model']}"
        found.append(settings)
    return found


def instance_certificates(
    declared: Sequence[Mapping[str, Any]], certificate: Optional[str], key: Optional[str]
) -> dict[str, dict[str, Optional[str]]]:
    """What llama_certificate is given for each instance that has HTTPS, by name."""
    given = [{"tls_certificate": certificate, "tls_key": key, **entry} for entry in declared]
    return {
        str(entry["name"]): {"certificate": entry["tls_certificate"], "key": entry["tls_key"]}
        for entry in given
        if any(entry[name] for name in TLS)
    }


def service_result(checks: Sequence[Mapping[str, Any]], placements: Sequence[Mapping[str, Any]]) -> ServiceResult:
    """What the report is told of all units: the results of llama_server_check and of numa_placement_info, in loops over
    the same pairs of an instance, as llama_service_plan returns it, and one of its units."""
    servers: list[ServerResult] = []
    for check, placed in zip(checks, placements):
        instance, unit = check["item"]
        servers.append(
            {
                "instance": instance["name"],
                "name": unit["name"],
                "url": unit["url"],
                "model": instance["model"].get("name"),
                "completion": check["completion"],
                "server": check["server"],
                "placement": placed["numa_placement"],
                "nodes": unit["intent"]["nodes"],
                "problem": placed.get("problem"),
                "threads": (instance.get("plan") or {}).get("threads"),
            }
        )
    first = servers[0]
    return {
        "completion": first["completion"],
        "server": first["server"],
        "placement": first["placement"],
        "nodes": first["nodes"],
        "problem": next((server["problem"] for server in servers if server["problem"]), None),
        "servers": servers,
    }


def name_problems(names: Sequence[str]) -> list[str]:
    """Why instances cannot be called so, one sentence each."""
    problems = [] if names else ["llama_service_instances names no instance: give it one, as [{name: main}]."]
    for name in dict.fromkeys(names):
        if len(name) > LONGEST_NAME:
            problems.append(
                f"llama_service_instances has a name of {len(name)} characters, {name[:20]}…: a name has at most "
                f"{LONGEST_NAME}."
            )
        if not NAME.fullmatch(name) or OF_NODE.search(name):
            problems.append(
                f"llama_service_instances has the name {name!r}: a name has letters, digits and . _ - only, begins "
                "with one of the first two, and does not end in -node and a number, as units of the policy per_node do."
            )
        if names.count(name) > 1:
            problems.append(f"Two of llama_service_instances have the name {name}: give each its own.")
    return problems


def plans(
    wanted: Sequence[Settings], deployed: Sequence[Deployment], tower: Tower, make: Callable[[Settings], Plan]
) -> list[Plan]:
    """The plan of each instance, as ``make`` makes it alone.

    One that is bound, and not told where, stays on the node of its current deployment, or takes the largest that has
    room beside the others: by their plans, those after it by what is deployed of them. Where none has, it is on the
    largest, and refused.
    """
    shares = {each["instance"]: share_of(each["instance"], each) for each in deployed}
    made = []
    for settings in wanted:
        name, plan = settings["instance"], make(settings)
        if plan["numa_policy"] == "bind" and settings["numa_node"] is None:
            others = [share for share in shares.values() if share.name != name]
            node = _free_node(plan["needed_bytes"], settings["reserve_bytes"], shares.get(name), others, tower)
            if node is not None and node != plan["units"][0]["node"]:
                plan = make({**settings, "numa_node": node})
        shares[name] = share_of(name, plan)
        made.append(plan)
    return made


def decide(
    wanted: Sequence[Settings],
    known: Sequence[Known],
    tower: Tower,
    measured: Mapping[int, int],
    numactl_help: Optional[str],
    path: str,
) -> list[dict[str, Any]]:
    """The name, the settings, the plan and the model of each instance; ``measured`` are weights of the nodes."""
    of = dict(zip((settings["instance"] for settings in wanted), known))

    def make(settings: Settings) -> Plan:
        own = of[settings["instance"]]
        given = given_weights(settings["numa_weights"])
        whole: Settings = {**settings, "weights": {**kernel_weights(tower), **(given or measured)}}
        plan = make_plan(whole, tower, own.build, own.model, own.tuned, own.server_help, numactl_help)
        return {**plan, "problems": [*filter(None, [own.undeclared]), *plan["problems"]]}

    made = plans(wanted, current_deployments(path), tower, make)
    return [
        {"name": settings["instance"], "settings": settings, "plan": plan, "model": own.model or {}}
        for settings, own, plan in zip(wanted, known, made)
    ]


def _free_node(
    needed: int, reserve: int, present: Optional[Share], others: Sequence[Share], tower: Tower
) -> Optional[int]:
    """The node for a bound instance: its present one, or the largest with room; None where none has."""
    kept = reserve // max(1, len(memory_nodes(tower)))
    # Alone it has to leave room for all that the system takes (plan.make_plan), beside others for the node's part.
    free = [
        entry["node"]
        for entry in bindable_nodes(tower)
        if needed + max(reserve, kept + sum(_on_node(share, entry["node"]) for share in others))
        <= entry["memory_bytes"]
    ]
    stays = [unit["node"] for unit in present.units if present.policy == "bind"] if present else []
    return next((node for node in free if node in stays), free[0] if free else None)


def together(found: Sequence[Mapping[str, Any]], tower: Tower, path: str) -> dict[str, Any]:
    """What llama_service_plan returns of all instances, each of which has a ``name``, ``settings`` and a ``plan``."""
    others = current_deployments(path, but=[entry["name"] for entry in found])
    reserve = max((entry["settings"]["reserve_bytes"] for entry in found), default=0)
    planned = [(entry["name"], entry["plan"]) for entry in found]
    order, stuck = switch_order(planned, current_deployments(path), tower, reserve)
    return {
        "instances": [{**entry, "turn": order.index(entry["name"])} for entry in found],
        "problems": together_problems(planned, others, tower, reserve) or stuck,
        "undeclared": [other["instance"] for other in others],
    }


def together_problems(
    planned: Sequence[tuple[str, Plan]], others: Sequence[Deployment], tower: Tower, reserve: int
) -> list[str]:
    """Why these instances cannot be on one tower, one sentence each: all problems of each one alone, and of all.

    ``others`` are deployed and not declared; ``reserve`` is what stays free for the system.
    """
    alone = [
        f"Instance {name}: {problem}" if len(planned) > 1 else problem
        for name, plan in planned
        for problem in plan["problems"]
    ]
    wrong = name_problems([name for name, _plan in planned])
    shares = [share_of(name, plan) for name, plan in planned]
    shares += [share_of(other["instance"], other, declared=False) for other in others]
    return [*wrong, *alone, *clashes(shares), *_memory_problems(shares, tower, reserve)]


def switch_order(
    planned: Sequence[tuple[str, Plan]], deployed: Sequence[Deployment], tower: Tower, reserve: int
) -> tuple[list[str], list[str]]:
    """The instances in an order in which each can be switched beside the others as they are then, those that become
    smaller first; and a sentence where there is none, as where two exchange their ports."""
    now = {each["instance"]: share_of(each["instance"], each) for each in deployed}
    left = [share_of(name, plan) for name, plan in planned]
    left.sort(key=lambda share: share.bytes - (now[share.name].bytes if share.name in now else 0))
    order: list[str] = []
    while left:
        refusals = [_beside(share, [now[name] for name in now if name != share.name], tower, reserve) for share in left]
        first = next((number for number, refusal in enumerate(refusals) if not refusal), None)
        if first is None:
            names = [share.name for share in left]
            problem = (
                f"None of the instances {', '.join(names)} can be switched while the others are as they are now, so "
                f"that this takes two runs, the first to another port, node or size: {refusals[0][0]}"
            )
            return [*order, *names], [problem]
        share = left.pop(first)
        now[share.name] = share
        order.append(share.name)
    return order, []


def beside_problems(wanted: Deployment, others: Sequence[Deployment], tower: Tower, reserve: int) -> list[str]:
    """Why a deployment cannot be switched to beside the others as they are now, one sentence each: one of before may
    be larger than what there was room for since."""
    own, *shares = (share_of(each["instance"], each) for each in (wanted, *others))
    return _beside(own, shares, tower, reserve)


def _beside(share: Share, others: Sequence[Share], tower: Tower, reserve: int) -> list[str]:
    # Weights are set before each start: while several instances change theirs, they may differ.
    ports = [problem for problem in (_port_problem(share, other) for other in others) if problem]
    return [*ports, *_memory_problems([share, *others], tower, reserve)]


def clashes(shares: Sequence[Share]) -> Iterator[str]:
    """Each two that want the same of the tower."""
    for one, other in combinations(shares, 2):
        if one.declared or other.declared:
            problem = _port_problem(one, other) or _weights_problem(one, other)
            if problem:
                yield problem


def _listens(unit: PlannedUnit) -> list[tuple[str, int]]:
    """Addresses and ports of a unit."""
    own = (unit["environment"].get("LLAMA_ARG_HOST", ""), int(unit["environment"].get("LLAMA_ARG_PORT", unit["port"])))
    clients = (clients_address(unit), unit["port"])
    return [(LOOPBACK[0] if host in LOOPBACK else host, port) for host, port in (clients, own)]


def _common_port(unit: PlannedUnit, beside: PlannedUnit) -> Optional[int]:
    """The port that two units both listen on, if any."""
    for address, port in _listens(unit):
        for other, same in _listens(beside):
            if port == same and (address == other or {address, other} & EVERY_ADDRESS.keys()):
                return port
    return None


def _port_problem(one: Share, other: Share) -> Optional[str]:
    """One sentence where two instances listen on the same port of the same address, else None."""
    for unit in one.units:
        for beside in other.units:
            port = _common_port(unit, beside)
            if port is not None:
                return (
                    f"The instances {unit['name']} and {beside['name']} both listen on port {port}: give one "
                    f"of them another, with the policy per_node as many as there are nodes{_instead([one, other])}."
                )
    return None


def _weights_problem(one: Share, other: Share) -> Optional[str]:
    """One sentence where two instances need the kernel to have different weights, else None."""
    if not one.weights or not other.weights or one.weights == other.weights:
        return None
    return (
        f"The instances {one.name} and {other.name} are interleaved by different weights, and the kernel has one set "
        f"of them: give both the same numa_weights, or one of them another policy{_instead([one, other])}."
    )


def _on_node(share: Share, node: int) -> int:
    """What an instance takes of a node; 0 where the kernel puts its memory wherever it likes."""
    total = 0
    for unit in share.units if share.policy != "none" else ():
        parts = {each: share.weights.get(each, 1) for each in unit["intent"]["nodes"]}
        total += share.needed_bytes * parts.get(node, 0) // max(1, sum(parts.values()))
    return total


def _memory_problems(shares: Sequence[Share], tower: Tower, reserve: int) -> list[str]:
    """A sentence where all do not fit the tower, or else for each node that they do not fit; [] where they do.

    What does not fit alone has its own sentence, of its plan.
    """
    memory, nodes = tower["memory_bytes"], memory_nodes(tower)
    if len(shares) < 2 or memory is None:
        return []
    wanted = {share.name: share.bytes for share in shares}
    if max(wanted.values()) + reserve > memory:
        return []
    if sum(wanted.values()) + reserve > memory:
        return [
            f"The instances do not fit the memory together: {_parts(wanted, reserve)} are more than {size(memory)}: "
            f"choose a smaller model, quantization or context for one of them{_instead(shares)}."
        ]
    problems = []
    for node in [entry for entry in tower["nodes"] if len(nodes) > 1 and entry["memory_bytes"]]:
        number, has = node["node"], node["memory_bytes"]
        there = {share.name: _on_node(share, number) for share in shares}
        kept = reserve // len(nodes)
        if max(there.values()) + kept <= has < sum(there.values()) + kept:
            problems.append(
                f"The instances do not fit memory node {number} together: {_parts(there, kept)} are more than "
                f"{size(has)}: bind one of them to another node (numa_node), or make it smaller{_instead(shares)}."
            )
    return problems


def _parts(wanted: dict[str, int], reserve: int) -> str:
    """Who has how much, in words."""
    each = ", ".join(f"{name} with {size(count)}" for name, count in wanted.items() if count)
    return f"{each} and {size(reserve)} of reserve"


def _instead(shares: Sequence[Share]) -> str:
    """How those are taken away that are not declared any more."""
    names = ",".join(share.name for share in shares if not share.declared)
    if not names:
        return ""
    return (
        f"; or take away what is deployed and not declared any more: ansible-playbook llamatower.tower.uninstall -e "
        f"uninstall_instances={names}"
    )
