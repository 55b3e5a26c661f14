# SPDX-License-Identifier: MIT
"""From a source to a build archive, and what is said where that fails."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.build.compile import BuildError, failure, ninja_progress
from plugins.module_utils.build.key import BINARIES
from plugins.module_utils.build.release import archive_manifest
from tests.tiny_build import make, plan, source_archive


def test_the_archive_is_a_manifest_and_the_binaries(made: Any) -> None:
    with tarfile.open(made["archive"]) as contents:
        assert sorted(contents.getnames()) == sorted(["manifest.json", *(f"bin/{name}" for name in BINARIES)])
    assert archive_manifest(made["archive"]) == made["manifest"]
    assert made["manifest"]["llama_version"] == "0.5.0"


def test_the_archive_is_the_same_whoever_builds_it(made: Any) -> None:
    with tarfile.open(made["archive"]) as contents:
        owners = {(one.uid, one.gid, one.uname, one.gname) for one in contents.getmembers()}
        modes = {one.name: oct(one.mode) for one in contents.getmembers()}
    assert owners == {(0, 0, "root", "root")}
    assert modes == {"manifest.json": "0o644", **{f"bin/{name}": "0o755" for name in BINARIES}}


def test_the_manifest_names_the_features_of_the_commands_that_were_run(made: Any) -> None:
    assert "avx2" in made["manifest"]["cpu_features"]
    assert "avx512f" not in made["manifest"]["cpu_features"]


def test_a_finished_build_leaves_its_source_and_its_archive(made: Any) -> None:
    assert not (made["work_dir"] / "build").exists()
    assert [path.name for path in (made["work_dir"] / "archives").iterdir()] == ["0123456789abcdef.tar"]
    assert [path.name for path in (made["work_dir"] / "sources").iterdir()] == [made["source"]["sha256"]]


def test_a_source_that_does_not_compile_says_where_and_leaves_no_archive(tmp_path: Path) -> None:
    build = plan(source_archive(tmp_path / "source.tar.gz", "int main() { return nothing; }\n"), tmp_path)
    with pytest.raises(BuildError, match=r"ninja failed while compiling llama.cpp: .*main.cpp:1:\d+: error: .*nothing"):
        make(build, tmp_path)
    assert not (tmp_path / "archives").exists()


def test_a_build_whose_ninja_is_killed_goes_on_in_the_next_run(tmp_path: Path) -> None:
    build = plan(source_archive(tmp_path / "source.tar.gz"), tmp_path)
    # The first program kills the ninja that compiles it, its grandparent or above, once.
    compiler = tmp_path / "killer"
    compiler.write_text(
        f"#!/bin/sh\n[ -e {tmp_path}/killed ] || "
        f"{{ touch {tmp_path}/killed; kill -9 $(pgrep -f 'ninja -C {tmp_path}'); }}\n"
        'exec "$@"\n'
    )
    compiler.chmod(0o755)
    build["options"]["CMAKE_CXX_LINKER_LAUNCHER"] = str(compiler)
    with pytest.raises(
        BuildError, match=r"ninja was killed by signal 9 while compiling llama.cpp: run the same command"
    ):
        make(build, tmp_path)
    assert not (tmp_path / "archives").exists()
    assert make(build, tmp_path)["binaries"].keys() == set(BINARIES)


@pytest.mark.parametrize(
    ("code", "output", "sentence"),
    [
        (
            1,
            ["[1/2] x", "a.cpp:1:1: fatal error: no", "ninja: stopped"],
            "while compiling llama.cpp: a.cpp:1:1: fatal error: no",
        ),
        (1, ["cc1plus: write error: No space left on device"], "No space left on device"),
        (
            2,
            ["ninja: Entering directory `/x'", "ninja: build stopped: interrupted by user.", ""],
            "interrupted by user",
        ),
        (1, [], "it said nothing"),
        (-9, ["[1/2] x"], "ninja was killed by signal 9"),
    ],
)
def test_a_failed_step_becomes_one_sentence(code: int, output: list[str], sentence: str) -> None:
    assert sentence in failure("ninja", "compiling", code, output)


def test_ninjas_progress() -> None:
    assert ninja_progress("[120/361] Building CXX object ggml.o") == (120, 361)
    assert ninja_progress("FAILED: ggml.o") is None
