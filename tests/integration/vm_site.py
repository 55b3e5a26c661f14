# SPDX-License-Identifier: MIT
"""A virtual tower as the tests of this level see it: playbooks that run against it, and commands that run in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.virtual_tower.virtual_tower import Tower, cache_dir
from tests.waiting import wait_until

REPO = Path(__file__).resolve().parents[2]
MODEL_DIR = "/var/lib/llama-models/smollm2-135m"
MODEL = f"{MODEL_DIR}/smollm2-135m-Q6_K.gguf"
UNIT = "llama-server@main.service"
DEPLOYMENTS = "/var/lib/llamatower/instances/main"
KEYS = f"{DEPLOYMENTS}/current/keys"
REPORTS = REPO / "reports"
# The same model in four files.
SHARDS = {"name": "shards", "repo": "demo/smollm2-135m-shards-GGUF", "revision": "main", "files": "*.gguf"}


class Run:
    """What a playbook did."""

    def __init__(self, code: int, output: str, host: str) -> None:
        self.code = code
        self.output = output
        self.host = host

    def finds(self, pattern: str) -> bool:
        """Whether the output, whose long lines Ansible breaks, has a text."""
        return bool(re.search(pattern, " ".join(self.output.split())))

    def changes(self) -> list[str]:
        """The tasks that changed something on the tower."""
        found: list[str] = []
        task = ""
        for line in self.output.splitlines():
            if started := re.match(r"(?:TASK|RUNNING HANDLER) \[(.*)", line):
                task = started[1]
            elif re.match(rf"changed: \[{re.escape(self.host)}\b", line) and task not in found:
                found.append(task)
        assert bool(found) == bool(self.recap("changed")), self.output
        return found

    def recap(self, key: str) -> int:
        """A number of the recap line of the tower."""
        line = re.search(rf"^{re.escape(self.host)} .*\b{key}=(\d+)", self.output, re.MULTILINE)
        assert line, self.output
        return int(line.group(1))


class Site:
    """One running tower with its inventory."""

    def __init__(self, tower: Tower) -> None:
        self.tower = tower
        self.inventory = tower.dir / "inventory.yml"
        self.inventory.write_text(json.dumps(tower.inventory()))

    def start(self, playbook: str, **variables: Any) -> subprocess.Popen[str]:
        """Start a playbook with extra variables."""
        return self._start("ansible-playbook", "-e", json.dumps(variables), playbook)

    def _start(self, command: str, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "ANSIBLE_CONFIG": str(REPO / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", **settings}
        environment["LLAMATOWER_CACHE"] = str(cache_dir())
        # Emulated and busy, sudo took longer than the usual 30 s.
        environment["ANSIBLE_TIMEOUT"] = "120"
        hub = self.tower.dir / "hub.url"
        if hub.exists():
            environment["HF_ENDPOINT"] = hub.read_text().strip()
        inventories = ["-i", str(REPO / "inventory" / "demo"), "-i", str(self.inventory)]
        return subprocess.Popen(
            [command, *inventories, *arguments],
            cwd=REPO,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def playbook(self, name: str, **variables: Any) -> Run:
        """Run a playbook with extra variables; the end of what it says is evidence."""
        process = self.start(name, **variables)
        output, _ = process.communicate()
        print(f"$ ansible-playbook {name} -e '{json.dumps(variables)}' # ended with {process.returncode}")
        print("\n".join(output.splitlines()[-25:]))
        return Run(process.returncode, output, self.tower.name)

    def module(self, name: str, **arguments: Any) -> dict[str, Any]:
        """What a module returns."""
        command = ["towers", "--become", "-m", name]
        # Ansible takes an empty object for the text "{}".
        command += ["-a", json.dumps(arguments)] if arguments else []
        output, _ = self._start("ansible", *command, ANSIBLE_CALLBACK_RESULT_FORMAT="json").communicate()
        assert "=> {" in output, output
        returned: dict[str, Any] = json.loads(output[output.index("=> {") + 3 :])
        return returned

    def ssh(self, command: str) -> str:
        output = self.tower.ssh(command)
        print(f"tower$ {command}\n{output}")
        return output

    def shares(self, unit: str = UNIT) -> dict[int, int]:
        """Bytes of weights and caches on each node, counted here and not by the project: large anonymous mappings."""
        pid = self.ssh(f"systemctl show --value --property=MainPID {unit}")
        shares: dict[int, int] = {}
        for line in self.ssh(f"sudo grep -E 'anon=|gguf' /proc/{pid}/numa_maps").splitlines():
            pages = {int(node): int(count) for node, count in re.findall(r" N(\d+)=(\d+)", line)}
            size = int(line.rpartition("kernelpagesize_kB=")[2]) * 1024
            if ".gguf" in line or (
                "file=/" not in line.replace("file=/anon_hugepage", "") and sum(pages.values()) * size > 32 * 2**20
            ):
                for node, count in pages.items():
                    shares[node] = shares.get(node, 0) + count * size
        print(f"bytes on each node: {shares}")
        return shares

    def restart_service(self) -> None:
        self.ssh(f"sudo systemctl restart {UNIT}")
        wait_until(self.healthy, "llama-server answers on /health", 300)

    def ask(self) -> str:
        """What the server answers."""
        returned = self.module(
            "llamatower.tower.llama_server_check",
            url="http://127.0.0.1:8080",
            unit=UNIT,
            api_key_file=KEYS,
            prompt="The capital of France is",
            max_tokens=3,
            timeout=300,
        )
        print(returned)
        answer: str = returned["completion"]["text"]
        return answer

    def healthy(self) -> bool:
        probe = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/health').status)"
        return self.tower.ssh(f'python3 -c "{probe}" 2>&1', check=False).endswith("200")

    def current(self) -> str:
        """The release that the tower runs."""
        return self.ssh("readlink /opt/llama.cpp/current")

    def archive(self) -> Path:
        """The build archive of that release, which this machine built."""
        return cache_dir() / "builds" / "archives" / f"{Path(self.current()).name}.tar"

    def state(self) -> str:
        """What must not change when a run is refused: build, models, settings, and the process of the server."""
        return self.ssh(
            "readlink /opt/llama.cpp/current; ls -A /opt/llama.cpp/releases; "
            "sudo ls -AlR --time-style=full-iso /var/lib/llama-models; "
            "sudo sh -c 'sha256sum /var/lib/llamatower/instances/main/current/* /etc/sysctl.d/90-llamatower.conf'; "
            f"systemctl show --value --property=MainPID {UNIT}"
        )


def written_page(reports: Path, name: str, made_with: Path) -> Path:
    """The page of a tower or of all towers that site.yml wrote, after the machine itself was made with a file."""
    page = reports / f"{name}.html"
    assert page.exists(), f"{page} is missing: run site.yml"
    assert page.stat().st_mtime > made_with.stat().st_mtime, f"{page} is older than the machine: run site.yml"
    return page


def pid(site: Site, unit: str = UNIT) -> int:
    """The process of a unit; 0 where it does not run."""
    return int(site.tower.ssh(f"systemctl show --value --property=MainPID {unit}"))


def drop_caches(site: Site) -> None:
    site.ssh("sync; sudo sysctl --quiet vm.drop_caches=3")


def cache_on_one_node(site: Site, model: str = MODEL) -> None:
    """Have the whole model in the page cache, on node 0."""
    drop_caches(site)
    site.ssh(f"sudo numactl --cpunodebind=0 --membind=0 sha256sum {model}")


def active(site: Site, unit: str = UNIT) -> bool:
    return site.tower.ssh(f"systemctl is-active {unit} || true") == "active"


def restart(site: Site, *units: str) -> str:
    """Restart, and what systemctl says."""
    return site.ssh(f"sudo systemctl restart {' '.join(units or (UNIT,))} 2>&1 || echo FAILED")


def last_words(site: Site, unit: str = UNIT) -> str:
    """The end of its journal."""
    return site.ssh(f"sudo journalctl --no-pager -o cat -n 15 -u {unit}")


def apart(shares: dict[int, int]) -> float:
    """How far two nodes are apart, as a part of their mean."""
    first, second = shares[0], shares[1]
    return abs(first - second) / ((first + second) / 2)
