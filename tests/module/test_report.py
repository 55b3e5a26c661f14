# SPDX-License-Identifier: MIT
"""playbooks/report.yml where one tower serves, one does not, and one does not answer."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.controller import play

REPO = Path(__file__).resolve().parents[2]
SERVES = {
    "completion": {"text": "Paris", "tokens_per_second": 12.1},
    "placement": {
        "bytes": 8_000_000_000,
        "huge_bytes": 8_000_000_000,
        "nodes": {"0": 8_000_000_000},
        "policies": {"interleave:0": 8_000_000_000},
    },
    "server": None,
    "nodes": [0],
    "problem": None,
}
# Nobody listens there.
OFF = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
LONG_AGO = "2020-02-03T04:05:06Z"


class Reported:
    """A run of a playbook, and the reports that it left."""

    def __init__(self, directory: Path, playbook: str, hosts: dict[str, dict[str, Any]], **variables: Any) -> None:
        self.directory = directory / "reports"
        everyone = {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "report_dir": str(self.directory),
            "llama_build_root": str(directory / "builds"),
            "model_store_dir": str(directory / "models"),
            "benchmark_dir": str(directory / "benchmarks"),
            **variables,
        }
        (directory / "hosts.json").write_text(json.dumps({"towers": {"hosts": hosts, "vars": everyone}}))
        done = play(directory / "hosts.json", playbook)
        self.status, self.text = done.returncode, done.stdout + done.stderr

    def document(self, host: str) -> dict[str, Any]:
        assert (self.directory / f"{host}.json").exists(), self.text
        found: dict[str, Any] = json.loads((self.directory / f"{host}.json").read_text())
        return found

    def row(self, host: str) -> str:
        """What the page of all towers says of one."""
        rows = re.findall("<tr>.*?</tr>", (self.directory / "index.html").read_text(), re.DOTALL)
        (found,) = [row for row in rows if re.search(rf"row\">(<a[^>]*>)?{host}\b", row)] or [""]
        return re.sub("<[^>]*>", " ", found)


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """The second of two runs: in the first, the one that is off now served, and so did one that is gone."""
    directory = tmp_path_factory.mktemp("reported")
    serves: dict[str, Any] = {"llama_service_result": SERVES}
    before = Reported(directory, "playbooks/report.yml", {"off": serves, "gone": serves})
    assert before.status == 0, before.text
    old = before.document("off") | {"generated": LONG_AGO}
    (directory / "reports/off.json").write_text(json.dumps(old))
    # The one that does not answer is the first, which Ansible asks where a step is for one of all.
    return Reported(directory, "playbooks/report.yml", {"off": OFF, "down": {}, "serves": serves})


def test_the_run_ends_with_an_error_that_names_both(reported: Reported) -> None:
    assert reported.status != 0
    said = " ".join(reported.text.split())
    assert "off does not answer, and what the pages show of it is as old as they say: " in said, reported.text
    assert re.search(r"^serves +: .*unreachable=0 +failed=0", reported.text, re.MULTILINE), reported.text
    assert re.search(r"^down +: .*failed=1", reported.text, re.MULTILINE), reported.text


def test_a_tower_that_does_not_serve_is_reported_with_what_is_wrong(reported: Reported) -> None:
    document = reported.document("down")
    assert document["failure"] and "run ansible-playbook llamatower.tower.build" in document["failure"], reported.text
    (entry,) = [entry for entry in document["advice"] if entry["code"] == "service-problem"]
    assert entry["message"] == document["failure"]
    assert entry["severity"] == "problem"


def test_the_page_has_the_date_of_what_it_shows_of_each(reported: Reported) -> None:
    off, serves = reported.row("off"), reported.row("serves")
    assert "2020-02-03 04:05" in off and "not read in the last run" in off, off
    assert reported.document("serves")["generated"][:16].replace("T", " ") in serves, serves
    assert "not read" not in serves + reported.row("down")


def test_the_run_shows_of_each_that_was_read_what_to_know_of_it(reported: Reported) -> None:
    ends = dict(re.findall(r"^(\w+)\nVERDICT +(.*)$", reported.text, re.MULTILINE))
    assert ends.keys() == {"down", "serves"}, reported.text
    assert reported.document("serves")["verdict"]["sentence"].startswith(ends["serves"])
    assert re.search(rf"^PAGE +{re.escape(str(reported.directory))}/serves.html$", reported.text, re.MULTILINE)


def test_a_host_that_left_the_inventory_is_not_shown(reported: Reported) -> None:
    assert (reported.directory / "gone.json").exists()
    assert reported.row("gone") == ""


def test_the_page_is_written_where_no_tower_answers(tmp_path: Path) -> None:
    run = Reported(tmp_path, "playbooks/report.yml", {"off": OFF})
    assert run.status != 0
    assert "never" in run.row("off"), run.text


def test_a_tower_that_does_not_answer_costs_validate_itself_only(tmp_path: Path) -> None:
    """The other goes on to the next check, which one that is no systemd machine fails."""
    run = Reported(tmp_path, "playbooks/validate.yml", {"off": OFF, "here": {}}, model_store_models=[])
    assert re.search(r"^off +: .*unreachable=1", run.text, re.MULTILINE), run.text
    assert "TASK [Check that it can run llama.cpp]" in run.text, run.text
    assert run.status != 0
