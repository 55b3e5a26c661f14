# SPDX-License-Identifier: MIT
"""Ansible module: build llama.cpp into a build archive."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_build
short_description: Build llama.cpp into a build archive that towers can install
version_added: 0.1.0
author: llamatower contributors
description:
  - Fetches the source, proves its hash or commit, and builds it with cmake, ninja and ccache into
    C(archives/<key>.tar) below the working directory. This build archive appears whole or not at all.
  - An interrupted build goes on where it was. A build that runs already is waited for.
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.long
options:
  build:
    description: What is built, as M(llamatower.tower.llama_build_info) returned it on this machine.
    type: dict
    required: true
    suboptions:
      key:
        description: The build key; null in check mode where the machine has no compiler yet, as C(archive) and C(compiler).
        type: str
      archive:
        description: The build archive to make.
        type: path
      present:
        description: Whether it is there.
        type: bool
        required: true
      source:
        description: Where llama.cpp comes from.
        type: dict
        required: true
      cpu:
        description: The CPU that is built for.
        type: str
        required: true
      options:
        description: Options for cmake, by name.
        type: dict
        required: true
      compiler:
        description: First line of the compiler's version.
        type: str
      cpu_features:
        description: CPU features the build uses.
        type: list
        elements: str
        required: true
  work_dir:
    description: Where sources, build directories and build archives are kept.
    type: path
    required: true
  ccache_dir:
    description: The cache of the compiler; by default C(ccache) below the working directory.
    type: path
attributes:
  check_mode:
    support: full
    details: Says whether it would build.
  diff_mode:
    support: none
    details: The result is a file of many megabytes.
"""

EXAMPLES = r"""
- name: See what would be built
  llamatower.tower.llama_build_info:
    source:
      type: sdist
      package: llama-cpp-python
      version: 0.3.36
      sha256: 832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
    work_dir: /var/cache/llama.cpp
  register: build

- name: Build it
  llamatower.tower.llama_build:
    build: "{{ build.llama_build }}"
    work_dir: /var/cache/llama.cpp
    progress_path: /var/cache/llama.cpp/progress.json
"""

RETURN = r"""
manifest:
  description: What went into the build archive; null in check mode and where it was there already.
  returned: success
  type: dict
  contains:
    schema_version: {description: Of this document., type: int, returned: success}
    key: {description: The build key., type: str, returned: success, sample: 3f0d8a54c1b2e697}
    source: {description: Where llama.cpp came from., type: dict, returned: success, sample: {type: git, tag: b1234}}
    cpu: {description: The CPU that was built for., type: str, returned: success, sample: native}
    options: {description: "Options for cmake, by name.", type: dict, returned: success, sample: {GGML_NATIVE: "ON"}}
    compiler: {description: First line of the compiler's version., type: str, returned: success}
    cpu_features: {description: CPU features the build uses., type: list, elements: str, returned: success}
    llama_version: {description: What llama-server says of itself., type: str, returned: success}
    binaries: {description: "SHA-256 of each binary, by its name.", type: dict, returned: success, sample: {llama-server: 8d33…}}
log:
  description: The end of the output of the step that failed.
  returned: failure
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.build.compile import BuildError, make_archive, missing_tools
from ..module_utils.build.source import SourceError
from ..module_utils.disks import disk_of
from ..module_utils.progress import Progress
from ..module_utils.text import size

# A build directory with its source and its archive took 1.2 GB.
NEEDED_BYTES = 3 * 10**9

# Key, archive and compiler are null where a check run has found no compiler yet.
BUILD = {
    "key": {"type": "str"},
    "archive": {"type": "path"},
    "present": {"type": "bool", "required": True},
    "source": {"type": "dict", "required": True},
    "cpu": {"type": "str", "required": True},
    "options": {"type": "dict", "required": True},
    "compiler": {"type": "str"},
    "cpu_features": {"type": "list", "elements": "str", "required": True},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "build": {"type": "dict", "required": True, "options": BUILD},
            "work_dir": {"type": "path", "required": True},
            "ccache_dir": {"type": "path"},
            "progress_path": {"type": "path", "required": True},
            "by": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    # The build archive is fetched by a user who need not be root.
    os.umask(0o022)
    build, work_dir = module.params["build"], os.path.realpath(module.params["work_dir"])
    if module.check_mode:
        module.exit_json(changed=not build["present"], manifest=None)
    problem = missing_tools()
    if problem:
        module.fail_json(msg=problem)
    free = disk_of(work_dir)["free_bytes"]
    if free < NEEDED_BYTES:
        module.fail_json(
            msg=f"{work_dir} has {size(free)} free and a build needs {size(NEEDED_BYTES)}: make room, or set "
            "llama_build_work_dir."
        )
    ccache_dir = module.params["ccache_dir"] or os.path.join(work_dir, "ccache")
    try:
        with Progress(module.params["progress_path"], f"the build {build['key']}", module.params["by"]) as progress:
            # Another tower's run may have made it while this one waited.
            if os.path.exists(build["archive"]):
                module.exit_json(changed=False, manifest=None)
            manifest = make_archive(build, work_dir, ccache_dir, progress)
    except SourceError as error:
        module.fail_json(msg=str(error))
    except BuildError as error:
        module.fail_json(msg=error.args[0], log=error.args[1])
    except OSError as error:  # no right to write there, or no room any more
        module.fail_json(
            msg=f"The build cannot be written to {work_dir} ({error}): set llama_build_work_dir, or mend it."
        )
    module.exit_json(changed=True, manifest=manifest)


if __name__ == "__main__":
    main()
