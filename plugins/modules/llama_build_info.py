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
  - Changes nothing and fetches nothing.
options:
  source:
    description:
      - Where llama.cpp comes from.
      - "C(sdist): C(package), C(version) and C(sha256) of a source distribution that carries llama.cpp."
      - "C(archive): C(location) (a URL or a file on the builder) and C(sha256)."
      - "C(git): C(url), C(tag) and the full C(commit); both are checked."
    type: dict
    required: true
  cpu:
    description: C(native) for the builder's own CPU, or a level of the x86-64 psABI.
    type: str
    choices: [native, x86-64-v2, x86-64-v3, x86-64-v4]
    default: native
  cmake_options:
    description: More options for cmake, without C(-D).
    type: dict
    default: {}
  work_dir:
    description: Where M(llama_build) works; the artefact is in C(artefacts/<key>.tar) below it.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Reads only.
"""

EXAMPLES = r"""
- name: See what would be built
  llama_build_info:
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
  returned: always
  type: dict
  contains:
    key: {description: Name of the build., type: str, returned: always, sample: 3f0d8a54c1b2e697}
    artefact: {description: The file that the build makes., type: path, returned: always}
    present: {description: Whether it is there., type: bool, returned: always}
    cpu: {description: The level asked for., type: str, returned: always}
    source: {description: The source asked for., type: dict, returned: always}
    options: {description: Options for cmake., type: dict, returned: always}
    compiler: {description: First line of the compiler's version., type: str, returned: always}
    cpu_features:
      description: Features the build uses, named as in /proc/cpuinfo.
      type: list
      elements: str
      returned: always
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.build.compile import BuildError, cpu_features, missing_tools
from ..module_utils.build.cpu_features import LEVELS, compiler_flags
from ..module_utils.build.key import build_key, cmake_options, source_digest, source_problem


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "dict", "required": True},
            "cpu": {"type": "str", "choices": ["native", *LEVELS], "default": "native"},
            "cmake_options": {"type": "dict", "default": {}},
            "work_dir": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    source, cpu, work_dir = (module.params[name] for name in ("source", "cpu", "work_dir"))
    problem = source_problem(source)
    if problem:
        module.fail_json(msg=problem)
    options = cmake_options(cpu, module.params["cmake_options"])
    build: dict[str, Any] = {"key": None, "artefact": None, "present": False, "compiler": None, "cpu_features": []}
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
        artefact = os.path.join(work_dir, "artefacts", f"{key}.tar")
        build = {
            "key": key,
            "artefact": artefact,
            "present": os.path.exists(artefact),
            "compiler": name,
            "cpu_features": features,
        }
    module.exit_json(changed=False, llama_build={**build, "cpu": cpu, "source": source, "options": options})


if __name__ == "__main__":
    main()
