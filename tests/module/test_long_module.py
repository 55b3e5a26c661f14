# SPDX-License-Identifier: MIT
"""The action of long modules, through ansible-playbook and a module that only waits."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.run_module import run_module
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
# Works until somebody writes the file `end`, and is done already where there is a file `done`.
MODULE = """\
import os, time
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llamatower.tower.plugins.module_utils.progress import Progress

def main():
    arguments = {"progress_path": {"type": "path"}, "by": {"type": "str"}}
    module = AnsibleModule(argument_spec=arguments, supports_check_mode=True)
    path = module.params["progress_path"]
    place = os.path.dirname(path)
    if module.check_mode:
        module.exit_json(changed=True, found="check")
    with Progress(path, "a test", module.params["by"]) as progress:
        if os.path.exists(f"{place}/done"):
            module.exit_json(changed=False, found="done")
        progress.tell("waiting", 3, 10, "files")
        with open(f"{place}/pid", "w") as file:
            file.write(str(os.getpid()))
        while not os.path.exists(f"{place}/end"):
            time.sleep(0.05)
        if os.path.exists(f"{place}/fail"):
            module.fail_json(msg="It failed, so mend it.")
        open(f"{place}/done", "w").close()
    module.exit_json(changed=True, found=None)

main()
"""
ACTION = "from ansible_collections.llamatower.tower.plugins.action.long_module import ActionModule\n"
PLAY = """\
- hosts: all
  gather_facts: false
  tasks:
    - llama_wait:
        progress_path: "{{ place }}/progress.json"
      check_mode: "{{ checked | default(false) }}"
      register: waited
    - ansible.builtin.debug:
        msg: "found {{ waited.found | default('', true) }} changed {{ waited.changed }}"
"""


class Runs:
    """Plays in a directory with that module; whatever still runs in the end is stopped.

    A host has the directory of its name, or of the ``place`` that is given for it.
    """

    def __init__(self, place: Path, **hosts: str) -> None:
        self.place, self.hosts = place, hosts
        self.started: list[subprocess.Popen[str]] = []
        (place / "action").mkdir()
        (place / "action" / "llama_wait.py").write_text(ACTION)
        (place / "library").mkdir()
        (place / "library" / "llama_wait.py").write_text(f"#!{sys.executable}\n{MODULE}")
        (place / "play.yml").write_text(PLAY)
        lines = [
            f"{name} ansible_connection=local ansible_python_interpreter={sys.executable} place={place}/{name} "
            f"ansible_async_dir={place}/{name}/async {variables}"
            for name, variables in hosts.items()
        ]
        (place / "inventory").write_text("\n".join(lines) + "\n")

    def start(self) -> subprocess.Popen[str]:
        environment = {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_LIBRARY": f"{self.place}/library",
            "ANSIBLE_ACTION_PLUGINS": f"{self.place}/action",
            "ANSIBLE_NOCOLOR": "1",
        }
        command = ["ansible-playbook", "-i", f"{self.place}/inventory", f"{self.place}/play.yml"]
        run = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=os.environ | environment, start_new_session=True,
        )  # fmt: skip
        self.started.append(run)
        return run

    def finish(self, run: subprocess.Popen[str]) -> str:
        output, _ = run.communicate(timeout=120)
        print(output)
        return output

    def until(self, run: subprocess.Popen[str], line: str) -> str:
        """What a run prints up to and with that line."""
        shown = ""
        assert run.stdout
        while not shown.endswith(line):
            more = run.stdout.readline()
            assert more, f"the play ended without {line!r}:\n{shown}"
            shown += more
        return shown

    def job(self, name: str) -> int:
        """The process of the module on a host, once it works."""
        pid = self.place / name / "pid"
        wait_until(lambda: pid.exists() and pid.read_text() != "", "the module")
        return int(pid.read_text())

    def touch(self, *names: str) -> None:
        for name in names:
            (self.place / name).parent.mkdir(exist_ok=True)
            (self.place / name).touch()

    def stop(self) -> None:
        self.touch(*(f"{name}/end" for name in self.hosts))
        for run in self.started:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """One run of hosts that each meet something else."""
    place = tmp_path_factory.mktemp("fleet")
    runs = Runs(place, works="", shares=f"place={place}/works", fails="", dies="", looks="checked=true")
    runs.touch("fails/fail", "fails/end")
    run = runs.start()
    os.kill(runs.job("dies"), signal.SIGKILL)
    shown = runs.until(run, ": waiting 3 of 10, 30 %\n")
    runs.touch("works/end")
    (place / "output").write_text(shown + runs.finish(run))
    assert run.returncode == 2
    yield runs
    runs.stop()


@pytest.fixture(scope="module")
def output(fleet: Runs) -> dict[str, str]:
    """What was printed of each host."""
    printed = (fleet.place / "output").read_text()
    tasks = printed.replace("\n\nTASK", "\n\0").replace("\n\nPLAY RECAP", "\n\0").replace("\nfatal: ", "\n\0fatal: ")
    parts = tasks.replace("\nok: ", "\n\0ok: ").replace("\nchanged: ", "\n\0changed: ").split("\0")
    return {name: "\n".join(part for part in parts if f"[{name}]" in part.split("\n")[0]) for name in fleet.hosts}


def test_a_run_shows_how_far_it_is(fleet: Runs) -> None:
    # Whichever of the two works shows it, and the one that waits for it may.
    assert re.search("^(works|shares): waiting 3 of 10, 30 %$", (fleet.place / "output").read_text(), re.MULTILINE)


def test_two_hosts_that_share_a_place_do_the_work_once_and_return_the_modules_result(
    fleet: Runs, output: dict[str, str]
) -> None:
    both = output["works"] + output["shares"]
    assert both.count("found done changed False") == 1, both
    assert both.count("found  changed True") == 1, both
    assert list((fleet.place / "works/async").iterdir()) == []


def test_a_modules_failure_is_shown_in_its_own_words(output: dict[str, str]) -> None:
    assert "fatal: [fails]" in output["fails"] and "It failed, so mend it." in output["fails"]


def test_a_killed_module_ends_in_one_sentence(output: dict[str, str]) -> None:
    said = "llama_wait was killed before it ended: run the same command again, and it goes"
    assert said in " ".join(output["dies"].split()), output["dies"]
    assert "Traceback" not in output["dies"]


def test_check_mode_asks_the_module_and_starts_nothing(fleet: Runs, output: dict[str, str]) -> None:
    assert "found check changed True" in output["looks"]
    assert not (fleet.place / "looks").exists()


def test_a_killed_controller_leaves_the_job_and_the_next_run_waits_for_it(tmp_path: Path) -> None:
    runs = Runs(tmp_path, one="")
    try:
        first = runs.start()
        job = runs.job("one")
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        second = runs.start()
        shown = runs.until(second, "one: waiting 3 of 10, 30 %\n")
        said = (
            rf"one: waits for a test by \S+@\S+:\d+, process {job} since \S+; the same command with -e llamatower_abort"
        )
        assert re.search(said, shown), shown
        os.kill(job, 0)  # it is still there
        runs.touch("one/end")
        assert "found done changed False" in runs.finish(second)
        assert second.returncode == 0
    finally:
        runs.stop()


def test_a_job_that_was_left_can_be_stopped_and_the_run_that_waits_for_it_works(tmp_path: Path) -> None:
    runs = Runs(tmp_path, one="")
    progress = str(tmp_path / "one/progress.json")
    try:
        first = runs.start()
        job = runs.job("one")
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        second = runs.start()
        runs.until(second, "one: waiting 3 of 10, 30 %\n")
        looked = run_module("stop_jobs", check=True, paths=[progress])
        os.kill(job, 0)  # it is still there
        (tmp_path / "one/pid").unlink()
        stopped = run_module("stop_jobs", paths=[progress, str(tmp_path / "none.json")])
        assert looked["stopped"] == stopped["stopped"] and looked["changed"] and stopped["changed"]
        assert re.fullmatch(rf"a test by \S+@\S+:\d+, process {job} since \S+", stopped["stopped"][0])
        assert runs.job("one") != job, "who waited works"
        runs.touch("one/end")
        assert "found  changed True" in runs.finish(second)
        assert run_module("stop_jobs", paths=[progress])["changed"] is False
    finally:
        runs.stop()
