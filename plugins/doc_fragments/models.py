# SPDX-License-Identifier: MIT
"""Options that several modules of the model store have."""

from __future__ import annotations


class ModuleDocFragment:
    """``llamatower.tower.models``: the declarations; ``.resolved``: one model with its files; ``.hub``: the hub."""

    DOCUMENTATION = r"""
options:
  models:
    description:
      - The declared models, with the keys of O(llamatower.tower.model_store#role:main:model_store_models).
      - They are checked here and not by their types, since a number in place of a text, such as an unquoted revision,
        is no longer what was written.
    type: list
    elements: dict
    required: true
"""

    RESOLVED = r"""
options:
  model:
    description: The model with its files, an entry of RV(llamatower.tower.model_source_info#module:models).
    type: dict
    required: true
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
