# SPDX-License-Identifier: MIT
"""Builds that are cut short: whatever dies, `current` is a whole release, and the next run makes it good."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.container_site import playbook, start, tower
from tests.integration.vm_site import wait_until

# An option that llama.cpp does not know makes another build of the same objects, which ccache has.
OTHER: dict[str, Any] = {"llama_build_cmake_options": {"LLAMATOWER_TEST": "cut short"}}


@pytest.fixture
def host() -> Iterator[Any]:
    host = tower("bookworm")
    yield host
    assert playbook("site.yml", "--limit", "bookworm").code == 0


def current(host: Any) -> str:
    return str(host.check_output("readlink -f /opt/llama.cpp/current"))


def is_whole(host: Any) -> bool:
    """Whether all binaries of the current release are those of its manifest."""
    release = current(host)
    manifest = json.loads(host.file(f"{release}/manifest.json").content_string)
    return all(host.file(f"{release}/bin/{name}").sha256sum == sha for name, sha in manifest["binaries"].items())


def compilers(host: Any) -> list[str]:
    return list(host.run("pgrep --exact ninja").stdout.split())


def started(host: Any, run: subprocess.Popen[str]) -> bool:
    assert run.poll() is None, run.communicate()[0]
    return bool(compilers(host))


def test_a_killed_build_leaves_the_release_and_the_next_run_builds(host: Any) -> None:
    before = current(host)
    run = start("site.yml", "--limit", "bookworm", **OTHER)
    wait_until(lambda: started(host, run), "ninja runs", 180)
    # The module and its ninja, as the kernel kills what uses too much memory.
    host.run("kill -KILL %s $(ps -o ppid= -p %s)", *compilers(host)[:1] * 2)
    output, _ = run.communicate(timeout=300)
    assert run.returncode != 0
    assert "was killed before it ended" in " ".join(output.split()), output[-2000:]
    assert current(host) == before
    assert is_whole(host)

    second = playbook("site.yml", "--limit", "bookworm", **OTHER)
    assert second.code == 0
    assert current(host) != before
    assert is_whole(host)


def test_a_controller_that_went_away_finds_its_build_again(host: Any) -> None:
    options: dict[str, Any] = {"llama_build_cmake_options": {"LLAMATOWER_TEST": "left alone"}}
    first = start("playbooks/build.yml", "--limit", "bookworm", **options)
    wait_until(lambda: started(host, first), "ninja runs", 180)
    ninja = compilers(host)
    first.kill()
    first.communicate()
    assert compilers(host) == ninja, "the build goes on without its controller"

    second = playbook("playbooks/build.yml", "--limit", "bookworm", **options)
    assert second.code == 0
    # Either it waited for the build, or found it done; it started none.
    assert second.finds(r"TASK \[llama_build : Build llama\.cpp\] \*+ (bookworm: \S[^*]* )?ok: \[bookworm\]")
    assert is_whole(host)
