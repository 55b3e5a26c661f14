# SPDX-License-Identifier: MIT
"""Ansible module: install a build of llama.cpp and switch to it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_release
short_description: Install a build of llama.cpp and switch to it
version_added: 0.1.0
author: llamatower contributors
description:
  - Writes the binaries of a build archive of M(llamatower.tower.llama_build) beside the releases, proves their hashes,
    runs C(llama-server --version) and a tiny model through C(llama-bench) as the user C(nobody), and only then gives the
    release its name and points C(current) to it. All of it is on the disk before.
  - Takes from the archive what its manifest names, as plain files, and refuses an archive with anything else.
  - A run waits for another one that installs below O(root), and is refused after a quarter of an hour.
  - Refuses a build that uses CPU features which this machine lacks, naming them, before anything is unpacked.
  - A release that is there already, with the binaries that its manifest names, is only switched to, which is also how
    to go back to an earlier one.
extends_documentation_fragment:
  - llamatower.tower.attributes
options:
  root:
    description: The directory of C(releases) and C(current).
    type: path
    default: /opt/llama.cpp
  key:
    description: The build key.
    type: str
    required: true
  cpu_features:
    description: CPU features that the build is known to use; it is refused without looking into the build archive.
    type: list
    elements: str
    default: []
  archive:
    description: The build archive on this machine; not needed for a release that is there, nor in check mode.
    type: path
  consume:
    description: Whether to remove O(archive) afterwards, as a copy that was made for this.
    type: bool
    default: false
  keep:
    description:
      - How many releases are kept, the current one among them. Older ones are removed after a switch, but none that a
        process still runs a program of.
    type: int
    default: 2
attributes:
  check_mode:
    support: full
    details: Refuses what would be refused, and says whether it would install or switch.
  diff_mode:
    support: full
    details: Shows the key that C(current) points to.
"""

EXAMPLES = r"""
- name: Install a build
  llamatower.tower.llama_release:
    key: 3f0d8a54c1b2e697
    archive: /var/cache/llama.cpp/archives/3f0d8a54c1b2e697.tar

- name: Go back to an earlier one
  llamatower.tower.llama_release:
    key: 91c2b0aa5e6d7f38
"""

RETURN = r"""
previous:
  description: The key that C(current) pointed to before; null where there was none.
  returned: success
  type: str
present:
  description: Whether the release was there already, whole.
  returned: success
  type: bool
removed:
  description: Keys of the releases that were removed.
  returned: success
  type: list
  elements: str
"""

import contextlib
import os
from pathlib import Path
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.build.cpu_features import features_problem
from ..module_utils.build.release import (
    ReleaseError,
    archive_manifest,
    current_key,
    install_release,
    is_whole,
    locked,
    prune_releases,
    switch_release,
)
from ..module_utils.lock import HeldError, changing
from ..module_utils.service.deployment import UnreadableError, needed_deployments
from ..module_utils.sysfs import parse_cpuinfo


def refuse(features: list[str]) -> None:
    """Stop where this CPU lacks one of the features."""
    problem = features_problem(features, parse_cpuinfo(Path("/proc/cpuinfo").read_text())["flags"])
    if problem:
        raise ReleaseError(problem)


def apply(root: Path, params: dict[str, Any], warn: Callable[[str], None]) -> tuple[bool, str | None, list[str]]:
    """Install and switch. Returns whether the release was there, what was current, and the releases that were removed."""
    key, archive, releases = params["key"], params["archive"], root / "releases"
    with locked(root):
        present, previous = is_whole(releases / key), current_key(root)
        if not present:
            if not archive:
                raise ReleaseError(
                    f"There is no release {key} in {releases}: run ansible-playbook llamatower.tower.build."
                )
            manifest = archive_manifest(archive)
            refuse(manifest["cpu_features"])
            install_release(archive, manifest, releases / key)
        removed = []
        if previous != key:
            switch_release(root, key)
            # A deployment that served, or that is to serve, keeps its engine, whatever is built meanwhile. While one is
            # being written down nobody knows; the next build removes what is old.
            with contextlib.suppress(HeldError), changing("the removal of old builds"):
                try:
                    needed = {os.path.basename(found["engine"]["directory"]) for found in needed_deployments()}
                    removed = prune_releases(releases, key, previous, params["keep"], needed)
                except UnreadableError as error:
                    warn(str(error))
    return present, previous, removed


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/opt/llama.cpp"},
            "key": {"type": "str", "required": True, "no_log": False},
            "cpu_features": {"type": "list", "elements": "str", "default": []},
            "archive": {"type": "path"},
            "consume": {"type": "bool", "default": False},
            "keep": {"type": "int", "default": 2},
        },
        supports_check_mode=True,
    )
    # The server's user must get at what root unpacks, also where root keeps its files to itself (umask 027 or 077).
    os.umask(0o022)
    params, root = module.params, Path(module.params["root"])
    key = params["key"]
    removed: list[str] = []
    try:
        refuse(params["cpu_features"])
        if module.check_mode:
            present, previous = is_whole(root / "releases" / key), current_key(root)
        else:
            present, previous, removed = apply(root, params, module.warn)
    except ReleaseError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{root} cannot be written ({error}): make room there, or mend the disk.")
    finally:
        if params["consume"] and params["archive"] and not module.check_mode:
            Path(params["archive"]).unlink(missing_ok=True)
    changed = not present or previous != key
    link = root / "current"
    diff = {"before": f"{link} -> {previous}\n", "after": f"{link} -> {key}\n"} if changed else {}
    module.exit_json(changed=changed, previous=previous, present=present, removed=removed, diff=diff)


if __name__ == "__main__":
    main()
