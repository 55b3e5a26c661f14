# SPDX-License-Identifier: MIT
"""Compile llama.cpp into a build archive, a plain tar of manifest.json and bin/."""

from __future__ import annotations

import collections
import json
import os
import re
import shlex
import shutil
import subprocess
import tarfile

from ..files import make_directory, write_json
from ..progress import Progress
from ..text import without_secrets
from .cpu_features import features_of, machine_flags
from .document import BuildManifest, BuildPlan
from .key import BINARIES, SCHEMA_VERSION, sha256_file
from .source import fetch_source

TOOLS = {"c++": "g++", "cmake": "cmake", "ninja": "ninja-build"}


class BuildError(Exception):
    """A step failed; the arguments are a sentence and the end of its output."""


def missing_tools() -> str | None:
    """One sentence where this machine cannot build, else None."""
    missing = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    return (
        f"The builder cannot compile llama.cpp: install {', '.join(missing)} (and ccache) there." if missing else None
    )


def cpu_features(compiler: str, flags: list[str]) -> list[str]:
    """The CPU features that the compiler uses under these flags."""
    argv = [compiler, *flags, "-dM", "-E", "-x", "c++", "/dev/null"]
    result = subprocess.run(
        argv, capture_output=True, text=True, errors="replace", check=False, env={**os.environ, "LC_ALL": "C"}
    )
    if result.returncode:
        raise BuildError(f"The compiler refuses {' '.join(flags)}: {result.stderr.strip().splitlines()[-1]}", [])
    return features_of(result.stdout)


def make_archive(build: BuildPlan, work_dir: str, ccache_dir: str, progress: Progress) -> BuildManifest:
    """Build, and put the archive into its place. Returns its manifest. Goes on where an earlier run was killed."""
    environment = {
        "LC_ALL": "C",
        # Said by Python where LC_ALL is not set, and a part of what ccache tells a compilation by.
        "LC_CTYPE": "C.UTF-8",
        "CCACHE_DIR": ccache_dir,
        # Paths relative to the working directory: builders that share a cache need not share its path.
        "CCACHE_BASEDIR": work_dir,
        "CCACHE_NOHASHDIR": "1",
        # ccache takes -march=native for a word like any other, and would hand the objects of an AVX-512 machine
        # to one without it (github.com/ccache/ccache/issues/824). This is what the word means here.
        "CCACHE_COMPILERCHECK": "%compiler% -march=native -dM -E -x c /dev/null",
        # A source that is not a git repository must not be described by one that this directory is in.
        "GIT_CEILING_DIRECTORIES": os.path.join(work_dir, "sources"),
        "NINJA_STATUS": "[%f/%t] ",
    }
    tree = fetch_source(build["source"], os.path.join(work_dir, "sources"), progress)
    builds = os.path.join(work_dir, "build")
    directory = os.path.join(builds, str(build["key"]))
    options = [f"-D{name}={value}" for name, value in build["options"].items()]
    if shutil.which("ccache"):
        options += [f"-DCMAKE_{language}_COMPILER_LAUNCHER=ccache" for language in ("C", "CXX")]
    options.append("-DCMAKE_EXPORT_COMPILE_COMMANDS=ON")
    run_step(["cmake", "-S", tree, "-B", directory, "-G", "Ninja", *options], progress, "configuring", environment)
    jobs = str(len(os.sched_getaffinity(0)))
    run_step(["ninja", "-C", directory, "-j", jobs, *BINARIES], progress, "compiling", environment)
    progress.tell("packing llama.cpp")
    manifest = _manifest(build, directory)
    _pack(str(build["archive"]), manifest, directory)
    # What other builds left that were killed; ccache has what is worth keeping of them and of this one.
    shutil.rmtree(builds)
    return manifest


def run_step(argv: list[str], progress: Progress, label: str, environment: dict[str, str]) -> None:
    """Run one step and tell how far ninja is."""
    progress.tell(label)
    output: collections.deque[str] = collections.deque(maxlen=200)
    with subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **environment},
        # They hold the lock, too, so that no other build works in this directory before the last of them is gone.
        pass_fds=[progress.fileno()],
    ) as process:
        assert process.stdout
        for line in process.stdout:
            output.append(line.rstrip())
            step = ninja_progress(line)
            if step:
                progress.tell(label, *step, "files")
    if process.returncode:
        sentence = failure(os.path.basename(argv[0]), label, process.returncode, list(output))
        raise BuildError(sentence, list(output)[-30:])


def failure(tool: str, label: str, code: int, output: list[str]) -> str:
    """One sentence for a step that failed."""
    if code < 0:
        return (
            f"{tool} was killed by signal {-code} while {label} llama.cpp: run the same command again, and it goes on."
        )
    telling = [line for line in output if re.search(r"\berror\b|No space left|Killed|cannot find", line, re.IGNORECASE)]
    line = (telling or [line for line in reversed(output) if line] or ["it said nothing"])[0]
    return f"{tool} failed while {label} llama.cpp: {line.strip()}"


def ninja_progress(line: str) -> tuple[int, int] | None:
    """``(120, 361)`` for ninja's ``[120/361] Building …``, else None."""
    match = re.match(r"\[(\d+)/(\d+)\]", line)
    return (int(match.group(1)), int(match.group(2))) if match else None


def _manifest(build: BuildPlan, directory: str) -> BuildManifest:
    binaries = {name: os.path.join(directory, "bin", name) for name in BINARIES}
    version = subprocess.run([binaries["llama-server"], "--version"], capture_output=True, text=True, check=False)
    lines = (version.stderr + version.stdout).splitlines()
    return {
        "schema_version": SCHEMA_VERSION,
        "key": str(build["key"]),
        # Everybody may read it, and the commit or hash says which source it was.
        "source": without_secrets(build["source"]),
        "cpu": build["cpu"],
        "options": build["options"],
        "compiler": str(build["compiler"]),
        "cpu_features": _features_used(directory),
        "llama_version": next((line.split(": ", 1)[1] for line in lines if line.startswith("version: ")), None),
        "binaries": {name: sha256_file(path) for name, path in binaries.items()},
    }


def _features_used(directory: str) -> list[str]:
    """By the commands that were really run: an option may have asked for more than the level has."""
    with open(os.path.join(directory, "compile_commands.json"), encoding="utf-8") as file:
        commands = [shlex.split(entry["command"]) for entry in json.load(file)]
    return sorted(
        {
            feature
            for flags in {tuple(machine_flags(c)) for c in commands}
            for feature in cpu_features("c++", list(flags))
        }
    )


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Root's, for everybody to run. A tower whose Python has no filter for members (3.11.2 of Debian 12) would give the
    files to whoever has there the number or name of the user who built them, and so what root tries out."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode = 0o755 if member.name.startswith("bin/") else 0o644
    return member


def _pack(archive: str, manifest: BuildManifest, directory: str) -> None:
    path = os.path.join(directory, "manifest.json")
    write_json(path, manifest, sync=False)
    make_directory(os.path.dirname(archive))
    partial = f"{archive}.partial"
    with tarfile.open(partial, "w") as contents:
        contents.add(path, "manifest.json", filter=_of_root)
        for name in BINARIES:
            contents.add(os.path.join(directory, "bin", name), f"bin/{name}", filter=_of_root)
    os.chmod(partial, 0o644)
    os.replace(partial, archive)
