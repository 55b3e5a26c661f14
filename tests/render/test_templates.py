# SPDX-License-Identifier: MIT
"""Every template, rendered by Ansible with few, usual and extreme variables, through the program that will read it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.service.deployment import Instance, Proof, server_command, server_environment
from plugins.module_utils.service.huge_pages import boot_text
from plugins.module_utils.service.instances import instance_settings
from plugins.module_utils.service.plan import make_plan
from plugins.module_utils.service.prepare import compose
from plugins.module_utils.service.unit_files import unit_drop_in

REPO = Path(__file__).resolve().parents[2]
TEMPLATES = sorted(str(path.relative_to(REPO)) for path in REPO.glob("roles/*/templates/*.j2"))

# One node, no frequency scaling, a file system without a block device; then a two-socket server; then all there is.
NODE = {"memory_bytes": 2**38}
TOWERS: dict[str, dict[str, Any]] = {
    "minimal": {"cores": 1, "nodes": [{"node": 0, "memory_bytes": 2**32}], "disks": {}, "container": "podman"},
    "typical": {
        "cores": 64,
        "nodes": [{"node": n, **NODE} for n in (0, 1)],
        "disks": {"fs_uuid": "1b2c-3d", "partition": True},
    },
    "extreme": {
        "cores": 512,
        "nodes": [{"node": n, "memory_bytes": 0 if n in (3, 4) else 2**40} for n in range(10)],
        "disks": {"fs_uuid": "0123abcd-4567-89ef-0123-456789abcdef", "partition": False},
    },
}
SETTINGS: dict[str, dict[str, Any]] = {
    "minimal": {
        "kernel_tuning_governor": None,
        "kernel_tuning_energy_performance_preference": None,
        "kernel_tuning_readahead_kb": None,
        "hugepages_mode": "none",
    },
    "typical": {},
    "extreme": {
        "model_store_dir": "/srv/große Modelle",
        "kernel_tuning_thp": "always",
        "kernel_tuning_swappiness": 0,
        "llama_service_host": "::",
        "llama_service_metrics": True,
        "llama_service_parallel": 64,
        "llama_service_context": 10_000_000,
        "llama_service_threads": 500,
        "llama_service_threads_batch": 512,
        "llama_service_load_mode": "mmap",
        "llama_service_extra": {"LLAMA_ARG_CHAT_TEMPLATE_KWARGS": {"a word": 'say "x\\y"'}},
        "llama_service_tls_certificate": "/etc/ssl/tower.pem",
        "llama_service_tls_key": "/etc/ssl/private/tower.pem",
    },
}
MODEL: Any = {
    "name": "a-model",
    "bytes": 10**9,
    "gguf": {"kv": None},
    "files": [{"file": "m-00001-of-00002.gguf", "sha256": "0" * 64}, {"file": "m-2.gguf", "sha256": "1" * 64}],
}


def decided(case: str, variables: dict[str, Any], facts: Any) -> dict[str, Any]:
    """What llama_service_plan returns on this tower."""
    given = variables | {
        "llama_service_model": "a-model",
        "llama_service_model_dir": variables["model_store_dir"],
        "llama_service_huge_pages": variables["hugepages_mode"],
        "llama_service_pool_bytes": variables["hugepages_bytes"],
    }
    names = {key: re.search(r"llama_service_\w+", text) for key, text in variables["__llama_service_defaults"].items()}
    defaults = {key: given[name.group()] for key, name in names.items() if name}
    (settings,) = instance_settings(variables["llama_service_instances"], defaults)
    build: Any = {} if case == "minimal" else {"key": "0123456789abcdef"}
    given_settings: Any = {**settings, "weights": {}}
    plan = make_plan(given_settings, facts, build, None if case == "minimal" else MODEL)
    assert plan["problems"] == []
    instance = {
        "name": "main",
        "settings": settings,
        "plan": {**plan, "weights": {0: 3, 1: 2} if case == "extreme" else {}},
        "model": {} if case == "minimal" else MODEL,
    }
    return {"instances": [instance], "build": build}


@pytest.fixture(scope="session", params=TOWERS)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def variables_of(case: str) -> dict[str, Any]:
    """The variables of all roles, as they are on this tower."""
    variables: dict[str, Any] = {}
    for name in ("defaults", "vars"):
        for path in sorted(REPO.glob(f"roles/*/{name}/main.yml")):
            variables |= yaml.safe_load(path.read_text()) or {}
    return variables | SETTINGS[case]


def facts_of(case: str) -> dict[str, Any]:
    """What tower_info returns there."""
    facts: dict[str, Any] = {"container": None, **TOWERS[case]}
    facts |= {"kernel": "6.12.48", "memory_bytes": sum(node["memory_bytes"] for node in facts["nodes"])}
    facts["cpus"] = facts["cores"]
    for node in facts["nodes"]:
        node["cpus"] = [node["node"]]
    disk = {"fs_uuid": None, "partition": False, **TOWERS[case]["disks"]}
    facts["disks"] = {variables_of(case)["model_store_dir"]: disk}
    return facts


@pytest.fixture(scope="session")
def deployment(case: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What an instance of such a tower runs."""
    found, instance = (
        decided(case, variables_of(case), facts_of(case)),
        Instance("main", str(tmp_path_factory.mktemp("i"))),
    )
    build: Any = {"key": "0123456789abcdef"}
    given: Any = {
        "build_root": "/opt/llama.cpp",
        "model_path": "/var/lib/llama-models/a-model",
        "host": "::1" if case == "extreme" else "127.0.0.1",
        "tls": case == "extreme",
        "context": 8192,
    }
    proof: Proof = {"prompt": "Why?", "max_tokens": 8}
    plan: Any = found["instances"][0]["plan"]
    made = compose(instance, given, plan, build, MODEL, "/var/lib/llama-models/.pinned/a-model-1", proof, "")
    made["engine"]["directory"] = "/opt/llama.cpp/releases/0123456789abcdef"
    return made


@pytest.fixture(scope="session")
def rendered(case: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with every template's result, under the template's name without .j2."""
    out = tmp_path_factory.mktemp(case)
    variables, facts = variables_of(case), facts_of(case)
    variables |= {
        "__kernel_tuning_before": {"tower": facts},
        "__llama_service_decided": decided(case, variables, facts),
        "llama_build_root": str(out / "llama.cpp"),
        "model_store_models": [{"name": "a-model"}],
        "out": str(out),
        "templates": [str(REPO / template) for template in TEMPLATES],
        **SETTINGS[case],
    }
    server = out / "llama.cpp/current/bin/llama-server"
    server.parent.mkdir(parents=True)
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    (out / "variables.json").write_text(json.dumps(variables))
    play = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "tasks": [
                {
                    "name": "Render",
                    "ansible.builtin.template": {
                        "src": "{{ template }}",
                        "dest": "{{ out }}/{{ template | basename | splitext | first }}",
                        "mode": "0644",
                    },
                    "loop": "{{ templates }}",
                    "loop_control": {"loop_var": "template"},
                }
            ],
        }
    ]
    (out / "play.yml").write_text(yaml.safe_dump(play))
    command = [
        "ansible-playbook",
        "-i",
        "inventory/localhost.yml",
        "-e",
        f"@{out}/variables.json",
        str(out / "play.yml"),
    ]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def settings(path: Path) -> list[tuple[str, str]]:
    """NAME=VALUE lines; anything else but a comment is a mistake."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    found = [re.fullmatch(r"\s*(\S+?)\s*=\s*(.*)", line) for line in lines]
    assert all(found), lines
    return [(match.group(1), match.group(2)) for match in found if match]


def test_all_templates_are_checked_here() -> None:
    assert {Path(name).name for name in TEMPLATES} == {
        "90-llamatower.conf.j2",
        "90-llamatower.rules.j2",
        "llamatower.conf.j2",
        "llama-server@.service.j2",
        "llama-server-check@.service.j2",
        "llama-server-check@.timer.j2",
        "llama-tls@.service.j2",
        "llama.slice.j2",
        "llamatower-switch@.service.j2",
        "llama-models-verify.service.j2",
        "llama-models-verify.timer.j2",
    }


def test_systemd_accepts_the_timer_and_what_it_starts(rendered: Path) -> None:
    units = [rendered / f"llama-models-verify.{kind}" for kind in ("service", "timer")]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "llama-models" not in done.stderr, done.stderr


def test_the_timer_reads_the_store_whatever_its_name(case: str, rendered: Path) -> None:
    """The check of the models looked for two directories where the name of one has a blank."""
    unit = (rendered / "llama-models-verify.service").read_text()
    started = re.search(r"^ExecStart=(.+)$", unit, re.M)
    assert started and shlex.split(started[1])[3:] == [variables_of(case)["model_store_dir"]]


def test_systemd_accepts_the_units_of_the_server(rendered: Path, deployment: Any) -> None:
    instances = [rendered / "llama.slice"]
    for name in ("llama-server", "llama-server-check", "llama-tls", "llamatower-switch"):
        for template in rendered.glob(f"{name}@.*"):
            instances.append(template.with_name(template.name.replace("@", "@main")))
            # The machine of the tests need not have HAProxy.
            instances[-1].write_text(template.read_text().replace("/usr/sbin/haproxy", "/usr/bin/true"))
    drop_in = rendered / "llama-server@main.service.d/deployment.conf"
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text(unit_drop_in(deployment))
    assert len(instances) == 6
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{rendered}:"}
    done = subprocess.run(
        ["systemd-analyze", "verify", *instances], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    # Other units of this machine have their own faults; ours must have none.
    assert "llama" not in done.stderr, done.stderr


def test_the_server_has_a_descriptor_for_each_connection_of_a_host(rendered: Path) -> None:
    """So many ports one host has for them (ip_local_port_range); of systemd's 1024 none would be left for /health."""
    (limit,) = re.findall(r"^LimitNOFILE=(\d+)$", (rendered / "llama-server@.service").read_text(), re.MULTILINE)
    assert int(limit) > 60999 - 32768


def test_the_units_expose_little(rendered: Path, deployment: Any) -> None:
    text = (rendered / "llama-server@.service").read_text()
    own = "\n".join(line for line in unit_drop_in(deployment).splitlines() if line.startswith("IPAddress"))
    # The server is on loopback in all cases, with HTTPS before it or not. That listens on the network.
    server = text.replace("\n[Install]", f"\n{own}\n[Install]")
    assert exposure(rendered, "llama-server", server) <= 1.2
    assert exposure(rendered, "llama-tls", (rendered / "llama-tls@.service").read_text()) <= 1.6
    # It is root, whose files it may write; the check of the server is not, and asks the server and systemd.
    verify = (rendered / "llama-models-verify.service").read_text()
    check = (rendered / "llama-server-check@.service").read_text()
    rated = exposure(rendered, "llama-models-verify", verify)
    assert rated <= min(1.3, exposure(rendered, "llama-server-check", check))


def exposure(directory: Path, name: str, text: str) -> float:
    """How systemd rates a unit, from 0 to 10."""
    unit = directory / f"{name}@exposure.service"
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    level = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
    assert level, done.stdout + done.stderr
    print(done.stdout)
    return float(level.group(1))


def test_the_server_is_started_over_the_nodes_that_have_memory(case: str, deployment: Any) -> None:
    words = server_command(deployment, deployment["units"][0])
    interleaved = {"minimal": None, "typical": "0-1", "extreme": "0-2,5-9"}[case]
    batch = {"minimal": "1", "typical": "64", "extreme": "512"}[case]
    expected = ["/opt/llama.cpp/releases/0123456789abcdef/bin/llama-server", "--threads-batch", batch]
    assert words == (["/usr/bin/numactl", f"--interleave={interleaved}", *expected] if interleaved else expected)


def test_the_environment_has_each_setting_and_no_secret(case: str, deployment: Any) -> None:
    values = server_environment(Instance("main"), "a1", deployment, deployment["units"][0])
    names = set(values) - {"LLAMATOWER_DEPLOYMENT"}
    assert all(re.fullmatch(r"LLAMA_ARG_[A-Z_]+|GLIBC_TUNABLES", name) for name in names), names
    kwargs = values.pop("LLAMA_ARG_CHAT_TEMPLATE_KWARGS", None)
    assert (json.loads(kwargs) if kwargs else None) == ({"a word": 'say "x\\y"'} if case == "extreme" else None)
    # llama-server takes an empty value for a given one.
    assert all(values.values()), values
    assert "LLAMA_API_KEY" not in names
    assert values["LLAMA_ARG_API_KEY_FILE"] == "/var/lib/llamatower/instances/main/deployments/a1/keys"
    assert values["LLAMA_ARG_MODEL"] == "/var/lib/llama-models/.pinned/a-model-1/m-00001-of-00002.gguf"
    assert ("hugetlb=1:" in values["GLIBC_TUNABLES"]) == (case == "typical")
    assert values["LLAMA_ARG_THREADS"] == {"minimal": "1", "typical": "64", "extreme": "500"}[case]
    assert values["LLAMA_ARG_LOAD_MODE"] == {"minimal": "dio", "typical": "dio", "extreme": "mmap"}[case]
    origin = {"extreme": "https://[::1]:8080"}.get(case, "http://127.0.0.1:8080")
    assert values["LLAMA_ARG_CORS_ORIGINS"] == origin
    assert ("LLAMA_ARG_ENDPOINT_METRICS" in values) == (case == "extreme")


def test_sysctl_settings_are_numbers_of_settings_that_linux_has(rendered: Path) -> None:
    found = settings(rendered / "90-llamatower.conf")
    assert {name.lstrip("-") for name, _ in found} == {
        "kernel.numa_balancing",
        "vm.zone_reclaim_mode",
        "vm.swappiness",
    }
    for name, value in found:
        assert value.isdigit()
        assert name.startswith("-") or Path("/proc/sys", *name.split(".")).exists(), name


def test_tmpfiles_writes_what_was_asked_for(rendered: Path, case: str, tmp_path: Path) -> None:
    # A copy of the kernel's files, with two CPUs; systemd-tmpfiles takes it for the machine.
    files = ["kernel/mm/transparent_hugepage/enabled", "kernel/mm/transparent_hugepage/defrag"]
    files += [f"devices/system/cpu/cpufreq/policy{cpu}/scaling_governor" for cpu in (0, 1)]
    for name in files:
        (tmp_path / "sys" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys" / name).write_text("before")
    done = subprocess.run(
        ["systemd-tmpfiles", "--create", f"--root={tmp_path}", rendered / "llamatower.conf"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    written = [(tmp_path / "sys" / name).read_text().strip() for name in files]
    governor = "before" if case == "minimal" else "performance"
    assert written == ["always" if case == "extreme" else "madvise", "madvise", governor, governor]


def test_tmpfiles_reserves_the_pool_of_each_node(case: str, tmp_path: Path) -> None:
    reserves = tmp_path / "llamatower-hugepages.conf"
    reserves.write_text(boot_text({2**30: {node["node"]: 150 for node in TOWERS[case]["nodes"]}}))
    files = [
        tmp_path / f"sys/devices/system/node/node{node['node']}/hugepages/hugepages-1048576kB/nr_hugepages"
        for node in TOWERS[case]["nodes"]
    ]
    for path in files:
        path.parent.mkdir(parents=True)
        path.write_text("0")
    done = subprocess.run(
        ["systemd-tmpfiles", "--create", f"--root={tmp_path}", reserves],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.read_text().strip() for path in files] == ["150"] * len(files)


def udev_rules(rendered: Path) -> list[list[str]]:
    lines = (rendered / "90-llamatower.rules").read_text().splitlines()
    return [line.split(", ") for line in lines if line and not line.startswith("#")]


def test_udev_rules_are_written_as_udev_reads_them(rendered: Path) -> None:
    for parts in udev_rules(rendered):
        assert all(re.fullmatch(r'[A-Z]+(\{[\w./]+\})?(==|!=|=|\+=)"[^"]*"', part) for part in parts), parts


def test_the_governor_is_written_again_when_a_driver_comes_late(rendered: Path, case: str) -> None:
    late = [parts[2:] for parts in udev_rules(rendered) if parts[:2] == ['ACTION=="add"', 'SUBSYSTEM=="module"']]
    again = 'RUN+="/usr/bin/systemd-tmpfiles --create /etc/tmpfiles.d/llamatower.conf"'
    assert late == ([] if case == "minimal" else [['KERNEL=="acpi_cpufreq"', again]])


def test_the_udev_rule_of_the_disk_is_one_line_for_the_right_device(rendered: Path, case: str) -> None:
    expected = {
        "minimal": [],
        "typical": ['ENV{ID_FS_UUID}=="1b2c-3d"', 'ATTR{../queue/read_ahead_kb}="4096"'],
        "extreme": [
            f'ENV{{ID_FS_UUID}}=="{TOWERS["extreme"]["disks"]["fs_uuid"]}"',
            'ATTR{queue/read_ahead_kb}="4096"',
        ],
    }[case]
    rules = [parts[2:] for parts in udev_rules(rendered) if 'SUBSYSTEM=="block"' in parts]
    assert rules == ([expected] if expected else [])
