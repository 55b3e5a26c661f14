# SPDX-License-Identifier: MIT
"""From a source to a release that is current, with a source that compiles in a second instead of ten minutes."""

from __future__ import annotations

import functools
import http.server
import io
import os
import shutil
import signal
import subprocess
import tarfile
import threading
import types
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.build.compile import BuildError, failure, make_artefact, ninja_progress
from plugins.module_utils.build.key import BINARIES, sha256_file
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
from plugins.module_utils.build.source import SourceError, fetch_source, pip_problem
from plugins.module_utils.progress import Progress
from tests.run_module import run_module

CMAKE = f"""
cmake_minimum_required(VERSION 3.18)
project(llama.cpp CXX)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${{CMAKE_BINARY_DIR}}/bin)
foreach(name {" ".join(BINARIES)})
  add_executable(${{name}} src/main.cpp)
  target_compile_options(${{name}} PRIVATE -mavx2)
endforeach()
"""
MAIN = '#include <cstdio>\nint main() { std::fputs("version: 0.5.0\\n", stderr); return 0; }\n'


def archive(path: Path, main: str = MAIN) -> dict[str, Any]:
    """A source archive with the layout of llama.cpp, vendored one level down."""
    files = {"CMakeLists.txt": CMAKE, "src/main.cpp": main, "ggml/CMakeLists.txt": "", "tools/CMakeLists.txt": ""}
    with tarfile.open(path, "w:gz") as contents:
        for name, text in files.items():
            member = tarfile.TarInfo(f"package-1.0/vendor/llama.cpp/{name}")
            member.size = len(text)
            contents.addfile(member, io.BytesIO(text.encode()))
    return {"type": "archive", "location": str(path), "sha256": sha256_file(str(path))}


def plan(source: dict[str, Any], work_dir: Path, key: str = "0123456789abcdef") -> dict[str, Any]:
    return {
        "key": key,
        "source": source,
        "cpu": "native",
        "options": {"CMAKE_BUILD_TYPE": "Release"},
        "compiler": "c++ 12",
        "artefact": str(work_dir / "artefacts" / f"{key}.tar"),
    }


def make(build: dict[str, Any], work_dir: Path) -> dict[str, Any]:
    with Progress(str(work_dir / "progress.json")) as progress:
        return make_artefact(build, str(work_dir), str(work_dir / "ccache"), progress)


def fetch(source: dict[str, Any], work_dir: Path) -> str:
    with Progress(str(work_dir / "progress.json")) as progress:
        return fetch_source(source, str(work_dir / "sources"), progress)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A build, and its manifest."""
    work_dir = tmp_path_factory.mktemp("work")
    build = plan(archive(work_dir / "source.tar.gz"), work_dir)
    return {**build, "manifest": make(build, work_dir), "work_dir": work_dir}


def test_the_artefact_is_a_manifest_and_the_binaries(made: dict[str, Any]) -> None:
    with tarfile.open(made["artefact"]) as contents:
        assert sorted(contents.getnames()) == sorted(["manifest.json", *(f"bin/{name}" for name in BINARIES)])
    assert read_manifest(made["artefact"]) == made["manifest"]
    assert made["manifest"]["llama_version"] == "0.5.0"


def test_the_artefact_is_the_same_whoever_builds_it(made: dict[str, Any]) -> None:
    with tarfile.open(made["artefact"]) as contents:
        owners = {(one.uid, one.gid, one.uname, one.gname) for one in contents.getmembers()}
        modes = {one.name: oct(one.mode) for one in contents.getmembers()}
    assert owners == {(0, 0, "root", "root")}
    assert modes == {"manifest.json": "0o644", **{f"bin/{name}": "0o755" for name in BINARIES}}


def test_the_manifest_names_the_features_of_the_commands_that_were_run(made: dict[str, Any]) -> None:
    assert "avx2" in made["manifest"]["cpu_features"]
    assert "avx512f" not in made["manifest"]["cpu_features"]


def test_a_finished_build_leaves_its_source_and_its_artefact(made: dict[str, Any]) -> None:
    assert not (made["work_dir"] / "build").exists()
    assert [path.name for path in (made["work_dir"] / "artefacts").iterdir()] == ["0123456789abcdef.tar"]
    assert [path.name for path in (made["work_dir"] / "sources").iterdir()] == [made["source"]["sha256"]]


def test_a_source_that_does_not_compile_says_where_and_leaves_no_artefact(tmp_path: Path) -> None:
    build = plan(archive(tmp_path / "source.tar.gz", "int main() { return nothing; }\n"), tmp_path)
    with pytest.raises(BuildError, match=r"ninja failed while compiling llama.cpp: .*main.cpp:1:\d+: error: .*nothing"):
        make(build, tmp_path)
    assert not (tmp_path / "artefacts").exists()


def test_a_build_whose_ninja_is_killed_goes_on_in_the_next_run(tmp_path: Path) -> None:
    build = plan(archive(tmp_path / "source.tar.gz"), tmp_path)
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
    assert not (tmp_path / "artefacts").exists()
    assert make(build, tmp_path)["binaries"].keys() == set(BINARIES)


def test_an_archive_with_another_hash_is_not_unpacked(tmp_path: Path) -> None:
    source = {**archive(tmp_path / "source.tar.gz"), "sha256": "ab" * 32}
    with pytest.raises(SourceError, match=r"source.tar.gz has the SHA-256 \w{64}, not (ab){32} as llama_build_source"):
        fetch(source, tmp_path)
    assert list((tmp_path / "sources").iterdir()) == []


def test_an_archive_without_llama_cpp_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.tar"
    with tarfile.open(path, "w") as contents:
        contents.add(__file__, "other/README")
    with pytest.raises(SourceError, match=r"has no llama.cpp in it"):
        fetch({"type": "archive", "location": str(path), "sha256": sha256_file(str(path))}, tmp_path)
    assert list((tmp_path / "sources").iterdir()) == []


def test_an_archive_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none.tar cannot be read on the builder: No such file or directory"):
        fetch({"type": "archive", "location": "/none.tar", "sha256": "ab" * 32}, tmp_path)


def test_what_a_killed_fetch_left_is_removed(tmp_path: Path) -> None:
    source = archive(tmp_path / "source.tar.gz")
    (tmp_path / "sources" / f"{source['sha256']}.partial" / "tree").mkdir(parents=True)
    fetch(source, tmp_path)
    assert [path.name for path in (tmp_path / "sources").iterdir()] == [source["sha256"]]


@pytest.fixture
def repository(tmp_path: Path) -> dict[str, Any]:
    """A git repository with one tag."""
    fetch(archive(tmp_path / "source.tar.gz"), tmp_path)
    (tree,) = (tmp_path / "sources").glob("*/package-1.0/vendor/llama.cpp")
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]

    def git(*words: str) -> str:
        command = ["git", "-C", str(tree), *identity, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "all")
    git("tag", "v1")
    return {"type": "git", "url": f"file://{tree}", "tag": "v1", "commit": git("rev-parse", "HEAD")}


def test_a_tag_that_is_the_commit_is_fetched(repository: dict[str, Any], tmp_path: Path) -> None:
    assert fetch(repository, tmp_path) == str(tmp_path / "sources" / repository["commit"])


def test_a_tag_that_is_another_commit_is_refused(repository: dict[str, Any], tmp_path: Path) -> None:
    wrong = "cd" * 20
    sentence = f"The tag v1 of .* is the commit {repository['commit']}, not {wrong} as llama_build_source says"
    with pytest.raises(SourceError, match=sentence):
        fetch({**repository, "commit": wrong}, tmp_path)
    assert not (tmp_path / "sources" / wrong).exists()


def test_a_tag_that_is_not_there_is_named(repository: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"git could not fetch the tag v2 of .*v2"):
        fetch({**repository, "tag": "v2", "commit": "cd" * 20}, tmp_path)


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (
            "ERROR: HASHES\n        Expected sha256 aa\n             Got        " + "bc" * 32,
            "p 1 has the SHA-256 " + "bc" * 32,
        ),
        ("ERROR: No matching distribution found for p==1", "pip finds no source distribution of p 1"),
        ("/usr/bin/python3: No module named pip", "has no pip: install the package python3-pip."),
        ("WARNING: x\nERROR: the disk is full\n", "pip could not fetch p 1: ERROR: the disk is full"),
    ],
)
def test_what_pip_prints_becomes_one_sentence(output: str, sentence: str) -> None:
    assert sentence in pip_problem(output, "p", "1", "ab" * 32)


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


def test_a_release_is_installed_whole_and_switched_to(made: dict[str, Any], tmp_path: Path) -> None:
    release = tmp_path / "releases" / made["key"]
    assert not whole(release)
    install(made["artefact"], made["manifest"], release)
    switch(tmp_path, made["key"])
    assert whole(tmp_path / "current")
    assert current_key(tmp_path) == made["key"]
    assert sorted(path.name for path in release.iterdir()) == ["bin", "manifest.json"]
    assert [path.name for path in release.parent.iterdir()] == [made["key"]]


def test_a_damaged_release_is_not_whole_and_is_replaced(made: dict[str, Any], tmp_path: Path) -> None:
    release = tmp_path / "releases" / made["key"]
    install(made["artefact"], made["manifest"], release)
    (release / "bin" / "llama-server").write_text("damaged")
    assert not whole(release)
    install(made["artefact"], made["manifest"], release)
    assert whole(release)
    assert [path.name for path in release.parent.iterdir()] == [made["key"]]


def test_binaries_that_are_not_the_manifests_are_not_installed(made: dict[str, Any], tmp_path: Path) -> None:
    release = tmp_path / "releases" / made["key"]
    manifest = {**made["manifest"], "binaries": {**made["manifest"]["binaries"], "llama-cli": "ab" * 32}}
    with pytest.raises(ReleaseError, match=r"llama-cli in .* has the SHA-256 \w{64}, not (ab){32}"):
        install(made["artefact"], manifest, release)
    assert list(release.parent.iterdir()) == []


def test_a_binary_that_does_not_run_is_not_installed(tmp_path: Path) -> None:
    # What an instruction that the CPU lacks does to a program.
    main = "#include <csignal>\nint main() { std::raise(SIGILL); }\n"
    build = plan(archive(tmp_path / "source.tar.gz", main), tmp_path)
    manifest = make(build, tmp_path)
    assert manifest["llama_version"] is None
    with pytest.raises(ReleaseError, match="llama-server of the new build uses an instruction that this CPU lacks"):
        install(build["artefact"], manifest, tmp_path / "releases" / "x")
    assert list((tmp_path / "releases").iterdir()) == []


def test_half_an_artefact_is_refused(made: dict[str, Any], tmp_path: Path) -> None:
    half = tmp_path / "half.tar"
    half.write_bytes(Path(made["artefact"]).read_bytes()[:700])
    with pytest.raises(ReleaseError, match=r"half.tar is not a whole artefact"):
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


def release_module(check: bool, **arguments: Any) -> dict[str, Any]:
    return run_module("llama_release", check=check, **arguments)


def test_a_build_for_another_cpu_is_refused_before_anything_is_there(made: dict[str, Any], tmp_path: Path) -> None:
    root = tmp_path / "llama.cpp"
    for check in (True, False):
        result = release_module(
            check, root=str(root), key=made["key"], cpu_features=["amx_of_2099"], archive=made["artefact"]
        )
        assert "CPU features that this tower lacks: amx_of_2099." in result["msg"]
        assert not root.exists()


def test_the_module_installs_switches_goes_back_and_is_idempotent(made: dict[str, Any], tmp_path: Path) -> None:
    root, key = str(tmp_path / "llama.cpp"), made["key"]
    assert release_module(True, root=root, key=key)["changed"] is True
    assert not Path(root).exists()
    first = release_module(False, root=root, key=key, archive=made["artefact"])
    assert (first["changed"], first["present"], first["previous"]) == (True, False, None)
    again = release_module(False, root=root, key=key)
    assert (again["changed"], again["present"], again["previous"]) == (False, True, key)
    other = Path(root, "releases", "other")
    os.symlink(key, other)
    there = release_module(False, root=root, key="other")
    assert (there["changed"], there["previous"]) == (True, key)
    back = release_module(False, root=root, key=key)
    assert (back["changed"], back["previous"], current_key(Path(root))) == (True, "other", key)


def test_the_servers_user_can_get_at_what_a_root_with_a_narrow_umask_unpacks(
    made: dict[str, Any], tmp_path: Path
) -> None:
    root = tmp_path / "llama.cpp"
    usual = os.umask(0o077)
    try:
        release_module(False, root=str(root), key=made["key"], archive=made["artefact"])
    finally:
        os.umask(usual)
    release = root / "releases" / made["key"]
    wanted = [root, root / "releases", release, release / "bin", release / "bin" / "llama-server"]
    assert [oct(path.stat().st_mode & 0o777) for path in wanted] == ["0o755"] * len(wanted)


def test_a_release_that_is_nowhere_is_named(tmp_path: Path) -> None:
    result = release_module(False, root=str(tmp_path), key="feedfeedfeedfeed")
    assert (
        result["msg"]
        == f"There is no release feedfeedfeedfeed in {tmp_path}/releases: run ansible-playbook llamatower.tower.build."
    )


def test_a_machine_that_cannot_compile_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, *_: None)
    source = {"type": "archive", "location": "/x.tar", "sha256": "ab" * 32}
    result = run_module("llama_build_info", source=source, work_dir=str(tmp_path))
    assert result["msg"] == "The builder cannot compile llama.cpp: install g++, cmake, ninja-build (and ccache) there."
    checked = run_module("llama_build_info", check=True, source=source, work_dir=str(tmp_path))
    assert (checked["llama_build"]["key"], checked["llama_build"]["present"]) == (None, False)


def test_the_same_build_is_the_same_key_and_another_level_another(tmp_path: Path) -> None:
    def key(cpu: str, **options: Any) -> str:
        source = {"type": "archive", "location": "/x.tar", "sha256": "ab" * 32}
        arguments: dict[str, Any] = {"source": source, "cpu": cpu, "cmake_options": options, "work_dir": str(tmp_path)}
        return str(run_module("llama_build_info", check=True, **arguments)["llama_build"]["key"])

    assert key("native") == key("native")
    assert len({key("native"), key("native", GGML_LTO=True), key("native", GGML_LTO=False)}) == 3


def test_a_disk_that_is_too_small_is_named_before_anything_is_there(
    made: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=2.9e9))
    work_dir = tmp_path / "work"
    build = plan(made["source"], work_dir)
    result = run_module(
        "llama_build",
        build=build,
        work_dir=str(work_dir),
        progress_path=str(work_dir / "progress.json"),
    )
    assert result["msg"] == (
        f"{work_dir} has 2.9 GB free and a build needs 3 GB: make room, or set llama_build_work_dir."
    )
    assert not work_dir.exists()


def test_a_place_that_cannot_be_written_to_is_named_with_its_variable(
    made: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=9e9))
    (tmp_path / "file").write_text("")
    work_dir = tmp_path / "file" / "work"
    result = run_module(
        "llama_build",
        build=plan(made["source"], work_dir),
        work_dir=str(work_dir),
        progress_path=str(work_dir / "progress.json"),
    )
    assert result["msg"].startswith(f"The build cannot be written to {work_dir} (")
    assert "set llama_build_work_dir" in result["msg"]


def test_an_archive_is_fetched_from_a_web_server(made: dict[str, Any], tmp_path: Path) -> None:
    directory = Path(made["source"]["location"]).parent
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(directory))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        source = {**made["source"], "location": f"{url}/source.tar.gz"}
        assert fetch(source, tmp_path).endswith("package-1.0/vendor/llama.cpp")
        with pytest.raises(SourceError, match=r"none.tar cannot be fetched by the builder: HTTP Error 404"):
            fetch({**source, "location": f"{url}/none.tar", "sha256": "cd" * 32}, tmp_path)
        server.shutdown()
