# SPDX-License-Identifier: MIT
"""playbooks/bios.yml against a BMC: consent, check mode, and the way there and back."""

from __future__ import annotations

import json
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from plugins.module_utils.sysfs import format_cpu_list, parse_cpu_list
from plugins.module_utils.text import file_name
from tests.bmc.bmc import ATTRIBUTES, PASSWORD, USER, Bmc
from tests.controller import TOWERS, play, recap
from tests.mounts import needs_mounts

REPO = Path(__file__).resolve().parents[2]
SETTINGS = {"nodes_per_socket": 1}
NODES = {vendor: entries[0][0] for vendor, entries in ATTRIBUTES.items()}


class Tower:
    """This machine with the memory nodes that its BIOS gives it, seen by whatever its Python runs.

    That Python is started in a mount namespace of its own, over whose /sys/devices/system/node and boot id lie files
    that each restart writes anew, and over whose /sys/class the names of another machine.
    """

    def __init__(self, directory: Path, uuid: str) -> None:
        self.directory, self.boots = directory, 0
        self.python = directory / "python"
        self.python.write_text(
            f"""#!/bin/sh
exec unshare --mount sh -c '
mount --bind {directory}/sys/devices/system/node /sys/devices/system/node &&
mount --bind {directory}/sys/class /sys/class &&
mount --bind {directory}/boot_id /proc/sys/kernel/random/boot_id &&
exec {sys.executable} "$@"' python "$@"
"""
        )
        self.python.chmod(0o755)
        (directory / "sys/devices/system/node").mkdir(parents=True)
        (directory / "sys/class/dmi/id").mkdir(parents=True)
        (directory / "sys/class/dmi/id/product_uuid").write_text(f"{uuid}\n")

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


pytestmark = needs_mounts


def tower_of(vendor: str, directory: Path) -> Bmc:
    """A tower with two nodes a socket, by its BMC, which writes the UUID as its Linux does not."""
    directory.mkdir()
    one = Bmc(vendor, directory, reset_seconds=0.2)
    allowed = [value for value, _shown in one.entries[NODES[vendor]][1]]
    one.current[NODES[vendor]] = next(value for value in allowed if re.search(r"2$|Two", value))
    known = uuid.uuid5(uuid.NAMESPACE_OID, directory.name)
    one.uuid, one.serial = str(uuid.UUID(bytes_le=known.bytes)), ""
    tower = Tower(directory, str(known))
    tower.restart(one.current)
    one.on_reset = tower.restart
    return one


class Run(NamedTuple):
    """What one run of a playbook said, and by the name of the tower what its BMC had and had been asked."""

    status: int
    text: str
    current: dict[str, dict[str, Any]]
    writes: dict[str, list[Any]]
    requests: dict[str, list[Any]]

    def of(self, tower: str) -> str:
        """What was said of one tower, in one line."""
        # Results begin with a word and the tower in brackets, texts with the tower alone.
        blocks = re.split(r"^(?=\w+: \[|\w+:$|TASK |PLAY )", self.text, flags=re.MULTILINE)
        own = [block for block in blocks if re.match(rf"\w+: \[{tower}[\] ]|{tower}:\n", block)]
        return " ".join(" ".join(own).split())

    def recap(self, tower: str) -> dict[str, int]:
        return recap(self.text, tower)


class Towers:
    """Towers by their names, each with its BMC."""

    def __init__(self, directory: Path, **vendors: str) -> None:
        self.directory = directory
        self.bmcs = {name: tower_of(vendor, directory / file_name(name)) for name, vendor in vendors.items()}
        self.old = {name: dict(one.current) for name, one in self.bmcs.items()}

    def run(self, playbook: str, variables: dict[str, dict[str, Any]], *options: str) -> Run:
        """Run a playbook for some of the towers, each with its variables."""
        everyone = {
            "bios_bmc_username": USER,
            "bios_bmc_password": PASSWORD,
            "bios_record_dir": str(self.directory / "records"),
            "bios_settings": SETTINGS,
            "bios_wait": 10,
            "ansible_connection": "local",
            "ansible_become": False,
        }
        hosts = {name: self._host(name) | own for name, own in variables.items()}
        inventory = self.directory / "hosts.json"
        inventory.write_text(json.dumps({"towers": {"hosts": hosts, "vars": everyone}}))
        done = play(inventory, playbook, *options)
        said = done.stdout + done.stderr
        assert PASSWORD not in said
        current = {name: dict(one.current) for name, one in self.bmcs.items()}
        writes = {name: list(one.writes) for name, one in self.bmcs.items()}
        return Run(
            done.returncode, said, current, writes, {name: list(one.requests) for name, one in self.bmcs.items()}
        )

    def _host(self, name: str) -> dict[str, Any]:
        one = self.bmcs[name]
        python = str(self.directory / file_name(name) / "python")
        return {"bios_bmc_host": one.host, "bios_bmc_ca": str(one.ca), "ansible_python_interpreter": python}

    def record(self, name: str) -> Path:
        return self.directory / "records" / f"{file_name(name)}.json"

    def close(self) -> None:
        for one in self.bmcs.values():
            one.close()


def consent(name: str) -> dict[str, Any]:
    return {"bios_state": "applied", "bios_consent": [name]}


def reboot(name: str) -> dict[str, Any]:
    return consent(name) | {"bios_reboot_consent": [name]}


# --- The playbook, one tower after the other ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Towers]:
    """Towers of one vendor that get all consent, the first, none, and one without a BMC."""
    names = ("tower1", "shown", "bare", "pending")
    found = Towers(tmp_path_factory.mktemp("towers"), **dict.fromkeys(names, "ami"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def checked(towers: Towers) -> tuple[Run, bool]:
    """A check run, before anything else, and whether it left a record."""
    run = towers.run("playbooks/bios.yml", {"tower1": reboot("tower1")}, "--check", "--diff")
    return run, towers.record("tower1").parent.exists()


@pytest.fixture(scope="module")
def first(towers: Towers, checked: tuple[Run, bool]) -> Run:
    """With all that Ansible can be made to say; none of it is the password."""
    variables = {"shown": {}, "bare": reboot("bare") | {"bios_bmc_host": None}, "pending": consent("pending")}
    return towers.run("playbooks/bios.yml", variables | {"tower1": reboot("tower1")}, "-vvv", "--diff")


@pytest.fixture(scope="module")
def second(towers: Towers, first: Run) -> Run:
    """The same again."""
    return towers.run("playbooks/bios.yml", {"pending": consent("pending"), "tower1": reboot("tower1")})


@pytest.fixture(scope="module")
def back(towers: Towers, second: Run) -> Run:
    return towers.run("playbooks/bios.yml", {"tower1": reboot("tower1") | {"bios_state": "restored"}})


def test_check_mode_writes_nothing_and_predicts_the_difference(checked: tuple[Run, bool]) -> None:
    run, recorded = checked
    assert run.status == 0, run.text
    assert run.recap("tower1")["changed"] == 1, run.text
    assert "NPS1" in run.text
    assert run.writes["tower1"] == []
    assert not recorded


def test_the_plan_is_shown_and_nothing_written(first: Run) -> None:
    assert first.status == 0, first.text
    assert "NUMA nodes per socket (Rome0075) is NPS2, to be NPS1" in first.of("shown"), first.text
    assert first.recap("shown")["changed"] == 0, first.text
    assert first.writes["shown"] == []


def test_without_a_bmc_nothing_is_done(first: Run) -> None:
    assert "No BMC is declared for bare" in first.of("bare"), first.text
    assert first.requests["bare"] == []


def test_applied_without_consent_to_the_reboot_leaves_it_pending(first: Run, second: Run) -> None:
    assert first.recap("pending")["changed"] == 1, first.text
    assert [body["Attributes"] for body in first.writes["pending"]] == [{"Rome0075": "NPS1"}]
    assert first.current["pending"]["Rome0075"] == "NPS2"
    assert second.recap("pending")["changed"] == 0, second.text
    assert len(second.writes["pending"]) == 1


def test_there_and_back_with_both_consents(towers: Towers, first: Run, second: Run, back: Run) -> None:
    assert (first.status, second.status, back.status) == (0, 0, 0), first.text + second.text + back.text
    assert first.current["tower1"] == towers.old["tower1"] | {"Rome0075": "NPS1"}
    assert second.recap("tower1")["changed"] == 0, second.text
    assert second.current["tower1"] == first.current["tower1"]
    assert back.current["tower1"] == towers.old["tower1"]


def test_consent_for_one_of_several_and_a_dead_bmc_cost_nobody_else(tmp_path: Path) -> None:
    """In this order: a BMC that does not answer, a tower without consent, and one with both consents."""
    towers = Towers(tmp_path, dead="ami", shown="ami", told="ami")
    variables: dict[str, dict[str, Any]] = {"dead": {"bios_bmc_host": "127.0.0.1:9"}, "shown": {}, "told": {}}
    consents = ["-e", "bios_state=applied", "-e", "bios_consent=told,dead", "-e", "bios_reboot_consent=told,dead"]
    run = towers.run("playbooks/bios.yml", variables, *consents)
    towers.close()
    assert run.status != 0, run.text
    assert [run.recap(tower)["failed"] for tower in variables] == [1, 0, 0], run.text
    assert "The BMC 127.0.0.1:9 cannot be reached" in run.of("dead"), run.text
    assert run.writes["shown"] == []
    assert "NUMA nodes per socket (Rome0075) is NPS2, to be NPS1" in run.of("shown"), run.text
    assert run.current["told"] == towers.old["told"] | {"Rome0075": "NPS1"}


def test_a_tower_that_does_not_come_back_ends_the_run_before_the_next_is_written(tmp_path: Path) -> None:
    towers = Towers(tmp_path, stuck="ami", behind="ami")
    towers.bmcs["stuck"].on_reset = lambda _settings: None
    names = ["stuck", "behind"]
    everyone = {"bios_state": "applied", "bios_consent": names, "bios_reboot_consent": names}
    run = towers.run("playbooks/bios.yml", {"stuck": everyone | {"bios_wait": SHORT}, "behind": everyone})
    towers.close()
    assert run.status != 0, run.text
    assert f"stuck did not come back within {SHORT} seconds" in run.of("stuck"), run.text
    assert run.writes["behind"] == []


# --- The role, on all towers at once, since one that fails ends a playbook that takes one after the other ---------

PLAY = [{"hosts": TOWERS, "gather_facts": False, "roles": ["llamatower.tower.bios"]}]


# The first has been there and back above.
VENDORS = sorted(ATTRIBUTES.keys() - {"ami"})
# A name that would be a file beside the directory of the records.
UP = "../up"
# Seconds that are waited for towers which never come; the BMC must have restarted within them.
SHORT = 4


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Towers, Run]]:
    """One tower of each other vendor, and those that fail, each in its way."""
    directory = tmp_path_factory.mktemp("many")
    names = ("tower1", "tower3", "tower5", "off", "stubborn", "stuck", "exchanged", "replaced", UP)
    found = Towers(directory, **dict.fromkeys(names, "ami"), **{vendor: vendor for vendor in VENDORS})
    # The BMC that is declared for one is another's; and the record of one is of what had its name before.
    found.bmcs["exchanged"].uuid = found.bmcs["tower1"].uuid
    # The BMC takes NPS1 over, and the machine comes back with two nodes; another does not restart at all.
    restarts: Any = found.bmcs["stubborn"].on_reset
    found.bmcs["stubborn"].on_reset = lambda settings: restarts(settings | {"Rome0075": "NPS2"})
    found.bmcs["stuck"].on_reset = lambda _settings: None
    found.record("off").parent.mkdir()
    record = {"previous": {"Rome0075": "NPS4"}, "boot": "boot-1", "written": {"Rome0075": "NPS2"}, "task": None}
    for name, whose in (("off", "off"), ("replaced", "tower1")):
        machine = {"uuid": found.bmcs[whose].uuid, "serials": []}
        found.record(name).write_text(json.dumps(record | {"machine": machine}))
    nowhere = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9, "bios_wait": SHORT}
    (directory / "play.yml").write_text(json.dumps(PLAY))
    variables = {
        "tower1": {"bios_state": "applied"},
        "tower3": {"bios_state": "applied", "bios_consent": "tower33"},
        "tower5": {"bios_state": "applied", "bios_consent": "tower2,tower55"},
        "off": reboot("off") | nowhere | {"bios_state": "restored"},
        "stubborn": reboot("stubborn"),
        "exchanged": reboot("exchanged") | {"bios_accept_unknown_machine": True},
        "replaced": reboot("replaced") | {"bios_state": "restored"},
        UP: consent(UP),
        "stuck": reboot("stuck") | {"bios_wait": SHORT},
    }
    yield found, found.run(str(directory / "play.yml"), variables | {vendor: reboot(vendor) for vendor in VENDORS})
    found.close()


@pytest.mark.parametrize("vendor", VENDORS)
def test_linux_and_bmc_agree_afterwards_on_the_boards_of_all_vendors(vendor: str, many: tuple[Towers, Run]) -> None:
    towers, run = many
    assert run.recap(vendor)["failed"] == 0, run.text
    (body,) = run.writes[vendor]
    assert list(body["Attributes"]) == [NODES[vendor]], "only the difference"
    assert run.current[vendor] == towers.old[vendor] | body["Attributes"]


@pytest.mark.parametrize("tower", ["tower1", "tower3", "tower5"])
def test_without_its_own_name_as_consent_nothing_is_written(tower: str, many: tuple[Towers, Run]) -> None:
    """A name within another is no consent."""
    _towers, run = many
    assert run.recap(tower)["failed"] == 1, run.text
    assert f"The BIOS of {tower} is written only with consent" in run.of(tower), run.text
    assert run.requests[tower] == []


@pytest.mark.parametrize(
    ("tower", "said"), [("exchanged", "correct bios_bmc_host."), ("replaced", "put the record aside, or correct")]
)
def test_another_machine_is_not_written_to_and_costs_nobody_else(
    tower: str, said: str, many: tuple[Towers, Run]
) -> None:
    _towers, run = many
    assert run.recap(tower)["failed"] == 1, run.text
    assert said in run.of(tower), run.text
    assert run.writes[tower] == []


def test_the_record_of_any_name_lies_in_its_directory(many: tuple[Towers, Run]) -> None:
    towers, run = many
    assert len(run.writes[UP]) == 1, run.text
    assert towers.record(UP).parent == towers.directory / "records"
    assert json.loads(towers.record(UP).read_text())["previous"] == {"Rome0075": "NPS2"}
    assert not (towers.directory / "up.json").exists()


def test_a_tower_that_does_not_answer_is_set_back_through_its_bmc(many: tuple[Towers, Run]) -> None:
    _towers, run = many
    # What is shown has no name of a host before it; this is the only tower whose Linux does not answer at first.
    assert run.text.count("Linux does not answer.") == 1, run.text
    assert run.current["off"]["Rome0075"] == "NPS4"
    assert run.recap("off")["failed"] == 1, run.text
    assert f"off did not come back within {SHORT} seconds; it does not answer" in run.of("off"), run.text


def test_linux_has_the_last_word(many: tuple[Towers, Run]) -> None:
    """That the BMC took the setting over is no success where Linux sees another."""
    _towers, run = many
    assert run.recap("stubborn")["failed"] == 1, run.text
    assert "nodes_per_socket should be 1, and Linux sees 2" in run.of("stubborn"), run.text


def test_a_tower_that_does_not_restart_is_waited_for_and_named(many: tuple[Towers, Run]) -> None:
    towers, run = many
    assert run.recap("stuck")["failed"] == 1, run.text
    said = f"stuck did not come back within {SHORT} seconds; it has not restarted. See its console; to go back,"
    assert said in run.of("stuck"), run.text
    assert json.loads(towers.record("stuck").read_text())["previous"] == {"Rome0075": "NPS2"}
