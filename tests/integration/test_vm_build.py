# SPDX-License-Identifier: MIT
"""A build that must not reach the tower. Builds that are cut short are in test_container_build.py."""

from __future__ import annotations

from pathlib import Path

from tests.integration.vm_site import Site


def test_a_build_for_another_cpu_is_refused_by_name_before_it_is_installed(site: Site) -> None:
    # The emulated CPU has no AVX-512; a controller without it can still build for it.
    native = "avx512f" in Path("/proc/cpuinfo").read_text()
    before = site.state()
    run = site.playbook("playbooks/build.yml", llama_build_cpu="native" if native else "x86-64-v4")
    assert run.code != 0
    assert run.finds(r"uses CPU features that this tower lacks: [a-z0-9_, ]*\bavx512f\b")
    assert site.state() == before
