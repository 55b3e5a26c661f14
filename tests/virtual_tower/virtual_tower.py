#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make a virtual tower: a QEMU machine with the sockets, memory nodes and DIMM records of a real one.

    virtual_tower.py create mz73-lm1             # and start it, and wait until it answers
    virtual_tower.py ssh mz73-lm1 numactl -H
    virtual_tower.py stop mz73-lm1 --hard        # pull the plug
    virtual_tower.py destroy mz73-lm1

It runs without KVM and without root. Everything about a tower is in one directory of the cache: its disk
(an overlay over a base image that all towers share), its SMBIOS records, its console log, its process id.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from tests.boards.board import structures

HERE = Path(__file__).resolve().parent
PROFILES = HERE / "profiles"
# The records of the board description that replace QEMU's own: system, board, CPUs, memory array, DIMMs.
SMBIOS_TYPES = (1, 2, 4, 16, 17)
# Emulated on busy cores, a boot has been seen to take 40 s.
BOOT_SECONDS = 300


class TowerError(Exception):
    """What went wrong and what mends it, in one sentence."""


def cache_dir() -> Path:
    """Where downloads and towers live, outside the repository."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llamatower"
    return Path(os.environ.get("LLAMATOWER_CACHE") or default)


def profiles() -> list[str]:
    """The names of the profiles that come with the project."""
    return sorted(path.stem for path in PROFILES.glob("*.yml"))


def load_profile(name: str) -> dict[str, Any]:
    """The profile of that name."""
    path = PROFILES / f"{name}.yml"
    if not path.exists():
        raise TowerError(f"There is no profile {name}; there are {', '.join(profiles())}.")
    profile: dict[str, Any] = yaml.safe_load(path.read_text())
    return profile


def gibibytes(size: str) -> int:
    """The number in a size like 3G."""
    if not size.endswith("G") or not size[:-1].isdigit():
        raise TowerError(f"Size {size!r} in the profile is not a whole number of gibibytes like 3G.")
    return int(size[:-1])


def smbios_structures(board: dict[str, Any]) -> list[tuple[int, bytes]]:
    """The SMBIOS records of a described board, from the builder that the unit tests use."""
    return [(kind, data) for kind, data in structures(board) if kind in SMBIOS_TYPES]


class Tower:
    """One virtual tower, running or not. ``name`` tells apart several of one profile."""

    def __init__(self, name: str, profile: str | None = None, release: str | None = None) -> None:
        self.name = name
        self.dir = cache_dir() / "towers" / name
        self._profile = profile
        self._release = release

    # --- what it is ---------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        return (self.dir / "profile.yml").exists()

    @property
    def profile(self) -> dict[str, Any]:
        if not self.exists:
            raise TowerError(f"There is no tower {self.name}; make it with: virtual_tower.py create")
        profile: dict[str, Any] = yaml.safe_load((self.dir / "profile.yml").read_text())
        return profile

    @property
    def base(self) -> Path:
        """The directory of the base image: kernel, disk and keys."""
        return (self.dir / "base").resolve()

    @property
    def console(self) -> Path:
        """The log of the serial console since the last start."""
        return self.dir / "console.log"

    @property
    def pid(self) -> int | None:
        """The process id of QEMU, None where the tower is off."""
        try:
            pid = int((self.dir / "qemu.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        # The number may have been given to another process since.
        return pid if str(self.dir).encode() in command else None

    @property
    def port(self) -> int:
        """The port on loopback that leads to the tower's ssh."""
        return int((self.dir / "ssh_port").read_text())

    # --- life ---------------------------------------------------------------------------------

    def create(self) -> None:
        """Make its disk and its records, unless it is there."""
        if self.exists:
            return
        profile = load_profile(self._profile or self.name)
        profile["release"] = self._release or profile["release"]
        base = run([str(HERE / "base_image"), profile["release"]])
        shutil.rmtree(self.dir, ignore_errors=True)
        (self.dir / "smbios").mkdir(parents=True)
        (self.dir / "base").symlink_to(base)
        for number, (kind, data) in enumerate(smbios_structures(profile["board"])):
            (self.dir / "smbios" / f"{number:02}-type{kind}.bin").write_bytes(data)
        size = f"{gibibytes(profile['disk'])}G"
        backing = ["-b", f"{base}/disk.img", "-F", "raw"]
        run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(self.dir / "disk.qcow2"), size])
        # Last, since it says that the rest is there.
        (self.dir / "profile.yml").write_text(yaml.safe_dump(profile))

    def arrange(self, nodes: list[str]) -> None:
        """Give it memory nodes of these sizes from its next start on, as another NPS setting of its BIOS would."""
        (self.dir / "profile.yml").write_text(
            yaml.safe_dump(self.profile | {"nodes": [{"memory": size} for size in nodes]})
        )

    def start(self) -> None:
        """Boot it, unless it runs, and return when it answers on ssh."""
        self.power_on()
        self.wait()

    def power_on(self) -> None:
        """Boot it, unless it runs."""
        self.create()
        if not self.pid:
            port = free_port(self.dir / "ssh_port")
            (self.dir / "ssh_port").write_text(str(port))
            host_key = (self.base / "host_key.pub").read_text()
            (self.dir / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
            run(self.qemu(port))
            # The kernel shares CPUs among sessions, of which a build or a container may have many, and QEMU has one: it
            # would starve, and whatever waits for it with it. nice says nothing between sessions.
            with contextlib.suppress(OSError):
                Path(f"/proc/{self.pid}/autogroup").write_text("-10")

    def wait(self) -> None:
        """Return when it answers on ssh."""
        deadline = time.monotonic() + BOOT_SECONDS
        while self.fails("true"):
            said = f"its console said:\n{self.last_words()}"
            if not self.pid:
                raise TowerError(f"QEMU ended while {self.name} booted; {said}")
            if time.monotonic() > deadline:
                raise TowerError(f"{self.name} did not answer in {BOOT_SECONDS} s; {said}")
            time.sleep(1)

    def stop(self, hard: bool = False) -> None:
        """Shut it down; ``hard`` pulls the plug."""
        pid = self.pid
        if not pid:
            return
        deadline = time.monotonic() + (0 if hard else 60)
        if not hard:
            self.fails("sudo systemctl poweroff")
        while self.pid:
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        (self.dir / "qemu.pid").unlink(missing_ok=True)

    def destroy(self) -> None:
        """Stop it and remove all of it. The base image stays."""
        self.stop(hard=True)
        shutil.rmtree(self.dir, ignore_errors=True)

    # --- ways in ------------------------------------------------------------------------------

    def ssh_options(self) -> list[str]:
        options = {
            "UserKnownHostsFile": str(self.dir / "known_hosts"),
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            # One that is emulated and starts eight servers takes longer than 5 s to greet.
            "ConnectTimeout": "30",
        }
        return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]

    def ssh_command(self) -> list[str]:
        where = ["-p", str(self.port), "-i", str(self.base / "user_key"), "admin@127.0.0.1"]
        return ["ssh", "-F", "/dev/null", "-q", *self.ssh_options(), *where]

    def ssh(self, command: str, check: bool = True) -> str:
        """What a command in the tower prints."""
        return run([*self.ssh_command(), command], check=check)

    def fails(self, command: str) -> bool:
        """Whether a command in the tower fails, or the tower does not answer."""
        # Without a standard input of its own, ssh would make the caller's non-blocking.
        whole = [*self.ssh_command(), command]
        return bool(subprocess.run(whole, capture_output=True, stdin=subprocess.DEVNULL).returncode)

    def inventory(self) -> dict[str, Any]:
        """The tower as an Ansible inventory."""
        host = {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": "admin",
            "ansible_ssh_private_key_file": str(self.base / "user_key"),
            "ansible_ssh_common_args": shlex.join(self.ssh_options()),
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        return {"towers": {"hosts": {self.name: host}}}

    def status(self) -> str:
        """One line on how it is."""
        if not self.exists:
            return f"{self.name}: there is none"
        if not self.pid:
            return f"{self.name}: off"
        accelerator = (self.dir / "accelerator").read_text()
        return f"{self.name}: running ({accelerator}), process {self.pid}, ssh on 127.0.0.1:{self.port}"

    def last_words(self) -> str:
        """The end of the console log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.console.read_text(errors="replace").splitlines()[-15:])
        return "(nothing)"

    # --- the machine --------------------------------------------------------------------------

    def qemu(self, port: int) -> list[str]:
        """The command that runs it in the background."""
        profile = self.profile
        kernel = self.base / "vmlinuz"
        accelerator = "kvm" if kvm_works(kernel) else "tcg,thread=multi"
        (self.dir / "accelerator").write_text(accelerator.split(",")[0])
        sockets, cores, nodes = profile["sockets"], profile["cores"], profile["nodes"]
        cpus, memory = sockets * cores, sum(gibibytes(node["memory"]) for node in nodes)
        cpu = "".join(f",{key.replace('_', '-')}={value}" for key, value in profile["cpu"].items())
        command = ["qemu-system-x86_64", "-name", self.name, "-daemonize"]
        command += ["-pidfile", str(self.dir / "qemu.pid"), "-machine", "q35"]
        command += ["-accel", accelerator, "-cpu", f"max{cpu}", "-m", f"{memory}G"]
        command += ["-smp", f"{cpus},sockets={sockets},cores={cores},threads=1"]
        share = cpus // len(nodes)
        for node, description in enumerate(nodes):
            first, last = node * share, (node + 1) * share - 1
            command += ["-object", f"memory-backend-ram,id=memory{node},size={description['memory']}"]
            command += ["-numa", f"node,nodeid={node},cpus={first}-{last},memdev=memory{node}"]
        for path in sorted((self.dir / "smbios").iterdir()):
            command += ["-smbios", f"file={path}"]
        boot = "root=/dev/nvme0n1 rw console=ttyS0 quiet"
        if accelerator != "kvm":
            # Emulated, each reading of the HPET is a trap, and the TSC is right, whatever Linux fears on a busy host;
            # and there is no speculation to mitigate.
            boot += " clocksource=tsc tsc=reliable mitigations=off"
        command += ["-kernel", str(kernel), "-append", boot]
        command += ["-drive", f"if=none,id=disk,format=qcow2,discard=unmap,file={self.dir / 'disk.qcow2'}"]
        command += ["-device", "nvme,drive=disk,serial=tower", "-device", "virtio-rng-pci"]
        command += ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22"]
        command += ["-device", "virtio-net-pci,netdev=net,romfile="]
        return [*command, "-nodefaults", "-display", "none", "-serial", f"file:{self.console}"]


def run(command: list[str], check: bool = True) -> str:
    """What a command prints; its complaints where it fails."""
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    if check and result.returncode:
        raise TowerError(f"'{shlex.join(command)[:200]}' ended with {result.returncode}.")
    return result.stdout.strip()


def kvm_works(kernel: Path) -> bool:
    """Whether a kernel starts under KVM: a /dev/kvm that opens proves nothing, a nested one may not run."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    machine = ["-accel", "kvm", "-cpu", "max", "-m", "512M", "-nodefaults", "-display", "none"]
    boot = ["-serial", "stdio", "-no-reboot", "-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        # Its own standard input: QEMU makes that non-blocking, and Ansible refuses one like that.
        result = subprocess.run(
            ["qemu-system-x86_64", *machine, *boot], capture_output=True, stdin=subprocess.DEVNULL, timeout=15
        )
        # It has no root file system, so it ends in a panic, which is far enough.
        return b"Kernel panic" in result.stdout
    return False


def free_port(last: Path) -> int:
    """A free port on loopback: the one in the file if it still is, so that inventories stay right."""
    for port in (int(last.read_text()) if last.exists() else 0, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise TowerError("There is no free port on loopback.")


def main() -> int:
    assert __doc__
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    actions = ["create", "start", "stop", "destroy", "status", "ssh", "inventory"]
    parser.add_argument("action", choices=actions)
    parser.add_argument("name", help=f"its name, which is its profile, too: {', '.join(profiles())}")
    parser.add_argument("--profile", help="profile of a new tower with another name")
    parser.add_argument("--release", choices=["bookworm", "trixie"], help="Debian release of a new tower")
    parser.add_argument("--nodes", nargs="+", help="sizes of the memory nodes of a new tower instead of its profile's")
    parser.add_argument("--hard", action="store_true", help="stop as when the power fails")
    arguments, command = parser.parse_known_args()
    tower = Tower(arguments.name, arguments.profile, arguments.release)
    try:
        if arguments.action in ("create", "start"):
            if arguments.nodes and not tower.exists:
                tower.create()
                tower.arrange(arguments.nodes)
            tower.start()
        elif arguments.action == "stop":
            tower.stop(arguments.hard)
        elif arguments.action == "destroy":
            tower.destroy()
        elif arguments.action == "inventory":
            print(yaml.safe_dump(tower.inventory()), end="")
            return 0
        elif arguments.action == "ssh":
            os.execvp("ssh", [*tower.ssh_command(), *command])
        print(tower.status())
    except TowerError as error:
        print(f"virtual_tower: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
