# SPDX-License-Identifier: MIT
"""Write a deployment down beside the one that runs, and remove those that nobody needs any more.

Nothing that runs is touched, and nothing that the current or the good deployment needs.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import shutil
import string
from collections.abc import Collection
from typing import Any, Optional

from ..build.document import BuildManifest
from ..files import make_directory, sync_directory, write_beside, write_json
from ..model.document import Manifest
from ..model.pin import store_of, unpin
from ..tower_document import Tower
from . import tls
from .api_keys import key_file, read_keys
from .client import LOOPBACK
from .deployment import (
    INSTANCES,
    SCHEMA_VERSION,
    Deployment,
    Instance,
    Proof,
    current_deployments,
    hand_over,
    identity_of,
    needed_deployments,
)
from .document import Plan, PlannedUnit, Settings
from .instances import beside_problems

KEY_LENGTH = 43  # of letters and digits: 256 bits
TEMPLATE = "/etc/systemd/system/llama-server@.service"


class DeploymentError(Exception):
    """There is no such deployment, or it cannot be prepared; the text is one sentence."""


def keys_text(instance: Instance, given: list[dict[str, Any]], rotate: bool) -> str:
    """The file of keys of the next deployment: those that are given, else the random one of the present deployment."""
    fresh = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(KEY_LENGTH))
    return key_file(given, present_keys(instance), fresh, rotate)


def present_keys(instance: Instance) -> str:
    """The file of keys of the current deployment, or of the one that was wanted; "" where there is none."""
    for link in ("current", "wanted"):
        found = keys_of(instance, instance.named(link) or "")
        if found is not None:
            return found
    return ""


def keys_of(instance: Instance, identity: str) -> Optional[str]:
    """The file of keys of a deployment; None where there is none that can be read."""
    try:
        with open(instance.keys_path(identity), encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError):
        return None


def keys_digest(instance: Instance, keys: str, check: bool = False) -> str:
    """What a deployment's name is made of instead of its keys: nobody can try out keys on it. A ``check`` leaves
    nothing behind."""
    path = os.path.join(instance.path, ".secret")
    try:
        with open(path, encoding="ascii") as file:
            secret = file.read().strip()
    except OSError:
        secret = secrets.token_hex(32)
        if not check:
            make_directory(instance.path)
            write_beside(path, secret + "\n", mode=0o600)
    return hmac.new(secret.encode(), keys.encode(), hashlib.sha256).hexdigest()


def template_digest() -> str:
    """The hash of the unit file of all instances; "" without one."""
    try:
        with open(TEMPLATE, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return ""


def release_directory(build_root: str, key: str) -> str:
    """Where a release is: by its key, so that another one can become current meanwhile."""
    path = os.path.join(build_root, "releases", key)
    return path if os.path.isdir(path) else os.path.realpath(os.path.join(build_root, "current"))


def compose(
    instance: Instance,
    settings: Settings,
    plan: Plan,
    build: BuildManifest,
    model: Manifest,
    directory: str,
    proof: Proof,
    keys: str,
    check: bool = False,
) -> Deployment:
    """The deployment of a plan; ``directory`` is where the model is pinned."""
    return {
        "schema_version": SCHEMA_VERSION,
        "instance": instance.name,
        "engine": {"key": build["key"], "directory": release_directory(settings["build_root"], build["key"])},
        "model": {
            "name": model["name"],
            "directory": directory,
            "files": [entry["file"] for entry in model["files"]],
            "sha256": [entry["sha256"] for entry in model["files"]],
            "bytes": model["bytes"],
        },
        "context": settings["context"],
        "numa_policy": plan["numa_policy"],
        "load_mode": plan["load_mode"],
        "huge_pages": plan["huge_pages"],
        "options": plan["options"],
        "weights": {str(node): weight for node, weight in plan["weights"].items()},
        "needed_bytes": plan["needed_bytes"],
        "start_seconds": plan["start_seconds"],
        "pool": plan["pool"],
        "loopback": settings["tls"] or settings["host"] in LOOPBACK,
        "mounts": [settings["model_path"], settings["build_root"]],
        "units": [_without_model(unit) for unit in plan["units"]],
        "proof": proof,
        "template": template_digest(),
        "keys": keys_digest(instance, keys, check),
    }


def _without_model(unit: PlannedUnit) -> PlannedUnit:
    environment = {name: value for name, value in unit["environment"].items() if name != "LLAMA_ARG_MODEL"}
    return {**unit, "environment": environment}


def former(instance: Instance, wanted: Optional[str], keys: str, check: bool = False) -> Deployment:
    """A deployment of before, with the keys that are valid now: the one of this name, else the last that was proven and
    is not the current one. Raises DeploymentError."""
    current = instance.named("current")
    proven = [name for name in instance.deployments() if instance.proven(name) and name != current]
    identity = wanted or next(iter(proven), None)
    known = ", ".join(proven) or "none"
    if identity is None:
        raise DeploymentError(f"There is no deployment of {instance.name} to go back to: only the current one served.")
    deployment = instance.read(identity)
    if deployment is None:
        raise DeploymentError(f"There is no deployment {identity} of {instance.name}: there are {known}.")
    for path in (deployment["engine"]["directory"], deployment["model"]["directory"]):
        if not os.path.isdir(path):
            raise DeploymentError(f"Deployment {identity} needs {path}, which is not there any more: it has {known}.")
    if not read_keys(keys):
        raise DeploymentError(
            f"{instance.name} has no API keys now that a deployment of before could take, and would serve everybody: "
            "run ansible-playbook llamatower.tower.serve."
        )
    return with_keys(instance, deployment, keys, check)


def with_keys(instance: Instance, deployment: Deployment, keys: str, check: bool = False) -> Deployment:
    """A deployment of before as it would serve now: a key that was taken out since stays so."""
    return {**deployment, "template": template_digest(), "keys": keys_digest(instance, keys, check)}


def renew_good(instance: Instance, wanted: str, keys: str, group: int) -> None:
    """Give the good deployment, which comes back where the ``wanted`` one fails, the keys that are valid now.

    Where it would be the wanted one then, it stays: what fails may be the keys. Raises OSError.
    """
    good = instance.named("good") or ""
    deployment = instance.read(good)
    if deployment is None or keys_of(instance, good) == keys:
        return
    renewed = write_down(instance, with_keys(instance, deployment, keys), keys, group)
    if renewed != wanted:
        # It is proven as the other one was, which takes no place among those that are kept.
        with contextlib.suppress(FileNotFoundError):
            os.replace(instance.proof_path(good), instance.proof_path(renewed))
        instance.point("good", renewed)


def fitting(deployment: Deployment, keys: str, tower: Tower, reserve: int) -> tuple[Deployment, str]:
    """The same, where it has its room beside the other instances. Raises DeploymentError."""
    problems = beside_problems(deployment, current_deployments(but=[deployment["instance"]]), tower, reserve)
    if problems:
        raise DeploymentError("\n".join(problems))
    return deployment, keys


def write_down(instance: Instance, deployment: Deployment, keys: str, group: int) -> str:
    """Write a deployment down, whole or not at all, and return its name. Raises OSError."""
    identity = identity_of(deployment)
    path = instance.directory(identity)
    if instance.read(identity) == deployment and keys_of(instance, identity) == keys:
        return identity
    partial = os.path.join(os.path.dirname(path), f".{identity}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    # What is there is mended in its place: it may be the current one.
    place = path if os.path.isdir(path) else partial
    if place == partial:
        make_directory(os.path.dirname(path))
        os.mkdir(partial)
    write_json(os.path.join(place, "deployment.json"), deployment, mode=0o640)
    write_beside(os.path.join(place, "keys"), keys, mode=0o640)
    hand_over(place, group)
    if place == partial:
        os.rename(partial, path)
        sync_directory(os.path.dirname(path))
    return identity


def prune(instance: Instance, keep: int, path: str = INSTANCES) -> list[str]:
    """Remove the deployments beyond the ``keep`` that were proven last, and what is pinned for none; returns those.

    Raises UnreadableError, and removes nothing then.
    """
    needed_deployments(path)
    stay = instance.linked()
    proven = [name for name in instance.deployments() if instance.proven(name)]
    removed = [name for name in instance.deployments() if name not in stay and name not in proven[: max(keep, 1)]]
    stores = stores_of(instance)
    for name in removed:
        shutil.rmtree(instance.directory(name))
    tls.forget_unused(instance, instance.needed())
    unpin_needless(stores, path)
    return removed


def stores_of(instance: Instance) -> set[str]:
    """The stores that have models of an instance's deployments."""
    known = [found for found in map(instance.read, instance.deployments()) if found]
    return {store_of(deployment["model"]["directory"]) for deployment in known}


def unpin_needless(stores: Collection[str], path: str, but: Collection[str] = ()) -> None:
    """Remove what is pinned in these stores and needed by no instance but those of these names. Raises UnreadableError,
    and removes nothing then."""
    needed = {deployment["model"]["directory"] for deployment in needed_deployments(path, but)}
    for store in stores:
        unpin(store, needed)
