# SPDX-License-Identifier: MIT
"""Releases of llama.cpp: directories named by their build key, and a link to the current one.

A release is written beside, proven, tried and on the disk before it has its name, and has its name before ``current``
points to it. One run at a time does so (:func:`locked`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Optional, cast

from .. import lock
from ..files import make_directory, point, read_document, read_json, sync_directory, write_json
from ..text import printable
from .document import BuildManifest, BuildSource
from .key import HEX_DIGEST, SCHEMA_VERSION, sha256_file, source_digest
from .trial_model import tiny_gguf

MANIFEST = "manifest.json"
MANIFEST_BYTES = 1_000_000
BINARY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

# The trial takes seconds; an emulated CPU is ten times slower.
TRIAL_SECONDS = 300
# Of what a program that nobody knows yet may say.
OUTPUT_BYTES = 1_000_000
# Who built it is not root here, nor whoever starts the playbook. The service's user may not exist yet.
NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs"]
TRIAL_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}

# An install whose two programs hang takes less.
LOCK_SECONDS = 3 * TRIAL_SECONDS


class ReleaseError(Exception):
    """The release cannot be installed; the text is one sentence."""


def is_whole(release: Path) -> bool:
    """Whether a release is there with the binaries that its manifest names."""
    manifest = read_json(str(release / "manifest.json"))
    try:
        return wrong_binary(release, manifest["binaries"]) is None if isinstance(manifest, dict) else False
    except (OSError, KeyError):
        return False


def wrong_binary(release: Path, binaries: dict[str, str]) -> tuple[str, str] | None:
    """The first of the binaries that is another one than it should be, and the SHA-256 that it has; None without one.

    Raises OSError where one is not there.
    """
    for name, digest in binaries.items():
        found = sha256_file(str(release / "bin" / name))
        if found != digest:
            return name, found
    return None


@contextlib.contextmanager
def locked(root: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Be the only one who installs and switches below this directory; wait for another one so long."""
    try:
        with lock.locked(str(root / ".lock"), "a release", seconds):
            yield
    except lock.HeldError as holder:
        raise ReleaseError(
            f"Another run installs a release in {root} ({holder}): wait for it, or end that process."
        ) from None


def archive_manifest(archive: str) -> BuildManifest:
    """The manifest in a build archive, its first member."""
    try:
        with tarfile.open(archive, "r:") as contents:
            member = contents.next()
            if member is None or member.name != MANIFEST or not member.isreg() or member.size > MANIFEST_BYTES:
                raise ValueError("it does not begin with a manifest")
            manifest = json.load(cast("IO[bytes]", contents.extractfile(member)))
        problem = _manifest_problem(manifest)
        if problem:
            raise ValueError(problem)
        return cast(BuildManifest, manifest)
    except (OSError, ValueError, RecursionError, tarfile.TarError) as error:
        raise ReleaseError(
            f"{archive} is no whole build archive ({error}): remove it and run ansible-playbook llamatower.tower.build."
        ) from None


def _manifest_problem(manifest: object) -> str | None:
    binaries = manifest.get("binaries") if isinstance(manifest, dict) else None
    features = manifest.get("cpu_features") if isinstance(manifest, dict) else None
    if not isinstance(binaries, dict) or not binaries:
        return "its manifest names no binaries"
    for name, digest in binaries.items():
        if not BINARY.fullmatch(name) or not HEX_DIGEST.fullmatch(str(digest)):
            return f"its manifest names the binary {printable(name)} with the SHA-256 {printable(digest)}"
    if not isinstance(features, list) or not all(isinstance(feature, str) for feature in features):
        return "its manifest does not say which CPU features are used"
    return None


def install_release(archive: str, manifest: BuildManifest, release: Path) -> None:
    """Unpack beside, prove, try, write to the disk, rename. Only while :func:`locked`."""
    partial = release.with_name(f".{release.name}.partial")
    try:
        for left in release.parent.glob(".*"):  # by a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        make_directory(str(partial / "bin"))
        unpack(archive, manifest, partial)
        wrong = wrong_binary(partial, manifest["binaries"])
        if wrong:
            name, found = wrong
            wanted = manifest["binaries"][name]
            raise ReleaseError(
                f"{name} in {archive} has the SHA-256 {found}, not {wanted}: remove that archive and build again."
            )
        try_out(partial / "bin")
        write_json(str(partial / MANIFEST), manifest)
        sync_directory(str(partial / "bin"))
        if release.exists():
            _mend(partial, release, list(manifest["binaries"]))
        else:
            partial.rename(release)
        sync_directory(str(release.parent))
    except (OSError, tarfile.TarError) as error:
        raise ReleaseError(f"The release cannot be written to {release}: {error}; current was left as it is.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def unpack(archive: str, manifest: BuildManifest, directory: Path) -> None:
    """Write the binaries that the manifest names, which is all that an archive may have, and nothing of how they are
    kept there: ``extractall`` of Python 3.11.2 (Debian 12) has no filter, and writes wherever a member says."""
    awaited = {MANIFEST, *(f"bin/{name}" for name in manifest["binaries"])}
    # Uncompressed, so that no file is larger than the archive.
    with tarfile.open(archive, "r:") as contents:
        for member in contents:
            name = printable(member.name)
            if member.name not in awaited:
                raise ReleaseError(
                    f"{archive} has a file {name} that its manifest does not name, or twice: see who made it, remove "
                    "it and build again."
                )
            if not member.isreg() or member.issparse() or member.mode & 0o7000:
                raise ReleaseError(
                    f"{name} in {archive} is not a plain file: see who made it, remove it and build again."
                )
            awaited.remove(member.name)
            if member.name != MANIFEST:
                _write(cast("IO[bytes]", contents.extractfile(member)), directory / member.name)
    if awaited:
        raise ReleaseError(f"{archive} lacks {', '.join(sorted(awaited))}: remove that archive and build again.")


def _write(content: IO[bytes], path: Path) -> None:
    with path.open("xb") as file:
        os.fchmod(file.fileno(), 0o755)
        shutil.copyfileobj(content, file)
        file.flush()
        os.fsync(file.fileno())


def _mend(partial: Path, release: Path, binaries: list[str]) -> None:
    """Replace the files of a release that has others than its manifest says.

    One after the other, each whole: a server that starts meanwhile finds its program, and a run that is killed leaves
    a release that is not whole, as it found it, for the next one.
    """
    make_directory(str(release / "bin"))
    for directory in (release, release / "bin"):
        directory.chmod(0o755)
    for name in [*(f"bin/{name}" for name in binaries), MANIFEST]:
        os.replace(partial / name, release / name)
    sync_directory(str(release / "bin"))
    sync_directory(str(release))


def try_out(binaries: Path) -> None:
    """Run the binaries here, and a model's matrix kernels with them."""
    release = binaries.parent
    model = release / "tiny.gguf"
    model.write_bytes(tiny_gguf())
    model.chmod(0o644)
    try:
        _run(release, ["bin/llama-server", "--version"])
        _run(
            release, ["bin/llama-bench", *["-m", "tiny.gguf", "-p", "4", "-n", "4", "-r", "1", "-t", "1", "-o", "json"]]
        )
    finally:
        model.unlink()


def _run(release: Path, argv: list[str]) -> None:
    """Run a program in the release's directory: nobody need not get at what is above it."""
    name = os.path.basename(argv[0])
    limits = ["prlimit", "--core=0", f"--fsize={OUTPUT_BYTES}", "--"]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            result = subprocess.run(
                [*limits, *([*NOBODY, "--"] if os.geteuid() == 0 else []), *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                check=False,
                timeout=TRIAL_SECONDS,
                cwd=release,
                env=TRIAL_ENVIRONMENT,
            )
        except subprocess.TimeoutExpired:
            raise ReleaseError(
                f"{name} of the new build hung for {TRIAL_SECONDS} s; current was left as it is."
            ) from None
        if result.returncode:
            said = [_text(file) for file in (errors, output)]
            raise ReleaseError(trial_problem(name, result.returncode, said[0] or said[1]))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace").strip()


def trial_problem(name: str, code: int, output: str) -> str:
    """One sentence for a program of the new build that failed here."""
    if code == -signal.SIGILL:
        why = "uses an instruction that this CPU lacks: set llama_build_cpu to a lower level"
    elif code < 0:
        why = f"was killed by signal {-code}"
    elif "GLIBC" in output or "shared librar" in output:
        why = f"needs another system ({_line(output, 0)}): build it on a machine with this release of the system"
    else:
        why = f"does not run here ({_line(output, -1) or 'it said nothing'})"
    return f"{name} of the new build {why}; current was left as it is."


def _line(output: str, which: int) -> str:
    return printable((output.splitlines() or [""])[which])[:300]


def current_key(root: Path) -> str | None:
    """The key that ``current`` points to."""
    link = root / "current"
    return os.path.basename(os.readlink(link)) if link.is_symlink() else None


def release_of(root: Path, source: BuildSource, cpu: str, options: dict[str, str]) -> Optional[BuildManifest]:
    """The manifest of a whole release of this source and level with these options, the current one before others.

    Of which compiler, and with which CPU features, it was built only the builder could say.
    """
    current = current_key(root)
    found = sorted((root / "releases").glob("*/manifest.json"), key=lambda path: path.parent.name != current)
    for path in found:
        manifest = read_document(str(path), SCHEMA_VERSION)
        if (
            manifest
            and manifest.get("cpu") == cpu
            and manifest.get("options") == options
            and source_digest(manifest["source"]) == source_digest(source)
            and is_whole(path.parent)
        ):
            return cast("BuildManifest", manifest)
    return None


def switch_release(root: Path, key: str) -> None:
    """Point ``current`` to a release, in one step."""
    point(str(root / "current"), os.path.join("releases", key))


def releases_in_use(releases: Path) -> set[str]:
    """The releases that a process runs a program of, such as a server that was not restarted since."""
    top, found = os.path.realpath(releases), set()
    for process in Path("/proc").glob("[0-9]*"):
        # Processes end, and kernel threads have no program.
        with contextlib.suppress(OSError):
            program = os.readlink(process / "exe")
            if program.startswith(f"{top}/"):
                found.add(program[len(top) + 1 :].split("/")[0])
    return found


def superfluous(
    keys: list[str], current: str, previous: str | None, keep: int, needed: Collection[str] = ()
) -> list[str]:
    """Which of the releases, youngest first, go when ``keep`` stay: never the current one and those that are needed,
    the previous one last."""
    order = sorted(keys, key=lambda key: (key != current, key not in needed, key != previous))
    return [key for key in order[max(keep, 1) :] if key not in needed]


def prune_releases(
    releases: Path, current: str, previous: str | None, keep: int, needed: Collection[str] = ()
) -> list[str]:
    """Remove the oldest releases that nobody runs or needs, and return their keys."""
    youngest_first = sorted(releases.glob("[!.]*"), key=lambda path: path.stat().st_mtime, reverse=True)
    stay = {*releases_in_use(releases), *needed}
    removed = superfluous([path.name for path in youngest_first], current, previous, keep, stay)
    for name in removed:
        # Half a release must not count as one of those that are kept.
        gone = releases / f".{name}.removed"
        (releases / name).rename(gone)
        shutil.rmtree(gone)
    return removed
