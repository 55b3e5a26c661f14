# SPDX-License-Identifier: MIT
"""playbooks/status.yml: all towers at the end, an error where one does not serve, and the file of URLs and keys."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.report.document import SCHEMA_VERSION as REPORT
from tests.controller import CLONE, play
from tests.run_module import run_module

OFF = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}


def inventory(directory: Path, hosts: dict[str, dict[str, Any]]) -> Path:
    everyone = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
        "model_store_dir": str(directory / "models"),
        "benchmark_dir": str(directory / "measured"),
        "llama_build_work_dir": str(directory / "work"),
    }
    path = directory / "hosts.json"
    path.write_text(json.dumps({"towers": {"hosts": hosts, "vars": everyone}}))
    return path


def test_a_tower_that_is_off_and_one_without_a_service_have_their_lines_and_the_run_ends_with_an_error(
    tmp_path: Path,
) -> None:
    keys = tmp_path / "keys.json"
    before = {"off": [{"instance": "main", "keys": {"ann": "s3cret"}}], "gone": [{"instance": "main"}]}
    keys.write_text(json.dumps(before))
    keys.chmod(0o644)
    towers = inventory(tmp_path, {"off": OFF, "here": {}})
    checked = play(towers, "playbooks/status.yml", "-e", f"status_access_file={keys}", "--check", "--diff")
    assert json.loads(keys.read_text()) == before, "a check run writes nothing"
    assert re.search(r"changed=1 ", checked.stdout), checked.stdout
    done = play(towers, "playbooks/status.yml", "-e", f"status_access_file={keys}", "--diff", "-v")
    assert done.returncode != 0
    assert "off:\n" not in done.stdout, "the table is of all towers"
    lines = done.stdout[done.stdout.index("tower instance") :].splitlines()
    assert lines[1].split()[:4] == ["off", "-", "no", "answer"], done.stdout
    # Refused, or a broken pipe: which of the two Ansible says hangs on whether ssh ends before it is written to.
    assert "It cannot be asked: " in lines[2] and "ssh" in " ".join(lines[2:4]).lower(), done.stdout
    assert any(line.startswith("here") and "nothing" in line for line in lines), done.stdout
    for name in ("off", "here"):
        assert re.search(rf"^{name} +: .*failed=1", done.stdout, re.MULTILINE), done.stdout
    # What is known of the one that is off stays; who left the inventory goes.
    assert json.loads(keys.read_text()) == {"here": [], "off": before["off"]}
    assert os.stat(keys).st_mode & 0o777 == 0o600
    assert "s3cret" not in checked.stdout + done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_file_that_cannot_be_written_ends_with_a_sentence(tmp_path: Path) -> None:
    towers = inventory(tmp_path, {"here": {}})
    done = play(towers, "playbooks/status.yml", "-e", f"status_access_file={tmp_path}/hosts.json/keys.json")
    assert "cannot be written" in done.stdout and "name another file" in done.stdout, done.stdout


@pytest.mark.parametrize("name", ["a", "b/c"])
def test_the_file_is_named_from_where_one_stands(name: str, tmp_path: Path) -> None:
    """And what is read comes through a deployment, whose keys no output shows."""
    path = tmp_path / "instances/main/deployments/a1"
    path.mkdir(parents=True)
    unit = {"url": "http://127.0.0.1:8080", "environment": {"LLAMA_ARG_HOST": "0.0.0.0"}}
    document = {"schema_version": 1, "model": {"name": "glm"}, "units": [unit], "loopback": False}
    (path / "deployment.json").write_text(json.dumps(document))
    (path / "keys").write_text("# ann\ns3cret\n")
    (tmp_path / "instances/main/current").symlink_to("deployments/a1")
    found = run_module("llama_access_info", host="tower1", instances_path=str(tmp_path / "instances"))
    assert found["access"][0]["keys"] == {"ann": "s3cret"}
    (path / "keys").unlink()
    refused = run_module("llama_access_info", host="tower1", instances_path=str(tmp_path / "instances"))
    assert "cannot be read" in refused["msg"]
    playbook = tmp_path / "play.yml"
    task = {"llamatower.tower.access_file": {"path": str(tmp_path / name), "towers": {"one": found, "two": {}}}}
    playbook.write_text(json.dumps([{"hosts": "towers", "gather_facts": False, "tasks": [task, task]}]))
    done = play(inventory(tmp_path, {"here": {}}), str(playbook), "-v", "--diff")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search("changed=1 ", done.stdout), "the second one changes nothing: " + done.stdout
    assert json.loads((tmp_path / name).read_text()) == {"one": found["access"]}
    assert "s3cret" not in done.stdout
    assert CLONE.is_dir()


def test_whether_a_tower_is_fast_is_told_by_its_last_report_with_its_date(tmp_path: Path) -> None:
    said = "11.9 tokens/s: 92 % of what this tower's memory allows."
    report = {"schema_version": REPORT, "generated": "2026-11-29T04:00:00Z", "verdict": {"sentence": said}}
    directory = tmp_path / "reports"
    directory.mkdir()
    for host, version in (("here", REPORT), ("old", REPORT - 1), ("gone", REPORT)):
        (directory / f"{host}.json").write_text(json.dumps(report | {"host": host, "schema_version": version}))
    towers = inventory(tmp_path, {"here": {}, "old": {}, "new": {}})
    done = play(towers, "playbooks/status.yml", "-e", f"status_report_dir={directory}")
    lines = [line for line in done.stdout.splitlines() if said in line]
    assert lines == [f"here, 2026-11-29 04:00 UTC: {said}"], done.stdout


JOB = """
import sys, time
from plugins.module_utils.progress import Progress
with Progress(sys.argv[1], "the fetch of glm", "ann@desk"):
    print("works", flush=True)
    time.sleep(120)
"""


def test_the_long_jobs_of_other_runs_are_ended_where_told_so(tmp_path: Path) -> None:
    command = [sys.executable, "-c", JOB, str(tmp_path / "models/.progress.json")]
    with subprocess.Popen(command, cwd=CLONE, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout and job.stdout.readline() == "works\n"
        towers = inventory(tmp_path, {"here": {}})
        looked = play(towers, "playbooks/status.yml", "-e", "llamatower_abort=true", "--check")
        assert job.poll() is None, looked.stdout
        assert f"now: the fetch of glm by ann@desk, process {job.pid} since" in looked.stdout, looked.stdout
        done = play(towers, "playbooks/status.yml", "-e", "llamatower_abort=true")
        assert job.wait(10) < 0, done.stdout
    assert f"Stopped: the fetch of glm by ann@desk, process {job.pid} since" in " ".join(done.stdout.split())
    assert "now: the fetch" not in done.stdout


def test_a_machine_without_any_of_it_has_nothing(tmp_path: Path) -> None:
    found = run_module("tower_status_info", instances_path=str(tmp_path / "no"), benchmark_dir=str(tmp_path / "no"))
    assert found["tower_status"] == {"instances": [], "jobs": []}
    assert found["changed"] is False
