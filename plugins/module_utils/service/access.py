# SPDX-License-Identifier: MIT
"""Where clients reach the instances of a tower, and by which keys."""

from __future__ import annotations

import urllib.parse
from typing import Optional, TypedDict

from .api_keys import named_keys
from .client import EVERY_ADDRESS, LOOPBACK, url_host
from .deployment import INSTANCES, Instance, instances
from .document import PlannedUnit


class Access(TypedDict):
    """An instance as its clients reach it. ``urls`` are of all its units; with ``loopback`` only the tower itself can
    connect, and others come by ssh. ``keys`` are by their names."""

    instance: str
    model: str
    urls: list[str]
    loopback: bool
    keys: dict[str, str]


def clients_address(unit: PlannedUnit) -> str:
    """Where clients find a unit: where HTTPS is taken for it, or where the server itself listens."""
    return (unit.get("tls") or "").rpartition(":")[0] or unit["environment"].get("LLAMA_ARG_HOST", "")


def access_of(instance: Instance, host: str) -> Optional[Access]:
    """How an instance is reached on a tower of this address; None where it has no deployment. Raises OSError."""
    identity, deployment = instance.named("current"), instance.current()
    if not identity or not deployment:
        return None
    with open(instance.keys_path(identity), encoding="utf-8") as file:
        keys = named_keys(file.read())
    return {
        "instance": instance.name,
        "model": deployment["model"]["name"],
        "urls": [url_of(unit["url"], clients_address(unit), host) for unit in deployment["units"]],
        "loopback": all(clients_address(unit) in LOOPBACK for unit in deployment["units"]),
        "keys": keys,
    }


def url_of(url: str, listens: str, host: str) -> str:
    """The URL of a server for others: where it listens on every address, that of its tower is as good as any."""
    if listens not in EVERY_ADDRESS:
        return url
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, f"{url_host(host)}:{parts.port}", "", "", ""))


def access(host: str, path: str = INSTANCES) -> list[Access]:
    """All instances of this tower that have a deployment, by name. Raises OSError."""
    return [found for instance in instances(path) for found in [access_of(instance, host)] if found]
