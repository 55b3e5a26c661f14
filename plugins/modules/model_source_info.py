# SPDX-License-Identifier: MIT
"""Ansible module: what the sources of models say about them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_source_info
short_description: What the sources of models say about them
version_added: 0.1.0
author: llamatower contributors
description:
  - Resolves declared models to an exact commit and to the size and SHA-256 of every file, and reads the GGUF header of the
    first one; a few kilobytes are transferred.
  - Models of the hub are asked for through huggingface_hub, which the Python that runs the module must have; files and URLs
    need nothing.
options:
  models:
    description: The declared models, as in C(model_store_models).
    type: list
    elements: dict
    required: true
  endpoint:
    description: The hub; null is C(HF_ENDPOINT) of the environment, or https://huggingface.co.
    type: str
  token:
    description: Access token of the hub, for gated repositories.
    type: str
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Reads only.
"""

EXAMPLES = r"""
- name: Resolve a model to its commit and its files
  model_source_info:
    models:
      - name: glm-4.6
        repo: unsloth/GLM-4.6-GGUF
        revision: main
        files: Q6_K/*.gguf
  delegate_to: localhost
  register: sources
"""

RETURN = r"""
models:
  description: One entry a declared model.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Its name., type: str, returned: success}
    source: {description: Its source as it is declared., type: dict, returned: success}
    commit: {description: The commit of the repository; null for files and URLs., type: str, returned: success}
    files: {description: "The files: file (its path in the source), size, sha256.", type: list, elements: dict, returned: success}
    bytes: {description: Sum of their sizes., type: int, returned: success}
    gguf: {description: What the header of the first file says; null where it is not GGUF., type: dict, returned: success}
"""

import os
import urllib.request
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.gguf import GgufError, read_header, summary
from ansible.module_utils.models import choose_files, declaration_problems, shard_problem, source_of

Reader = Callable[[int, int], bytes]


class ModelSourceError(Exception):
    """The source has no such model; the text is one sentence."""


def from_hub(model: dict[str, Any], endpoint: str | None, token: str | None) -> dict[str, Any]:
    try:
        import huggingface_hub
        from huggingface_hub import errors, utils
    except ImportError as error:
        raise ModelSourceError("huggingface_hub is not installed beside Ansible: pip install -r requirements.txt") from error
    repo, revision = model["repo"], model["revision"]
    api = huggingface_hub.HfApi(endpoint=endpoint, token=token or None)
    try:
        info = api.model_info(repo, revision=revision, files_metadata=True)
    except errors.GatedRepoError as error:
        raise ModelSourceError(f"{repo} is gated: accept its terms on the hub and set model_store_hf_token.") from error
    except errors.RevisionNotFoundError as error:
        raise ModelSourceError(f"{repo} has no revision {revision}: write a branch, a tag or a commit that it has.") from error
    except errors.RepositoryNotFoundError as error:
        raise ModelSourceError(
            f"The hub {api.endpoint} knows no repository {repo}: correct its name, or set model_store_hf_token if it is private."
        ) from error
    except Exception as error:  # whatever the client's HTTP library raises
        raise ModelSourceError(f"The hub {api.endpoint} gave no answer about {repo} ({error}): check the network.") from error
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or []}
    names = choose_files(model["files"], list(siblings))
    if not names:
        known = ", ".join(sorted(name for name in siblings if name.endswith(".gguf"))[:6]) or "no GGUF file at all"
        raise ModelSourceError(f"{repo} has no file that matches {model['files']}; it has {known}.")
    problem = shard_problem(names)
    if problem:
        raise ModelSourceError(f"{model['files']} in {repo}: {problem}")
    files = [{"file": name, "size": siblings[name].size, "sha256": getattr(siblings[name].lfs, "sha256", None)} for name in names]
    unproven = [entry["file"] for entry in files if not entry["sha256"]]
    if unproven:
        raise ModelSourceError(f"The hub tells no SHA-256 of {unproven[0]} in {repo}, so it could not be verified.")

    url = huggingface_hub.hf_hub_url(repo, names[0], revision=info.sha, endpoint=api.endpoint)

    def read(offset: int, size: int) -> bytes:
        headers = {**utils.build_hf_headers(token=token or None), "Range": f"bytes={offset}-{offset + size - 1}"}
        answer = utils.get_session().get(url, headers=headers, follow_redirects=True)
        answer.raise_for_status()
        return bytes(answer.content)

    return {"commit": info.sha, "files": files, "gguf": header_of(read, files[0]["size"])}


def from_path(model: dict[str, Any]) -> dict[str, Any]:
    path = model["path"]
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:

            def read(offset: int, count: int) -> bytes:
                file.seek(offset)
                return file.read(count)

            gguf = header_of(read, size)
    except OSError as error:
        raise ModelSourceError(f"The file {path} of model {model['name']} cannot be read: {error.strerror}.") from error
    return {"commit": None, "files": [{"file": path, "size": size, "sha256": model["sha256"]}], "gguf": gguf}


def from_url(model: dict[str, Any]) -> dict[str, Any]:
    url = model["url"]

    def read(offset: int, count: int) -> bytes:
        request = urllib.request.Request(url, headers={"Range": f"bytes={offset}-{offset + count - 1}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read(count))

    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=60) as answer:
            size = int(answer.headers["Content-Length"])
        gguf = header_of(read, size)
    except (OSError, TypeError, ValueError) as error:
        raise ModelSourceError(f"The URL {url} of model {model['name']} cannot be read: {error}") from error
    return {"commit": None, "files": [{"file": url, "size": size, "sha256": model["sha256"]}], "gguf": gguf}


def header_of(read: Reader, size: int) -> dict[str, Any]:
    try:
        return summary([read_header(read, size)])
    except GgufError as error:
        raise ModelSourceError(f"This is not a GGUF model: {error}") from error


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "models": {"type": "list", "elements": "dict", "required": True},
            "endpoint": {"type": "str"},
            "token": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    problems = declaration_problems(module.params["models"])
    if problems:
        module.fail_json(msg="\n".join(problems))
    found = []
    for model in module.params["models"]:
        try:
            if model.get("repo"):
                resolved = from_hub(model, module.params["endpoint"], module.params["token"])
            else:
                resolved = from_path(model) if model.get("path") else from_url(model)
        except ModelSourceError as error:
            module.fail_json(msg=str(error))
        total = sum(entry["size"] for entry in resolved["files"])
        found.append({"name": model["name"], "source": source_of(model), "bytes": total, **resolved})
    module.exit_json(changed=False, models=found)


if __name__ == "__main__":
    main()
