# SPDX-License-Identifier: MIT
"""What keeps a machine from serving, one sentence each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.advice.preflight import ON_TOWER, proxy_problem, tower_problems, variable_problems
from plugins.module_utils.tower import read_tower


def tower(**changes: Any) -> Any:
    return {
        "os": {"id": "debian", "version_id": "13", "name": "Debian GNU/Linux 13 (trixie)", "systemd": True},
        "nodes": [{"node": 0, "memory_bytes": 2**38}, {"node": 1, "memory_bytes": 2**38}],
        "cpus": 64,
        "smt_active": True,
    } | changes


@pytest.mark.parametrize(
    ("system", "version"), [("debian", "12"), ("debian", "13"), ("ubuntu", "22.04"), ("ubuntu", "24.04")]
)
def test_supported_releases_have_no_problem(system: str, version: str) -> None:
    assert tower_problems(tower(os={"id": system, "version_id": version, "name": "x", "systemd": True})) == []


@pytest.mark.parametrize(("system", "version"), [("fedora", "41"), ("debian", "11"), ("debian", None), (None, None)])
def test_another_system_is_named_with_those_that_work(system: str | None, version: str | None) -> None:
    (problem,) = tower_problems(
        tower(os={"id": system, "version_id": version, "name": "Fedora Linux 41", "systemd": True})
    )
    assert problem == "Fedora Linux 41 is not supported: install Debian 12 or 13, or Ubuntu 22.04 or 24.04."


# /etc/os-release of each, as far as it tells.
PROXMOX = 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
MINT = 'ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_ID="22"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble\n'
LMDE = "ID=linuxmint\nID_LIKE=debian\nVERSION_ID=6\nVERSION_CODENAME=faye\nDEBIAN_CODENAME=bookworm\n"
POP = 'ID=pop\nID_LIKE="ubuntu debian"\nVERSION_ID="22.04"\nVERSION_CODENAME=jammy\nUBUNTU_CODENAME=jammy\n'
KALI = 'ID=kali\nID_LIKE=debian\nVERSION_ID="2026.1"\nVERSION_CODENAME=kali-rolling\n'
ROCKY = 'ID=rocky\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n'
OLD = 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="20.04"\nVERSION_CODENAME=focal\nUBUNTU_CODENAME=focal\n'


@pytest.mark.parametrize(
    ("release", "supported"),
    [(PROXMOX, True), (MINT, True), (LMDE, True), (POP, True), (KALI, False), (ROCKY, False), (OLD, False)],
)
def test_a_derivative_is_what_it_is_made_from(release: str, supported: bool, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(release)
    system: Any = read_tower(tmp_path)["os"] | {"systemd": True}
    assert (tower_problems(tower(os=system)) == []) is supported


@pytest.mark.parametrize(
    ("files", "problems"),
    [
        ({"fs/selinux/enforce": "1"}, 1),
        ({"fs/selinux/enforce": "0"}, 0),
        ({"module/apparmor/parameters/enabled": "Y\n"}, 0),
        ({}, 0),
    ],
)
def test_selinux_that_enforces_is_said_and_apparmor_is_no_problem(
    files: dict[str, str], problems: int, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / "sys" / name).parent.mkdir(parents=True)
        (tmp_path / "sys" / name).write_text(text)
    security = read_tower(tmp_path)["security"]
    print(security)
    assert len(tower_problems(tower(security=security))) == problems


def test_a_machine_without_systemd() -> None:
    (problem,) = tower_problems(tower(os=tower()["os"] | {"systemd": False}))
    assert "systemd" in problem


def test_more_nodes_than_ggml_can_use() -> None:
    (problem,) = tower_problems(tower(nodes=[{"node": n, "memory_bytes": 1} for n in range(16)]))
    assert problem.startswith("There are 16 memory nodes and llama.cpp can use 8:")
    assert "NPS1" in problem


def test_nodes_without_memory_do_not_count() -> None:
    nodes = [{"node": n, "memory_bytes": 1 if n < 8 else 0} for n in range(16)]
    assert tower_problems(tower(nodes=nodes)) == []


def test_more_cpus_than_ggml_can_use() -> None:
    (problem,) = tower_problems(tower(cpus=768))
    assert problem.startswith("There are 768 logical CPUs and llama.cpp can use 512:")
    assert "SMT" in problem


def test_more_cores_than_ggml_can_use() -> None:
    (problem,) = tower_problems(tower(cpus=576, smt_active=False))
    assert "SMT" not in problem
    assert "maxcpus=512" in problem


SERVICE = Path(__file__).parents[3] / "roles/llama_service/meta/argument_specs.yml"
SPECS = {"llama_service_port": {"type": "int"}, "llama_service_metrics": {"type": "bool"}}


def test_known_variables_of_the_right_type_have_no_problem() -> None:
    assert variable_problems({"llama_service_port": 8080, "llama_service_metrics": False}, SPECS) == {}


@pytest.mark.parametrize("default", [{}, [], "", 0, False, "127.0.0.1", None], ids=repr)
def test_null_is_refused_where_the_default_is_something(default: Any) -> None:
    """Ansible takes it for a value of any type."""
    problems = variable_problems({"some_name": None}, {"some_name": {"default": default}})
    sentence = "some_name is null, and has to be something: leave it out, or give it a value."
    assert problems == ({} if default is None else {"some_name": sentence})


def test_null_in_an_entry_is_refused_as_in_the_variable_that_it_stands_for() -> None:
    specs = yaml.safe_load(SERVICE.read_text())["argument_specs"]["main"]["options"]
    may_be = {"name": "main", "threads": None, "numa_node": None, "tls_key": None, "model": None}
    assert variable_problems({"llama_service_instances": [may_be]}, specs) == {}
    entries = [None, {"name": None, "port": None}, {"name": "third", "extra": None, "host": None}]
    problem = variable_problems({"llama_service_instances": entries}, specs)["llama_service_instances"]
    named = ("", "name of ", "port of ", "host of ", "extra of ")
    assert problem.partition(" is null, and has")[0] == ", ".join(
        f"{name}entry {number} of llama_service_instances" for name, number in zip(named, (1, 2, 2, 3, 3), strict=True)
    )


def test_a_boolean_given_as_text_is_shown_as_it_came_with_what_to_write() -> None:
    (problem,) = variable_problems({"llama_service_metrics": "false"}, SPECS).values()
    assert problem.startswith("llama_service_metrics is the text 'false', not a boolean:")
    assert """-e '{"llama_service_metrics": true}'""" in problem


def test_a_misspelled_variable_is_answered_with_the_nearest_name() -> None:
    (problem,) = variable_problems({"llama_service_prot": 80}, SPECS).values()
    assert problem == "llama_service_prot is not a variable of any role: did you mean llama_service_port?"


def test_a_name_like_no_other_is_told_where_the_names_are() -> None:
    (problem,) = variable_problems({"llama_service_xyzzy_plugh": 1}, {"hugepages_mode": {"type": "str"}}).values()
    assert "see the roles' defaults" in problem


@pytest.mark.parametrize("name", sorted(ON_TOWER))
@pytest.mark.parametrize(
    "path", ["/srv/a\nb", "/srv/a\x1bb", "models", "~/models", "/", "/srv/llm[12]", "/srv/*", r"/srv/\1"]
)
def test_a_directory_that_is_another_for_each_program_is_refused(name: str, path: str) -> None:
    problem = variable_problems({name: path}, {name: {"type": "path"}})[name]
    assert problem.startswith(f"{name} is {path!r}, which is no directory for everybody on the tower: name it")


@pytest.mark.parametrize(
    "path", ["/srv/models", "/mnt/größer/llama-models_2", "/opt/llama.cpp/", "/srv/my models", '/a "b" 100% $x', None]
)
def test_one_that_all_can_name_is_not(path: str | None) -> None:
    assert variable_problems({"model_store_dir": path}, {"model_store_dir": {"type": "path"}}) == {}


def test_a_directory_of_the_controller_may_have_blanks() -> None:
    assert variable_problems({"report_dir": "/home/x/My Reports"}, {"report_dir": {"type": "path"}}) == {}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {
            "http_proxy": "http://example.com:3128",
            "no_proxy": "localhost,.example.com",
            "GIT_SSL_CAINFO": "/etc/ca.pem",
        },
        {"https_proxy": "example.com:3128"},
    ],
)
def test_a_proxy_is_a_dictionary_of_texts(environment: dict[str, str]) -> None:
    assert proxy_problem(environment) is None


@pytest.mark.parametrize(
    "url", ["http://host:S3cret@example.com:3128", "ann:S3cret@example.com", "http://host:S3cret@hub"]
)
def test_a_proxy_whose_password_sudo_would_log_is_refused_and_not_shown(url: str) -> None:
    problem = str(proxy_problem({"https_proxy": url, "no_proxy": "localhost"}))
    assert problem.startswith("llamatower_proxy_environment has a password in https_proxy, which sudo writes")
    assert "S3cret" not in problem


@pytest.mark.parametrize("environment", ["http://host:3128", ["http://host:3128"], {"http_proxy": None}])
def test_a_proxy_in_another_form_is_refused(environment: Any) -> None:
    assert "is no dictionary of texts" in str(proxy_problem(environment))
