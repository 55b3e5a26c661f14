# SPDX-License-Identifier: MIT
"""The modules of builds and releases, with a source that compiles in a second instead of ten minutes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.build.release import current_key
from plugins.module_utils.service.deployment import UnreadableError
from plugins.modules import llama_release
from tests.run_module import run_module
from tests.tiny_build import plan, tiny_build


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A build, with its manifest."""
    return tiny_build(tmp_path_factory.mktemp("work"))


def release_module(check: bool, **arguments: Any) -> dict[str, Any]:
    return run_module("llama_release", check=check, **arguments)


def test_a_build_for_another_cpu_is_refused_before_anything_is_there(made: Any, tmp_path: Path) -> None:
    root = tmp_path / "llama.cpp"
    for check in (True, False):
        result = release_module(
            check, root=str(root), key=made["key"], cpu_features=["amx_of_2099"], archive=made["archive"]
        )
        assert "CPU features that this tower lacks: amx_of_2099." in result["msg"]
        assert not root.exists()


def test_the_module_installs_switches_goes_back_and_is_idempotent(made: Any, tmp_path: Path) -> None:
    root, key = str(tmp_path / "llama.cpp"), made["key"]
    assert release_module(True, root=root, key=key)["changed"] is True
    assert not Path(root).exists()
    first = release_module(False, root=root, key=key, archive=made["archive"])
    assert (first["changed"], first["present"], first["previous"]) == (True, False, None)
    again = release_module(False, root=root, key=key)
    assert (again["changed"], again["present"], again["previous"]) == (False, True, key)
    other = Path(root, "releases", "other")
    os.symlink(key, other)
    there = release_module(False, root=root, key="other")
    assert (there["changed"], there["previous"]) == (True, key)
    back = release_module(False, root=root, key=key)
    assert (back["changed"], back["previous"], current_key(Path(root))) == (True, "other", key)


def test_no_release_is_removed_while_a_deployment_cannot_be_read(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def needed() -> Any:
        raise UnreadableError("Nobody knows what it needs.")

    root = tmp_path / "llama.cpp"
    monkeypatch.setattr(llama_release, "needed_deployments", needed)
    for old in ("one", "two", "three"):
        (root / "releases" / old).mkdir(parents=True)
    done = release_module(False, root=str(root), key=made["key"], archive=made["archive"], keep=1)
    assert (done["changed"], done["removed"]) == (True, [])
    assert "Nobody knows what it needs." in str(done["warnings"])
    assert (root / "releases/one").is_dir()


def test_the_servers_user_can_get_at_what_a_root_with_a_narrow_umask_unpacks(made: Any, tmp_path: Path) -> None:
    root = tmp_path / "llama.cpp"
    usual = os.umask(0o077)
    try:
        release_module(False, root=str(root), key=made["key"], archive=made["archive"])
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
    assert checked["llama_build"]["source"] == source, "no nulls of other types of sources, which a manifest would keep"


def test_a_check_run_goes_on_where_the_builder_has_no_compiler_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, *_: None)
    source = {"type": "archive", "location": "/x.tar", "sha256": "ab" * 32}
    place: dict[str, Any] = {"work_dir": str(tmp_path), "progress_path": str(tmp_path / "progress.json")}
    wanted = run_module("llama_build_info", check=True, source=source, work_dir=str(tmp_path))["llama_build"]
    assert run_module("llama_build", check=True, build=wanted, **place)["changed"] is True


def test_the_same_build_is_the_same_key_and_another_level_another(tmp_path: Path) -> None:
    def key(cpu: str, **options: Any) -> str:
        source = {"type": "archive", "location": "/x.tar", "sha256": "ab" * 32}
        arguments: dict[str, Any] = {"source": source, "cpu": cpu, "cmake_options": options, "work_dir": str(tmp_path)}
        return str(run_module("llama_build_info", check=True, **arguments)["llama_build"]["key"])

    assert key("native") == key("native")
    assert len({key("native"), key("native", GGML_LTO=True), key("native", GGML_LTO=False)}) == 3


def test_a_disk_that_is_too_small_is_named_before_anything_is_there(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugins.modules.llama_build.disk_of", lambda _path: {"free_bytes": 2.9e9})
    work_dir = tmp_path / "work"
    build = plan(made["source"], work_dir)
    result = run_module(
        "llama_build",
        build=build,
        work_dir=str(work_dir),
        progress_path=str(work_dir / "progress.json"),
    )
    assert result["msg"] == (
        f"{work_dir} has 2.9 GB free and a build needs 3.0 GB: make room, or set llama_build_work_dir."
    )
    assert not work_dir.exists()


def test_a_place_that_cannot_be_written_to_is_named_with_its_variable(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugins.modules.llama_build.disk_of", lambda _path: {"free_bytes": 9e9})
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
