# SPDX-License-Identifier: MIT
"""Builds that are cut short: whatever dies, `current` is a whole release, and the next run makes it good."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.container_site import Places, playbook, start, tower

PLACES = Places("bookworm")
# An option that llama.cpp does not know makes another build of the same objects, which ccache has.
OTHER: dict[str, Any] = {"llama_build_cmake_options": {"LLAMATOWER_TEST": "cut short"}}


@pytest.fixture
def host() -> Iterator[Any]:
    host = tower("bookworm")
    yield host
    assert playbook("playbooks/build.yml", "--limit", "bookworm").code == 0


def current(host: Any) -> str:
    return str(host.check_output(f"readlink -f {PLACES.builds}/current"))


def remove_archive(host: Any, release: str) -> None:
    key = release.rpartition("/")[2]
    host.check_output(f"rm {PLACES.build_work}/archives/{key}.tar")


def is_whole(host: Any) -> bool:
    """Whether all binaries of the current release are those of its manifest."""
    release = current(host)
    manifest = json.loads(host.file(f"{release}/manifest.json").content_string)
    return all(host.file(f"{release}/bin/{name}").sha256sum == sha for name, sha in manifest["binaries"].items())


def catch_ninja(host: Any, signal: str) -> str:
    """Send a signal to ninja and to the module that runs it, as soon as there is one; the id of ninja.

    Found and caught by one command on the tower: with all objects in ccache, a build lasts seconds. The ninja of
    cmake, which tries the compiler, is another one.
    """
    script = f"""
until pid=$(pgrep --full '^ninja -C'); do sleep 0.1; done
kill -{signal} $pid $(ps -o ppid= -p $pid)
echo $pid"""
    return str(host.check_output("timeout 180 bash -c %s", script)).strip()


def test_a_killed_build_leaves_the_release_and_the_next_run_builds(host: Any) -> None:
    before = current(host)
    run = start("playbooks/build.yml", "--limit", "bookworm", **OTHER)
    # As the kernel kills what uses too much memory.
    catch_ninja(host, "KILL")
    output, _ = run.communicate(timeout=300)
    assert run.returncode != 0
    assert "was killed before it ended" in " ".join(output.split()), output[-2000:]
    assert current(host) == before
    assert is_whole(host)

    second = playbook("playbooks/build.yml", "--limit", "bookworm", **OTHER)
    assert second.code == 0
    assert current(host) != before
    assert is_whole(host)

    # The way back needs neither the archive nor a build: the tower has kept the release.
    remove_archive(host, before)
    third = playbook("playbooks/build.yml", "--limit", "bookworm")
    assert third.code == 0
    assert current(host) == before
    assert is_whole(host)


def test_a_controller_that_went_away_finds_its_build_again(host: Any) -> None:
    options: dict[str, Any] = {"llama_build_cmake_options": {"LLAMATOWER_TEST": "left alone"}}
    first = start("playbooks/build.yml", "--limit", "bookworm", **options)
    # Held, so that it cannot end before its controller does.
    ninja = catch_ninja(host, "STOP")
    first.kill()
    first.communicate()
    host.run_expect([0], "kill -CONT %s $(ps -o ppid= -p %s)", ninja, ninja)

    second = playbook("playbooks/build.yml", "--limit", "bookworm", **options)
    assert second.code == 0
    # Either it waited for the build, or found it done; it started none.
    assert second.finds(
        r"TASK \[llamatower\.tower\.llama_build : Build llama\.cpp\] \*+ (bookworm: \S[^*]* )?ok: \[bookworm\]"
    )
    assert is_whole(host)
