# SPDX-License-Identifier: MIT
"""Releases of llama.cpp: directories named by their build key, and a link to the current one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tarfile
from pathlib import Path
from typing import cast

from ..files import make_directory, point, read_json
from .document import BuildManifest
from .key import sha256_file
from .source import extract_all
from .trial_model import tiny_gguf

# The trial takes seconds; an emulated CPU is ten times slower.
TRIAL_SECONDS = 300


class ReleaseError(Exception):
    """The release cannot be installed; the text is one sentence."""


def whole(release: Path) -> bool:
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


def read_manifest(archive: str) -> BuildManifest:
    """The manifest in a build archive."""
    try:
        with tarfile.open(archive) as contents:
            member = contents.extractfile("manifest.json")
            manifest = json.load(member) if member else None
        if not isinstance(manifest, dict) or not manifest.get("binaries"):
            raise ValueError("its manifest names no binaries")
        return cast(BuildManifest, manifest)
    except (OSError, KeyError, ValueError, tarfile.TarError) as error:
        raise ReleaseError(
            f"{archive} is no whole build archive ({error}): remove it and run ansible-playbook llamatower.tower.build."
        ) from None


def install(archive: str, manifest: BuildManifest, release: Path) -> None:
    """Unpack beside, prove, try, rename."""
    partial = release.with_name(f".{release.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    make_directory(str(partial))
    try:
        with tarfile.open(archive) as contents:
            extract_all(contents, str(partial))
        wrong = wrong_binary(partial, manifest["binaries"])
        if wrong:
            name, found = wrong
            wanted = manifest["binaries"][name]
            raise ReleaseError(
                f"{name} in {archive} has the SHA-256 {found}, not {wanted}: remove that archive and build again."
            )
        try_out(partial / "bin")
        damaged = release.with_name(f".{release.name}.damaged")
        shutil.rmtree(damaged, ignore_errors=True)
        if release.exists():  # with binaries that are not those of its manifest
            release.rename(damaged)
        partial.rename(release)
        shutil.rmtree(damaged, ignore_errors=True)
    except (OSError, tarfile.TarError) as error:
        raise ReleaseError(f"The release cannot be written to {release}: {error}; current was left as it is.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def try_out(binaries: Path) -> None:
    """Run the binaries here, and a model's matrix kernels with them."""
    model = binaries.parent / "tiny.gguf"
    model.write_bytes(tiny_gguf())
    try:
        _run([str(binaries / "llama-server"), "--version"])
        _run(
            [str(binaries / "llama-bench"), "-m", str(model), "-p", "4", "-n", "4", "-r", "1", "-t", "1", "-o", "json"]
        )
    finally:
        model.unlink()


def _run(argv: list[str]) -> None:
    name = os.path.basename(argv[0])
    try:
        result = subprocess.run(
            argv, capture_output=True, text=True, check=False, errors="replace", timeout=TRIAL_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ReleaseError(f"{name} of the new build hung for {TRIAL_SECONDS} s; current was left as it is.") from None
    if result.returncode:
        raise ReleaseError(trial_problem(name, result.returncode, result.stderr.strip() or result.stdout.strip()))


def trial_problem(name: str, code: int, output: str) -> str:
    """One sentence for a program of the new build that failed here."""
    if code == -signal.SIGILL:
        why = "uses an instruction that this CPU lacks: set llama_build_cpu to a lower level"
    elif code < 0:
        why = f"was killed by signal {-code}"
    elif "GLIBC" in output or "shared librar" in output:
        why = f"needs another system ({output.splitlines()[0]}): build it on a machine with this release of the system"
    else:
        why = f"does not run here ({(output.splitlines() or ['it said nothing'])[-1]})"
    return f"{name} of the new build {why}; current was left as it is."


def current_key(root: Path) -> str | None:
    """The key that ``current`` points to."""
    link = root / "current"
    return os.path.basename(os.readlink(link)) if link.is_symlink() else None


def switch(root: Path, key: str) -> None:
    """Point ``current`` to a release, in one step."""
    point(str(root / "current"), os.path.join("releases", key))


def superfluous(keys: list[str], current: str, previous: str | None, keep: int) -> list[str]:
    """Which of the releases, youngest first, go when ``keep`` stay: never the current one, the previous one last."""
    order = sorted(keys, key=lambda key: (key != current, key != previous))
    return order[max(keep, 1) :]


def prune(releases: Path, current: str, previous: str | None, keep: int) -> list[str]:
    """Remove the oldest releases, and return their keys."""
    youngest_first = sorted(releases.glob("[!.]*"), key=lambda path: path.stat().st_mtime, reverse=True)
    removed = superfluous([path.name for path in youngest_first], current, previous, keep)
    for name in removed:
        shutil.rmtree(releases / name)
    return removed
