# SPDX-License-Identifier: MIT
"""The fewest writes that give a BIOS the wanted settings, what stands in their way, and whether Linux sees them."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Optional, TypedDict

from ..machine import Machine, compared, machine_text
from ..tower_document import Tower
from .connection import mapping
from .settings import Attribute, attributes, locks, meanings, plain, resolve, resolve_exact, same


class PlannedSetting(TypedDict):
    """One wanted setting on this board.

    ``setting`` is its name in catalog/bios.yml, or the attribute's where that was given. ``attribute``, ``display`` and
    ``current`` are the board's, None where it has no such thing; ``pending`` is what the next reset makes of it where
    that is something else, and ``wanted`` is spelled as the board does.

    ``state`` is ``same`` (nothing to do), ``pending`` (the next reset does it), ``change`` (to be written), ``locked``
    or ``unknown``.
    """

    setting: str
    attribute: Optional[str]
    display: Optional[str]
    current: Any
    pending: Any
    wanted: Any
    state: Literal["same", "pending", "change", "locked", "unknown"]


class BiosPlan(TypedDict):
    """What redfish_bios compares and would write, made of a BMC's documents.

    ``changes`` are attributes with the values to write, ``previous`` those to go back to, ``others`` pending values
    that nobody asked for here; with one of the ``problems`` nothing should be written. ``cold`` is whether a change
    needs the power to be off once, and ``meanings`` are the settings that all wanted attributes stand for.
    """

    settings: list[PlannedSetting]
    changes: dict[str, Any]
    previous: dict[str, Any]
    others: dict[str, Any]
    problems: list[str]
    cold: bool
    meanings: dict[str, Any]


class _Target(NamedTuple):
    """A wanted setting: the attribute and value that it means here, or why there is none."""

    setting: str
    asked: Any
    attribute: Optional[Attribute]
    value: Any
    reason: str


def bios_plan(
    bios: dict[str, Any],
    pending: Optional[dict[str, Any]],
    registry: Optional[dict[str, Any]],
    wanted: dict[str, Any],
    spellings: dict[str, Any],
    exact: Optional[dict[str, Any]] = None,
    written: Optional[dict[str, Any]] = None,
) -> BiosPlan:
    """What to write so that the BIOS gets the wanted settings, and what stands in the way.

    ``wanted`` is setting -> value, ``exact`` attribute -> value as the board spells them, ``spellings`` the settings of
    catalog/bios.yml, ``pending`` the settings object (None where it cannot be read; then ``written``, what was written
    since the last reset, stands for it).
    """
    known = attributes(bios, registry)
    if pending is None:
        waiting = dict(written or {})
    else:
        waiting = {name: plain(value) for name, value in mapping(pending.get("Attributes")).items()}
    targets = [_Target(setting, value, *resolve(setting, value, spellings, known)) for setting, value in wanted.items()]
    targets += [_Target(name, value, *resolve_exact(name, value, known)) for name, value in (exact or {}).items()]
    # What is pending, and what is to be, unlocks and locks as well: the same reset applies all of it.
    targeted = {target.attribute.name: target.value for target in targets if target.attribute}
    current = {attribute.name: attribute.current for attribute in known}
    locked = locks(registry or {}, current | waiting | targeted)
    settings = [_planned(target, waiting, locked) for target in targets]
    moving = {entry["attribute"] for entry in settings if entry["state"] in ("pending", "change")}
    return {
        "settings": settings,
        "changes": {str(entry["attribute"]): entry["wanted"] for entry in settings if entry["state"] == "change"},
        "previous": {attribute.name: attribute.current for attribute in known if attribute.name in moving},
        "others": {
            name: value
            for name, value in waiting.items()
            if name not in targeted and name in current and not same(value, current[name])
        },
        "problems": [
            _problem(target, entry, locked)
            for target, entry in zip(targets, settings)
            if entry["state"] in ("locked", "unknown")
        ],
        "cold": any(attribute.cold for attribute in known if attribute.name in moving),
        "meanings": meanings(targeted, spellings, known),
    }


def _planned(target: _Target, waiting: dict[str, Any], locked: dict[str, str]) -> PlannedSetting:
    attribute = target.attribute
    if attribute is None:
        return {
            "setting": target.setting,
            "attribute": None,
            "display": None,
            "current": None,
            "pending": None,
            "wanted": target.asked,
            "state": "unknown",
        }
    after_reset = waiting.get(attribute.name, attribute.current)
    pending = None if same(after_reset, attribute.current) else after_reset
    state: Literal["same", "pending", "change", "locked"] = "change"
    if same(after_reset, target.value):
        state = "same" if pending is None else "pending"
    elif attribute.name in locked:
        state = "locked"
    return {
        "setting": target.setting,
        "attribute": attribute.name,
        "display": attribute.display,
        "current": attribute.current,
        "pending": pending,
        "wanted": target.value,
        "state": state,
    }


def _problem(target: _Target, entry: PlannedSetting, locked: dict[str, str]) -> str:
    if entry["state"] == "unknown":
        return target.reason
    name = str(entry["attribute"])
    return f"{name} ({entry['display']}) is {entry['current']} and locked by {locked[name]}: change that first."


def refusal(planned: BiosPlan, state: str, accept_pending: bool, bmc: str) -> Optional[str]:
    """Why nothing is written (``applied``) or reset (``reset``), in a sentence; None where nothing stands in the way.

    A plan that is only shown (``planned``) is never refused.
    """
    if state == "planned":
        return None
    if planned["problems"]:
        return " ".join(planned["problems"])
    doing = planned["changes"] if state == "applied" else to_reset(planned)
    if doing and planned["others"] and not accept_pending:
        return (
            f"Somebody else's settings are pending on {bmc} ({', '.join(planned['others'])}), and the same reset would "
            "apply them: reset the machine or discard them first, or set accept_pending."
        )
    return None


def machine_problem(
    bmc: str, found: Machine, tower: Optional[Machine], kept: Optional[Machine], accept_unknown: bool
) -> Optional[str]:
    """Why nothing is written to the machine that a BMC manages, in a sentence; None where it is the one that is meant.

    ``tower`` is the machine that is meant, as its Linux shows it: None where any is, with nothing in it where it
    does not answer. ``kept`` is that of the record: None where there is none yet. Another machine is never accepted.
    """
    if kept and compared(kept, found) == "other":
        return (
            f"The BMC {bmc} manages a machine {machine_text(found)}, and its record is of one {machine_text(kept)}: "
            "put the record aside, or correct bios_bmc_host."
        )
    if tower and compared(tower, found) == "other":
        return (
            f"The BMC {bmc} manages a machine {machine_text(found)}, and this tower is one {machine_text(tower)}: "
            "correct bios_bmc_host."
        )
    if tower is None or accept_unknown:
        return None
    proofs = [compared(one, found) for one in (tower, kept) if one is not None]
    # What the record goes back to must be this machine's; a tower that does not answer is known by its record.
    if proofs[-1] == "same":
        return None
    return (
        f"The BMC {bmc} manages a machine {machine_text(found)}, and nothing shows that it is this tower's"
        f"{' and of its record' if kept is not None else ''}: start the tower, let its user become root, or compare "
        "them by hand and set bios_accept_unknown_machine."
    )


def to_reset(planned: BiosPlan) -> bool:
    """Whether a reset would apply something that is wanted."""
    return any(entry["state"] == "pending" for entry in planned["settings"])


def taken_over(planned: BiosPlan, before: Optional[str], now: Optional[str]) -> bool:
    """Whether a reset has applied everything that is wanted.

    ``before`` and ``now`` are when the BMC says that it last reset the system, where it does: that must be another time
    than before, since some show new values too early.
    """
    restarted = before is None or now != before
    return restarted and all(entry["state"] == "same" for entry in planned["settings"])


def settings_text(planned: BiosPlan) -> str:
    """The plan as lines: current value, pending one, wanted one of each setting."""
    lines = []
    for entry in planned["settings"]:
        name = f"{entry['setting']}: " + (f"{entry['display']} ({entry['attribute']}) " if entry["attribute"] else "")
        now = f"is {entry['current']}" + (f", pending {entry['pending']}" if entry["pending"] is not None else "")
        end = {
            "same": "as wanted",
            "pending": "which the next reboot applies",
            "change": f"to be {entry['wanted']}",
            "locked": f"should be {entry['wanted']}, but is locked",
            "unknown": f"should be {entry['wanted']}, but is unknown here",
        }[entry["state"]]
        lines.append(name + (f"{now}, {end}" if entry["attribute"] else end))
    lines += [f"pending by somebody else: {name} = {value}" for name, value in planned["others"].items()]
    return "\n".join(lines + planned["problems"])


def measured_problems(tower: Tower, wanted: dict[str, Any]) -> list[str]:
    """Where Linux sees something else than the settings ask for; settings that it cannot see are passed over."""
    per_socket = tower["nodes_per_socket"]
    seen: dict[str, Any] = {"smt": tower["smt_active"], "nodes_per_socket": per_socket}
    if wanted.get("snc") is not None:
        seen["snc"] = None if per_socket is None else (per_socket > 1 and per_socket)
    if str(wanted.get("l3_as_numa")).lower() == "true":
        seen.pop("nodes_per_socket")  # the nodes are the caches then
    return [
        f"{setting} should be {wanted[setting]}, and Linux sees {value}: see the plan and the event log of the BMC."
        for setting, value in seen.items()
        if wanted.get(setting) is not None and value is not None and not same(value, wanted[setting])
    ]
