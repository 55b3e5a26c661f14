# SPDX-License-Identifier: MIT
"""The action of long modules, through ansible-playbook and a module that only waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Works until somebody writes the file `end`, and is done already where there is a file `done`.
MODULE = """\
import os, time
from ansible.module_utils.basic import AnsibleModule
from plugins.module_utils.progress import Progress

def main():
    module = AnsibleModule(argument_spec={"progress_path": {"type": "path"}}, supports_check_mode=True)
    path = module.params["progress_path"]
    place = os.path.dirname(path)
    if module.check_mode:
        module.exit_json(changed=True, found="check")
    with Progress(path) as progress:
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
PLAY = """\
- hosts: HOSTS
  gather_facts: false
  tasks:
    - llama_wait:
        progress_path: PLACE/progress.json
      register: waited
    - ansible.builtin.debug:
        msg: "found {{ waited.found | default('', true) }} changed {{ waited.changed }}"
"""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.1)


class Runs:
    """Plays in a directory with that module; whatever still runs in the end is stopped."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.started: list[subprocess.Popen[str]] = []
        (place / "action").mkdir()
        (place / "action" / "llama_wait.py").symlink_to(ROOT / "plugins" / "action" / "long_module.py")
        (place / "library").mkdir()
        (place / "library" / "llama_wait.py").write_text(f"#!{sys.executable}\n{MODULE}")

    def start(self, *options: str, hosts: str = "one") -> subprocess.Popen[str]:
        play = self.place / "play.yml"
        play.write_text(PLAY.replace("PLACE", str(self.place)).replace("HOSTS", hosts))
        inventory = self.place / "inventory"
        local = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
        inventory.write_text(f"one {local}\ntwo {local}\n")
        environment = {
            "ANSIBLE_LIBRARY": f"{self.place}/library:{ROOT}/plugins/modules",
            "ANSIBLE_ACTION_PLUGINS": f"{self.place}/action",
            "ANSIBLE_ASYNC_DIR": f"{self.place}/async",
            "ANSIBLE_NOCOLOR": "1",
        }
        command = [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), str(play), *options]
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

    def job(self) -> int:
        """The process of the module, once it works."""
        pid = self.place / "pid"
        wait_until(lambda: pid.exists() and pid.read_text() != "", "the module")
        return int(pid.read_text())

    def touch(self, name: str) -> None:
        (self.place / name).touch()


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    these = Runs(tmp_path)
    yield these
    these.touch("end")
    for run in these.started:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def test_a_run_shows_how_far_it_is_and_returns_the_modules_result(runs: Runs) -> None:
    run = runs.start()
    shown = ""
    assert run.stdout
    while "waiting" not in shown:
        shown = run.stdout.readline()
        assert shown, "the play ended without a line of progress"
    assert shown == "one: waiting 3 of 10, 30 %\n"
    runs.touch("end")
    output = runs.finish(run)
    assert run.returncode == 0
    assert "changed True" in output
    assert list((runs.place / "async").iterdir()) == []


def test_a_modules_failure_is_shown_in_its_own_words(runs: Runs) -> None:
    runs.touch("fail")
    runs.touch("end")
    run = runs.start()
    assert "It failed, so mend it." in runs.finish(run)
    assert run.returncode == 2


def test_a_killed_module_ends_in_one_sentence(runs: Runs) -> None:
    run = runs.start()
    os.kill(runs.job(), signal.SIGKILL)
    output = runs.finish(run)
    assert run.returncode == 2
    assert "llama_wait was killed before it ended: run the same command again, and it goes" in output
    assert "Traceback" not in output


def test_a_killed_controller_leaves_the_job_and_the_next_run_waits_for_it(runs: Runs) -> None:
    first = runs.start()
    job = runs.job()
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    second = runs.start()
    assert second.stdout
    while "waiting" not in second.stdout.readline():
        assert second.poll() is None, "the play ended without a line of progress"
    os.kill(job, 0)  # it is still there
    runs.touch("end")
    assert "found done changed False" in runs.finish(second)
    assert second.returncode == 0


def test_two_hosts_that_share_a_place_do_the_work_once(runs: Runs) -> None:
    run = runs.start(hosts="one,two")
    runs.job()
    runs.touch("end")
    output = runs.finish(run)
    assert run.returncode == 0
    assert output.count("found done changed False") == 1
    assert output.count("changed True") == 1


def test_check_mode_asks_the_module_and_starts_nothing(runs: Runs) -> None:
    run = runs.start("--check")
    assert "found check changed True" in runs.finish(run)
    assert not (runs.place / "async").exists()
