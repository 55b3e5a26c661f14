# SPDX-License-Identifier: MIT
"""The collection as others have it: installed from its archive, far from the repository and its ansible.cfg."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.model.store import SCHEMA_VERSION
from tests.integration.container_site import HUB, MODEL_FILE, STATE, Places, stage, tower
from tests.integration.vm_site import REPO, Run

# What a clone has and an installed collection needs not.
OF_THE_CLONE = {"bin", "molecule", "tests", "reports", "ansible.cfg", "site.yml", "pyproject.toml"}


NAME, PORT = "stranger", 18223
# As one would write it, with nothing from the clone; the builder alone is of the scenario, and has the build already.
TOWERS = f"""
towers:
  hosts:
    {NAME}: {{ansible_port: {PORT}}}
  vars:
    llama_build_builder: bookworm
    llama_service_context: 2048
    llama_service_memory_reserve_bytes: 1073741824
    model_store_hf_endpoint: http://10.0.2.2:18475
    model_store_models: [{{name: tiny, repo: demo/gemma-3-270m-GGUF, revision: main, files: "*-Q4_K_M.gguf"}}]
builders:
  hosts:
    bookworm: {{ansible_port: {Places("bookworm").ssh_port}, llama_build_work_dir: {Places("bookworm").build_work}}}
all:
  vars:
    ansible_host: 127.0.0.1
    ansible_user: admin
    ansible_ssh_private_key_file: {STATE}/key
    ansible_ssh_common_args: -o UserKnownHostsFile={STATE}/known_hosts
"""


class Elsewhere:
    """A user with an empty home and an empty directory, an inventory, and the collection installed from its archive."""

    def __init__(self, home: Path) -> None:
        self.directory = home / "work"
        self.directory.mkdir(parents=True)
        ours = ("ANSIBLE_", "LLAMATOWER_", "MOLECULE_")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
            "ANSIBLE_NOCOLOR": "1",
            "HF_ENDPOINT": HUB,
            "HOME": str(home),
        }
        self.run("ansible-galaxy", "collection", "build", "--output-path", str(home), str(REPO))
        (self.archive,) = home.glob("llamatower-tower-*.tar.gz")
        self.installed = home / ".ansible/collections/ansible_collections/llamatower/tower"
        self.run("ansible-galaxy", "collection", "install", "--offline", str(self.archive))
        (self.directory / "towers.yml").write_text(TOWERS)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        print(f"$ {' '.join(command)} # ended with {done.returncode}")
        print("\n".join(done.stdout.splitlines()[-30:]))
        self.code = done.returncode
        return done.stdout

    def playbook(self, *arguments: str) -> Run:
        output = self.run("ansible-playbook", "-i", "towers.yml", *arguments)
        return Run(self.code, output, NAME)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    return Elsewhere(tmp_path_factory.mktemp("home"))


@pytest.fixture
def bare() -> Iterator[Any]:
    """A Debian 13 that has nothing yet."""
    stage("remove", NAME)
    stage("start", NAME, "trixie", str(PORT))
    yield tower(NAME, PORT)
    stage("remove", NAME)


def test_the_archive_has_what_runs_and_nothing_of_the_development(elsewhere: Elsewhere) -> None:
    with tarfile.open(elsewhere.archive) as archive:
        names = [Path(member.name) for member in archive if member.isfile()]
    print(f"{len(names)} files in {elsewhere.archive.stat().st_size} bytes")
    top = {name.parts[0] for name in names}
    assert {"README.md", "LICENSE", "catalog", "docs", "meta", "playbooks", "plugins", "roles"} <= top
    assert top & OF_THE_CLONE == set()
    assert [name for name in names if any(part.startswith(".") or "cache" in part for part in name.parent.parts)] == []
    assert elsewhere.archive.stat().st_size < 1_000_000


def test_plan_runs_without_any_tower(elsewhere: Elsewhere) -> None:
    planned = elsewhere.run("ansible-playbook", "llamatower.tower.plan", "-e", "plan_models=glm-4.6")
    assert elsewhere.code == 0
    assert "glm-4.6" in planned
    assert (elsewhere.directory / "reports/plan.html").exists()


def test_a_bare_tower_is_advised_and_converged(elsewhere: Elsewhere, bare: Any) -> None:
    advised = elsewhere.playbook("llamatower.tower.advise")
    assert (advised.code, advised.recap("changed")) == (0, 0)

    run = elsewhere.playbook("llamatower.tower.site", "-vv")
    assert run.code == 0
    assert run.recap("changed") > 0
    assert bare.service("llama-server@main.service").is_running
    # It ran what was installed, and wrote where the user stood.
    ran = set(re.findall(r"^task path: (\S+):\d+", run.output, re.MULTILINE))
    assert ran and all(Path(path).is_relative_to(elsewhere.installed) for path in ran), ran
    report = json.loads((elsewhere.directory / f"reports/{NAME}.json").read_text())
    assert report["service"]["completion"]["text"]

    again = elsewhere.playbook("llamatower.tower.site")
    assert (again.code, again.recap("changed")) == (0, 0)


STRANGERS_PLAYBOOK = """
- hosts: stranger
  become: true
  gather_facts: false
  tasks:
    - name: Read the channels
      llamatower.tower.memory_channels_info:
      register: read
    - name: Use them
      ansible.builtin.copy:
        content: "{{ read.memory_channels | to_json }}"
        dest: "{{ playbook_dir }}/channels.json"
      delegate_to: localhost
      become: false
"""

# A build and a model that no role of the collection brought, with the manifests that the role reads.
STRANGERS_SERVICE = """
- hosts: stranger
  become: true
  gather_facts: false
  vars:
    model_file: %(model)s
    build_archive: %(build)s
  pre_tasks:
    - name: Make places
      ansible.builtin.file:
        path: "{{ item }}"
        state: directory
        mode: "0755"
      loop: [/srv/own/build/mine, /srv/own/models/own]
    - name: Install what the build needs
      ansible.builtin.apt:
        name: [libgomp1, openssl, libstdc++6]
        update_cache: true
        cache_valid_time: 86400
    - name: Unpack the build
      ansible.builtin.unarchive:
        src: "{{ build_archive }}"
        dest: /srv/own/build/mine
        creates: /srv/own/build/mine/bin/llama-server
    - name: Point to it
      ansible.builtin.file:
        src: mine
        dest: /srv/own/build/current
        state: link
    - name: Copy the model
      ansible.builtin.copy:
        src: "{{ model_file }}"
        dest: /srv/own/models/own/own.gguf
        mode: "0644"
    - name: Read what the model is
      llamatower.tower.gguf_info:
        path: /srv/own/models/own/own.gguf
      register: read
    - name: Describe them
      ansible.builtin.copy:
        content: "{{ item.content | to_json }}"
        dest: "/srv/own/{{ item.dest }}/manifest.json"
        mode: "0644"
      loop:
        - {dest: build/mine, content: {key: mine}}
        - dest: models/own
          content:
            schema_version: %(schema)d
            name: own
            bytes: 253113024
            files: [{file: own.gguf, size: 253113024, sha256: "%(sha256)s"}]
            gguf: "{{ read.gguf }}"
  roles:
    - role: llamatower.tower.llama_service
      vars:
        llama_service_model: own
        llama_service_model_dir: /srv/own/models
        llama_service_build_root: /srv/own/build
        llama_service_context: 1024
        llama_service_check_tokens: 4
"""


def test_a_playbook_of_others_reads_the_memory_channels(elsewhere: Elsewhere, bare: Any) -> None:
    (elsewhere.directory / "channels.yml").write_text(STRANGERS_PLAYBOOK)
    assert elsewhere.playbook("channels.yml").code == 0
    channels = json.loads((elsewhere.directory / "channels.json").read_text())
    # A container shows no table of its machine, and the module says so.
    assert channels["source"] == "none"
    assert "/sys/firmware/dmi" in channels["warnings"][0]


def test_the_role_of_the_service_serves_a_model_and_a_build_of_others(elsewhere: Elsewhere, bare: Any) -> None:
    manifest = json.loads(tower("trixie").file(f"{Places('trixie').builds}/current/manifest.json").content_string)
    build = Path(Places("trixie").transfer) / f"{manifest['key']}.tar"
    hub = subprocess.check_output([REPO / "tests/virtual_tower/small_model", "gemma-3-270m"], text=True).strip()
    model = Path(hub) / "demo/gemma-3-270m-GGUF" / MODEL_FILE
    sha256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
    play = elsewhere.directory / "service.yml"
    play.write_text(STRANGERS_SERVICE % {"model": model, "build": build, "sha256": sha256, "schema": SCHEMA_VERSION})
    assert elsewhere.playbook("service.yml").code == 0
    service = bare.service("llama-server@main.service")
    assert service.is_running and service.is_enabled
    maps = bare.check_output(f"cat /proc/{service.systemd_properties['MainPID']}/maps")
    assert "/srv/own/build/mine/bin/llama-server" in maps
    again = elsewhere.playbook("service.yml")
    assert again.changes() == []
