# SPDX-License-Identifier: MIT
"""Entries of catalog/models.yml, each from what is stored of its model in catalog/configurations.yml.

The figures of an entry are those that gguf.summary finds in the header of its file: of a real one, or of the one that
the published configuration will become (families.py) with the types that the engine chooses (quantization.py).
"""

from __future__ import annotations

import math
from typing import Any, TypedDict

from ..model.document import Gguf, KvGeometry
from ..model.gguf import Header, summary
from ..model.header_values import trunk
from ..model.tensors import Tensor, weights_read
from .configuration import Configuration, ConfigurationError
from .families import Shapes, header_of
from .quantization import MOST, Layout, quantized_tensors

# The types of which an entry has sizes, where its model does not say others.
USUAL = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "Q2_K")
# Mixtures that are made by hand keep all but the experts in this type. So it is in Kimi K2.6 as UD-Q4_K_XL, where the
# header has 12,343 MiB besides the experts; of others only the size is published.
REST = "Q8_0"


class Published(TypedDict):
    """The size of a file that is published, with its source and its date."""

    bytes: int
    source: str
    date: str


class _Told(TypedDict):
    name: str
    repo: str
    files: str
    type: str
    source: str
    date: str


class Stored(_Told, total=False):
    """What is stored of a model: where its files are and what they are (``type``), and one description with its source.

    ``config`` are the keys of its configuration that are needed, or ``gguf`` is the summary of its file's header.
    ``layouts`` are types by hand as ``{experts, rest}``, ``sizes`` those of which the size is published, ``types``
    others than :data:`USUAL` (the model's own is always there).
    """

    config: dict[str, Any]
    gguf: Gguf
    types: list[str]
    layouts: dict[str, dict[str, str]]
    sizes: dict[str, Published]


def _scaled(tensors: list[Tensor], size: int) -> list[Tensor]:
    """With experts that take what such a file has besides the rest."""
    experts = sum(tensor.bytes for tensor in tensors if "_exps" in tensor.name)
    rest = sum(tensor.bytes for tensor in tensors) - experts
    if not experts or size <= rest:
        raise ConfigurationError(f"A file of {size:,} bytes has no room for experts beside the rest: check its size.")
    return [
        tensor._replace(bytes=round(tensor.bytes * (size - rest) / experts)) if "_exps" in tensor.name else tensor
        for tensor in tensors
    ]


def _tensors(stored: Stored, metadata: dict[str, Any], shapes: Shapes, kind: str) -> list[Tensor]:
    """The tensors of the file of this type."""
    layouts, sizes = stored.get("layouts", {}), stored.get("sizes", {})
    if kind in layouts:
        return quantized_tensors(metadata, shapes, Layout(**layouts[kind]))
    if kind in sizes:
        return _scaled(quantized_tensors(metadata, shapes, Layout("Q4_K", REST)), sizes[kind]["bytes"])
    if kind not in MOST:
        raise ConfigurationError(f"The type {kind} of {stored['name']} has neither a layout nor a size: add one.")
    return quantized_tensors(metadata, shapes, kind)


def _kv(found: KvGeometry | None) -> dict[str, Any] | None:
    """Without what is rarely there."""
    return {key: value for key, value in found.items() if value or "padding" not in key} if found else None


def _types(stored: Stored, metadata: dict[str, Any], shapes: Shapes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in (*stored.get("types", USUAL), *stored.get("layouts", {}), *stored.get("sizes", {})):
        if kind != stored["type"]:
            tensors = _tensors(stored, metadata, shapes, kind)
            size = sum(tensor.bytes for tensor in tensors)
            found[kind] = {"bytes": size, "active_bytes": weights_read(metadata, tensors).active}
        if kind in stored.get("sizes", {}):
            told = stored["sizes"][kind]
            found[kind] = {**found[kind], "bytes": told["bytes"], "source": told["source"], "date": told["date"]}
    return found


def model_entry(stored: Stored) -> dict[str, Any]:
    """The entry of one model (ModelEntry), its keys in the order in which they are written."""
    types: dict[str, Any] = {}
    active: dict[str, int] = {}
    if "gguf" in stored:
        found = stored["gguf"]
    else:
        metadata, shapes = header_of(Configuration(stored["config"]))
        tensors = _tensors(stored, metadata, shapes, stored["type"])
        found = summary([Header(3, metadata, tensors, 0)])
        types = _types(stored, metadata, shapes)
        # A byte a weight, so that bytes are weights.
        weights = [tensor._replace(bytes=math.prod(tensor.dimensions)) for tensor in tensors]
        active = {"active_parameters": weights_read(metadata, weights).active}
        found["block_count"] = trunk(metadata)
    return {
        "name": stored["name"],
        "repo": stored["repo"],
        "files": stored["files"],
        "quantization": stored["type"],
        "source": stored["source"],
        "date": stored["date"],
        "parameters": found["parameters"],
        **active,
        "bytes": sum(found["bytes_by_type"].values()),
        "active_bytes": found["active_bytes"],
        "layers": found["block_count"],
        "experts": bool(found["expert_count"]),
        "context": found["context_length"],
        "kv": _kv(found["kv"]),
        "compute": found["compute"],
        **({"types": types} if types else {}),
    }


def needed(published: dict[str, Any]) -> dict[str, Any]:
    """The keys of a configuration that an entry is made of. Raises ConfigurationError."""
    keys = Configuration(published)
    header_of(keys)
    return dict(sorted(keys.used.items()))
