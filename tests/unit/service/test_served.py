# SPDX-License-Identifier: MIT
"""What runs the same model in the same way reads how a unit does it from its current deployment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.service.served import read_unit
from plugins.module_utils.service.unit import UnitError

UNIT: Any = {
    "name": "main-node1",
    "unit": "llama-server@main-node1.service",
    "url": "http://[::1]:8081",
    "prefix": ["/usr/bin/numactl", "--membind=1"],
    "environment": {"LLAMA_ARG_THREADS": "16", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
}
DEPLOYMENT: Any = {
    "schema_version": 1,
    "engine": {"key": "k", "directory": "/opt/llama.cpp/releases/k"},
    "model": {"directory": "/m", "files": ["x-1.gguf", "x-2.gguf"]},
    "options": ["--threads-batch", "32"],
    "units": [{**UNIT, "name": "main-node0"}, UNIT],
}


def systemd(_words: list[str]) -> str:
    return "ActiveState=inactive\nMainPID=0\n"


@pytest.fixture
def instances(tmp_path: Path) -> str:
    path = tmp_path / "main/deployments/a1"
    path.mkdir(parents=True)
    (path / "deployment.json").write_text(json.dumps(DEPLOYMENT))
    (tmp_path / "main/current").symlink_to("deployments/a1")
    return str(tmp_path)


def test_what_it_runs_is_read(instances: str) -> None:
    found = read_unit("llama-server@main-node1.service", systemd, instances)
    assert found["prefix"] == ["/usr/bin/numactl", "--membind=1"]
    assert found["binaries"] == "/opt/llama.cpp/releases/k/bin"
    assert found["model"] == found["settings"]["LLAMA_ARG_MODEL"] == "/m/x-1.gguf"
    assert found["address"] == "http://[::1]:8081"
    assert found["key_file"] == f"{instances}/main/deployments/a1/keys"
    assert found["settings"]["LLAMA_ARG_THREADS"] == "16"
    assert found["settings"]["LLAMA_ARG_THREADS_BATCH"] == "32"
    assert found["environment"] == {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    assert not found["active"]


def test_a_unit_that_nobody_deployed_is_refused_with_what_to_do(instances: str) -> None:
    for unit in ("llama-server@main.service", "llama-server@other.service"):
        with pytest.raises(UnitError, match=r"llamatower\.tower\.serve.*benchmark_instance"):
            read_unit(unit, systemd, instances)
