# SPDX-License-Identifier: MIT
"""Towers that are network namespaces of this machine on one bridge, each with a store of its own. Needs root."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Fleet:
    """``count`` towers, 192.0.2.11 and up, and a hub that only the first reaches, on its loopback."""

    def __init__(self, repo: Path, directory: Path, count: int, models: Path) -> None:
        self.repo, self.directory, self.models = repo, directory, models
        self.names = [f"tower{number}" for number in range(1, count + 1)]
        self._prefix = f"fleet{os.getpid()}"
        self._hub: subprocess.Popen[str] | None = None

    def space(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def store(self, name: str) -> Path:
        return self.directory / name / "store"

    def __enter__(self) -> Fleet:
        try:
            self._make()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _make(self) -> None:
        lan = self.space("lan")
        run("ip", "netns", "add", lan)
        run("ip", "-n", lan, "link", "add", "lan", "type", "bridge")
        run("ip", "-n", lan, "link", "set", "lan", "up")
        for number, name in enumerate(self.names, 11):
            space = self.space(name)
            run("ip", "netns", "add", space)
            run("ip", "-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", name, "netns", lan)
            run("ip", "-n", lan, "link", "set", name, "master", "lan", "up")
            run("ip", "-n", space, "addr", "add", f"192.0.2.{number}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                run("ip", "-n", space, "link", "set", link, "up")
            self.store(name).mkdir(parents=True)
            python = self.directory / name / "python"
            python.write_text(f'#!/bin/sh\nexec ip netns exec {space} /usr/bin/python3 "$@"\n')
            python.chmod(0o755)
        command = ["python3", "tests/hub/hub.py", "--root", str(self.models), "--port", "8000"]
        self._hub = subprocess.Popen(
            ["ip", "netns", "exec", self.space(self.names[0]), self.python, *command[1:]],
            cwd=self.repo,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._hub.stdout is not None
        print(self._hub.stdout.readline())

    @property
    def python(self) -> str:
        """The tests' own Python, which the hub needs."""
        import sys

        return sys.executable

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in [*self.names, "lan"]:
            with contextlib.suppress(subprocess.CalledProcessError):
                for pid in run("ip", "netns", "pids", self.space(name)).split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), 9)
                run("ip", "netns", "delete", self.space(name))
        if self._hub:
            self._hub.wait()

    def hub_bytes(self) -> int:
        """Bytes of models that the hub sent so far."""
        answer = run(
            "ip",
            "netns",
            "exec",
            self.space(self.names[0]),
            "/usr/bin/python3",
            "-c",
            "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/_hub/log').read().decode())",
        )
        return sum(json.loads(answer)["bytes_sent"].values())

    def limit(self, rate: str) -> None:
        """Have every tower send no more than that to the others, in the words of tc."""
        for name in self.names:
            run("tc", "-n", self.space(name), "qdisc", "add", "dev", "eth0", "root", "tbf",
                "rate", rate, "burst", "256k", "latency", "50ms")  # fmt: skip

    def sent(self, name: str) -> int:
        """Bytes that left a tower, as its interface counts them."""
        links = json.loads(run("ip", "-n", self.space(name), "-s", "-j", "link", "show", "eth0"))
        return int(links[0]["stats64"]["tx"]["bytes"])

    def module_pids(self, name: str, module: str) -> list[int]:
        """The processes of a module on a tower."""
        found = []
        for pid in run("ip", "netns", "pids", self.space(name)).split():
            with contextlib.suppress(OSError):
                if module in Path(f"/proc/{pid}/cmdline").read_text():
                    found.append(int(pid))
        return found

    def start(self, log: Path, *arguments: str, **variables: Any) -> subprocess.Popen[bytes]:
        """playbooks/models.yml for all towers."""
        hosts = {
            name: {
                "ansible_host": f"192.0.2.{number}",
                "ansible_connection": "local",
                "ansible_python_interpreter": str(self.directory / name / "python"),
                "model_store_dir": str(self.store(name)),
            }
            for number, name in enumerate(self.names, 11)
        }
        inventory = self.directory / "hosts.yml"
        inventory.write_text(
            json.dumps(
                {
                    "towers": {
                        "hosts": hosts,
                        "vars": {
                            "ansible_become": False,
                            "model_store_reserve_bytes": 0,
                            "model_store_hf_endpoint": "http://127.0.0.1:8000",
                            **variables,
                        },
                    }
                }
            )
        )
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(self.repo / "ansible.cfg"),
            "ANSIBLE_LOCAL_TEMP": str(self.directory / "local"),
            "ANSIBLE_REMOTE_TMP": str(self.directory / "remote"),
            "ANSIBLE_ASYNC_DIR": str(self.directory / "async"),
        }
        with open(log, "wb") as output:
            return subprocess.Popen(
                ["ansible-playbook", "-i", str(inventory), "playbooks/models.yml", *arguments],
                cwd=self.repo,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
