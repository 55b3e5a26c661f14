# SPDX-License-Identifier: MIT
"""A deployment is what an instance of the service runs, whole: engine, model by its hashes, settings, keys.

    /var/lib/llamatower/instances/INSTANCE/
      deployments/ID/deployment.json      what it is
      deployments/ID/keys                 the API keys that it takes
      deployments/ID/proven               which proof that was, and by its time when; not there before
      current -> deployments/ID           what the units of the instance run
      wanted -> deployments/ID            what they are to run; only while the switch to it is not done
      good -> deployments/ID              the last that was proven
      switch.json                         how the last switch ended

A deployment never changes: another key or setting is another deployment. :mod:`prepare` writes one down, :mod:`switch`
makes it the current one, :mod:`launcher` runs it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Collection
from typing import Optional, TypedDict, cast

from ..files import point, read_document, read_json, sync_directory
from .document import DeployedPool, PlannedUnit
from .unit import unit_of

# Raised when a key of deployment.json is renamed, removed or changes its meaning.
SCHEMA_VERSION = 1
INSTANCES = "/var/lib/llamatower/instances"
# In the environment of the process, which so says what it runs.
MARK = "LLAMATOWER_DEPLOYMENT"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
OF_NODE = re.compile(r"-node\d+$")


class UnreadableError(Exception):
    """A link names a deployment that cannot be read, and nobody knows what it needs; the text is one sentence."""


class Engine(TypedDict):
    """The release of llama.cpp: its key, and its directory."""

    key: str
    directory: str


class DeployedModel(TypedDict):
    """The model: where its files are, and their names and hashes, in the order of its shards; bytes of all."""

    name: str
    directory: str
    files: list[str]
    sha256: list[str]
    bytes: int


class Proof(TypedDict):
    """What is asked of a server to prove it, and the longest answer in tokens."""

    prompt: str
    max_tokens: int


class Deployment(TypedDict):
    """``deployment.json``; ``schema_version`` is :data:`SCHEMA_VERSION`.

    ``options`` are the words after the server's command, ``weights`` those of the policy weighted by node, which are
    set before a start, ``needed_bytes`` what memory each unit has for itself, ``start_seconds`` how long its start may
    take, and ``pool`` the huge pages that all of them need. ``loopback`` is whether nobody but this machine may
    connect. ``mounts`` are paths that must be mounted before. ``template`` and ``keys`` are hashes, of the unit file of
    all instances and of the keys.
    """

    schema_version: int
    instance: str
    engine: Engine
    model: DeployedModel
    context: int
    numa_policy: str
    load_mode: str
    huge_pages: str
    options: list[str]
    weights: dict[str, int]
    needed_bytes: int
    start_seconds: int
    pool: DeployedPool | None
    loopback: bool
    mounts: list[str]
    units: list[PlannedUnit]
    proof: Proof
    template: str
    keys: str


class SwitchRecord(TypedDict):
    """``switch.json``: how the last switch ended, or that it goes on.

    ``deployment`` is the one that was wanted, ``by`` whom where that is known, ``outcome`` is switching, taking_back,
    committed, taken_back (the good one serves again) or failed (nobody knows a better one), and ``serves`` the one that
    answers. ``problem`` is a sentence why the wanted one was not proven, ``journal`` the last words of its server.
    Times are UTC.
    """

    schema_version: int
    deployment: str
    by: str
    outcome: str
    serves: str | None
    problem: str | None
    journal: list[str]
    started: str
    ended: str | None


class Instance:
    """The directory of an instance: its deployments, and which of them is which."""

    def __init__(self, name: str, instances: str = INSTANCES) -> None:
        self.name = name
        self.path = os.path.join(instances, name)

    def directory(self, identity: str) -> str:
        """Where a deployment is."""
        return os.path.join(self.path, "deployments", identity)

    def read(self, identity: str) -> Optional[Deployment]:
        """A deployment; None where there is none, or of another version."""
        path = os.path.join(self.directory(identity), "deployment.json")
        return cast(Optional[Deployment], read_document(path, SCHEMA_VERSION))

    def current(self) -> Optional[Deployment]:
        """The current deployment; None where there is none."""
        return self.read(self.named("current") or "")

    def keys_path(self, identity: str) -> str:
        """The file of the API keys of a deployment."""
        return os.path.join(self.directory(identity), "keys")

    def proof_path(self, identity: str) -> str:
        """The file that says which proof the last one of a deployment was, and when."""
        return os.path.join(self.directory(identity), "proven")

    def named(self, link: str) -> Optional[str]:
        """Which deployment is ``current``, ``wanted`` or ``good``; None where none is."""
        try:
            return os.path.basename(os.readlink(os.path.join(self.path, link)))
        except OSError:
            return None

    def point(self, link: str, identity: str) -> None:
        """Make a deployment that, in one step. Raises OSError."""
        point(os.path.join(self.path, link), os.path.join("deployments", identity))

    def forget(self, link: str) -> None:
        """Let none be that. Raises OSError."""
        path = os.path.join(self.path, link)
        if os.path.islink(path):
            os.unlink(path)
            sync_directory(self.path)

    def deployments(self) -> list[str]:
        """All that are there, the ones that were proven last first, then those that never were."""
        try:
            names = [name for name in os.listdir(os.path.join(self.path, "deployments")) if NAME.fullmatch(name)]
        except OSError:
            return []
        return sorted(names, key=lambda name: (-self.proof(name), -self.proven(name), name))

    def proof(self, identity: str) -> int:
        """Which proof its last one was, counted from 1: clocks are set back. 0 where it never was."""
        try:
            with open(self.proof_path(identity), encoding="ascii") as file:
                return int(file.read())
        except (OSError, ValueError):
            return 0

    def proven(self, identity: str) -> float:
        """When a deployment was proven last, in seconds since 1970; 0.0 where it never was."""
        try:
            return os.stat(self.proof_path(identity)).st_mtime
        except OSError:
            return 0.0

    def linked(self) -> set[Optional[str]]:
        """Those that are current, good or wanted; None where one of the three is not."""
        return {self.named(link) for link in ("current", "good", "wanted")}

    def needed(self) -> list[Deployment]:
        """Those whose engine and model must stay: current, good and wanted, and all that were proven."""
        links = self.linked()
        names = [name for name in self.deployments() if name in links or self.proven(name)]
        return [found for found in map(self.read, names) if found]

    def record(self) -> Optional[SwitchRecord]:
        """How the last switch ended; None before the first."""
        found = read_json(os.path.join(self.path, "switch.json"))
        return cast(SwitchRecord, found) if isinstance(found, dict) else None


def instances(path: str = INSTANCES) -> list[Instance]:
    """All instances of this tower, by name."""
    try:
        return [Instance(name, path) for name in sorted(os.listdir(path)) if NAME.fullmatch(name)]
    except OSError:
        return []


def current_deployments(path: str = INSTANCES, but: Collection[str] = ()) -> list[Deployment]:
    """The current deployments of all instances but those of these names."""
    return [found for each in instances(path) if each.name not in but for found in [each.current()] if found]


def needed_deployments(path: str = INSTANCES, but: Collection[str] = ()) -> list[Deployment]:
    """The deployments whose engine and model must stay, of all instances but those of these names.

    Raises UnreadableError: what is not known to be needless is not removed.
    """
    there = [instance for instance in instances(path) if instance.name not in but]
    for instance in there:
        for identity in instance.linked() & {*instance.deployments()}:
            if instance.read(str(identity)) is None:
                raise UnreadableError(
                    f"{instance.directory(str(identity))} cannot be read, so that nobody knows which engine and model "
                    "it needs, and none is removed: run ansible-playbook llamatower.tower.serve, which replaces it."
                )
    return [deployment for instance in there for deployment in instance.needed()]


def instance_of(unit_name: str) -> str:
    """The instance of a unit's name: that of ``main-node1`` is ``main``."""
    return OF_NODE.sub("", unit_name)


def identity_of(deployment: Deployment) -> str:
    """The name of a deployment: the digest of all that it is."""
    text = json.dumps(deployment, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def hand_over(place: str, group: int) -> None:
    """Let a group, and nobody else, read the deployment in a directory. Raises OSError."""
    for name, mode in (("", 0o750), ("deployment.json", 0o640), ("keys", 0o640)):
        path = os.path.join(place, name)
        found = os.stat(path)
        # Nothing is written on a disk that has become read-only.
        if (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) != (0, group, mode):
            os.chown(path, 0, group)
            os.chmod(path, mode)


def current_unit(unit_name: str, path: str = INSTANCES) -> tuple[Instance, str, Deployment, PlannedUnit]:
    """The instance of a unit, its current deployment by name, and the unit's part of that. Raises LookupError."""
    instance = Instance(instance_of(unit_name), path)
    identity, deployment = instance.named("current"), instance.current()
    planned = next((unit for unit in (deployment or {"units": []})["units"] if unit["name"] == unit_name), None)
    if not identity or not deployment or not planned:
        raise LookupError(
            f"{instance.path}/current has no deployment with {unit_of(unit_name)}: run ansible-playbook "
            "llamatower.tower.serve."
        )
    return instance, identity, deployment, planned


def server_command(deployment: Deployment, unit: PlannedUnit) -> list[str]:
    """The words that start the server."""
    return [
        *unit["prefix"],
        os.path.join(deployment["engine"]["directory"], "bin/llama-server"),
        *deployment["options"],
    ]


def server_environment(instance: Instance, identity: str, deployment: Deployment, unit: PlannedUnit) -> dict[str, str]:
    """What the server has in its environment."""
    model = deployment["model"]
    return {
        **unit["environment"],
        "LLAMA_ARG_MODEL": os.path.join(model["directory"], model["files"][0]),
        "LLAMA_ARG_API_KEY_FILE": instance.keys_path(identity),
        MARK: identity,
    }


def process_deployment(pid: int, proc: str = "/proc") -> Optional[str]:
    """The deployment that a process runs, of its environment; None for one that runs none, or has ended."""
    try:
        with open(f"{proc}/{pid}/environ", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return None
    prefix = f"{MARK}=".encode()
    return next((word[len(prefix) :].decode() for word in words if word.startswith(prefix)), None)
