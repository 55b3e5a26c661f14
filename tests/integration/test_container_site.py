# SPDX-License-Identifier: MIT
"""site.yml on bare Debian 12 and 13 systems: what is there afterwards, as the operating system says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.container_site import (
    INVENTORY,
    MODEL,
    MODEL_DIR,
    UNIT,
    evidence,
    footprint,
    hub,
    playbook,
    resident_pages,
    tower,
)

TOWERS = ["bookworm", "trixie"]


@pytest.fixture(scope="module", params=TOWERS)
def host(request: pytest.FixtureRequest) -> Any:
    return tower(request.param)


KEYS = "/etc/llama-server/main.keys"


def ask(host: Any, body: dict[str, Any], key: str) -> tuple[int, Any]:
    """A completion, asked for on the tower; key is a shell command that prints one, so that no log has it."""
    script = f"""
import json, subprocess, urllib.error, urllib.request
key = subprocess.check_output({key!r}, shell=True, text=True).strip()
headers = {{"Authorization": "Bearer " + key}} if key else {{}}
request = urllib.request.Request("http://127.0.0.1:8080/completion", {json.dumps(body).encode()!r}, headers)
try:
    with urllib.request.urlopen(request, timeout=120) as answer:
        print(json.dumps([answer.status, json.loads(answer.read())]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, None]))
"""
    status, answer = json.loads(host.run_expect([0], "python3 -c %s", script).stdout)
    return status, answer


def api_key(host: Any) -> str:
    return str(host.file(KEYS).content_string.splitlines()[0])


class TestService:
    def test_it_runs_and_starts_at_boot(self, host: Any) -> None:
        service = host.service(UNIT)
        assert service.is_running, evidence(host)
        assert service.is_enabled

    def test_its_process_has_no_rights(self, host: Any) -> None:
        properties = host.service(UNIT).systemd_properties
        assert properties["User"] == "llama"
        assert properties["NRestarts"] == "0", evidence(host)
        assert properties["NoNewPrivileges"] == "yes"
        assert properties["ProtectSystem"] == "strict"
        assert properties["ProtectHome"] == "yes"
        status = host.file(f"/proc/{properties['MainPID']}/status").content_string
        assert "\nCapEff:\t0000000000000000\n" in status
        assert "\nNoNewPrivs:\t1\n" in status

    def test_it_runs_the_current_release_and_maps_no_model(self, host: Any) -> None:
        maps = host.check_output("cat /proc/%s/maps", host.service(UNIT).systemd_properties["MainPID"])
        assert host.check_output("readlink -f /opt/llama.cpp/current") + "/bin/llama-server\n" in maps
        # The load mode is dio: the weights are in anonymous memory, and not in the page cache, too.
        assert ".gguf" not in maps

    def test_it_answers_who_has_the_key(self, host: Any) -> None:
        body = {"prompt": "Question: What is the capital of France?\nAnswer:", "n_predict": 8, "temperature": 0}
        status, answer = ask(host, body, f"head -n 1 {KEYS}")
        assert status == 200, evidence(host)
        print(answer["content"])
        assert "Paris" in answer["content"]

    @pytest.mark.parametrize("key", ["", "guessed"])
    def test_it_refuses_who_has_not(self, host: Any, key: str) -> None:
        assert ask(host, {"prompt": "x", "n_predict": 1}, f"echo {key}")[0] == 401

    def test_it_listens_on_loopback_only(self, host: Any) -> None:
        assert host.socket("tcp://127.0.0.1:8080").is_listening
        assert not host.socket("tcp://0.0.0.0:8080").is_listening


class TestSecrets:
    def test_the_key_is_for_root_and_the_server_alone(self, host: Any) -> None:
        keys = host.file(KEYS)
        assert (keys.user, keys.group, keys.mode) == ("root", "llama", 0o640)
        assert host.file("/etc/llama-server").mode == 0o750
        assert host.run(f"runuser -u nobody -- cat {KEYS}").rc != 0
        assert len(api_key(host)) >= 32

    def test_the_key_is_in_no_list_of_processes_and_no_journal(self, host: Any) -> None:
        key = api_key(host)
        assert key not in host.check_output("cat /proc/[0-9]*/cmdline 2> /dev/null | tr '\\0' ' '")
        assert key not in host.check_output("journalctl --no-pager --boot")

    def test_towers_have_keys_of_their_own(self) -> None:
        assert api_key(tower("bookworm")) != api_key(tower("trixie"))


class TestBuild:
    def manifest(self, host: Any) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(host.file("/opt/llama.cpp/current/manifest.json").content_string)
        return found

    def test_current_leads_to_the_release_of_its_key(self, host: Any) -> None:
        target = host.check_output("readlink -f /opt/llama.cpp/current")
        assert target == f"/opt/llama.cpp/releases/{self.manifest(host)['key']}"

    def test_the_binaries_are_those_of_the_manifest(self, host: Any) -> None:
        binaries = self.manifest(host)["binaries"]
        assert {"llama-server", "llama-bench", "llama-cli", "llama-quantize", "llama-gguf-split"} <= set(binaries)
        for name, sha256 in binaries.items():
            assert host.file(f"/opt/llama.cpp/current/bin/{name}").sha256sum == sha256

    def test_it_was_built_for_this_cpu(self, host: Any) -> None:
        flags = host.check_output("grep -m1 ^flags /proc/cpuinfo").split()
        features = self.manifest(host)["cpu_features"]
        assert features
        assert set(features) <= set(flags)

    def test_a_tower_with_a_builder_has_its_build_and_no_compiler(self) -> None:
        builder, other = tower("bookworm"), tower("trixie")
        assert self.manifest(builder) == self.manifest(other)
        assert builder.package("cmake").is_installed
        assert not other.package("cmake").is_installed
        assert not other.file("/var/cache/llama.cpp/sources").exists


class TestModel:
    def test_the_file_is_what_the_manifest_says(self, host: Any) -> None:
        manifest = json.loads(host.file(f"{MODEL_DIR}/manifest.json").content_string)
        (entry,) = manifest["files"]
        assert entry["sha256"] == "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
        assert host.file(MODEL).size == entry["size"] == manifest["bytes"] == 253113024
        assert host.file(MODEL).sha256sum == entry["sha256"]
        assert len(manifest["commit"]) == 40

    def test_nothing_half_fetched_is_left(self, host: Any) -> None:
        assert host.check_output("find /var/lib/llama-models -name '*partial*'") == ""


class TestContainer:
    def test_the_kernel_of_the_machine_is_left_alone_and_that_is_said(self, host: Any) -> None:
        assert host.file("/etc/sysctl.d/90-llamatower.conf").exists
        said = playbook("playbooks/prepare.yml", "--limit", host.check_output("hostname"))
        assert said.finds("is a podman container: the kernel belongs to its host")
        assert said.code == 0


class TestAgain:
    def test_a_second_run_changes_nothing_and_reads_no_byte_of_the_model(self) -> None:
        bookworm = tower("bookworm")
        drop = f"import os; os.posix_fadvise(os.open('{MODEL}', os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)"
        bookworm.run_expect([0], "python3 -c %s", drop)
        hub("DELETE", "/_hub/log")
        before = footprint(bookworm)
        run = playbook("site.yml")
        assert run.code == 0
        for name in TOWERS:
            run.host = name
            assert run.recap("changed") == 0
            assert run.recap("ok") <= 45
        assert hub("GET", "/_hub/log")["requests"] == []
        assert resident_pages(bookworm, MODEL) == 0
        assert footprint(bookworm) == before

    def test_fetching_a_model_leaves_nothing_of_it_in_the_page_cache_and_pruning_nothing_at_all(self) -> None:
        bookworm, copy = tower("bookworm"), "/var/lib/llama-models/copy"
        declared = yaml.safe_load(INVENTORY.read_text())["towers"]["vars"]["model_store_models"]
        more = [*declared, {**declared[0], "name": "copy"}]
        assert playbook("playbooks/models.yml", "--limit", "bookworm", model_store_models=more).code == 0
        assert resident_pages(bookworm, f"{copy}/{Path(MODEL).name}") < 0.01 * 253113024 / 4096
        assert playbook("playbooks/models.yml", "--limit", "bookworm", model_store_prune=["copy"]).code == 0
        assert not bookworm.file(copy).exists

    def test_verifying_a_model_leaves_nothing_of_it_in_the_page_cache(self) -> None:
        assert playbook("playbooks/verify.yml").code == 0
        for name in TOWERS:
            assert resident_pages(tower(name), MODEL) == 0

    def test_a_dry_run_changes_nothing_and_says_so(self) -> None:
        before = footprint(tower("bookworm"))
        run = playbook("site.yml", "--check", "--diff")
        assert run.code == 0
        for name in TOWERS:
            run.host = name
            assert run.recap("changed") == 0
        assert footprint(tower("bookworm")) == before

    def test_another_setting_restarts_the_server_once(self) -> None:
        before = tower("bookworm").service(UNIT).systemd_properties["MainPID"]
        run = playbook("playbooks/serve.yml", "--limit", "bookworm", llama_service_context=1024)
        assert run.code == 0
        assert tower("bookworm").service(UNIT).systemd_properties["MainPID"] != before
        assert "LLAMA_ARG_CTX_SIZE=1024" in tower("bookworm").file("/etc/llama-server/main.env").content_string
        assert playbook("playbooks/serve.yml", "--limit", "bookworm").code == 0
        assert playbook("playbooks/serve.yml", "--limit", "bookworm").recap("changed") == 0
