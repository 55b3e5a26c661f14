# SPDX-License-Identifier: MIT
"""playbooks/bios.yml against a BMC: consent, check mode, and the way there and back."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.sysfs import format_cpu_list, parse_cpu_list
from tests.bmc.bmc import ATTRIBUTES, PASSWORD, USER, Bmc

REPO = Path(__file__).resolve().parents[2]
SETTINGS = {"nodes_per_socket": 1}
NODES = {vendor: entries[0][0] for vendor, entries in ATTRIBUTES.items()}


class Tower:
    """This machine with the memory nodes that its BIOS gives it, seen by whatever its Python runs.

    That Python is started in a mount namespace of its own, over whose /sys/devices/system/node and boot id lie files
    that each restart writes anew.
    """

    def __init__(self, directory: Path) -> None:
        self.directory, self.boots = directory, 0
        self.python = directory / "python"
        self.python.write_text(
            f"""#!/bin/sh
exec unshare --mount sh -c '
mount --bind {directory}/sys/devices/system/node /sys/devices/system/node &&
mount --bind {directory}/boot_id /proc/sys/kernel/random/boot_id &&
exec {sys.executable} "$@"' python "$@"
"""
        )
        self.python.chmod(0o755)
        (directory / "sys/devices/system/node").mkdir(parents=True)

    def restart(self, settings: dict[str, Any]) -> None:
        self.boots += 1
        (self.directory / "boot_id").write_text(f"boot-{self.boots}\n")
        online = parse_cpu_list(Path("/sys/devices/system/cpu/online").read_text())
        value = next(str(value) for name, value in settings.items() if name in NODES.values())
        count = 2 if re.search(r"2$|Two", value) else 1
        base = self.directory / "sys/devices/system/node"
        for old in base.glob("node*"):
            shutil.rmtree(old)
        (base / "online").write_text(f"{format_cpu_list(list(range(count)))}\n")
        for node in range(count):
            (base / f"node{node}").mkdir()
            (base / f"node{node}/cpulist").write_text(f"{format_cpu_list(online[node::count])}\n")


def namespaces() -> bool:
    command = ["unshare", "--mount", "mount", "--bind", "/proc/version", "/proc/sys/kernel/random/boot_id"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not namespaces(), reason="only root can make the mount namespace of the tower")


def tower_of(vendor: str, directory: Path) -> Bmc:
    """A tower with two nodes a socket, by its BMC."""
    directory.mkdir(exist_ok=True)
    one = Bmc(vendor, directory, reset_seconds=0.2)
    allowed = [value for value, _shown in one.entries[NODES[vendor]][1]]
    one.current[NODES[vendor]] = next(value for value in allowed if re.search(r"2$|Two", value))
    tower = Tower(directory)
    tower.restart(one.current)
    one.on_reset = tower.restart
    return one


@pytest.fixture
def bmc(tmp_path: Path) -> Iterator[Bmc]:
    one = tower_of("ami", tmp_path)
    yield one
    one.close()


def host_of(one: Bmc) -> dict[str, Any]:
    here = one.ca.parent
    return {
        "bios_bmc_host": one.host,
        "bios_bmc_ca": str(one.ca),
        "ansible_python_interpreter": str(here / "python"),
    }


def play(bmc: Bmc, *options: str, others: dict[str, Bmc] | None = None, **variables: Any) -> tuple[int, str]:
    """Exit status and output of the playbook for tower1, this machine, and for others by their names."""
    hosts = {name: host_of(one) for name, one in ({"tower1": bmc} | (others or {})).items()}
    everyone = {
        "bios_bmc_username": USER,
        "bios_bmc_password": PASSWORD,
        "bios_record_dir": str(bmc.ca.parent / "records"),
        "bios_settings": SETTINGS,
        "bios_wait": 30,
        "ansible_connection": "local",
        "ansible_become": False,
    }
    hosts["tower1"] |= variables
    inventory = bmc.ca.parent / "hosts.json"
    inventory.write_text(json.dumps({"towers": {"hosts": hosts, "vars": everyone | variables}}))
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), "playbooks/bios.yml", *options],
        cwd=REPO,
        env=os.environ | {"ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert PASSWORD not in said
    return done.returncode, said


CONSENT: dict[str, Any] = {"bios_state": "applied", "bios_consent": ["tower1"]}
REBOOT: dict[str, Any] = CONSENT | {"bios_reboot_consent": ["tower1"]}


def test_the_plan_is_shown_and_nothing_written(bmc: Bmc) -> None:
    status, said = play(bmc)
    assert status == 0, said
    assert "NUMA nodes per socket (Rome0075) is NPS2, to be NPS1" in said
    assert "changed=0" in said
    assert bmc.writes == []


def test_without_a_bmc_nothing_is_done(bmc: Bmc) -> None:
    status, said = play(bmc, bios_bmc_host=None, **{key: REBOOT[key] for key in ("bios_state", "bios_reboot_consent")})
    assert status == 0, said
    assert "No BMC is declared for tower1" in said
    assert bmc.requests == []


def test_without_consent_nothing_is_written(bmc: Bmc) -> None:
    status, said = play(bmc, bios_state="applied")
    assert status != 0
    assert "The BIOS of tower1 is written only with consent" in said
    assert bmc.requests == []


@pytest.mark.parametrize("text", ["tower12", "tower2,tower11"])
def test_a_name_within_another_is_no_consent(text: str, bmc: Bmc) -> None:
    status, said = play(bmc, bios_state="applied", bios_consent=text)
    assert status != 0
    assert "The BIOS of tower1 is written only with consent" in said
    assert bmc.requests == []


def test_a_tower_that_does_not_answer_is_set_back_through_its_bmc(bmc: Bmc) -> None:
    (bmc.ca.parent / "records").mkdir()
    record = {"previous": {"Rome0075": "NPS4"}, "boot": "boot-1", "written": {"Rome0075": "NPS2"}, "task": None}
    (bmc.ca.parent / "records/tower1.json").write_text(json.dumps(record))
    nowhere = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9, "bios_wait": 1}
    status, said = play(bmc, **(REBOOT | nowhere | {"bios_state": "restored"}))
    assert "Linux does not answer." in said
    assert bmc.current["Rome0075"] == "NPS4"
    assert status != 0
    assert "tower1 did not come back within 1 seconds; it does not answer" in said


def test_applied_without_consent_to_the_reboot_leaves_it_pending(bmc: Bmc) -> None:
    status, said = play(bmc, **CONSENT)
    assert status == 0, said
    assert "changed=1" in said
    assert [body["Attributes"] for body in bmc.writes] == [{"Rome0075": "NPS1"}]
    assert bmc.current["Rome0075"] == "NPS2"
    _status, again = play(bmc, **CONSENT)
    assert "changed=0" in again, again
    assert len(bmc.writes) == 1


def test_check_mode_writes_nothing_and_predicts_the_difference(bmc: Bmc) -> None:
    status, said = play(bmc, "--check", "--diff", **REBOOT)
    assert status == 0, said
    assert "changed=1" in said
    assert "NPS1" in said
    assert bmc.writes == []
    assert not (bmc.ca.parent / "records").exists()


def test_there_and_back_with_both_consents(bmc: Bmc) -> None:
    old = dict(bmc.current)
    # With all that Ansible can be made to say; none of it is the password.
    status, said = play(bmc, "-vvv", "--diff", **REBOOT)
    assert status == 0, said
    assert bmc.current == old | {"Rome0075": "NPS1"}
    status, said = play(bmc, **REBOOT)
    assert status == 0, said
    assert "changed=0" in said
    status, said = play(bmc, **(REBOOT | {"bios_state": "restored"}))
    assert status == 0, said
    assert bmc.current == old


def test_linux_and_bmc_agree_afterwards_on_the_boards_of_all_vendors(bmc: Bmc, tmp_path: Path) -> None:
    every = {"tower1": bmc} | {name: tower_of(name, tmp_path / name) for name in ATTRIBUTES if name != "ami"}
    old = {name: dict(one.current) for name, one in every.items()}
    consent: dict[str, Any] = {"bios_consent": list(every), "bios_reboot_consent": list(every)}
    status, said = play(bmc, others=every, bios_state="applied", **consent)
    assert status == 0, said
    for name, one in every.items():
        assert [list(body["Attributes"]) for body in one.writes] == [[NODES[one.vendor]]], (
            f"{name}: only the difference"
        )
        assert one.current == old[name] | one.writes[0]["Attributes"], name
        one.close()


def test_linux_has_the_last_word(bmc: Bmc) -> None:
    """The BMC takes NPS1 over, and the machine comes back with two nodes: that is no success."""
    tower_restarts = bmc.on_reset
    bmc.on_reset = lambda settings: tower_restarts(settings | {"Rome0075": "NPS2"})
    status, said = play(bmc, **REBOOT)
    assert status != 0
    assert "nodes_per_socket should be 1, and Linux sees 2" in said


def test_a_tower_that_does_not_restart_is_waited_for_and_named(bmc: Bmc) -> None:
    bmc.on_reset = lambda _settings: None
    status, said = play(bmc, **(REBOOT | {"bios_wait": 1}))
    assert status != 0
    assert "tower1 did not come back within 1 seconds; it has not restarted. See its console; to go back," in said
    record = json.loads((bmc.ca.parent / "records/tower1.json").read_text())
    assert record["previous"] == {"Rome0075": "NPS2"}
