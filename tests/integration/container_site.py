# SPDX-License-Identifier: MIT
"""The containers of molecule/default as the tests of this level see them: playbooks, and what is on the towers."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import testinfra
import yaml

from tests.integration.vm_site import REPO, Run

INVENTORY = REPO / "molecule/default/inventory/hosts.yml"
HUB = "http://127.0.0.1:18475"
CACHE = Path(os.environ.get("LLAMATOWER_CACHE") or Path.home() / ".cache/llamatower")
STATE = CACHE / "towers/containers"
MODEL_DIR = "/var/lib/llama-models/gemma-3-270m"
MODEL = f"{MODEL_DIR}/gemma-3-270m-Q4_K_M.gguf"
UNIT = "llama-server@main.service"


def tower(name: str) -> Any:
    """A tower as testinfra sees it, with root's rights."""
    host = yaml.safe_load(INVENTORY.read_text())["towers"]["hosts"][name]
    options = f"-o UserKnownHostsFile={STATE / 'known_hosts'}"
    return testinfra.get_host(
        f"ssh://admin@127.0.0.1:{host['ansible_port']}",
        sudo=True,
        ssh_identity_file=str(STATE / "key"),
        ssh_extra_args=options,
        timeout=20,
    )


def start(playbook: str, *arguments: str, **variables: Any) -> subprocess.Popen[str]:
    """Start a playbook with extra variables."""
    settings = {"ANSIBLE_NOCOLOR": "1", "HF_ENDPOINT": HUB, "LLAMATOWER_CACHE": str(CACHE)}
    return subprocess.Popen(
        ["ansible-playbook", "-i", str(INVENTORY), "-e", json.dumps(variables), playbook, *arguments],
        cwd=REPO,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def playbook(name: str, *arguments: str, host: str = "bookworm", **variables: Any) -> Run:
    """Run a playbook; the end of what it says is evidence."""
    process = start(name, *arguments, **variables)
    output, _ = process.communicate()
    print(f"$ ansible-playbook {name} {' '.join(arguments)} -e '{json.dumps(variables)}' # {process.returncode}")
    print("\n".join(output.splitlines()[-30:]))
    return Run(process.returncode, output, host)


def hub(method: str, path: str, body: Any = None) -> Any:
    """A control request to the hub: its log, or the faults it shows."""
    request = urllib.request.Request(HUB + path, json.dumps(body).encode() if body is not None else None, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read() or "null")


def footprint(host: Any) -> set[str]:
    """Where the roles write every file with its time and size, every directory; the packages; the server's process."""
    places = "/etc /opt /usr/local /var/lib/llama-models /var/cache/llama.cpp /mnt/small"
    files = host.check_output(
        f"find {places} -path '*/ccache' -prune -o -type d -printf '%p %m %u:%g\\n'"
        " -o -printf '%p %y %m %u:%g %s %T@ %l\\n' 2> /dev/null || true"
    )
    packages = host.check_output("dpkg-query --show")
    process = host.check_output(f"systemctl show --property=MainPID,ActiveState {UNIT}")
    return {*files.splitlines(), *packages.splitlines(), *process.splitlines()}


def resident_pages(host: Any, path: str) -> int:
    """Pages of a tower's file in its page cache; not every Debian has fincore."""
    program = (REPO / "tests/page_cache.py").read_text() + f"\nprint(resident_pages(Path({path!r})))"
    return int(host.check_output("python3 -c %s", program))


def evidence(host: Any) -> str:
    """What explains a failure of the service."""
    return str(host.check_output(f"journalctl --no-pager --lines=30 --unit={UNIT}"))
