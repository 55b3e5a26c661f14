# SPDX-License-Identifier: MIT
"""Builds that must not reach the tower, and builds that are cut short."""

from __future__ import annotations

import contextlib
import os
import signal
import uuid
from pathlib import Path

from tests.integration.vm_site import Site, wait_until
from tests.virtual_tower.virtual_tower import cache_dir


def test_a_build_for_another_cpu_is_refused_by_name_before_it_is_installed(site: Site) -> None:
    # The emulated CPU has no AVX-512; a controller without it can still build for it.
    native = "avx512f" in Path("/proc/cpuinfo").read_text()
    before = site.state()
    run = site.playbook("playbooks/build.yml", llama_build_cpu="native" if native else "x86-64-v4")
    assert run.code != 0
    assert run.finds(r"uses CPU features that this tower lacks: [a-z0-9_, ]*\bavx512f\b")
    assert site.state() == before


def compiling() -> list[int]:
    """The module that builds for the virtual towers, and its ninja."""
    mine = f"ninja\0-C\0{cache_dir() / 'builds'}/".encode()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(mine):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                return [parent, int(entry.name)]
    return []


def test_a_killed_build_leaves_the_tower_as_it_was_and_the_next_run_makes_it_good(site: Site) -> None:
    before = site.state()
    # An option that llama.cpp does not know makes another build of the same objects, which ccache has. Its value is new
    # each time, since what was built once is not built again.
    variables = {"llama_build_cmake_options": {"LLAMATOWER_TEST": uuid.uuid4().hex}}
    first = site.start("playbooks/build.yml", **variables)
    wait_until(lambda: compiling() or first.poll() is not None, "a build runs", 300)
    for pid in compiling():
        os.kill(pid, signal.SIGKILL)
    output, _ = first.communicate(timeout=300)
    print(output[-2000:])
    assert first.returncode != 0
    assert "llama_build was killed before it ended" in " ".join(output.split())
    assert site.state() == before

    current = site.current()
    second = site.playbook("playbooks/build.yml", **variables)
    assert second.code == 0
    assert site.current() != current
    site.archive().unlink()

    third = site.playbook("playbooks/build.yml")
    assert third.code == 0
    assert site.current() == current
