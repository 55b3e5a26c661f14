# SPDX-License-Identifier: MIT
"""A release is whole, tried and switched to in one step, or nothing changes."""

from __future__ import annotations

import fcntl
import functools
import io
import json
import os
import pwd
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.build import release as releases
from plugins.module_utils.build.release import (
    ReleaseError,
    archive_manifest,
    current_key,
    install_release,
    is_whole,
    locked,
    prune_releases,
    release_of,
    superfluous,
    switch_release,
    trial_problem,
)
from tests.tiny_build import make, plan, source_archive


def test_a_release_is_installed_whole_and_switched_to(made: Any, tmp_path: Path) -> None:
    release = tmp_path / "releases" / made["key"]
    assert not is_whole(release)
    install_release(made["archive"], made["manifest"], release)
    switch_release(tmp_path, made["key"])
    assert is_whole(tmp_path / "current")
    assert current_key(tmp_path) == made["key"]
    assert sorted(path.name for path in release.iterdir()) == ["bin", "manifest.json"]
    assert [path.name for path in release.parent.iterdir()] == [made["key"]]


def test_a_release_is_found_by_what_it_was_built_of(made: Any, tmp_path: Path) -> None:
    """So that a builder need not be asked; one that is damaged, or of another source or options, is not it."""
    manifest, release = made["manifest"], tmp_path / "releases" / made["key"]
    wanted = (manifest["source"], manifest["cpu"], manifest["options"])
    assert release_of(tmp_path, *wanted) is None
    install_release(made["archive"], manifest, release)
    found = release_of(tmp_path, *wanted)
    assert found is not None and found["key"] == made["key"]
    source = manifest["source"] | {"commit": "0" * 40, "sha256": "0" * 64}
    assert release_of(tmp_path, source, *wanted[1:]) is None
    assert release_of(tmp_path, wanted[0], "x86-64-v2", wanted[2]) is None
    assert release_of(tmp_path, *wanted[:2], {}) is None
    (release / "bin" / "llama-server").write_text("damaged")
    assert release_of(tmp_path, *wanted) is None


def test_a_damaged_release_is_not_whole_and_is_replaced(made: Any, tmp_path: Path) -> None:
    release = tmp_path / "releases" / made["key"]
    install_release(made["archive"], made["manifest"], release)
    (release / "bin" / "llama-server").write_text("damaged")
    assert not is_whole(release)
    install_release(made["archive"], made["manifest"], release)
    assert is_whole(release)
    assert [path.name for path in release.parent.iterdir()] == [made["key"]]


def test_binaries_that_are_not_the_manifests_are_not_installed(made: Any, tmp_path: Path) -> None:
    release = tmp_path / "releases" / made["key"]
    manifest: Any = {**made["manifest"], "binaries": {**made["manifest"]["binaries"], "llama-cli": "ab" * 32}}
    with pytest.raises(ReleaseError, match=r"llama-cli in .* has the SHA-256 \w{64}, not (ab){32}"):
        install_release(made["archive"], manifest, release)
    assert list(release.parent.iterdir()) == []


def test_a_binary_that_does_not_run_is_not_installed(tmp_path: Path) -> None:
    # What an instruction that the CPU lacks does to a program.
    main = "#include <csignal>\nint main() { std::raise(SIGILL); }\n"
    build = plan(source_archive(tmp_path / "source.tar.gz", main), tmp_path)
    manifest = make(build, tmp_path)
    assert manifest["llama_version"] is None
    with pytest.raises(ReleaseError, match="llama-server of the new build uses an instruction that this CPU lacks"):
        install_release(build["archive"], manifest, tmp_path / "releases" / "x")
    assert list((tmp_path / "releases").iterdir()) == []


def test_half_an_archive_is_refused(made: Any, tmp_path: Path) -> None:
    half = tmp_path / "half.tar"
    half.write_bytes(Path(made["archive"]).read_bytes()[:700])
    with pytest.raises(ReleaseError, match=r"half.tar is no whole build archive"):
        archive_manifest(str(half))


def archive_of(made: Any, path: Path, *more: tarfile.TarInfo, without: str = "") -> str:
    """The made archive with further members, each of four bytes where it is a file."""
    with tarfile.open(made["archive"]) as whole_one, tarfile.open(path, "w") as contents:
        for member in whole_one:
            if member.name != without:
                contents.addfile(member, whole_one.extractfile(member))
        for member in more:
            member.size = 4 if member.isreg() else 0
            contents.addfile(member, io.BytesIO(b"evil") if member.isreg() else None)
    return str(path)


def member(name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o755, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.mode, made.linkname = kind, mode, target
    return made


@pytest.mark.parametrize(
    "added",
    [
        member("../../../../../../../../../../../../tmp/outside-of-the-release"),
        member("/tmp/outside-of-the-release"),
        member("bin/other"),
        member("bin/llama-server"),
        member("bin", tarfile.DIRTYPE),
        member("link", tarfile.SYMTYPE, target="/etc"),
    ],
    ids=lambda added: added.name,
)
def test_what_the_manifest_does_not_name_is_refused(made: Any, tmp_path: Path, added: tarfile.TarInfo) -> None:
    archive, release = archive_of(made, tmp_path / "x.tar", added), tmp_path / "releases" / "x"
    with pytest.raises(ReleaseError, match="that its manifest does not name, or twice"):
        install_release(archive, archive_manifest(archive), release)
    assert list(release.parent.iterdir()) == []
    assert not Path("/tmp/outside-of-the-release").exists()


@pytest.mark.parametrize(
    "instead",
    [
        member("bin/llama-cli", tarfile.SYMTYPE, target="/bin/true"),
        member("bin/llama-cli", tarfile.LNKTYPE, target="bin/llama-server"),
        member("bin/llama-cli", tarfile.CHRTYPE),
        member("bin/llama-cli", tarfile.FIFOTYPE),
        member("bin/llama-cli", mode=0o4755),
    ],
    ids=["symlink", "hard link", "device", "pipe", "setuid"],
)
def test_a_binary_that_is_no_plain_file_is_refused(made: Any, tmp_path: Path, instead: tarfile.TarInfo) -> None:
    archive, release = archive_of(made, tmp_path / "x.tar", instead, without="bin/llama-cli"), tmp_path / "r" / "x"
    with pytest.raises(ReleaseError, match=r"bin/llama-cli in .*x\.tar is not a plain file"):
        install_release(archive, archive_manifest(archive), release)
    assert list(release.parent.iterdir()) == []


def test_an_archive_without_one_of_its_binaries_is_refused(made: Any, tmp_path: Path) -> None:
    archive = archive_of(made, tmp_path / "x.tar", without="bin/llama-cli")
    with pytest.raises(ReleaseError, match=r"x\.tar lacks bin/llama-cli"):
        install_release(archive, archive_manifest(archive), tmp_path / "releases" / "x")


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ({"binaries": {"../x": "ab" * 32}, "cpu_features": []}, r"names the binary \.\./x"),
        ({"binaries": {"x": "ab"}, "cpu_features": []}, "names the binary x with the SHA-256 ab"),
        ({"binaries": {"x": "ab" * 32}}, "does not say which CPU features"),
        ({"binaries": []}, "names no binaries"),
        ([], "names no binaries"),
        ("[" * 100_000, "is no whole build archive"),
        (" " * 2_000_000, "does not begin with a manifest"),
    ],
)
def test_a_manifest_that_names_no_such_files_is_refused(tmp_path: Path, manifest: Any, words: str) -> None:
    text = (manifest if isinstance(manifest, str) else json.dumps(manifest)).encode()
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as contents:
        named = tarfile.TarInfo("manifest.json")
        named.size = len(text)
        contents.addfile(named, io.BytesIO(text))
    with pytest.raises(ReleaseError, match=words):
        archive_manifest(str(path))


# What each of these does is done, or not, when the power fails or the run is killed.
STEPS = ("mkdir", "chmod", "fchmod", "rename", "replace", "symlink", "unlink", "rmdir", "fsync")


def recorded(monkeypatch: pytest.MonkeyPatch, at: Callable[[str, tuple[Any, ...]], None]) -> None:
    """Have each step told before it is done."""

    def told(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def step(*arguments: Any, **options: Any) -> Any:
            at(name, arguments)
            return real(*arguments, **options)

        return step

    for name in STEPS:
        monkeypatch.setattr(os, name, told(name))


def killed_at(step: int, change: Callable[[], Any]) -> bool:
    """Whether a process that makes the change was killed before this step of it, or made it all."""
    child = os.fork()
    if not child:
        steps = iter(range(step))

        def kill(*_: Any) -> None:
            if next(steps, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        with pytest.MonkeyPatch.context() as patch:
            recorded(patch, kill)
            try:
                change()
            finally:
                os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No trial, which takes most of the time of an install and changes nothing."""
    monkeypatch.setattr(releases, "try_out", lambda _binaries: None)


def test_current_is_whole_wherever_a_change_is_killed_and_the_next_run_ends_it(
    made: Any, tmp_path: Path, untried: None
) -> None:
    def change(root: Path, key: str) -> None:
        with locked(root):
            if not is_whole(root / "releases" / key):
                install_release(made["archive"], made["manifest"], root / "releases" / key)
            before = current_key(root)
            switch_release(root, key)
            prune_releases(root / "releases", key, before, 1)

    seen, killed, step = set(), True, 0
    while killed:
        root = tmp_path / str(step)
        change(root, "a")
        killed = killed_at(step, functools.partial(change, root, "b"))
        assert is_whole(root / "current"), f"step {step}"
        assert all(is_whole(release) for release in (root / "releases").glob("[!.]*")), f"step {step}"
        seen.add((current_key(root), *sorted(path.name for path in (root / "releases").glob("[!.]*"))))
        change(root, "b")
        change(root, "c")
        assert current_key(root) == "c"
        assert sorted(path.name for path in root.iterdir()) == [".lock", "current", "releases"]
        assert [path.name for path in (root / "releases").iterdir()] == ["c"]
        step += 1
    assert seen == {("a", "a"), ("a", "a", "b"), ("b", "a", "b"), ("b", "b")}


def test_what_a_killed_run_left_is_removed_by_the_next_install(made: Any, tmp_path: Path, untried: None) -> None:
    for name in (".other.partial", ".older.removed"):
        (tmp_path / "releases" / name / "bin").mkdir(parents=True)
    install_release(made["archive"], made["manifest"], tmp_path / "releases" / "a")
    assert [path.name for path in (tmp_path / "releases").iterdir()] == ["a"]


def test_a_server_finds_its_program_wherever_a_repair_is_killed(made: Any, tmp_path: Path, untried: None) -> None:
    release = tmp_path / "releases" / "a"
    install_release(made["archive"], made["manifest"], release)
    step = 0
    while True:
        (release / "bin" / "llama-cli").write_text("damaged")
        killed = killed_at(step, lambda: install_release(made["archive"], made["manifest"], release))
        wrong = releases.wrong_binary(release, made["manifest"]["binaries"])
        assert wrong is None or wrong[0] == "llama-cli", f"step {step}"
        if not killed:
            break
        step += 1
    assert wrong is None
    assert step > 20


def test_an_install_that_fails_leaves_what_is_there(made: Any, tmp_path: Path) -> None:
    release = tmp_path / "releases" / "a"
    install_release(made["archive"], made["manifest"], release)
    manifest: Any = {**made["manifest"], "binaries": {**made["manifest"]["binaries"], "llama-cli": "ab" * 32}}
    with pytest.raises(ReleaseError):
        install_release(made["archive"], manifest, release)
    assert is_whole(release)
    assert [path.name for path in release.parent.iterdir()] == ["a"]


def test_a_release_is_on_the_disk_before_it_has_its_name_and_current_after(
    made: Any, tmp_path: Path, untried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[str] = set()
    named: dict[str, set[str]] = {}

    def note(step: str, arguments: tuple[Any, ...]) -> None:
        if step == "fsync":
            synced.add(os.readlink(f"/proc/self/fd/{arguments[0]}"))
        elif step in {"rename", "replace"}:
            named[str(arguments[1])] = set(synced)

    recorded(monkeypatch, note)
    release, partial = tmp_path / "releases" / "a", tmp_path / "releases" / ".a.partial"
    install_release(made["archive"], made["manifest"], release)
    switch_release(tmp_path, "a")
    files = {str(partial / "bin" / name) for name in made["manifest"]["binaries"]}
    assert files | {str(partial / "bin"), str(partial), f"{partial}/manifest.json.partial"} <= named[str(release)]
    assert str(release.parent) not in named[str(release)]
    assert str(release.parent) in named[str(tmp_path / "current")]
    assert str(tmp_path) in synced


def test_modes_are_set_whatever_the_umask(made: Any, tmp_path: Path) -> None:
    root = tmp_path / "root"
    before = os.umask(0o077)
    try:
        with locked(root):
            install_release(made["archive"], made["manifest"], root / "releases" / "a")
    finally:
        os.umask(before)
    found = {str(path.relative_to(root)): oct(path.stat().st_mode & 0o7777) for path in [root, *root.rglob("*")]}
    binaries = {f"releases/a/bin/{name}": "0o755" for name in made["manifest"]["binaries"]}
    directories = dict.fromkeys([".", "releases", "releases/a", "releases/a/bin"], "0o755")
    assert found == {**directories, **binaries, "releases/a/manifest.json": "0o644", ".lock": "0o600"}


def test_the_second_run_is_refused_with_the_first(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(ReleaseError) as refused, locked(tmp_path, 0):
        pass
    assert f"Another run installs a release in {tmp_path} (a release, process {os.getpid()} since 20" in str(
        refused.value
    )
    with locked(tmp_path, 0):
        pass


def test_the_second_run_waits_for_the_first(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("process 1 since a run of old that said more than this one")
    holder, seen = os.open(tmp_path / ".lock", os.O_RDWR), tmp_path / "seen"
    fcntl.flock(holder, fcntl.LOCK_EX)
    child = os.fork()
    if not child:
        os.close(holder)
        with locked(tmp_path, 60):
            seen.write_text((tmp_path / ".lock").read_text())
        os._exit(0)
    assert os.waitpid(child, os.WNOHANG) == (0, 0)
    assert not seen.exists()
    os.close(holder)
    os.waitpid(child, 0)
    holder_of = json.loads(seen.read_text())
    assert (holder_of["what"], holder_of["pid"]) == ("a release", child)


TELLS_WHO = """#!/bin/sh
test "$1" = --version && exit
{ id -u; grep -E 'NoNewPrivs|CapEff' /proc/self/status; env; test -r tiny.gguf && echo readable; } >&2
exit 1
"""


def test_the_trial_has_no_rights_and_no_environment_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cret")
    monkeypatch.setattr(releases, "trial_problem", lambda _name, _code, output: output)
    (tmp_path / "bin").mkdir()
    tmp_path.chmod(0o755)
    for name in ("llama-server", "llama-bench"):
        (tmp_path / "bin" / name).write_text(TELLS_WHO)
        (tmp_path / "bin" / name).chmod(0o755)
    with pytest.raises(ReleaseError) as told:
        releases.try_out(tmp_path / "bin")
    said = str(told.value)
    assert "readable" in said
    assert "s3cret" not in said
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()
    assert said.splitlines()[0] == str(user)
    if os.geteuid() == 0:
        assert "NoNewPrivs:\t1" in said
        assert "CapEff:\t0000000000000000" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin"]


def test_what_a_new_program_says_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    tmp_path.chmod(0o755)
    (tmp_path / "bin" / "llama-server").write_text("#!/bin/sh\nexec yes >&2\n")
    (tmp_path / "bin" / "llama-server").chmod(0o755)
    with pytest.raises(ReleaseError, match=f"was killed by signal {signal.SIGXFSZ.value}"):
        releases.try_out(tmp_path / "bin")


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


@pytest.mark.parametrize(("keep", "removed"), [(1, ["previous", "young"]), (2, ["previous", "young"]), (3, ["young"])])
def test_a_release_that_is_needed_stays_whatever_is_kept(keep: int, removed: list[str]) -> None:
    keys = ["young", "current", "old", "previous"]
    assert superfluous(keys, "current", "previous", keep, {"old"}) == removed


def test_a_release_whose_server_runs_is_not_removed(tmp_path: Path) -> None:
    for key in ("a", "b", "c"):
        (tmp_path / "releases" / key / "bin").mkdir(parents=True)
    server = tmp_path / "releases" / "a" / "bin" / "llama-server"
    shutil.copy("/bin/sleep", server)
    with subprocess.Popen([server, "60"]) as process:
        try:
            assert prune_releases(tmp_path / "releases", "c", "b", 1) == ["b"]
        finally:
            process.kill()
    assert prune_releases(tmp_path / "releases", "c", None, 1) == ["a"]
