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
from tests.waiting import wait_until

INVENTORY = REPO / "molecule/default/inventory/hosts.yml"
HUB = "http://127.0.0.1:18475"
CACHE = Path(os.environ.get("LLAMATOWER_CACHE") or Path.home() / ".cache/llamatower")
STATE = CACHE / "towers/containers"
MODEL_FILE = "gemma-3-270m-Q4_K_M.gguf"


class Places:
    """Where the roles put things on a tower, and how they call them: by default, or as its inventory says."""

    def __init__(self, name: str) -> None:
        towers = yaml.safe_load(INVENTORY.read_text())["towers"]
        values: dict[str, Any] = {}
        for defaults in sorted(REPO.glob("roles/*/defaults/main.yml")):
            values |= yaml.safe_load(defaults.read_text()) or {}
        values |= towers["vars"] | towers["hosts"][name]
        self.name = name
        self.ssh_port: int = values["ansible_port"]
        self.models: str = values["model_store_dir"]
        self.declared: list[dict[str, Any]] = values["model_store_models"]
        self.model_name: str = self.declared[0]["name"]
        self.model_dir = f"{self.models}/{self.model_name}"
        self.model = f"{self.model_dir}/{MODEL_FILE}"
        self.builds: str = values["llama_build_root"]
        self.build_work: str = values["llama_build_work_dir"]
        self.measured: str = values["benchmark_dir"]
        self.user: str = values["llama_service_user"]
        self.port: int = values["llama_service_port"]
        self.instance: str = values["llama_service_instances"][0]["name"]
        self.unit = f"llama-server@{self.instance}.service"
        self.check_unit = f"llama-server-check@{self.instance}.service"
        self.deployments = f"/var/lib/llamatower/instances/{self.instance}"
        self.keys = f"{self.deployments}/current/keys"
        self.transfer = values["llama_build_transfer_dir"].replace("{{ __state }}", str(STATE))
        changed = towers["hosts"][name].get("report_dir", "")
        # By default below where molecule runs ansible-playbook.
        self.reports = Path(changed.replace("{{ __state }}", str(STATE)) or REPO / "molecule/default/reports")


def stage(*arguments: str) -> None:
    subprocess.run([REPO / "molecule/default/stage", *arguments], check=True, stdin=subprocess.DEVNULL)


def tower(name: str, port: int | None = None) -> Any:
    """A tower as testinfra sees it, with root's rights."""
    options = f"-o UserKnownHostsFile={STATE / 'known_hosts'}"
    return testinfra.get_host(
        f"ssh://admin@127.0.0.1:{port or Places(name).ssh_port}",
        sudo=True,
        ssh_identity_file=str(STATE / "key"),
        ssh_extra_args=options,
        timeout=20,
    )


def start(
    playbook: str,
    *arguments: str,
    settings: dict[str, str] | None = None,
    inventory: Path = INVENTORY,
    **variables: Any,
) -> subprocess.Popen[str]:
    """Start a playbook with extra variables, in a process group of its own; ``settings`` are of its environment."""
    settings = {"ANSIBLE_NOCOLOR": "1", "HF_ENDPOINT": HUB, "LLAMATOWER_CACHE": str(CACHE), **(settings or {})}
    return subprocess.Popen(
        ["ansible-playbook", "-i", str(inventory), "-e", json.dumps(variables), playbook, *arguments],
        cwd=REPO,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def playbook(name: str, *arguments: str, host: str = "bookworm", inventory: Path = INVENTORY, **variables: Any) -> Run:
    """Run a playbook; the end of what it says is evidence."""
    process = start(name, *arguments, inventory=inventory, **variables)
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
    files = host.check_output(
        "find /etc /opt /srv /usr/local /var/lib/llama-models /var/lib/llamatower/instances /mnt/small"
        " -path '*/ccache' -prune -o -name '*.lock'"
        " -o -type d -printf '%p %m %u:%g\\n' -o -printf '%p %y %m %u:%g %s %T@ %l\\n' 2> /dev/null || true"
    )
    packages = host.check_output("dpkg-query --show")
    process = host.check_output("systemctl show --property=MainPID,ActiveState 'llama-server@*'")
    return {*files.splitlines(), *packages.splitlines(), *process.splitlines()}


def resident_pages(host: Any, path: str) -> int:
    """Pages of a tower's file in its page cache; not every Debian has fincore."""
    program = (REPO / "tests/page_cache.py").read_text() + f"\nprint(resident_pages(Path({path!r})))"
    return int(host.check_output("python3 -c %s", program))


def pid(host: Any, unit: str) -> int:
    """The process of a unit; 0 where none runs."""
    return int(host.check_output(f"systemctl show --value --property=MainPID {unit}"))


def healthy(host: Any, port: int) -> bool:
    """Whether a server has loaded its model."""
    probe = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/health', timeout=5).status)"
    return bool(host.run("python3 -c %s", probe).stdout.strip() == "200")


def server_environment(host: Any, unit: str) -> dict[str, str]:
    """What the running server has in its environment."""
    lines = host.check_output("tr '\\0' '\\n' < /proc/%s/environ", str(pid(host, unit))).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def evidence(host: Any) -> str:
    """What explains a failure of the service."""
    return str(host.check_output("journalctl --no-pager --lines=30 --unit='llama-server@*'"))


class Service:
    """The server of a tower, and which deployments the tower has."""

    def __init__(self, name: str) -> None:
        self.places = Places(name)
        self.host = tower(name)

    def named(self, link: str) -> str:
        """Which deployment is ``current``, ``wanted`` or ``good``; "" where none is."""
        return str(self.host.run(f"readlink {self.places.deployments}/{link}").stdout.strip().rpartition("/")[2])

    def context(self) -> int:
        """The context of the current deployment."""
        text = self.host.file(f"{self.places.deployments}/current/deployment.json").content_string
        return int(json.loads(text)["context"])

    def serving(self) -> str:
        """Which deployment it is that answers, when none is wanted any more."""
        wait_until(lambda: not self.named("wanted") and healthy(self.host, self.places.port), "one serves", 180)
        # The process says it, whatever was written.
        found = server_environment(self.host, self.places.unit).get("LLAMATOWER_DEPLOYMENT", "")
        links = {link: self.named(link) for link in ("current", "good", "wanted")}
        assert links["current"] == links["good"] == found, (
            f"{found} runs: {links}\n{self.host.run('cat %s/switch.json', self.places.deployments).stdout}\n"
            + evidence(self.host)
        )
        return found

    def settled(self) -> str:
        """The same, when systemd has read all that was written, too."""
        found = self.serving()
        reload = self.host.check_output(f"systemctl show --value --property=NeedDaemonReload {self.places.unit}")
        assert reload == "no"
        return found
