# SPDX-License-Identifier: MIT
"""Ansible module: BIOS settings over Redfish."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redfish_bios
short_description: Plan and write BIOS settings over Redfish
version_added: 0.1.0
author: llamatower contributors
description:
  - Finds what this board calls a setting by what its attribute registry displays, compares current, pending and wanted
    values, and writes only the difference, in one request. A board that has no such setting, or several that could be
    meant, gets the candidates listed and no write.
  - What is written applies at the next reset, which is another call with O(state=reset).
extends_documentation_fragment:
  - llamatower.tower.attributes
options:
  host:
    description: Name or address of the BMC, with a port where it is not 443.
    type: str
    required: true
  username:
    description: Account of the BMC.
    type: str
    required: true
  password:
    description: Its password.
    type: str
    required: true
  ca_path:
    description: File of the CA certificates that the BMC's certificate is checked with, instead of the system's.
    type: path
  validate_certs:
    description: Whether the BMC's certificate is checked.
    type: bool
    default: true
  timeout:
    description: Seconds to wait for each answer.
    type: float
    default: 30
  system:
    description: Id of the system, where the BMC manages several.
    type: str
  state:
    description:
      - V(planned) writes nothing; V(applied) writes the difference; V(reset), where wanted values are pending, restarts the
        system through its operating system, or shuts it down and starts it where a setting needs that, and waits until
        the BIOS has them.
    type: str
    choices: [planned, applied, reset]
    default: planned
  settings:
    description: Wanted settings by the names in C(catalog/bios.yml), such as C(nodes_per_socket) 1.
    type: dict
    default: {}
  attributes:
    description: Wanted attributes and values as the board spells them.
    type: dict
    default: {}
  spellings:
    description: How boards spell settings, the C(settings) of C(catalog/bios.yml), by setting.
    type: dict
    default: {}
  restored:
    description: Take the values to go back to from O(record) instead of O(settings) and O(attributes).
    type: bool
    default: false
  record:
    description:
      - File on the machine that runs this module, where the values to go back to are kept before anything is written, and
        what was written, for BMCs that do not show what is pending.
    type: path
  boot:
    description: Identity of the tower's present boot; what was written during another one is no longer pending.
    type: str
  accept_pending:
    description: Write although settings of somebody else are pending, which the same reset would apply.
    type: bool
    default: false
  wait:
    description: Seconds to wait for a reset.
    type: float
    default: 900
attributes:
  check_mode:
    support: full
    details: Reads, and predicts the difference that it would write.
  diff_mode:
    support: full
    details: Shows the values that change.
"""

EXAMPLES = r"""
- name: See what the BIOS is set to
  llamatower.tower.redfish_bios:
    host: 192.0.2.11
    username: admin
    password: "{{ vault_bmc_password }}"
    settings: {nodes_per_socket: 1, l3_as_numa: false}
    spellings: "{{ (lookup('ansible.builtin.file', 'catalog/bios.yml') | from_yaml).settings }}"
  delegate_to: localhost
"""

RETURN = r"""
plan:
  description: What to write so that the BIOS gets the wanted settings, and what stands in the way.
  returned: success
  type: dict
  contains:
    settings:
      description: One entry for each wanted setting or attribute.
      type: list
      elements: dict
      returned: success
      contains:
        setting: {description: The setting or attribute as it was asked for., type: str, returned: success, sample: nodes_per_socket}
        attribute: {description: What the board calls it; null where that is not known., type: str, returned: success, sample: Rome0075}
        display: {description: What its menus call it., type: str, returned: success}
        current: {description: Its value., type: raw, returned: success}
        pending: {description: The value that the next reset gives it; null where that is the same., type: raw, returned: success}
        wanted: {description: The value that it should have., type: raw, returned: success}
        state: {description: "C(same), C(pending), C(change), C(locked) or C(unknown).", type: str, returned: success}
    changes: {description: "Values to write, by attribute.", type: dict, returned: success, sample: {Rome0075: NPS1}}
    previous: {description: "Values to go back to, by attribute.", type: dict, returned: success, sample: {Rome0075: NPS4}}
    others: {description: "Pending values that nobody asked for here, by attribute.", type: dict, returned: success, sample: {}}
    problems: {description: "Sentences; where there is one, nothing is written.", type: list, elements: str, returned: success}
    cold: {description: Whether a change needs the power to be off once., type: bool, returned: success}
    meanings: {description: "The settings that all wanted attributes stand for, by setting.", type: dict, returned: success, sample: {nodes_per_socket: 1}}
text:
  description: The plan as lines.
  returned: success
  type: str
"""

import json
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.bios.redfish import Redfish, RedfishError
from ..module_utils.bios.settings import plan, plan_text
from ..module_utils.files import make_directory, write_json


def kept(path: str | None) -> dict[str, Any]:
    """The record of earlier writes. Raises RedfishError where the file is something else."""
    try:
        return dict(json.loads(Path(path).read_text(encoding="utf-8"))) if path and Path(path).exists() else {}
    except (OSError, ValueError, TypeError) as error:
        raise RedfishError(f"{path} is no record of BIOS settings ({error}): put it aside.") from error


def keep(path: str, record: dict[str, Any]) -> None:
    """Write the record beside the old one, then put it in its place."""
    make_directory(os.path.dirname(path))
    write_json(path, record)


def run(module: AnsibleModule, bmc: Redfish) -> None:
    options = module.params
    path = options["record"]
    record = kept(path)
    wanted, exact = options["settings"], options["attributes"]
    if options["restored"]:
        if not record.get("previous"):
            module.fail_json(msg=f"{path} has no values to go back to: nothing was written to this BIOS from here.")
        wanted, exact = {}, record["previous"]
    written = record.get("written") if record.get("boot") == options["boot"] else None

    def read() -> tuple[Any, Any]:
        found = bmc.bios(options["system"])
        pending = found.pending.body if found.pending else None
        return found, plan(found.bios.body, pending, found.registry, wanted, options["spellings"], exact, written)

    found, planned = read()
    result = {"plan": planned, "text": plan_text(planned), "changed": False}
    if options["state"] != "planned" and planned["problems"]:
        module.fail_json(msg=" ".join(planned["problems"]), **result)
    waiting = options["state"] == "reset" and any(entry["state"] == "pending" for entry in planned["settings"])
    writing = options["state"] == "applied" and planned["changes"]
    if (waiting or writing) and planned["others"] and not options["accept_pending"]:
        names = ", ".join(planned["others"])
        module.fail_json(
            msg=f"Somebody else's settings are pending on {bmc.host} ({names}), and the same reset would apply them: "
            "reset the machine or discard them first, or set accept_pending.",
            **result,
        )
    if options["state"] == "applied":
        result["changed"] = bool(planned["changes"])
        before = {name: planned["previous"][name] for name in planned["changes"]}
        result["diff"] = {"before": before, "after": planned["changes"]}
        if planned["changes"] and not module.check_mode:
            # What to go back to is kept before anything is written, and never overwritten by later values.
            record["previous"] = {**planned["previous"], **record.get("previous", {})}
            if path:
                keep(path, record)
            task = bmc.write(found, planned["changes"])
            record |= {"boot": options["boot"], "written": {**(written or {}), **planned["changes"]}, "task": task}
            if path:
                keep(path, record)
            # Some say yes to what they drop, because another setting owns it.
            if found.pending:
                names = ", ".join(planned["changes"])
                dropped = f"The BMC {bmc.host} accepted {names}, and did not show what was written as pending"
                bmc.wait(dropped, lambda: not read()[1]["changes"], options["timeout"])
    if options["state"] == "reset":
        result["changed"] = waiting
        if waiting and not module.check_mode:
            bmc.restart(found.system, planned["cold"], options["wait"])
            task, written = record.get("task"), None

            def applied() -> bool:
                now, again = read()
                # Where the BMC tells when it last reset the system, that must be another time than before: some show
                # new values too early.
                before = found.system.get("LastResetTime")
                restarted = before is None or now.system.get("LastResetTime") != before
                ended = not task or bmc.finished(task)
                return restarted and ended and all(entry["state"] == "same" for entry in again["settings"])

            bmc.wait("The BIOS did not take the settings over", applied, options["wait"])
    module.exit_json(**result)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "username": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "ca_path": {"type": "path"},
            "validate_certs": {"type": "bool", "default": True},
            "timeout": {"type": "float", "default": 30},
            "system": {"type": "str"},
            "state": {"type": "str", "choices": ["planned", "applied", "reset"], "default": "planned"},
            "settings": {"type": "dict", "default": {}},
            "attributes": {"type": "dict", "default": {}},
            "spellings": {"type": "dict", "default": {}},
            "restored": {"type": "bool", "default": False},
            "record": {"type": "path"},
            "boot": {"type": "str"},
            "accept_pending": {"type": "bool", "default": False},
            "wait": {"type": "float", "default": 900},
        },
        supports_check_mode=True,
    )
    names = ("host", "username", "password", "ca_path", "validate_certs", "timeout")
    try:
        with Redfish(*(module.params[name] for name in names)) as bmc:
            run(module, bmc)
    except RedfishError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
