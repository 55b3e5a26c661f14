# SPDX-License-Identifier: MIT
"""playbooks/uninstall.yml before it removes anything: consent, check mode, and jobs that run.

What it removes is shown on towers, in tests/integration.
"""

from __future__ import annotations

import fcntl
import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from plugins.module_utils import before
from tests.boot_machine import NAME, BootMachine
from tests.controller import CLONE, play, recap
from tests.mounts import needs_mounts
from tests.run_module import run_module


class Run(NamedTuple):
    """What a run of the playbook said."""

    status: int
    output: str

    def says(self, sentence: str) -> bool:
        return sentence in " ".join(self.output.split())

    def recap(self, tower: str) -> dict[str, int]:
        return recap(self.output, tower)


def run(directory: Path, *options: str, **variables: Any) -> Run:
    """Two towers that are this machine, with directories of their own; only of tower12 the models may go."""
    places = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
        "model_store_dir": f"{directory}/{{{{ inventory_hostname }}}}/models",
        "benchmark_dir": f"{directory}/measured",
        "llama_build_root": f"{directory}/{{{{ inventory_hostname }}}}/engine",
        "llama_build_work_dir": f"{directory}/build",
        "llama_service_user": "no-such-account",
    }
    inventory = directory / "hosts.json"
    hosts: dict[str, Any] = {"tower1": {"uninstall_models": "false"}, "tower12": {"uninstall_models": "true"}}
    inventory.write_text(json.dumps({"towers": {"hosts": hosts, "vars": places}}))
    done = play(inventory, "playbooks/uninstall.yml", *options, "-e", json.dumps(variables))
    return Run(done.returncode, done.stdout + done.stderr)


def test_a_tower_without_its_own_name_as_consent_is_passed_over(tmp_path: Path) -> None:
    shown = run(tmp_path, uninstall_consent="tower2, tower123,true")
    assert shown.status == 0, shown.output
    for tower in ("tower1", "tower12"):
        assert shown.says(f"{tower} is passed over without consent: see with --check --diff what would go")
        assert shown.recap(tower)["changed"] == 0, shown.output


def test_a_check_run_needs_no_consent_and_lists_what_would_go(tmp_path: Path) -> None:
    kept, gone = tmp_path / "tower1", tmp_path / "tower12"
    for place in (kept, gone):
        # A manifest of somebody else's makes no model of what it is in.
        others = ("models/manifest.json", "models/notes", "models/webapp/manifest.json")
        for name in ("models/glm/manifest.json", "models/glm/glm.gguf", *others, "engine/releases/a/program"):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(bytes(1_000_000))
        (place / "models/glm/manifest.json").write_text('{"schema_version": 1}'.ljust(1_000_000))
    checked = run(tmp_path, "--check", "--diff")
    assert checked.status == 0, checked.output
    listed = {line[1:] for line in checked.output.splitlines() if line.startswith(f"-{tmp_path}")}
    assert listed >= {f"{place}/{name}" for place in (kept, gone) for name in ("engine/releases", "engine")}
    assert [line for line in listed if "models" in line] == [f"{gone}/models/glm"]
    assert checked.says(f"tower1 keeps models, 2 MB in {kept}/models, until uninstall_models is true"), checked.output
    for name in others:
        assert checked.says(f"{gone}/{name.removesuffix('/manifest.json')}"), checked.output
    assert (gone / "models/glm/glm.gguf").exists() and (gone / "engine/releases/a/program").exists()


def test_a_job_that_runs_is_not_cut(tmp_path: Path) -> None:
    (tmp_path / "tower1/models").mkdir(parents=True)
    with (tmp_path / "tower1/models/.progress.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = run(tmp_path, "--check", "--limit", "tower1")
    assert refused.status != 0
    assert refused.says(f"tower1 still works ({tmp_path}/tower1/models/.progress.json: it has just begun)")


def test_files_are_removed_and_shown_and_a_second_run_finds_none(tmp_path: Path) -> None:
    (tmp_path / "place/inner").mkdir(parents=True)
    (tmp_path / "place/inner/file").write_bytes(bytes(40960))
    arguments: dict[str, Any] = {"paths": [f"{tmp_path}/place/in*"], "directories": [f"{tmp_path}/place"]}
    checked = run_module("remove_files", check=True, **arguments)
    assert checked["removed"] == [f"{tmp_path}/place/inner", f"{tmp_path}/place"]
    assert (tmp_path / "place/inner/file").exists()
    removed = run_module("remove_files", **arguments)
    assert {**removed, "invocation": None} == {**checked, "invocation": None}
    assert not (tmp_path / "place").exists()
    again = run_module("remove_files", **arguments)
    assert (again["changed"], again["removed"], again["size"]) == (False, [], "0 B")


def test_nothing_is_removed_beside_a_lock_or_by_a_relative_path(tmp_path: Path) -> None:
    with (tmp_path / "job.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        held = run_module("remove_files", paths=[f"{tmp_path}/*"])
    assert held["msg"] == f"A job that runs holds {tmp_path}/job.lock: wait for it; nothing was removed."
    assert run_module("remove_files", paths=["models"])["msg"].startswith("models is no absolute path")
    assert (tmp_path / "job.lock").exists()


def test_a_machine_is_written_down_put_back_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(before, "RECORD", str(tmp_path / "var/before.json"))
    monkeypatch.setattr(before, "TRACES", ())
    value = tmp_path / "swappiness"
    value.write_text("60\n")
    files = [str(value)]
    assert run_module("machine_before", check=True, state="recorded", files=files)["changed"]
    assert not (tmp_path / "var").exists()
    recorded = run_module("machine_before", state="recorded", files=files)
    assert (recorded["changed"], recorded["before"]["values"]) == (True, {str(value): "60"})
    value.write_text("10\n")
    assert not run_module("machine_before", state="recorded", files=files)["changed"]
    checked = run_module("machine_before", check=True, state="restored", files=files)
    assert checked["diff"] == {"before": f"{value} 10\n", "after": f"{value} 60\n"}
    assert value.read_text() == "10\n"
    assert run_module("machine_before", state="restored", files=files)["changed"]
    assert value.read_text() == "60\n"
    assert not run_module("machine_before", state="restored", files=files)["changed"]
    assert run_module("machine_before", state="forgotten")["changed"]
    assert not run_module("machine_before", state="forgotten")["changed"]
    assert not (tmp_path / "var").exists()


def test_what_installs_something_has_written_down_what_was_there() -> None:
    """Whichever role is the first to run: what it installs would else count as there before, and stay."""
    modules = {
        path: [key for task in yaml.safe_load(path.read_text()) for key in task if "." in key]
        for path in (CLONE / "roles").glob("*/tasks/*.yml")
        if path.parts[-3] != "uninstall"
    }
    install = {path: names for path, names in modules.items() if "ansible.builtin.apt" in names}
    assert len(install) >= 4, "the search is wrong"
    for path, names in install.items():
        before = names[: names.index("ansible.builtin.apt")]
        assert "llamatower.tower.machine_before" in before, path


BOOT_WORDS = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: llamatower.tower.hugepages
        tasks_from: remove
"""


@needs_mounts
@pytest.mark.parametrize("kind", ["grub", "systemd-boot"])
def test_words_of_the_kernel_command_line_are_gone_with_what_was_made_of_them(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the part of the playbook that gives back the pool, on a machine whose boot files are its own."""
    machine = BootMachine(kind, tmp_path / "tree", monkeypatch)
    bare = machine.files()
    given = machine.command()
    assert given["changed"] and machine.files() != bare
    # What else of this machine such a part could look into is empty.
    for name in ("etc/tmpfiles.d", "etc/default", "sys/firmware", "sys/devices/system/node"):
        (machine.tree / name).mkdir(parents=True, exist_ok=True)
    places = ["boot", "etc/default", "etc/kernel", "etc/tmpfiles.d", "proc/cmdline"]
    places += ["sys/firmware", "sys/devices/system/node"]
    mounts = " && ".join(f"mount --bind {machine.tree}/{place} /{place}" for place in places)
    python = tmp_path / "python"
    # The machine's doubles of programs are for what runs within.
    within = f'{mounts} && PATH="{machine.tree}/bin:$PATH" exec {sys.executable} "$@"'
    python.write_text(
        f"#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin exec unshare --mount sh -c '{within}' python \"$@\"\n"
    )
    python.chmod(0o755)
    (tmp_path / "play.yml").write_text(BOOT_WORDS)
    tower = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": str(python)}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": {"tower": tower}}}))
    done = [play(tmp_path / "hosts.json", tmp_path / "play.yml", *options) for options in (["--check"], [], [])]
    assert [each.returncode for each in done] == [0, 0, 0], done
    changed = [int(re.findall(r"changed=(\d+)", each.stdout)[0]) for each in done]
    assert changed == [1, 1, 0], done
    assert machine.files() == bare
    assert not any(NAME in text or "hugepages" in text for text in machine.files().values())
