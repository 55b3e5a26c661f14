# SPDX-License-Identifier: MIT
"""Ansible module: switch an instance of the service to a deployment, or back to one of before."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_deployment
short_description: Switch an instance of the service to other settings, another engine or model, or back
version_added: 0.1.0
author: llamatower contributors
description:
  - Writes down what is to run as a deployment, named by the digest of engine, model, settings and keys, and switches to it. A
    program on the tower does so, which a lost connection does not stop. What does not prove itself (health, one completion,
    placement, a request without a key refused) is taken back, and the deployment that was good before serves again.
  - Decides by what the server's process runs, not by what was written; where all is as it should be, nothing changes.
  - The files of a deployment are below C(/var/lib/llamatower/instances/INSTANCE).
extends_documentation_fragment:
  - llamatower.tower.attributes
options:
  instance:
    description: The instance of C(llama-server@.service).
    type: str
    default: main
  state:
    description: V(present) switches to O(plan), V(rolled_back) to a deployment of before, with the keys that are valid now.
    type: str
    choices: [present, rolled_back]
    default: present
  deployment:
    description: The name of the deployment to go back to; null takes the last that was proven and is not the current one.
    type: str
  settings:
    description: Those of M(llamatower.tower.llama_service_plan).
    type: dict
  plan:
    description: What that module has decided.
    type: dict
  build:
    description: The manifest of the installed build.
    type: dict
  model:
    description: The manifest of the installed model.
    type: dict
  keys:
    description: The API keys; with none, a random one is made, once.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Whose key it is.
        type: str
        required: true
      key:
        description: The key.
        type: str
        required: true
  rotate:
    description: Whether a random key is replaced by a new one.
    type: bool
    default: false
  prompt:
    description: What a server is asked before it counts as proven.
    type: str
    default: "Question: Why does the sky look blue?\nAnswer:"
  max_tokens:
    description: The longest answer, in tokens.
    type: int
    default: 48
  user:
    description: The user that runs the server, whose group may read deployments.
    type: str
    default: llama
  keep:
    description: How many deployments that were proven stay with their engine and model, the current one among them.
    type: int
    default: 2
  reserve_bytes:
    description: Bytes of memory that stay free for the system beside all instances.
    type: int
    default: 4294967296
  progress_path:
    description: Where it is written how far the load of the model is.
    type: path
    required: true
  by:
    description: Who wants it, for those who wait.
    type: str
    default: ansible
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows the deployment without its keys.
"""

EXAMPLES = r"""
- name: Go back to what served before
  llamatower.tower.llama_deployment:
    state: rolled_back
    progress_path: /run/llamatower/main.json
"""

RETURN = r"""
deployment:
  description: The name of the deployment; null in a check on a tower that has no build or model yet.
  returned: always
  type: str
  sample: 3f2a9c01d47b
differences:
  description: In what the tower was not as it is to be, a phrase each.
  returned: always
  type: list
  elements: str
  sample: [current is 9b1c02aa7e5d]
removed:
  description: Deployments that were removed, since nobody needs them.
  returned: success
  type: list
  elements: str
outcome:
  description: How the switch ended, V(committed), V(taken_back) or V(failed).
  returned: when there was one
  type: str
serves:
  description: The deployment that answers now; null where none does.
  returned: when there was one
  type: str
journal:
  description: The last words of the server that did not prove itself.
  returned: failure
  type: list
  elements: str
"""

import json
import pwd
from typing import Any, cast

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.limits import usable
from ..module_utils.lock import HeldError, held_problem
from ..module_utils.model.pin import PinError, pin, pinned_path
from ..module_utils.progress import Progress
from ..module_utils.service.api_keys import key_problems
from ..module_utils.service.deploy import Deploying, diff_of
from ..module_utils.service.deployment import Deployment, Instance, Proof, identity_of
from ..module_utils.service.prepare import DeploymentError, compose, fitting, former, keys_text, present_keys
from ..module_utils.service.switch import differences
from ..module_utils.service.unit import UnitError
from ..module_utils.tower import read_tower


def wanted(instance: Instance, params: dict[str, Any], check: bool) -> tuple[Deployment, str]:
    """The deployment that is wanted, and the text of its keys. Pins its model."""
    if params["state"] == "rolled_back":
        keys = present_keys(instance)
        return former(instance, params["deployment"], keys, check), keys
    keys = keys_text(instance, params["keys"], params["rotate"])
    path, model = params["settings"]["model_path"], params["model"]
    directory = pinned_path(path, model) if check else pin(path, model)
    proof: Proof = {"prompt": params["prompt"], "max_tokens": params["max_tokens"]}
    made = compose(instance, params["settings"], params["plan"], params["build"], model, directory, proof, keys, check)
    # As it is read again, with text for keys that are numbers.
    return cast(Deployment, json.loads(json.dumps(made))), keys


def deploy(module: AnsibleModule, instance: Instance) -> None:
    """Prepare, switch, watch, and exit."""
    params = module.params
    if module.check_mode:
        deployment, _keys = wanted(instance, params, True)
        identity = identity_of(deployment)
        found, diff = list(differences(instance, identity, deployment)), diff_of(instance, deployment)
        module.exit_json(changed=bool(found), deployment=identity, differences=found, removed=[], diff=diff)
    try:
        group = pwd.getpwnam(params["user"]).pw_gid
    except KeyError:
        raise DeploymentError(
            f"There is no user {params['user']} on this tower: run ansible-playbook llamatower.tower.serve first."
        ) from None
    what, by = f"a deployment of {instance.name}", params["by"]
    with Progress(params["progress_path"], what, by) as progress:
        done = Deploying(instance, group, params["keep"], what, by, progress).carry_out(
            lambda: fitting(*wanted(instance, params, False), usable(read_tower("/")), params["reserve_bytes"])
        )
    problem, kept = done.pop("problem"), done.pop("kept")
    if kept:
        module.warn(kept)
    if problem:
        module.fail_json(msg=problem, **done)
    module.exit_json(**done)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "str", "default": "main"},
            "state": {"type": "str", "choices": ["present", "rolled_back"], "default": "present"},
            "deployment": {"type": "str"},
            "settings": {"type": "dict"},
            "plan": {"type": "dict"},
            "build": {"type": "dict"},
            "model": {"type": "dict"},
            "keys": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "no_log": False,
                "options": {
                    "name": {"type": "str", "required": True},
                    "key": {"type": "str", "required": True, "no_log": True},
                },
            },
            "rotate": {"type": "bool", "default": False},
            "prompt": {"type": "str", "default": "Question: Why does the sky look blue?\nAnswer:"},
            "max_tokens": {"type": "int", "default": 48, "no_log": False},
            "user": {"type": "str", "default": "llama"},
            "keep": {"type": "int", "default": 2},
            "reserve_bytes": {"type": "int", "default": 4294967296},
            "progress_path": {"type": "path", "required": True},
            "by": {"type": "str", "default": "ansible"},
        },
        required_if=[("state", "present", ["settings", "plan", "build", "model"])],
        supports_check_mode=True,
    )
    params = module.params
    problems = key_problems(params["keys"])
    if problems:
        module.fail_json(msg="\n".join(problems))
    if module.check_mode and params["state"] == "present" and not (params["build"] and params["model"]):
        module.exit_json(changed=True, deployment=None, differences=["nothing is installed yet"], removed=[])
    try:
        deploy(module, Instance(params["instance"]))
    except (DeploymentError, PinError, UnitError, HeldError) as error:
        module.fail_json(msg=held_problem(error) if isinstance(error, HeldError) else str(error))
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename or '/var/lib/llamatower'} cannot be used ({error.strerror}): make room there, or mend "
            "the disk, and run the same command again."
        )


if __name__ == "__main__":
    main()
