# SPDX-License-Identifier: MIT
"""The servers of a tower: how to ask the first, and a row of each where there are several."""

from __future__ import annotations

import json
import shlex
import urllib.parse
from typing import Optional

from ..service.client import LOOPBACK
from ..service.deployment import Instance
from ..service.document import PlacementInfo
from ..text import clean, rate, size
from .document import Report
from .view import ServerRow, UseIt

# A bare Debian has no curl. The lines are narrow, so that they can be copied from a terminal.
QUESTION = """\
import json, urllib.request as web
keys = {keys}
words = open(keys).read().split("\\n")
key = [word for word in words if word and word[0] != "#"][0].strip()
ask = {{"messages": [{{"role": "user", "content": "Why is the sky blue?"}}]}}
head = {{"Authorization": "Bearer " + key, "Content-Type": "application/json"}}
url = {url} + "/v1/chat/completions"
said = web.urlopen(web.Request(url, json.dumps(ask).encode(), head))
print(json.load(said)["choices"][0]["message"]["content"])"""


def held_text(placement: PlacementInfo) -> str:
    """How much each memory node holds."""
    return ", ".join(f"node {node} {size(count)}" for node, count in (placement["nodes"] or {}).items())


def servers(document: Report) -> list[ServerRow]:
    """All servers of the tower, where there are several."""
    service = document["service"]
    found = (service.get("servers") or []) if service else []
    return [
        {
            "name": clean(server["name"]),
            "model": clean(server["model"] or "unknown"),
            "url": clean(server["url"]),
            "speed": rate(speed, unit="tokens/s") if speed else "not told by the server",
            "memory": held_text(placed),
            "problem": clean(server["problem"] or ""),
        }
        for server in (found if len(found) > 1 else [])
        for speed, placed in [(server["completion"]["tokens_per_second"], server["placement"])]
    ]


def use_it(document: Report) -> Optional[UseIt]:
    """How to ask the first server; None where none answers, or a report of before does not say where."""
    service = document["service"]
    found = (service.get("servers") or []) if service else []
    if not found:
        return None
    url, keys = clean(found[0]["url"]), f"{Instance(clean(found[0]['instance'])).path}/current/keys"
    host = urllib.parse.urlsplit(url).hostname
    script = QUESTION.format(url=json.dumps(url), keys=json.dumps(keys))
    return {
        "url": url,
        "reached": "from the tower alone" if host in LOOPBACK else "from the network",
        "keys": keys,
        "command": f"sudo python3 -c {shlex.quote(script)}".split("\n"),
    }
