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
        what was written, for BMCs that do not show what is pending. It is of one machine, and refused for another.
    type: path
  boot:
    description: Identity of the tower's present boot; what was written during another one is no longer pending.
    type: str
  accept_pending:
    description: Write although settings of somebody else are pending, which the same reset would apply.
    type: bool
    default: false
  machine:
    description:
      - What tells the machine that is meant from others, as RV(llamatower.tower.tower_info#module:machine) has it.
        Nothing is written or reset where the BMC manages another one, or nothing shows that it is this one. A machine
        that does not answer has V(null) and an empty list, and is known by O(record) then.
      - Where this is left out, any machine is meant, and only compared with that of O(record).
    type: dict
    suboptions:
      uuid: {description: UUID of its SMBIOS table., type: str}
      serials: {description: Its serial numbers., type: list, elements: str, default: []}
  accept_unknown_machine:
    description: Write although nothing shows which machine it is; never where it shows that it is another one.
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

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.bios.change import Change
from ..module_utils.bios.connection import RedfishError
from ..module_utils.bios.plan import refusal, settings_text, to_reset
from ..module_utils.bios.record import Record, read_record
from ..module_utils.bios.redfish import Redfish


def run(module: AnsibleModule, bmc: Redfish, record: Record) -> None:
    state = module.params["state"]
    change = Change(module.params, bmc, record)
    found, planned = change.read()
    another = change.machine_problem(found)
    text = "\n".join([settings_text(planned), *([another] if another else [])])
    result: dict[str, Any] = {"plan": planned, "text": text, "changed": False}
    why = refusal(planned, state, module.params["accept_pending"], bmc.host)
    if another and state != "planned":
        why = another
    if why:
        module.fail_json(msg=why, **result)
    if state == "applied":
        before = {name: planned["previous"][name] for name in planned["changes"]}
        result |= {"changed": bool(planned["changes"]), "diff": {"before": before, "after": planned["changes"]}}
    elif state == "reset":
        result["changed"] = to_reset(planned)
    if result["changed"] and not module.check_mode:
        (change.apply if state == "applied" else change.reset)(found, planned)
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
            "machine": {
                "type": "dict",
                "options": {
                    "uuid": {"type": "str"},
                    "serials": {"type": "list", "elements": "str", "default": []},
                },
            },
            "accept_unknown_machine": {"type": "bool", "default": False},
            "wait": {"type": "float", "default": 900},
        },
        supports_check_mode=True,
    )
    path = module.params["record"]
    try:
        record = read_record(path)
    except ValueError as error:
        module.fail_json(msg=str(error))
    if module.params["restored"] and not record.get("previous"):
        module.fail_json(msg=f"{path} has no values to go back to: nothing was written to this BIOS from here.")
    names = ("host", "username", "password", "ca_path", "validate_certs", "timeout")
    try:
        with Redfish(*(module.params[name] for name in names)) as bmc:
            run(module, bmc, record)
    except RedfishError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
