# SPDX-License-Identifier: MIT
"""Options that several modules of the model store have."""

from __future__ import annotations


class ModuleDocFragment:
    """``llamatower.tower.models``: the declarations; ``.resolved``: one model with its files; ``.hub``: the hub."""

    DOCUMENTATION = r"""
options:
  models:
    description:
      - The declared models, as in C(model_store_models). Each has a name and one of C(repo), C(path) and C(url).
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name, which becomes its directory; letters, digits, C(.), C(_) and C(-).
        type: str
        required: true
      repo:
        description: A repository of the hub, C(org/name).
        type: str
      revision:
        description: The branch, the tag or, best, the commit of C(repo).
        type: str
      files:
        description: A pattern for the GGUF files in C(repo) that are one model, all its shards.
        type: str
      path:
        description: A file on the host, the first of several shards, or a directory or pattern of them.
        type: path
      url:
        description: The URL of one file.
        type: str
      sha256:
        description: SHA-256 of the file at C(url) or C(path), 64 hexadecimal digits. A locked C(path) needs none.
        type: str
"""

    RESOLVED = r"""
options:
  model:
    description: The model with its files, an entry of what M(llamatower.tower.model_source_info) returns.
    type: dict
    required: true
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      source:
        description: Its source as it is declared.
        type: dict
        required: true
      commit:
        description: The commit of the repository; null for files and URLs.
        type: str
      files:
        description: Every file with its C(file) (path or URL at the source), C(size) in bytes, and C(sha256).
        type: list
        elements: dict
        required: true
      bytes:
        description: Sum of their sizes.
        type: int
        required: true
      gguf:
        description: What its headers say.
        type: dict
  path:
    description: The directory of the models, each in a directory of its own name.
    type: path
    required: true
"""

    HUB = r"""
options:
  endpoint:
    description: The hub; null is C(HF_ENDPOINT) of the environment, or V(https://huggingface.co).
    type: str
  token:
    description:
      - Access token of the hub, for gated repositories. It is sent to the hub only, never to where it redirects.
    type: str
"""
