# SPDX-License-Identifier: MIT
"""Ansible module: install a build of llama.cpp and switch to it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_release
short_description: Install a build of llama.cpp and switch to it
version_added: 0.1.0
author: llamatower contributors
description:
  - Unpacks an artefact of M(llama_build) beside the releases, proves the hashes of its binaries, runs C(llama-server --version)
    and a tiny model through C(llama-bench), and only then gives it its name and points C(current) to it.
  - Refuses a build that uses CPU features which this machine lacks, naming them, before anything is unpacked.
  - A release that is there already is only switched to, which is also how to go back to an earlier one.
options:
  root:
    description: The directory of C(releases) and C(current).
    type: path
    default: /opt/llama.cpp
  key:
    description: The build key.
    type: str
    required: true
  archive:
    description: The artefact on this machine; not needed for a release that is there.
    type: path
  keep:
    description: How many releases are kept, the current one among them. Older ones are removed after a switch.
    type: int
    default: 2
attributes:
  check_mode:
    support: full
    description: Refuses what would be refused, and says whether it would install or switch.
  diff_mode:
    support: full
    description: Shows the key that C(current) points to.
"""

EXAMPLES = r"""
- name: Install a build
  llama_release:
    key: 3f0d8a54c1b2e697
    archive: /var/cache/llama.cpp/artefacts/3f0d8a54c1b2e697.tar

- name: Go back to an earlier one
  llama_release:
    key: 91c2b0aa5e6d7f38
"""

RETURN = r"""
previous:
  description: The key that C(current) pointed to before; null where there was none.
  returned: success
  type: str
installed:
  description: Whether the release was unpacked now.
  returned: success
  type: bool
removed:
  description: Keys of the releases that were removed.
  returned: success
  type: list
  elements: str
"""

import json
import os
import shutil
import signal
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.build import sha256_file, tiny_gguf
from ansible.module_utils.cpu_features import refusal
from ansible.module_utils.tower import parse_cpuinfo


class ReleaseError(Exception):
    """The release cannot be installed; the text is one sentence."""


def read_manifest(archive: str) -> dict[str, Any]:
    try:
        with tarfile.open(archive) as contents:
            member = contents.extractfile("manifest.json")
            assert member
            manifest: dict[str, Any] = json.load(member)
            return manifest
    except (OSError, KeyError, ValueError, tarfile.TarError) as error:
        raise ReleaseError(f"{archive} is not a whole artefact ({error}): remove it and run playbooks/build.yml.") from error


def run(argv: list[str]) -> None:
    """Run a program of the release that must succeed here."""
    result = subprocess.run(argv, capture_output=True, text=True, check=False, errors="replace")
    name = os.path.basename(argv[0])
    if result.returncode == -signal.SIGILL:
        raise ReleaseError(f"{name} uses an instruction that this CPU lacks: set llama_build_cpu to a lower level.")
    if result.returncode:
        words = (result.stderr.strip() or result.stdout.strip() or "it said nothing").splitlines()
        raise ReleaseError(f"{name} of the new build does not run here: {words[-1]}; current was left as it is.")


def install(archive: str, manifest: dict[str, Any], release: Path) -> None:
    """Unpack beside, prove, try, rename."""
    partial = release.with_name(f".{release.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with tarfile.open(archive) as contents:
            contents.extractall(partial, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        for name, digest in manifest["binaries"].items():
            found = sha256_file(str(partial / "bin" / name))
            if found != digest:
                raise ReleaseError(f"{name} in {archive} has the SHA-256 {found}, not {digest}: fetch the artefact again.")
        (partial / "tiny.gguf").write_bytes(tiny_gguf())
        run([str(partial / "bin/llama-server"), "--version"])
        run([str(partial / "bin/llama-bench"), "-m", str(partial / "tiny.gguf"), "-p", "4", "-n", "4", "-r", "1", "-t", "1"])
        os.rename(partial, release)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/opt/llama.cpp"},
            "key": {"type": "str", "required": True, "no_log": False},
            "archive": {"type": "path"},
            "keep": {"type": "int", "default": 2},
        },
        supports_check_mode=True,
    )
    key, archive, root = module.params["key"], module.params["archive"], Path(module.params["root"])
    releases, current = root / "releases", root / "current"
    release = releases / key
    previous = os.path.basename(os.readlink(current)) if current.is_symlink() else None
    absent = not (release / "manifest.json").exists()
    removed: list[str] = []
    try:
        if absent:
            if not archive:
                raise ReleaseError(f"There is no release {key} in {releases}: run playbooks/build.yml.")
            manifest = read_manifest(archive)
            refused = refusal(manifest["cpu_features"], parse_cpuinfo(Path("/proc/cpuinfo").read_text())["flags"])
            if refused:
                raise ReleaseError(refused)
        if not module.check_mode:
            if absent:
                install(archive, manifest, release)
            if previous != key:
                link = root / ".current.partial"
                link.unlink(missing_ok=True)
                link.symlink_to(os.path.join("releases", key))
                os.replace(link, current)
                others = sorted(releases.glob("[!.]*"), key=lambda path: path.stat().st_mtime, reverse=True)
                removed = [path.name for path in others if path.name not in (key, previous)][max(module.params["keep"] - 2, 0) :]
                for name in removed:
                    shutil.rmtree(releases / name)
    except ReleaseError as error:
        module.fail_json(msg=str(error))
    changed = absent or previous != key
    diff = {"before": f"{current} -> {previous}\n", "after": f"{current} -> {key}\n"} if changed else {}
    module.exit_json(changed=changed, previous=previous, installed=absent and not module.check_mode, removed=removed, diff=diff)


if __name__ == "__main__":
    main()
