# SPDX-License-Identifier: MIT
"""The account that runs the server, with accounts of this machine: somebody's own is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.controller import play, recap

REPO = Path(__file__).resolve().parents[2]
# The role's own tasks, without those that install programs.
PLAY = f"""
- hosts: all
  connection: local
  gather_facts: false
  ignore_errors: true
  vars_files: [{REPO}/roles/llama_service/vars/main.yml]
  vars:
    llama_service_user: "{{{{ inventory_hostname }}}}"
  tasks:
    - ansible.builtin.import_tasks: {REPO}/roles/llama_service/tasks/account.yml
    - ansible.builtin.import_tasks: {REPO}/roles/llama_service/tasks/account.yml
"""
# By the name of the account, which is the tower's, too: what becomes of the first check.
ACCOUNTS = {"root": "has the number 0", "daemon": None, "nobody": None, "no-such-account": None}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("accounts")
    variables = {"ansible_python_interpreter": sys.executable}
    hosts = {"all": {"hosts": {name: {} for name in ACCOUNTS}, "vars": variables}}
    (directory / "hosts.json").write_text(json.dumps(hosts))
    (directory / "play.yml").write_text(PLAY)
    done = play(directory / "hosts.json", directory / "play.yml", "--check")
    return done.stdout + done.stderr


@pytest.mark.parametrize("account", ACCOUNTS)
def test_an_account_is_looked_up_once_and_somebodys_is_refused(account: str, said: str) -> None:
    refused = ACCOUNTS[account] is not None
    counts = recap(said, account)
    assert counts["ignored"] == 2 * refused, said
    # Of four tasks: the first look-up, and the checks that fail and are ignored.
    assert counts["ok"] == 1 + 2 * refused, said
    assert (f"The account {account} is there and" in said) == refused, said
