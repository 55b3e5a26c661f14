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
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.attributes.info
options:
  path:
    description: The file; of a set of shards the first one, the others are found beside it.
    type: path
    required: true
  tensors:
    description: Whether the table of the tensors is returned, too.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Read the header of a model
  llamatower.tower.gguf_info:
    path: /mnt/usb/small-Q6_K.gguf
  register: model

- name: Say what a token reads, and what its context takes
  ansible.builtin.debug:
    msg: >-
      {{ model.gguf.quantization }}, {{ model.gguf.active_bytes }} bytes a token,
      {{ model.gguf.kv_bytes_per_token.f16 }} bytes a token of context
"""

RETURN = r"""
gguf:
  description: The model. All keys are always there; a value that its header does not tell is null. Sizes are bytes.
  returned: success
  type: dict
  contains:
    source: {description: The files that were read., type: list, elements: path, returned: success}
    architecture: {description: Name of the architecture., type: str, returned: success, sample: glm4moe}
    name: {description: Name of the model., type: str, returned: success}
    quantization: {description: The tensor type of most bytes., type: str, returned: success, sample: Q6_K}
    file_type: {description: What the file calls its quantization; null where it does not say., type: str, returned: success, sample: Q6_K}
    bytes_by_type: {description: Bytes of each tensor type., type: dict, returned: success, sample: {Q6_K: 290000000000, F32: 120000000}}
    parameters: {description: Weights., type: int, returned: success, sample: 356785898816}
    active_bytes: {description: Bytes of weights that a token reads., type: int, returned: success}
    ahead_bytes: {description: "Bytes of the layers that predict tokens ahead, which it does not read.", type: int, returned: success, sample: 0}
    block_count: {description: Layers., type: int, returned: success}
    context_length: {description: Tokens of context it was made for., type: int, returned: success}
    expert_count: {description: Experts of a layer., type: int, returned: success}
    expert_used_count: {description: "Those of them that a token uses, in the layer with most.", type: int, returned: success}
    kv:
      description: Geometry of the KV cache, whatever its type; null where the header does not tell.
      type: dict
      returned: success
      contains: &geometry
        elements: {description: Numbers kept for a token by layers that see the whole context., type: int, returned: success, sample: 40960}
        window_elements: {description: Numbers kept for a token by layers that see a sliding window., type: int, returned: success, sample: 212992}
        window: {description: Tokens of that window., type: int, returned: success, sample: 1024}
        state_bytes: {description: Bytes of recurrent layers for a request., type: int, returned: success, sample: 0}
        value_padding: {description: "Numbers more that layers of the whole context keep without flash attention, where their values differ in length.", type: int, returned: success, sample: 0}
        window_value_padding: {description: The same of layers with a window., type: int, returned: success, sample: 0}
        compressed:
          description: Caches in which several tokens are one.
          type: list
          elements: dict
          returned: when the model has such
          contains:
            ratio: {description: Tokens that become one., type: int, returned: success, sample: 4}
            elements: {description: Numbers kept for that., type: int, returned: success, sample: 13440}
    kv_least:
      description: The same, at least, of a model whose architecture is not known, for which C(kv) has the most; null of others.
      type: dict
      returned: success
      contains: *geometry
    kv_bytes_per_token:
      description: Bytes that a token of context takes in a KV cache of each type, at most, which is where no window is full.
      type: dict
      returned: success
      sample: {f16: 507904, q8_0: 269824, q4_0: 142848}
    compute:
      description: What llama.cpp computes in for each token of a batch; null where the header does not tell.
      type: dict
      returned: success
      contains:
        heads: {description: Query heads of the layer with most., type: int, returned: success, sample: 96}
        width: {description: Numbers that go from layer to layer., type: int, returned: success, sample: 5120}
        feed_forward: {description: Numbers that the widest feed-forward has at once., type: int, returned: success, sample: 53248}
        mixing: {description: Numbers that the widest attention or recurrent layer has at once., type: int, returned: success, sample: 38912}
        vocabulary: {description: Tokens that there are., type: int, returned: success, sample: 151552}
        nodes: {description: Nodes of the graph that the engine has room for., type: int, returned: success, sample: 14064}
        token_nodes: {description: "Those for each token of a batch, where they are more.", type: int, returned: success, sample: 0}
        flash_attention: {description: Whether the engine has flash attention for it., type: bool, returned: success, sample: true}
    metadata:
      description: All metadata by its keys; of long text and long arrays only C(bytes) or C(items).
      type: dict
      returned: success
      sample: {general.architecture: glm4moe, glm4moe.block_count: 93, tokenizer.ggml.tokens: {items: 151552}}
    tensors:
      description: The tensors; null unless O(tensors) asks for them.
      type: list
      elements: dict
      returned: success
      contains:
        name: {description: Its name., type: str, returned: success, sample: blk.0.attn_q.weight}
        dimensions: {description: Its dimensions., type: list, elements: int, returned: success, sample: [5120, 12288]}
        type: {description: Its type., type: str, returned: success, sample: Q6_K}
        offset: {description: Where it begins in the data of its file., type: int, returned: success}
        bytes: {description: Its size., type: int, returned: success}
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.model.architectures import architecture_problem
from ..module_utils.model.declaration import shards_of
from ..module_utils.model.document import GgufInfo
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
    paths = shards_of(path)
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
    gguf: GgufInfo = {**found, "source": paths, "metadata": headers[0].metadata, "tensors": tensors}
    problem = architecture_problem(found["name"] or os.path.basename(path), found["architecture"])
    if problem:
        module.warn(problem)
    module.exit_json(changed=False, gguf=gguf)


if __name__ == "__main__":
    main()
