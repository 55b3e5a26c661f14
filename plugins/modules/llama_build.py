# SPDX-License-Identifier: MIT
"""Ansible module: build llama.cpp into an artefact."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_build
short_description: Build llama.cpp into an artefact that towers can install
version_added: 0.1.0
author: llamatower contributors
description:
  - Fetches the source, proves its hash or commit, and builds it with cmake, ninja and ccache into C(artefacts/<key>.tar)
    below the working directory. The artefact appears whole or not at all.
  - An interrupted build goes on where it was. A build that runs already is waited for.
  - Runs detached from the connection and shows how far it is.
options:
  build:
    description: The C(llama_build) that M(llama_build_info) returned on this machine.
    type: dict
    required: true
  work_dir:
    description: Where sources, build directories and artefacts are kept.
    type: path
    required: true
  ccache_dir:
    description: The cache of the compiler; by default C(ccache) below the working directory.
    type: path
  progress_path:
    description: The file that tells how far the build is.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Says whether it would build.
  diff_mode:
    support: none
    description: The result is a file of many megabytes.
"""

EXAMPLES = r"""
- name: Build it
  llama_build:
    build: "{{ build.llama_build }}"
    work_dir: /var/cache/llama.cpp
    progress_path: /var/cache/llama.cpp/progress.json
"""

RETURN = r"""
manifest:
  description: What went into the artefact; null in check mode and where it was there already.
  returned: success
  type: dict
log:
  description: The end of the output of the step that failed.
  returned: failure
  type: list
  elements: str
"""

import collections
import json
import os
import shutil
import subprocess
import tarfile
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.build import BINARIES, SCHEMA_VERSION, ninja_progress, sha256_file
from ansible.module_utils.llama_source import SourceError, fetch_source
from ansible.module_utils.progress import Progress

# A build directory with its source and artefact took 1.2 GB.
NEEDED_BYTES = 3 * 10**9


class BuildError(Exception):
    """A step failed; the arguments are a sentence and the end of its output."""


def run(argv: list[str], progress: Progress, label: str, environment: dict[str, str]) -> None:
    """Run one step and tell how far ninja is."""
    progress.tell(label)
    tail: collections.deque[str] = collections.deque(maxlen=30)
    with subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **environment},
        pass_fds=[progress.fileno()],
    ) as process:
        assert process.stdout
        for line in process.stdout:
            tail.append(line.rstrip())
            step = ninja_progress(line)
            if step:
                progress.tell(label, *step, "files")
    if process.returncode:
        raise BuildError(f"{argv[0]} failed while {label} llama.cpp; the end of its output is under log.", list(tail))


def make(build: dict[str, Any], work_dir: str, ccache_dir: str, progress: Progress) -> dict[str, Any]:
    """Build, and put the artefact into its place. Returns its manifest."""
    environment = {"CCACHE_DIR": ccache_dir, "CCACHE_BASEDIR": work_dir, "CCACHE_NOHASHDIR": "1", "LC_ALL": "C"}
    tree = fetch_source(build["source"], os.path.join(work_dir, "sources"), progress)
    directory = os.path.join(work_dir, "build", build["key"])
    options = [f"-D{name}={value}" for name, value in build["options"].items()]
    if shutil.which("ccache"):
        options += [f"-DCMAKE_{language}_COMPILER_LAUNCHER=ccache" for language in ("C", "CXX")]
    run(["cmake", "-S", tree, "-B", directory, "-G", "Ninja", *options], progress, "configuring", environment)
    run(["ninja", "-C", directory, *BINARIES], progress, "compiling", environment)
    progress.tell("packing llama.cpp")
    binaries = {name: os.path.join(directory, "bin", name) for name in BINARIES}
    version = subprocess.run([binaries["llama-server"], "--version"], capture_output=True, text=True, check=False)
    manifest = {
        "schema_version": SCHEMA_VERSION,
        **{name: build[name] for name in ("key", "source", "cpu", "options", "compiler", "cpu_features")},
        "llama_version": next(iter((version.stderr + version.stdout).splitlines()), "").replace("version: ", ""),
        "binaries": {name: sha256_file(path) for name, path in binaries.items()},
    }
    with open(os.path.join(directory, "manifest.json"), "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=2)
    os.makedirs(os.path.dirname(build["artefact"]), exist_ok=True)
    partial = f"{build['artefact']}.partial"
    with tarfile.open(partial, "w") as archive:
        archive.add(file.name, "manifest.json")
        for name, path in binaries.items():
            archive.add(path, f"bin/{name}")
    os.replace(partial, build["artefact"])
    # ccache and the artefact hold what is worth keeping of a finished build.
    shutil.rmtree(directory)
    return manifest


def main() -> NoReturn:
    module = AnsibleModule(
        argument_spec={
            "build": {"type": "dict", "required": True},
            "work_dir": {"type": "path", "required": True},
            "ccache_dir": {"type": "path"},
            "progress_path": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    build, work_dir = module.params["build"], module.params["work_dir"]
    if module.check_mode:
        module.exit_json(changed=not build["present"], manifest=None)
    missing = [tool for tool in ("c++", "cmake", "ninja") if not shutil.which(tool)]
    if missing:
        module.fail_json(msg=f"The builder lacks {', '.join(missing)}: install the packages g++, cmake and ninja-build.")
    os.makedirs(work_dir, exist_ok=True)
    free = shutil.disk_usage(work_dir).free
    if free < NEEDED_BYTES:
        module.fail_json(
            msg=f"{work_dir} has {free / 1e9:.1f} GB free and a build needs {NEEDED_BYTES / 1e9:.0f} GB: "
            "make room, or set llama_build_work_dir."
        )
    try:
        with Progress(module.params["progress_path"]) as progress:
            if os.path.exists(build["artefact"]):
                module.exit_json(changed=False, manifest=None)
            manifest = make(build, work_dir, module.params["ccache_dir"] or os.path.join(work_dir, "ccache"), progress)
    except SourceError as error:
        module.fail_json(msg=str(error))
    except BuildError as error:
        module.fail_json(msg=error.args[0], log=error.args[1])
    module.exit_json(changed=True, manifest=manifest)


if __name__ == "__main__":
    main()
