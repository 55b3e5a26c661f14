# SPDX-License-Identifier: MIT
"""memory_channels_info as Ansible runs it: on the oldest Python of towers, without root, without a table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.boards.board import BOARD, table
from tests.run_module import run_module

MODULE = "llamatower.tower.memory_channels_info"
REPO = Path(__file__).resolve().parents[2]
OLDEST = [*Path("/usr/bin").glob("python3.9"), *Path.home().glob(".pyenv/versions/3.9.*/bin/python")]
DOCUMENT = (REPO / "plugins/modules/memory_channels_info.py").read_text()


def run(arguments: dict[str, Any], *options: str) -> dict[str, Any]:
    """What the module returns through Ansible."""
    command = [sys.executable, "-m", "ansible", "adhoc", "localhost", "-m", MODULE]
    done = subprocess.run(
        [*command, "-a", json.dumps(arguments), *options],
        cwd=REPO,
        env=os.environ | {"ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "SUCCESS => " in done.stdout, done.stdout + done.stderr
    returned: dict[str, Any] = json.loads(done.stdout.split("SUCCESS => ", 1)[1])
    return returned


def keys(documented: dict[str, Any]) -> dict[str, Any]:
    return {name: keys(entry["contains"]) if "contains" in entry else None for name, entry in documented.items()}


def shape(value: Any, documented: dict[str, Any] | None) -> Any:
    """The keys of a returned value, as deep as they are documented."""
    if documented is None:
        return None
    first = value[0] if isinstance(value, list) else value
    return {name: shape(first[name], inner) for name, inner in documented.items() if name in first} | {
        name: "not documented" for name in first if name not in documented
    }


@pytest.fixture
def board(tmp_path: Path) -> str:
    path = tmp_path / "DMI"
    path.write_bytes(table(BOARD))
    return str(path)


@pytest.mark.skipif(not OLDEST, reason="this machine has no Python 3.9")
def test_the_oldest_python_of_towers_is_enough(board: str) -> None:
    found = run({"dmi_path": board}, "-e", f"ansible_python_interpreter={OLDEST[0]}")["memory_channels"]
    assert [socket["channels_populated"] for socket in found["sockets"]] == [12, 11]
    assert found["sockets"][1]["empty_channels"] == ["R"]


def test_every_returned_key_is_documented_and_every_documented_key_returned(board: str) -> None:
    documented = keys(yaml.safe_load(DOCUMENT.split('RETURN = r"""', 1)[1].split('"""', 1)[0]))["memory_channels"]
    assert shape(run_module("memory_channels_info", dmi_path=board)["memory_channels"], documented) == documented


def test_without_a_table_it_says_so_and_returns_the_keys(board: str) -> None:
    whole = run_module("memory_channels_info", dmi_path=board)["memory_channels"]
    nothing = run_module("memory_channels_info", dmi_path="/nonexistent/DMI")["memory_channels"]
    assert nothing.keys() == whole.keys()
    assert nothing["source"] == "none"
    assert nothing["sockets"] is None
    assert nothing["warnings"] == [
        "/nonexistent/DMI cannot be read (No such file or directory): this machine shows no SMBIOS table."
    ]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_without_root_it_says_what_to_do(board: str) -> None:
    Path(board).chmod(0o400)
    for parent in Path(board).parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    become = {
        "ansible_become": True,
        "ansible_become_method": "su",
        "ansible_become_user": "nobody",
        "ansible_become_flags": "-s /bin/sh",
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    nothing = run({"dmi_path": board}, "-e", json.dumps(become))["memory_channels"]
    assert nothing["sockets"] is None
    assert nothing["warnings"] == [f"{board} can only be read by root: run with become (ansible --become)."]


def test_the_examples_run(board: str, tmp_path: Path) -> None:
    examples = yaml.safe_load(DOCUMENT.split('EXAMPLES = r"""', 1)[1].split('"""', 1)[0])[:2]
    examples[0][MODULE] = {"dmi_path": board}
    play = tmp_path / "play.yml"
    play.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": examples}]))
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", str(play)], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "R:[--]" in done.stdout
