# SPDX-License-Identifier: MIT
"""The examples of the documentation: those that need no tower run as they are, with places of this test instead of a
tower's; of all others, names and options are right."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.basic import FILE_COMMON_ARGUMENTS
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from tests.documented import ACTIONS, FILTERS, MODULES, argument_spec, block, returned
from tests.gguf_builder import gguf
from tests.role_readmes import ROLES, specification

REPO = Path(__file__).resolve().parents[2]
PLUGINS = [*MODULES, *FILTERS]
PREFIX = "llamatower.tower."

# Examples that are not run, by plugin and name of the task, and why. What is not here must run.
NEEDS: dict[str, dict[str, str]] = {
    "hugepage_pool": {"Reserve 300 GB on two nodes": "a kernel of its own with two nodes"},
    "kernel_command_line": {"Reserve 300 pages of 1 GB at boot": "a boot loader"},
    "llama_certificate": {"Serve with what certbot keeps on the tower": "a certificate"},
    "llama_deployment": {"Go back to what served before": "a tower that serves"},
    "llama_server_check": {"Ask the main server one question": "a server that runs"},
    "llama_tune": {
        "Find the fastest settings": "a service that runs",
        "Compare only what keeps the service as it is otherwise": "a service that runs",
    },
    "model_lock": {"Lock a model of the hub": "the hub"},
    "model_share": {"Share a model": "other towers"},
    "model_source_info": {"Resolve a model of the hub to its commit and its files": "the hub"},
    "model_torrent": {"Describe a model": "libtorrent of the system's own Python"},
    "numa_placement_info": {"See where the weights of the main server lie": "a service that runs"},
    "redfish_bios": {"See what the BIOS is set to": "a BMC"},
    "template_files": {"Write the settings for every boot": "templates"},
}
# Examples that run in check mode only, and why.
ONLY_CHECKED = {
    "llama_benchmark": "it would measure a service",
    "llama_build": "it would compile for 12 minutes",
    "llama_build_info": "it fails where there is no compiler",
    "llama_instance": "it would stop a service",
    "llama_release": "there is no build archive",
    "machine_before": "it would write to /var/lib",
    "tower_programs": "it would write to /usr/local",
    "wait_for_boot": "it would wait for a restart",
}
# The filter loads those of the collection once, as plays/has_towers.yml does for the playbooks.
LOCALHOST = "{{ 'localhost' | llamatower.tower.tower_names }}"
# Examples of roles that are run first; the others change the kernel, the packages or the services of a machine. The
# forecast writes the plan that a filter shows.
ROLES_THAT_RUN = ["forecast", "numa_advice"]

# What the examples call places of a tower, and which directory of the test that is.
PLACES = {
    "/mnt/usb": "usb",
    "/opt/llama.cpp": "opt",
    "/srv/saved": "saved",
    "/var/cache/llama.cpp": "cache",
    "/var/lib/llama-models": "models",
    "/var/lib/llamatower": "llamatower",
}
DMIDECODE = """\
Handle 0x0001, DMI type 1, 27 bytes
System Information
	Manufacturer: Supermicro
	Product Name: Super Server

Handle 0x0004, DMI type 4, 48 bytes
Processor Information
	Socket Designation: CPU1
	Type: Central Processor
	Signature: Type 0, Family 6, Model 143, Stepping 8
	Version: Intel(R) Xeon(R) Gold 6426Y
	Status: Populated, Enabled

Handle 0x0011, DMI type 17, 92 bytes
Memory Device
	Data Width: 64 bits
	Size: 32 GB
	Locator: DIMMA1
	Bank Locator: P0_Node0_Channel0_Dimm0
	Type: DDR5
	Speed: 5600 MT/s
	Configured Memory Speed: 4800 MT/s
"""
NUMA_MAPS = "7f0000000000 interleave:0-1 anon=16384 dirty=16384 N0=8192 N1=8192 kernelpagesize_kB=4\n"
SMAPS = "7f0000000000-7f0004000000 rw-p 00000000 00:00 0\nSize: 65536 kB\nRss: 65536 kB\n"
RUN = {
    "schema_version": 1,
    "started": "2026-01-31T12:00:00Z",
    "conditions": {
        **dict.fromkeys(("bios", "build", "cpu", "governor", "kernel", "model", "thp"), "known"),
        **dict.fromkeys(("cores", "nodes", "probe_mebibytes", "prompt_words", "threads_per_core", "tokens"), 2),
        "prefix": [],
        "settings": {},
        "beside_service": True,
        "restarted": False,
    },
    "results": {"read_whole": {"unit": "GB/s", "samples": [10.0, 10.2], "median": 10.1, "spread": 0.02}},
    "skipped": {"bench_decode": "There is no service."},
    "derived": dict.fromkeys(("active_bytes", "roofline_tokens_per_second", "service_of_roofline", "service_of_bench")),
}
RATES = {"median": 10.0, "low": 9.9, "high": 10.1, "samples": 5}
SETTINGS = {"numa_policy": "interleave", "load_mode": "dio", "huge_pages": "thp", "threads": 2, "flash_attention": True}
TUNING = {
    "schema_version": 1,
    "measured": "2026-01-31T12:00:00Z",
    "build": "3f0d8a54c1b2e697",
    "model": {"name": "small", "sha256": ["20343b302ced0985"]},
    "conditions": {},
    "space": {},
    "winner": {**SETTINGS, "threads_batch": 2},
    "confidence": "certain",
    "evidence": {
        "decode_tokens_per_second": RATES,
        "prompt_tokens_per_second": RATES,
        "load_seconds": [1.0],
        "runner_up": {**SETTINGS, "load_mode": "mmap", "decode_tokens_per_second": RATES},
        "measurements": [],
    },
}


def examples(plugin: str) -> list[dict[str, Any]]:
    """The tasks of a plugin's examples."""
    tasks: list[dict[str, Any]] = yaml.safe_load(block(plugin, "EXAMPLES"))
    return tasks


def action(task: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The module of ours that a task runs, and its arguments."""
    found = [(key.removeprefix(PREFIX), value or {}) for key, value in task.items() if key.startswith(PREFIX)]
    return found[0] if found else None


@functools.cache
def options_of(name: str) -> dict[str, Any]:
    """The options of a module as Ansible validates them."""
    if name in ACTIONS:
        documented = yaml.safe_load(block(name, "DOCUMENTATION")).get("options", {})
        return {each: {key: option.get(key) for key in ("type",)} for each, option in documented.items()}
    spec, more = argument_spec(name)
    return {**(FILE_COMMON_ARGUMENTS if more.get("add_file_common_args") else {}), **spec}


def problems(spec: dict[str, Any], values: dict[str, Any]) -> list[str]:
    """What Ansible says to these values; those that are templates are only looked for by name."""
    templates = {name for name, value in values.items() if "{{" in json.dumps(value)}
    known = {name: option for name, option in spec.items() if name not in templates}
    given = {name: value for name, value in values.items() if name not in templates}
    unknown = [f"there is no {name}" for name in sorted(templates - set(spec))]
    return [*unknown, *ArgumentSpecValidator(known).validate(given).error_messages]


def ansible(command: str, *arguments: str, cwd: Path = REPO) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ANSIBLE_CONFIG": str(REPO / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(
        [command, *arguments], cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that examples run in, with the places of a tower and what was saved from others."""
    root = tmp_path_factory.mktemp("examples")
    for name in (*PLACES.values(), "playbooks/reports"):
        (root / name).mkdir(parents=True)
    (root / "roles").symlink_to(REPO / "roles")
    (root / "usb/small-Q6_K.gguf").write_bytes(gguf())
    saved = {
        "dmidecode.txt": DMIDECODE,
        "llama-server/numa_maps": NUMA_MAPS,
        "llama-server/smaps": SMAPS,
        "benchmarks/2026-01-31T120000Z.json": json.dumps(RUN),
        "tuning.json": json.dumps(TUNING),
        "tower1/etc/os-release": "ID=debian\nVERSION_ID=13\n",
    }
    for name, text in saved.items():
        path = root / "saved" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def here(text: str, place: Path) -> str:
    """An example with the places of this test."""
    for name, directory in PLACES.items():
        text = text.replace(name, str(place / directory))
    return text


@pytest.fixture(scope="module")
def results(place: Path) -> list[dict[str, Any]]:
    """What the examples returned: name of the task, module and result of each task that runs a module of ours."""
    tasks: list[dict[str, Any]] = []
    known: list[str] = []
    # One writes the report that others show.
    for plugin in sorted(PLUGINS, key=lambda plugin: plugin != "tower_report"):
        for task in examples(plugin):
            if task["name"] in NEEDS.get(plugin, {}):
                continue
            ran = action(task)
            tasks.append(task)
            if ran:
                task |= {"check_mode": True} if ran[0] in ONLY_CHECKED else {}
                task.setdefault("register", "__returned")
                kept = {"task": task["name"], "module": ran[0], "result": f"{{{{ {task['register']} }}}}"}
                known.append(f"__result_{len(known)}")
                tasks.append({"name": "Keep it", "ansible.builtin.set_fact": {known[-1]: kept}})
    content = f"{{{{ [{', '.join(known)}] | to_json }}}}"
    hand = {"ansible.builtin.copy": {"content": content, "dest": str(place / "results.json"), "mode": "0600"}}
    play = {"name": "Run the examples", "hosts": LOCALHOST, "connection": "local", "gather_facts": False}
    plays = yaml.safe_dump([{**play, "tasks": [*tasks, {"name": "Hand them to the test", **hand}]}], sort_keys=False)
    playbooks = {role: (REPO / "roles" / role / "meta/example.yml").read_text() for role in ROLES_THAT_RUN}
    for name, text in {**playbooks, "examples": plays}.items():
        (place / "playbooks" / f"{name}.yml").write_text(here(text, place))
    done = ansible(
        "ansible-playbook", *(f"{name}.yml" for name in (*ROLES_THAT_RUN, "examples")), cwd=place / "playbooks"
    )
    print(done.stdout[-4000:])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    found: list[dict[str, Any]] = json.loads((place / "results.json").read_text())
    return found


def test_what_is_not_run_is_still_an_example() -> None:
    for plugin, tasks in NEEDS.items():
        assert set(tasks) <= {task["name"] for task in examples(plugin)}, plugin
    assert set(ONLY_CHECKED) <= set(MODULES)


def test_the_examples_run(results: list[dict[str, Any]]) -> None:
    """Every module is in a task that ran, but those of which no example can."""
    ran = {entry["module"] for entry in results}
    needy = {plugin for plugin, tasks in NEEDS.items() if len(tasks) == sum(map(bool, map(action, examples(plugin))))}
    assert set(MODULES) - ran - needy == set()


def wrong_keys(value: Any, documented: dict[str, Any], where: str) -> list[str]:
    """Keys that are returned and not documented, or the other way round, as deep as they are documented."""
    if isinstance(value, list):
        return [problem for item in value for problem in wrong_keys(item, documented, where)]
    if not isinstance(value, dict):
        return []
    found = [f"{where}.{key} is not documented" for key in sorted(set(value) - set(documented))]
    expected = {key for key, entry in documented.items() if entry.get("returned", "always") in ("always", "success")}
    found += [f"{where}.{key} is not returned" for key in sorted(expected - set(value))]
    for key, entry in documented.items():
        if "contains" in entry:
            found += wrong_keys(value.get(key), entry["contains"], f"{where}.{key}")
    return found


# What Ansible adds to a result.
OWN = {"changed", "failed", "diff", "warnings", "deprecations", "skipped", "exception", "msg", "invocation"}


@pytest.mark.parametrize("module", MODULES)
def test_what_an_example_returned_is_what_is_documented(module: str, results: list[dict[str, Any]]) -> None:
    documented = returned(module)
    always = {
        name: value
        for name, value in documented.items()
        if value["returned"] in ("always", "success") and name not in OWN
    }
    found: list[str] = []
    for entry in results:
        result = {key: value for key, value in entry["result"].items() if key not in OWN and not key.startswith("_")}
        if entry["module"] == module:
            found += wrong_keys(result, always, module)
    assert sorted(set(found)) == []


@pytest.mark.parametrize("plugin", PLUGINS)
def test_an_example_has_the_options_of_its_module(plugin: str) -> None:
    for task in examples(plugin):
        found = action(task)
        if found:
            assert problems(options_of(found[0]), found[1]) == [], task["name"]


def test_all_examples_pass_the_syntax_check(tmp_path: Path) -> None:
    plays = [
        {"name": plugin, "hosts": "localhost", "gather_facts": False, "tasks": examples(plugin)} for plugin in PLUGINS
    ]
    (tmp_path / "examples.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
    roles = [str(REPO / "roles" / role / "meta/example.yml") for role in ROLES]
    done = ansible("ansible-playbook", "--syntax-check", str(tmp_path / "examples.yml"), *roles)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("role", ROLES)
def test_the_example_of_a_role_sets_variables_that_it_has(role: str) -> None:
    (play,) = yaml.safe_load((REPO / "roles" / role / "meta/example.yml").read_text())
    given: dict[str, Any] = {}
    for entry in [*play.get("roles", []), *play.get("tasks", [])]:
        given |= entry.get("vars") or {}
    spec = {name: option for name, option in specification(role)["main"]["options"].items() if name in given}
    assert given.keys() == spec.keys()
    assert problems(spec, {name: value for name, value in given.items() if value is not None}) == []
