# SPDX-License-Identifier: MIT
"""Ansible module: remove models from the store of a tower."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_prune
short_description: Remove models by name
version_added: 0.1.0
author: llamatower contributors
description:
  - Removes models from a store, and what unfinished fetches left of them.
  - Refuses, and removes nothing, where one of them is declared, is what the service is to serve, is needed by a deployment
    of any instance (the current one, the good one, one that is wanted, or one to go back to), is mapped or opened by a
    process, or is a symbolic link.
  - Warns, and removes nothing, where a deployment of any instance cannot be read, of which nobody knows what it needs.
extends_documentation_fragment:
  - llamatower.tower.attributes
options:
  path:
    description: The directory of the models.
    type: path
    required: true
  names:
    description: The models to remove; those that are not there are passed over.
    type: list
    elements: str
    required: true
  declared:
    description: The names of the models that stay.
    type: list
    elements: str
    default: []
  served:
    description: The names of the models that the service is to serve.
    type: list
    elements: str
    default: []
  instances_path:
    description: Where the deployments of the instances are.
    type: path
    default: /var/lib/llamatower/instances
attributes:
  check_mode:
    support: full
    details: Says what it would remove.
  diff_mode:
    support: full
    details: The models and their sizes.
"""

EXAMPLES = r"""
- name: Make room
  llamatower.tower.model_prune:
    path: /var/lib/llama-models
    names: [glm-4.5]
"""

RETURN = r"""
removed:
  description: The models that are removed.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Its name., type: str, returned: success}
    bytes: {description: What it took of the disk., type: int, returned: success}
bytes:
  description: What that frees.
  returned: success
  type: int
"""

import contextlib
import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.lock import HeldError, changing, held_problem
from ..module_utils.model.prune import found, places, processes, prune_problem, remove_model, removed_text
from ..module_utils.service.deployment import INSTANCES, Deployment, UnreadableError, needed_deployments


def _of(deployment: Deployment, store: str, name: str) -> bool:
    """Whether a deployment has a model of this name in this store, be it what a setting names: a draft, a projector."""
    model, top = deployment["model"], os.path.realpath(store)
    own = model["name"] == name and os.path.realpath(model["directory"]).startswith(f"{top}/")
    words = [word for unit in deployment.get("units", []) for word in unit["environment"].values()]
    beside = (os.path.realpath(word) for word in words if word.startswith("/"))
    return own or any(path.startswith(f"{os.path.realpath(os.path.join(store, name))}/") for path in beside)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "declared": {"type": "list", "elements": "str", "default": []},
            "served": {"type": "list", "elements": "str", "default": []},
            "instances_path": {"type": "path", "default": INSTANCES},
        },
        supports_check_mode=True,
    )
    try:
        # Also while a fetch goes on, which has a lock of its own; but not between the choice of a model and its pin.
        quiet = module.check_mode or not module.params["names"]
        with contextlib.nullcontext() if quiet else changing("the removal of models"):
            prune(module)
    except HeldError as error:
        module.fail_json(msg=held_problem(error))


def prune(module: AnsibleModule) -> None:
    """Remove the models, and exit."""
    store, names = module.params["path"], list(dict.fromkeys(module.params["names"]))
    problems = []
    deployments: list[Deployment] = []
    try:
        deployments = needed_deployments(module.params["instances_path"]) if names else []
    except UnreadableError as error:
        module.warn(str(error))
        names = []
    for name in names:
        directory = os.path.join(store, name)
        deployed = sorted({entry["instance"] for entry in deployments if _of(entry, store, name)})
        using = [process for place in places(store, name) for process in processes(place)]
        link = os.readlink(directory) if os.path.islink(directory) else None
        problems.append(prune_problem(name, module.params["declared"], module.params["served"], deployed, using, link))
    if any(problems):
        module.fail_json(msg="\n".join(problem for problem in problems if problem))
    models = found(store, names)
    if not module.check_mode:
        for model in models:
            remove_model(store, model["name"])
    module.exit_json(
        changed=bool(models),
        removed=models,
        bytes=sum(model["bytes"] for model in models),
        diff={"before_header": store, "after_header": store, "before": removed_text(models), "after": ""},
    )


if __name__ == "__main__":
    main()
