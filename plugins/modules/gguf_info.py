# SPDX-License-Identifier: MIT
"""Ansible module: what the header of a GGUF model says."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gguf_info
short_description: What the header of a GGUF model says
version_added: 0.1.0
author: llamatower contributors
description:
  - Reads metadata and tensor tables of a model in one file or several shards, no weight, in bounded memory.
  - Fails in one sentence where a file is damaged or cut off, or a shard is missing.
options:
  path:
    description: The file; of a set of shards the first one, the others are found beside it.
    type: path
    required: true
  tensors:
    description: Whether the table of the tensors is returned, too.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Reads only.
"""

EXAMPLES = r"""
- name: See what a model is
  gguf_info:
    path: /var/lib/llama-models/glm-4.6/GLM-4.6-Q6_K-00001-of-00007.gguf
  register: model
"""

RETURN = r"""
gguf:
  description: The model. A value that its header does not tell is null; sizes are bytes.
  returned: success
  type: dict
  contains:
    source: {description: The files that were read., type: list, elements: path, returned: success}
    architecture: {description: Name of the architecture., type: str, returned: success, sample: glm4moe}
    name: {description: Name of the model., type: str, returned: success}
    quantization: {description: The tensor type of most bytes., type: str, returned: success, sample: Q6_K}
    file_type: {description: What the file calls its quantization; null where it does not say., type: str, returned: success, sample: Q6_K}
    bytes_by_type: {description: Bytes of each tensor type., type: dict, returned: success}
    parameters: {description: Weights., type: int, returned: success}
    active_bytes: {description: Bytes of weights that a token reads., type: int, returned: success}
    block_count: {description: Layers., type: int, returned: success}
    context_length: {description: Tokens of context it was made for., type: int, returned: success}
    expert_count: {description: Experts of a layer., type: int, returned: success}
    expert_used_count: {description: Those of them that a token uses., type: int, returned: success}
    kv:
      description:
        - Geometry of the KV cache, whatever its type; null where the header does not tell.
        - Numbers that are kept for a token by layers that see the whole context (C(elements)) and by layers that see a
          sliding window (C(window_elements)) of C(window) tokens, and C(state_bytes) of recurrent layers for a request.
      type: dict
      returned: success
      sample: {elements: 40960, window_elements: 212992, window: 1024, state_bytes: 0}
    kv_bytes_per_token:
      description: Bytes that a token of context takes in a KV cache of each type, at most, which is where no window is full.
      type: dict
      returned: success
      sample: {f16: 507904, q8_0: 269824, q4_0: 142848}
    metadata:
      description: All metadata; of long text and long arrays only C(bytes) or C(items).
      type: dict
      returned: success
    tensors:
      description: name, dimensions, type, offset and bytes of each tensor; null unless asked for.
      type: list
      elements: dict
      returned: success
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.model.declaration import shards_of
from ..module_utils.model.gguf import GgufError, file_reader, read_header, summary


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "tensors": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    path = module.params["path"]
    directory, name = os.path.split(path)
    paths = [os.path.join(directory, shard) for shard in shards_of(name)]
    try:
        headers = [read_header(*file_reader(shard)) for shard in paths]
        found = summary(headers)
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename or path} cannot be read ({error.strerror}): give the first file of a model, as root."
        )
    except GgufError as error:
        module.fail_json(msg=f"{path}: {error}")
    tensors = (
        [tensor._asdict() for header in headers for tensor in header.tensors] if module.params["tensors"] else None
    )
    module.exit_json(
        changed=False, gguf={"source": paths, **found, "metadata": headers[0].metadata, "tensors": tensors}
    )


if __name__ == "__main__":
    main()
