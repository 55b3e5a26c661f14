# SPDX-License-Identifier: MIT
"""A release is whole, tried and switched to in one step, or nothing changes."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.build.release import (
    ReleaseError,
    current_key,
    install,
    read_manifest,
    superfluous,
    switch,
    trial_problem,
    whole,
)
from tests.tiny_build import make, plan, source_archive


def test_a_release_is_installed_whole_and_switched_to(made: Any, tmp_path: Path) -> None:
    release = tmp_path / "releases" / made["key"]
    assert not whole(release)
    install(made["archive"], made["manifest"], release)
    switch(tmp_path, made["key"])
    assert whole(tmp_path / "current")
    assert current_key(tmp_path) == made["key"]
    assert sorted(path.name for path in release.iterdir()) == ["bin", "manifest.json"]
    assert [path.name for path in release.parent.iterdir()] == [made["key"]]


def test_a_damaged_release_is_not_whole_and_is_replaced(made: Any, tmp_path: Path) -> None:
    release = tmp_path / "releases" / made["key"]
    install(made["archive"], made["manifest"], release)
    (release / "bin" / "llama-server").write_text("damaged")
    assert not whole(release)
    install(made["archive"], made["manifest"], release)
    assert whole(release)
    assert [path.name for path in release.parent.iterdir()] == [made["key"]]


def test_binaries_that_are_not_the_manifests_are_not_installed(made: Any, tmp_path: Path) -> None:
    release = tmp_path / "releases" / made["key"]
    manifest: Any = {**made["manifest"], "binaries": {**made["manifest"]["binaries"], "llama-cli": "ab" * 32}}
    with pytest.raises(ReleaseError, match=r"llama-cli in .* has the SHA-256 \w{64}, not (ab){32}"):
        install(made["archive"], manifest, release)
    assert list(release.parent.iterdir()) == []


def test_a_binary_that_does_not_run_is_not_installed(tmp_path: Path) -> None:
    # What an instruction that the CPU lacks does to a program.
    main = "#include <csignal>\nint main() { std::raise(SIGILL); }\n"
    build = plan(source_archive(tmp_path / "source.tar.gz", main), tmp_path)
    manifest = make(build, tmp_path)
    assert manifest["llama_version"] is None
    with pytest.raises(ReleaseError, match="llama-server of the new build uses an instruction that this CPU lacks"):
        install(build["archive"], manifest, tmp_path / "releases" / "x")
    assert list((tmp_path / "releases").iterdir()) == []


def test_half_an_archive_is_refused(made: Any, tmp_path: Path) -> None:
    half = tmp_path / "half.tar"
    half.write_bytes(Path(made["archive"]).read_bytes()[:700])
    with pytest.raises(ReleaseError, match=r"half.tar is no whole build archive"):
        read_manifest(str(half))


@pytest.mark.parametrize(
    ("code", "output", "words"),
    [
        (-signal.SIGILL, "", "set llama_build_cpu to a lower level"),
        (-11, "", "was killed by signal 11"),
        (1, "libstdc++.so.6: version `GLIBCXX_3.4.32' not found", "with this release of the system"),
        (127, "error while loading shared libraries: libgomp.so.1", "needs another system (error while loading"),
        (1, "first\nlast", "does not run here (last)"),
        (1, "", "does not run here (it said nothing)"),
    ],
)
def test_a_failed_trial_becomes_one_sentence(code: int, output: str, words: str) -> None:
    sentence = trial_problem("llama-bench", code, output)
    assert words in sentence
    assert sentence.endswith("; current was left as it is.")


@pytest.mark.parametrize(
    ("keep", "removed"),
    [
        (1, ["previous", "young", "old"]),
        (2, ["young", "old"]),
        (3, ["old"]),
        (4, []),
        (0, ["previous", "young", "old"]),
    ],
)
def test_the_current_release_is_never_removed_and_the_previous_one_last(keep: int, removed: list[str]) -> None:
    assert superfluous(["young", "current", "old", "previous"], "current", "previous", keep) == removed
