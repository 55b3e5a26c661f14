# SPDX-License-Identifier: MIT
"""What a deployment starts: the server's command and environment, and the drop-ins, of plans as they are made."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.service import launcher
from plugins.module_utils.service.deployment import (
    MARK,
    Instance,
    UnreadableError,
    current_unit,
    identity_of,
    instance_of,
    needed_deployments,
    process_deployment,
    server_command,
    server_environment,
)
from plugins.module_utils.service.plan import make_plan
from plugins.module_utils.service.prepare import compose
from plugins.module_utils.service.unit_files import slice_drop_in, unit_drop_in, unit_word
from tests.llama_server import settings, tower

MODEL: Any = {
    "name": "a-model",
    "bytes": 10**9,
    "gguf": {"kv": None},
    "files": [{"file": "m-00001-of-00002.gguf", "sha256": "0" * 64}, {"file": "m-2.gguf", "sha256": "1" * 64}],
}
PINNED = "/var/lib/llama-models/.pinned/a-model-0123456789ab"
KWARGS = {"a word": 'say "x\\y"'}

# Few, usual and all settings, and the tower that they are for: nodes, and those of them without memory.
CASES: dict[str, tuple[dict[str, Any], int, tuple[int, ...]]] = {
    "one node": ({"huge_pages": "none", "threads": 1, "threads_batch": 1}, 1, ()),
    "two nodes": ({}, 2, ()),
    "nodes without memory": (
        {
            "host": "::",
            "metrics": True,
            "parallel": 64,
            "threads": 50,
            "threads_batch": 52,
            "load_mode": "mmap",
            "huge_pages": "none",
            "extra": {"LLAMA_ARG_CHAT_TEMPLATE_KWARGS": KWARGS},
            "tls": True,
        },
        10,
        (3, 4),
    ),
}


def made(directory: Path, case: str, **changes: Any) -> tuple[Instance, Any]:
    """An instance, and the deployment of a plan for it."""
    given, nodes, empty = CASES[case]
    machine: Any = tower(nodes)
    for node in empty:
        machine["nodes"][node]["memory_bytes"] = 0
    wanted = settings(**given) | changes
    build: Any = {"key": "0123456789abcdef"}
    (directory / "llama.cpp/releases/0123456789abcdef").mkdir(parents=True, exist_ok=True)
    plan = make_plan(wanted, machine, build, MODEL)
    assert plan["problems"] == []
    # After the plan, which refuses what a unit cannot see, as this directory.
    wanted["build_root"] = str(directory / "llama.cpp")
    instance = Instance("main", str(directory / "instances"))
    proof: Any = {"prompt": "Why?", "max_tokens": 4}
    found = compose(instance, wanted, plan, build, MODEL, PINNED, proof, "# ann\nsecret-of-ann\n")
    return instance, json.loads(json.dumps(found))


def put(instance: Instance, deployment: Any, link: str) -> str:
    identity = identity_of(deployment)
    os.makedirs(instance.directory(identity), exist_ok=True)
    Path(instance.directory(identity), "deployment.json").write_text(json.dumps(deployment))
    instance.point(link, identity)
    return identity


@pytest.mark.parametrize("case", CASES)
def test_the_server_is_started_over_the_nodes_that_have_memory(tmp_path: Path, case: str) -> None:
    _instance, deployment = made(tmp_path, case)
    interleaved = {"one node": None, "two nodes": "0-1", "nodes without memory": "0-2,5-9"}[case]
    batch = {"one node": "1", "two nodes": "32", "nodes without memory": "52"}[case]
    # By its key, so that a newer release beside it changes nothing.
    server = f"{tmp_path}/llama.cpp/releases/0123456789abcdef/bin/llama-server"
    prefix = ["/usr/bin/numactl", f"--interleave={interleaved}"] if interleaved else []
    assert server_command(deployment, deployment["units"][0]) == [*prefix, server, "--threads-batch", batch]


@pytest.mark.parametrize("case", CASES)
def test_the_environment_has_each_setting_and_no_secret(tmp_path: Path, case: str) -> None:
    instance, deployment = made(tmp_path, case)
    values = server_environment(instance, "0123456789ab", deployment, deployment["units"][0])
    assert all(re.fullmatch(rf"LLAMA_ARG_[A-Z_]+|GLIBC_TUNABLES|{MARK}", name) for name in values), values
    assert "secret-of-ann" not in json.dumps(values)
    assert values["LLAMA_ARG_API_KEY_FILE"] == f"{tmp_path}/instances/main/deployments/0123456789ab/keys"
    assert (values[MARK], values["LLAMA_ARG_MODEL"]) == ("0123456789ab", f"{PINNED}/m-00001-of-00002.gguf")
    kwargs = values.pop("LLAMA_ARG_CHAT_TEMPLATE_KWARGS", None)
    everything = case == "nodes without memory"
    assert (json.loads(kwargs) if kwargs else None) == (KWARGS if everything else None)
    # llama-server takes an empty value for a given one.
    assert all(values.values()), values
    assert ("hugetlb=1:" in values["GLIBC_TUNABLES"]) == (case == "two nodes")
    assert values["LLAMA_ARG_THREADS"] == {"one node": "1", "two nodes": "32"}.get(case, "50")
    assert values["LLAMA_ARG_LOAD_MODE"] == ("mmap" if everything else "dio")
    assert values["LLAMA_ARG_CORS_ORIGINS"] == ("https://[::1]:8080" if everything else "http://127.0.0.1:8080")
    assert ("LLAMA_ARG_ENDPOINT_METRICS" in values) == everything


def test_a_drop_in_has_the_limits_of_its_deployment(tmp_path: Path) -> None:
    _instance, deployment = made(tmp_path, "two nodes")
    lines = unit_drop_in(deployment).splitlines()
    assert f"RequiresMountsFor=/var/lib/llama-models/a-model {tmp_path}/llama.cpp" in lines
    assert f"TimeoutStartSec={deployment['start_seconds']}" in lines
    assert f"MemoryMin={deployment['needed_bytes']}" in lines and deployment["needed_bytes"] > MODEL["bytes"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("/srv/größer", "/srv/größer"),
        ("/srv/my models", '"/srv/my models"'),
        ("/srv/100%", '"/srv/100%%"'),
        ('/a "b" c\\d', '"/a \\"b\\" c\\\\d"'),
        ("/srv/$x", '"/srv/$x"'),
    ],
)
def test_a_path_is_one_word_of_a_unit_whatever_is_in_it(text: str, word: str) -> None:
    assert unit_word(text) == word
    assert unit_word(text, command=True) == word.replace("$", "$$")


@pytest.mark.parametrize(("host", "closed"), [("127.0.0.1", True), ("::1", True), ("::", False), ("0.0.0.0", False)])
def test_only_a_server_on_loopback_is_closed_to_all_others(tmp_path: Path, host: str, closed: bool) -> None:
    _instance, deployment = made(tmp_path, "two nodes", host=host)
    lines = unit_drop_in(deployment).splitlines()
    assert ("IPAddressDeny=any" in lines, "IPAddressAllow=localhost" in lines) == (closed, closed)


def test_the_slice_protects_what_all_units_of_all_deployments_need(tmp_path: Path) -> None:
    _instance, one = made(tmp_path, "two nodes")
    _instance, both = made(tmp_path, "two nodes", numa_policy="per_node")
    assert [unit["name"] for unit in both["units"]] == ["main-node0", "main-node1"]
    assert f"MemoryMin={one['needed_bytes'] + 2 * both['needed_bytes']}\n" in slice_drop_in([one, both])


def test_a_unit_finds_its_part_of_the_current_deployment(tmp_path: Path) -> None:
    instance, deployment = made(tmp_path, "two nodes", numa_policy="per_node")
    identity = put(instance, deployment, "current")
    _instance, found, _deployment, unit = current_unit("main-node1", str(tmp_path / "instances"))
    assert (found, unit["name"]) == (identity, "main-node1")
    for name in ("main", "main-node2", "another"):
        with pytest.raises(LookupError, match=rf"has no deployment with llama-server@{name}\.service"):
            current_unit(name, str(tmp_path / "instances"))


def test_the_instance_of_a_unit_is_in_its_name() -> None:
    assert [instance_of(name) for name in ("main", "main-node1", "node1", "a-node-b")] == [
        "main",
        "main",
        "node1",
        "a-node-b",
    ]


def test_what_is_current_good_wanted_or_proven_is_needed(tmp_path: Path) -> None:
    instance, deployment = made(tmp_path, "two nodes")
    for context, link in ((1, "current"), (2, "good"), (3, "wanted"), (4, None), (5, None)):
        identity = put(instance, {**deployment, "context": context}, link or "aside")
        if context == 4:
            Path(instance.directory(identity), "proven").touch()
    assert sorted(entry["context"] for entry in needed_deployments(str(tmp_path / "instances"))) == [1, 2, 3, 4]


@pytest.mark.parametrize("link", ["current", "good", "wanted"])
def test_nobody_knows_what_is_needed_while_a_link_names_what_cannot_be_read(tmp_path: Path, link: str) -> None:
    instance, deployment = made(tmp_path, "two nodes")
    path = str(tmp_path / "instances")
    put(instance, {**deployment, "context": 1}, "current")
    identity = put(instance, {**deployment, "schema_version": 99}, link)
    for text in (None, "{", "[]"):
        if text is not None:
            Path(instance.directory(identity), "deployment.json").write_text(text)
        with pytest.raises(UnreadableError, match=f"deployments/{identity} cannot be read, so that nobody knows"):
            needed_deployments(path)
        assert needed_deployments(path, but=["main"]) == []
    put(instance, deployment, link)
    assert deployment in needed_deployments(path), "what no link names is removed by its number"


def test_a_deployment_of_another_version_is_none(tmp_path: Path) -> None:
    instance, deployment = made(tmp_path, "two nodes")
    assert instance.read(put(instance, {**deployment, "schema_version": 99}, "current")) is None


def test_a_process_says_which_deployment_it_runs(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/environ").write_bytes(f"PATH=/bin\0{MARK}=0123456789ab\0".encode())
    (tmp_path / "8").mkdir()
    (tmp_path / "8/environ").write_bytes(b"PATH=/bin\0")
    assert [process_deployment(pid, str(tmp_path)) for pid in (7, 8, 9)] == ["0123456789ab", None, None]


@pytest.mark.parametrize("keys", ["", "# ann\n", "#S3cret\n\n"])
def test_no_server_is_started_with_a_file_of_keys_that_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], keys: str
) -> None:
    """llama-server would make of it that nobody needs one."""
    instance, deployment = made(tmp_path, "one node")
    identity = put(instance, deployment, "current")
    Path(instance.keys_path(identity)).write_text(keys)
    monkeypatch.setattr(launcher, "current_unit", lambda name: current_unit(name, str(tmp_path / "instances")))
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("it was started"))
    assert launcher.main(["launcher", "main"]) == 1
    assert "has no API key: run ansible-playbook llamatower.tower.serve." in capsys.readouterr().err
