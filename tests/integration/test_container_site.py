# SPDX-License-Identifier: MIT
"""site.yml on bare Debian 12 and 13 systems: what is there afterwards, as the operating system says it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.container_site import (
    INVENTORY,
    MODEL_FILE,
    Places,
    Service,
    evidence,
    footprint,
    hub,
    playbook,
    resident_pages,
    server_environment,
    stage,
    tower,
)

TOWERS = ["bookworm", "trixie"]


@pytest.fixture(scope="module", params=TOWERS)
def host(request: pytest.FixtureRequest) -> Any:
    return tower(request.param)


@pytest.fixture
def places(host: Any) -> Places:
    return Places(host.check_output("hostname"))


def ask(host: Any, port: int, body: dict[str, Any], key: str) -> tuple[int, Any]:
    """A completion, asked for on the tower; key is a shell command that prints one, so that no log has it."""
    script = f"""
import json, subprocess, urllib.error, urllib.request
key = subprocess.check_output({key!r}, shell=True, text=True).strip()
headers = {{"Authorization": "Bearer " + key}} if key else {{}}
request = urllib.request.Request("http://127.0.0.1:{port}/completion", {json.dumps(body).encode()!r}, headers)
try:
    with urllib.request.urlopen(request, timeout=120) as answer:
        print(json.dumps([answer.status, json.loads(answer.read())]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, None]))
"""
    status, answer = json.loads(host.run_expect([0], "python3 -c %s", script).stdout)
    return status, answer


def api_key(name: str) -> str:
    lines = str(tower(name).file(Places(name).keys).content_string).splitlines()
    return next(line for line in lines if not line.startswith("#"))


class TestService:
    def test_it_runs_and_starts_at_boot(self, host: Any, places: Places) -> None:
        service = host.service(places.unit)
        assert service.is_running, evidence(host)
        assert service.is_enabled

    def test_its_process_has_no_rights(self, host: Any, places: Places) -> None:
        properties = host.service(places.unit).systemd_properties
        assert properties["User"] == places.user
        assert properties["NRestarts"] == "0", evidence(host)
        assert properties["NoNewPrivileges"] == "yes"
        assert properties["ProtectSystem"] == "strict"
        assert properties["ProtectHome"] == "yes"
        status = host.file(f"/proc/{properties['MainPID']}/status").content_string
        assert "\nCapEff:\t0000000000000000\n" in status
        assert "\nNoNewPrivs:\t1\n" in status

    def test_it_runs_the_current_release_and_maps_no_model(self, host: Any, places: Places) -> None:
        maps = host.check_output("cat /proc/%s/maps", host.service(places.unit).systemd_properties["MainPID"])
        assert host.check_output(f"readlink -f {places.builds}/current") + "/bin/llama-server\n" in maps
        # The load mode is dio: the weights are in anonymous memory, and not in the page cache, too.
        assert ".gguf" not in maps

    def test_it_answers_who_has_the_key(self, host: Any, places: Places) -> None:
        body = {"prompt": "Question: What is the capital of France?\nAnswer:", "n_predict": 8, "temperature": 0}
        status, answer = ask(host, places.port, body, f"grep -vm1 ^# {places.keys}")
        assert status == 200, evidence(host)
        print(answer["content"])
        assert "Paris" in answer["content"]

    @pytest.mark.parametrize("key", ["", "guessed"])
    def test_it_refuses_who_has_not(self, host: Any, places: Places, key: str) -> None:
        assert ask(host, places.port, {"prompt": "x", "n_predict": 1}, f"echo {key}")[0] == 401

    def test_it_listens_on_loopback_only(self, host: Any, places: Places) -> None:
        assert host.socket(f"tcp://127.0.0.1:{places.port}").is_listening
        assert not host.socket(f"tcp://0.0.0.0:{places.port}").is_listening


class TestSecrets:
    def test_the_key_is_for_root_and_the_server_alone(self, host: Any, places: Places) -> None:
        keys = host.file(places.keys)
        assert (keys.user, keys.group, keys.mode) == ("root", places.user, 0o640)
        assert host.file(host.check_output(f"readlink -f {places.deployments}/current")).mode == 0o750
        assert host.run(f"runuser -u nobody -- cat {places.keys}").rc != 0
        assert len(api_key(places.name)) >= 32

    def test_the_key_is_in_no_list_of_processes_and_no_journal(self, host: Any, places: Places) -> None:
        key = api_key(places.name)
        assert key not in host.check_output("cat /proc/[0-9]*/cmdline 2> /dev/null | tr '\\0' ' '")
        # Of sudo are the commands of the tests, some of which ask with a key.
        assert key not in host.check_output("journalctl --no-pager --boot | grep -v ' sudo\\['")

    def test_towers_have_keys_of_their_own(self) -> None:
        assert api_key("bookworm") != api_key("trixie")


class TestBuild:
    def manifest(self, name: str) -> dict[str, Any]:
        path = f"{Places(name).builds}/current/manifest.json"
        found: dict[str, Any] = json.loads(tower(name).file(path).content_string)
        return found

    def test_current_leads_to_the_release_of_its_key(self, host: Any, places: Places) -> None:
        target = host.check_output(f"readlink -f {places.builds}/current")
        assert target == f"{places.builds}/releases/{self.manifest(places.name)['key']}"

    def test_the_binaries_are_those_of_the_manifest(self, host: Any, places: Places) -> None:
        binaries = self.manifest(places.name)["binaries"]
        assert {"llama-server", "llama-bench", "llama-cli", "llama-quantize", "llama-gguf-split"} <= set(binaries)
        for name, sha256 in binaries.items():
            assert host.file(f"{places.builds}/current/bin/{name}").sha256sum == sha256

    def test_it_was_built_for_this_cpu(self, host: Any, places: Places) -> None:
        flags = host.check_output("grep -m1 ^flags /proc/cpuinfo").split()
        features = self.manifest(places.name)["cpu_features"]
        assert features
        assert set(features) <= set(flags)

    def test_a_tower_with_a_builder_has_its_build_and_no_compiler(self) -> None:
        builder, other = tower("bookworm"), tower("trixie")
        assert self.manifest("bookworm") == self.manifest("trixie")
        assert builder.package("cmake").is_installed
        assert not other.package("cmake").is_installed
        assert builder.file(f"{Places('bookworm').build_work}/sources").exists
        assert not other.file(f"{Places('trixie').build_work}/sources").exists


class TestModel:
    def test_the_file_is_what_the_manifest_says(self, host: Any, places: Places) -> None:
        manifest = json.loads(host.file(f"{places.model_dir}/manifest.json").content_string)
        (entry,) = manifest["files"]
        assert entry["sha256"] == "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
        assert host.file(places.model).size == entry["size"] == manifest["bytes"] == 253113024
        assert host.file(places.model).sha256sum == entry["sha256"]
        assert len(manifest["commit"]) == 40

    def test_nothing_half_fetched_is_left(self, host: Any, places: Places) -> None:
        assert host.check_output(f"find {places.models} -name '*partial*'") == ""


class TestContainer:
    def test_the_kernel_of_the_machine_is_left_alone_and_that_is_said(self, host: Any) -> None:
        assert host.file("/etc/sysctl.d/90-llamatower.conf").exists
        said = playbook("playbooks/prepare.yml", "--limit", host.check_output("hostname"))
        assert said.finds("is a podman container: the kernel belongs to its host")
        assert said.code == 0


class TestAgain:
    def test_a_second_run_changes_nothing_and_reads_no_byte_of_the_model(self) -> None:
        bookworm, model = tower("bookworm"), Places("bookworm").model
        drop = f"import os; os.posix_fadvise(os.open('{model}', os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)"
        bookworm.run_expect([0], "python3 -c %s", drop)
        hub("DELETE", "/_hub/log")
        before = footprint(bookworm)
        run = playbook("site.yml")
        assert run.code == 0
        for name in TOWERS:
            run.host = name
            assert run.changes() == []
            assert run.recap("ok") <= 49
        assert hub("GET", "/_hub/log")["requests"] == []
        assert resident_pages(bookworm, model) == 0
        assert footprint(bookworm) == before

    def test_fetching_a_model_leaves_nothing_of_it_in_the_page_cache_and_pruning_nothing_at_all(self) -> None:
        bookworm, copy = tower("bookworm"), f"{Places('bookworm').models}/copy"
        declared = yaml.safe_load(INVENTORY.read_text())["towers"]["vars"]["model_store_models"]
        more = [*declared, {**declared[0], "name": "copy"}]
        assert playbook("playbooks/models.yml", "--limit", "bookworm", model_store_models=more).code == 0
        assert resident_pages(bookworm, f"{copy}/{MODEL_FILE}") < 0.01 * 253113024 / 4096
        assert playbook("playbooks/models.yml", "--limit", "bookworm", model_store_prune=["copy"]).code == 0
        assert not bookworm.file(copy).exists

    def test_units_that_an_interrupted_run_wrote_are_read_by_the_next(self) -> None:
        bookworm, models = tower("bookworm"), ("playbooks/models.yml", "--limit", "bookworm")
        unread = "systemctl show --property=NeedDaemonReload --value llama-models-verify.timer"
        assert playbook(*models, model_store_verify_timer=True).code == 0
        # Newer than what systemd has read, as a run leaves it that ends before it tells systemd.
        bookworm.run_expect([0], "touch /etc/systemd/system/llama-models-verify.timer")
        assert bookworm.check_output(unread) == "yes"
        assert playbook(*models, model_store_verify_timer=True).recap("changed") == 1
        assert bookworm.check_output(unread) == "no"
        assert playbook(*models, model_store_verify_timer=True).changes() == []
        assert playbook(*models).code == 0

    def test_verifying_a_model_leaves_nothing_of_it_in_the_page_cache(self) -> None:
        assert playbook("playbooks/verify.yml").code == 0
        for name in TOWERS:
            assert resident_pages(tower(name), Places(name).model) == 0

    def test_a_dry_run_changes_nothing_and_says_so(self) -> None:
        before = footprint(tower("bookworm"))
        run = playbook("site.yml", "--check", "--diff")
        assert run.code == 0
        for name in TOWERS:
            run.host = name
            assert run.changes() == []
        assert footprint(tower("bookworm")) == before

    def test_another_setting_restarts_the_server_once(self) -> None:
        bookworm, places = tower("bookworm"), Places("bookworm")
        before = bookworm.service(places.unit).systemd_properties["MainPID"]
        run = playbook("playbooks/serve.yml", "--limit", "bookworm", llama_service_context=1024)
        assert run.code == 0
        assert bookworm.service(places.unit).systemd_properties["MainPID"] != before
        assert server_environment(bookworm, places.unit)["LLAMA_ARG_CTX_SIZE"] == "1024"
        assert playbook("playbooks/serve.yml", "--limit", "bookworm").code == 0
        assert playbook("playbooks/serve.yml", "--limit", "bookworm").changes() == []


class TestOneIsOff:
    def test_the_other_serves_and_the_page_says_of_when_it_is(self, tmp_path: Path) -> None:
        assert playbook("playbooks/report.yml", report_dir=str(tmp_path)).code == 0
        (tmp_path / "trixie.json").write_text(
            json.dumps(json.loads((tmp_path / "trixie.json").read_text()) | {"generated": "2020-02-03T04:05:06Z"})
        )
        stage("cut", "trixie")
        try:
            run = playbook("site.yml", report_dir=str(tmp_path))
        finally:
            stage("boot", "trixie")
        assert run.code != 0
        assert (run.recap("failed"), run.recap("ok") > 40, run.changes()) == (0, True, [])
        assert re.search(r"^trixie .*unreachable=1", run.output, re.MULTILINE)
        rows = re.findall("<tr>.*?</tr>", (tmp_path / "index.html").read_text(), re.DOTALL)
        found = {name: re.sub("<[^>]*>", " ", row) for row in rows for name in TOWERS if f"{name}.html" in row}
        assert "2020-02-03 04:05" in found["trixie"] and "not read in the last run" in found["trixie"], found
        generated = json.loads((tmp_path / "bookworm.json").read_text())["generated"]
        assert generated[:16].replace("T", " ") in found["bookworm"] and "not read" not in found["bookworm"], found
        assert Service("trixie").settled()
