# SPDX-License-Identifier: MIT
"""Changes that do not prove themselves: what the tests of containers and of virtual towers put on a tower for them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from tests.integration.vm_site import UNIT, Site

# Variables: llama-server ends over it before it reads the model.
DOES_NOT_START: dict[str, Any] = {"llama_service_extra": {"LLAMA_ARG_CACHE_TYPE_K": "no-such-type"}}

# A program that is a llama-server until it has a model to load.
BROKEN_SERVER = """#!/bin/sh
case "$*" in *--version*|*--help*) exec {server} "$@" ;; esac
echo "This engine cannot load the model." >&2
exit 1
"""
# FORGE ROOT GOOD KEY TEXT: another release beside a good one becomes current, with this text for its llama-server, or
# with the same one where that is "".
FORGE = """
import hashlib, json, os, shutil, sys
root, good, key, text = sys.argv[1:]
release = root + "/releases/" + key
shutil.copytree(good, release, copy_function=os.link)
manifest = json.load(open(good + "/manifest.json"))
if text:
    os.unlink(release + "/bin/llama-server")
    with open(release + "/bin/llama-server", "w") as file:
        file.write(text.replace("{server}", good + "/bin/llama-server"))
    os.chmod(release + "/bin/llama-server", 0o755)
    manifest["binaries"]["llama-server"] = hashlib.sha256(open(release + "/bin/llama-server", "rb").read()).hexdigest()
os.unlink(release + "/manifest.json")
json.dump({**manifest, "key": key}, open(release + "/manifest.json", "w"))
os.symlink("releases/" + key, root + "/current.partial")
os.replace(root + "/current.partial", root + "/current")
"""
# REPLACE DIRECTORY ARCHITECTURE: another model comes under the name of the one there, which is kept beside. Its
# architecture is none that an engine has.
REPLACE = """
import hashlib, json, os, sys
directory, architecture = sys.argv[1:]
os.rename(directory, directory + ".before")
manifest = json.load(open(directory + ".before/manifest.json"))
(entry,) = manifest["files"]
content = open(os.path.join(directory + ".before", entry["file"]), "rb").read()
content = content.replace(architecture.encode(), architecture[:-1].encode() + b"X", 1)
os.mkdir(directory, 0o755)
with open(os.path.join(directory, entry["file"]), "wb") as file:
    file.write(content)
entry["sha256"] = hashlib.sha256(content).hexdigest()
json.dump(manifest, open(os.path.join(directory, "manifest.json"), "w"))
"""
# Starts what the launcher starts, and leaves numactl out.
WITHOUT_NUMACTL = """
import os
from llamatower.service.deployment import current_unit, server_command, server_environment
instance, identity, deployment, unit = current_unit("main")
words = server_command(deployment, {**unit, "prefix": [] if deployment["context"] in {contexts} else unit["prefix"]})
os.execve(words[0], words, {**os.environ, **server_environment(instance, identity, deployment, unit)})
"""


@contextlib.contextmanager
def without_numactl(site: Site, *contexts: int) -> Iterator[None]:
    """Meanwhile servers with one of these contexts are started without the policy of their deployment."""
    drop_in = f"/etc/systemd/system/{UNIT}.d/wrong.conf"
    text = WITHOUT_NUMACTL.replace("{contexts}", str(contexts))
    site.ssh(f"sudo tee /opt/without.py > /dev/null <<'END'\n{text}\nEND")
    site.ssh(
        f"sudo mkdir -p {os.path.dirname(drop_in)}; "
        "printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/python3 /opt/without.py\\n' "
        f"| sudo tee {drop_in} > /dev/null; "
        "sudo systemctl daemon-reload"
    )
    yield
    site.ssh(f"sudo rm {drop_in} /opt/without.py; sudo systemctl daemon-reload")
