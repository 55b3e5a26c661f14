# SPDX-License-Identifier: MIT
"""playbooks/reboot.yml: who is restarted, who is not, and what one that does not come back costs the others."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.lock import locked
from tests.controller import play, recap
from tests.mounts import needs_mounts

REPO = Path(__file__).resolve().parents[2]
WORDS = "hugepagesz=1G hugepages=0:150,1:150"
GRUB_CFG = f"""\
### BEGIN /etc/grub.d/10_linux ###
menuentry 'Debian' {{
\tlinux\t/boot/vmlinuz root=/dev/sda1 ro {WORDS}
}}
### END /etc/grub.d/10_linux ###
"""
# Seconds that are waited for towers which never come.
SHORT = 4


class Tower:
    """This machine as a tower: its Python runs in a mount namespace with the tower's own /boot, /run and records.

    ``waits`` is what it has yet to be restarted for, words of its kernel or a package; ``comes`` whether it comes back,
    ``takes`` whether its kernel has the words then, and ``serves`` whether a server starts with it.
    """

    def __init__(self, directory: Path, waits: str = "", comes: bool = True, takes: bool = True, serves: bool = False):
        self.directory = directory
        for name in ("boot/grub", "kernel", "run", "bin", "system/multi-user.target.wants"):
            (directory / name).mkdir(parents=True)
        (directory / "boot/grub/grub.cfg").write_text(GRUB_CFG)
        (directory / "boot_id").write_text("boot-0\n")
        (directory / "cmdline").write_text("BOOT_IMAGE=/boot/vmlinuz root=/dev/sda1 ro\n")
        if waits == "words":
            (directory / "kernel/llamatower-hugepages.words.json").write_text(json.dumps({"words": [WORDS]}))
        if waits == "package":
            (directory / "run/reboot-required").touch()
        if serves:
            (directory / "system/multi-user.target.wants/llama-server@main.service").touch()
        restart = f"echo boot-1 > {directory}/boot_id; rm -f {directory}/run/reboot-required;" if comes else ""
        words = f"echo 'BOOT_IMAGE=/boot/vmlinuz root=/dev/sda1 ro {WORDS}' > {directory}/cmdline;" if takes else ""
        (directory / "bin/systemd-run").write_text(f'#!/bin/sh\n{restart} {words} echo "$*" >> {directory}/asked\n')
        mounts = {
            "boot": "/boot",
            "kernel": "/etc/kernel",
            "run": "/run",
            "system": "/etc/systemd/system",
            "boot_id": "/proc/sys/kernel/random/boot_id",
            "cmdline": "/proc/cmdline",
        }
        script = " && ".join(f"mount --bind {directory}/{name} {place}" for name, place in mounts.items())
        (directory / "python").write_text(
            f"#!/bin/sh\nexport PATH={directory}/bin:$PATH\n"
            f'exec unshare --mount sh -c \'{script} && exec {sys.executable} "$@"\' python "$@"\n'
        )
        for name in ("bin/systemd-run", "python"):
            (directory / name).chmod(0o755)

    @contextlib.contextmanager
    def changes(self, what: str) -> Iterator[None]:
        """Somebody changes it."""
        with locked(f"{self.directory}/run/llamatower/change.lock", what, 0, by="ann@desk"):
            yield

    def restarts(self) -> int:
        asked = self.directory / "asked"
        return len(asked.read_text().splitlines()) if asked.exists() else 0


pytestmark = needs_mounts


class Fleet:
    """Towers by their names, and what a run of the playbook said of them."""

    def __init__(self, directory: Path, **towers: dict[str, Any]) -> None:
        self.directory, self.output, self.status = directory, "", 0
        self.towers = {name: Tower(directory / name, **how) for name, how in towers.items()}

    def run(self, *options: str, **variables: Any) -> Fleet:
        everyone = {"ansible_connection": "local", "ansible_become": False, "reboot_wait": SHORT}
        hosts: dict[str, dict[str, Any]] = {
            name: {"ansible_python_interpreter": str(self.directory / name / "python")} for name in self.towers
        }
        nowhere = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
        if "off" in hosts:
            hosts["off"] |= nowhere
        inventory = self.directory / "hosts.json"
        inventory.write_text(json.dumps({"towers": {"hosts": hosts, "vars": everyone}}))
        done = play(inventory, "playbooks/reboot.yml", *options, "-e", json.dumps(variables))
        self.status, self.output = done.returncode, done.stdout + done.stderr
        return self

    def recap(self, tower: str) -> dict[str, int]:
        return recap(self.output, tower)

    def says(self, sentence: str) -> bool:
        return sentence in " ".join(self.output.split())


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """The towers that do not come back well stand before those that do; all get consent but two."""
    found = Fleet(
        tmp_path_factory.mktemp("fleet"),
        off={},
        stuck={"waits": "words", "comes": False},
        other={"waits": "words", "takes": False},
        serving={"waits": "package", "serves": True},
        nothing={},
        shown={"waits": "words"},
        shown2={"waits": "package"},
        words={"waits": "words"},
        package={"waits": "package", "takes": False},
        changing={"waits": "package"},
    )
    with found.towers["changing"].changes("the switch of main"):
        return found.run(reboot_consent="off, stuck,other,serving,nothing,shown22,words,package,changing")


def test_a_tower_is_restarted_for_words_and_for_a_package(fleet: Fleet) -> None:
    for name, why in (("words", f"its kernel lacks {WORDS}"), ("package", "a package asks for it")):
        assert fleet.says(f"{name} is restarted: {why}."), fleet.output
        assert fleet.towers[name].restarts() == 1
        assert fleet.recap(name)["failed"] == 0, fleet.output


def test_without_need_or_its_own_name_as_consent_a_tower_is_passed_over(fleet: Fleet) -> None:
    assert fleet.says("nothing need not be restarted."), fleet.output
    assert fleet.says(f"shown is passed over without consent (its kernel lacks {WORDS}): add its name"), fleet.output
    assert fleet.says("shown2 is passed over without consent (a package asks for it)"), fleet.output
    assert [fleet.towers[name].restarts() for name in ("nothing", "shown", "shown2")] == [0, 0, 0]
    assert fleet.recap("shown")["failed"] == 0, fleet.output


@pytest.mark.parametrize(
    ("tower", "sentence"),
    [
        ("off", "off does not answer: start it, or leave it out with --limit."),
        ("stuck", f"stuck did not come back within {SHORT} seconds; it has not restarted. See its console."),
        ("other", f"other has restarted without {WORDS}: something else than GRUB boots it"),
        ("changing", "changing is not restarted: the switch of main by ann@desk, process "),
        ("serving", "cannot be read: run ansible-playbook llamatower.tower.build"),
    ],
)
def test_a_tower_that_is_not_as_before_fails_in_one_sentence_and_keeps_no_other(
    tower: str, sentence: str, fleet: Fleet
) -> None:
    """The last one has a server that starts with it, and is asked for it."""
    assert fleet.status != 0
    assert fleet.says(sentence), fleet.output
    assert fleet.recap(tower)["failed"] == 1, fleet.output


def test_one_tower_after_the_other(fleet: Fleet) -> None:
    assert fleet.towers["changing"].restarts() == 0
    assert fleet.output.count("PLAY [Restart the towers that need it]") == len(fleet.towers), fleet.output


def test_a_second_run_restarts_nothing_and_consent_may_be_for_all(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, tower1={"waits": "words"}, tower2={})
    checked = fleet.run("--check", reboot_consent=True)
    assert (checked.status, checked.recap("tower1")["changed"]) == (0, 1), checked.output
    assert fleet.towers["tower1"].restarts() == 0
    first = fleet.run(reboot_consent=True)
    assert first.status == 0, first.output
    assert fleet.towers["tower1"].restarts() == 1
    second = fleet.run(reboot_consent="true")
    assert [second.recap(name)["changed"] for name in fleet.towers] == [0, 0], second.output
    always = fleet.run("--limit", "tower2", reboot_consent=True, reboot_always=True, reboot_batch="100%")
    assert fleet.towers["tower2"].restarts() == 1, always.output
    assert fleet.towers["tower1"].restarts() == 1
