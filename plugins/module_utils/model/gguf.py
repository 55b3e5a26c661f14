# SPDX-License-Identifier: MIT
"""Read the header of a GGUF file: metadata and tensor table, never the weights.

Works on anything that can be read at an offset - a file, or HTTP ranges - in bounded memory: counts and
lengths that cannot fit into the file are refused before anything is allocated, and long values (the
vocabulary, the chat template) are passed over. Sizes are bytes. Source of the format: ggml/include/gguf.h and
gguf-py/gguf/constants.py of llama.cpp.
"""

from __future__ import annotations

import math
import os
import re
import struct
from typing import Any, Callable, NamedTuple

from .compute_buffers import geometry as compute_geometry
from .document import Gguf
from .header_values import HeaderValues
from .kv_cache import bytes_per_token
from .kv_geometry import bounds, geometry
from .tensors import FILE_TYPES, TYPES, Tensor, loaded_metadata, weights_read

Read = Callable[[int, int], bytes]

# The headers of the largest models (a vocabulary of 250,000 words, 2,000 tensors) take about 15 MB.
LARGEST_HEADER = 128 * 2**20
MOST_ENTRIES = 2**16
LARGEST_KEY = 2**8
# Of one value, and of all together: thousands of values that are each short would fill the memory, too.
KEPT_ITEMS, KEPT_TEXT = 2**10, 2**12
ALL_KEPT = 2**18
# Windows grow, since the header of a shard is small and that of a vocabulary is not.
FIRST_WINDOW, WINDOW = 2**16, 2**21

# Metadata value type -> struct format; 8 is a string, 9 an array.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

# What a name claims to be: Q6_K, UD-Q4_K_XL, iq3_xxs, BF16; not the Q3 of a quarter or the 4B of a size.
LABEL = re.compile(
    r"(?<![A-Za-z0-9])(?:UD[-_])?(?:I?Q[1-8]_(?:K|[01]|XXS|XS|S|M|NL)(?:_[A-Z]+)?|BF16|FP?16|FP?32)(?![A-Za-z0-9])",
    re.IGNORECASE,
)


class GgufError(Exception):
    """The file is no GGUF file that can be used; the text is one sentence."""


class Header(NamedTuple):
    """What a file says of itself; of long text and long arrays only ``bytes`` or ``items`` is kept."""

    version: int
    metadata: dict[str, Any]
    tensors: list[Tensor]
    data_offset: int


class _Cursor:
    """Reads forward through a window, and refuses what lies outside the file."""

    def __init__(self, read: Read, size: int) -> None:
        self._read, self._size, self._start, self._window = read, size, 0, b""
        self.position, self._room = 0, ALL_KEPT

    def _keep(self, amount: int, most: int) -> bool:
        """Whether a value of so many bytes is kept; it then takes its part of what may be kept."""
        kept = amount <= min(most, self._room)
        self._room -= amount if kept else 0
        return kept

    def skip(self, count: int) -> None:
        if count > self._size - self.position:
            raise GgufError(f"The file ends within its header, at byte {self._size}: it is truncated.")
        if self.position + count > LARGEST_HEADER:
            raise GgufError(f"The header is larger than {LARGEST_HEADER >> 20} MiB, which no model's is.")
        self.position += count

    def take(self, count: int) -> bytes:
        start = self.position
        self.skip(count)
        if start < self._start or start + count > self._start + len(self._window):
            wanted = max(count, min(WINDOW, max(FIRST_WINDOW, start)))
            wanted = min(wanted, self._size - start)
            self._window, self._start = self._read(start, wanted), start
            if len(self._window) < count:
                raise GgufError(f"The file cannot be read past byte {start + len(self._window)}: it is truncated.")
        return self._window[start - self._start : start - self._start + count]

    def number(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def string(self, longest: int = LARGEST_KEY) -> str:
        length = self.number("Q")
        if length > longest:
            raise GgufError(f"A name of {length} bytes is in the header: the file is damaged.")
        return self.take(length).decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind == 7:  # any byte but 0
            return bool(self.number("B"))
        if kind in SCALARS:
            number = self.number(SCALARS[kind])
            return number if math.isfinite(number) else None
        if kind == 8:
            length = self.number("Q")
            if self._keep(length, KEPT_TEXT):
                return self.take(length).decode("utf-8", "replace")
            self.skip(length)
            return {"bytes": length}
        if kind == 9:
            return self._array()
        raise GgufError(
            f"A metadata value has the unknown type {kind}: the file is damaged, or newer than this reader."
        )

    def _array(self) -> Any:
        kind, count = self.number("I"), self.number("Q")
        if kind not in SCALARS and kind != 8:
            raise GgufError(
                f"A metadata array has items of type {kind}: the file is damaged, or newer than this reader."
            )
        if count > LARGEST_HEADER:
            raise GgufError(f"A metadata array of {count} items is in the header: the file is damaged.")
        if self._keep(count * 8, KEPT_ITEMS * 8):  # an item takes about as much as eight bytes of text
            return [self.value(kind) for _ in range(count)]
        if kind in SCALARS:
            self.skip(count * struct.calcsize(f"<{SCALARS[kind]}"))
        else:
            for _ in range(count):
                self.skip(self.number("Q"))
        return {"items": count}


def read_header(read: Read, size: int) -> Header:
    """The header of a file of ``size`` bytes, of which ``read(offset, count)`` gives parts.

    Raises GgufError where the file is not GGUF of version 2 or 3, is damaged, or is truncated.
    """
    cursor = _Cursor(read, size)
    if size < 4 or cursor.take(4) != b"GGUF":
        raise GgufError("The file does not begin with GGUF: it is no GGUF model.")
    version = cursor.number("I")
    if version in (2 << 24, 3 << 24):
        raise GgufError("The file is big-endian, and this machine is not: convert it with gguf_convert_endian.py.")
    if version not in (2, 3):
        raise GgufError(f"The file has version {version} of GGUF, and versions 2 and 3 can be read.")
    tensor_count, metadata_count = cursor.number("Q"), cursor.number("Q")
    if max(tensor_count, metadata_count) > MOST_ENTRIES:
        raise GgufError(
            f"The header tells of {tensor_count} tensors and {metadata_count} metadata items: it is damaged."
        )
    metadata: dict[str, Any] = {}
    for _ in range(metadata_count):
        key = cursor.string(LARGEST_KEY)
        if not key or key in metadata:
            raise GgufError(f"The metadata has {key[:80]!r} twice or without a name: the file is damaged.")
        metadata[key] = cursor.value(cursor.number("I"))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1) or alignment > 2**20:
        raise GgufError(
            f"The tensors are aligned to {str(alignment)[:80]}, which is no power of two: the file is damaged."
        )
    tensors = [_tensor(cursor) for _ in range(tensor_count)]
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise GgufError("Two tensors have the same name: the file is damaged.")
    data_offset = -(-cursor.position // alignment) * alignment
    expected = 0
    for tensor in tensors:
        # llama.cpp refuses gaps and overlaps, too.
        if tensor.offset != expected:
            raise GgufError(f"The tensor {tensor.name[:80]!r} does not follow the one before it: the file is damaged.")
        expected += -(-tensor.bytes // alignment) * alignment
        if data_offset + tensor.offset + tensor.bytes > size:
            raise GgufError(f"The tensor {tensor.name[:80]!r} lies outside the file of {size} bytes: it is truncated.")
    return Header(version, metadata, tensors, data_offset)


def _tensor(cursor: _Cursor) -> Tensor:
    name, rank = cursor.string(LARGEST_KEY), cursor.number("I")
    if not name or not 1 <= rank <= 4:
        raise GgufError(f"A tensor has the name {name[:80]!r} and {rank} dimensions: the file is damaged.")
    dimensions = tuple(cursor.number("Q") for _ in range(rank))
    kind, offset = cursor.number("I"), cursor.number("Q")
    if kind not in TYPES:
        raise GgufError(
            f"The tensor {name[:80]!r} has the unknown type {kind}: the file is damaged, or newer than this reader."
        )
    type_name, weights, size = TYPES[kind]
    count = math.prod(dimensions)
    if not 0 < count < 2**63 or dimensions[0] % weights:
        raise GgufError(f"The tensor {name[:80]!r} has a shape that {type_name} cannot have: the file is damaged.")
    return Tensor(name, dimensions, type_name, offset, count // weights * size)


def file_reader(path: str) -> tuple[Read, int]:
    """``read`` and ``size`` of a file, for :func:`read_header`. What is read does not stay in the page cache."""

    def read(offset: int, count: int) -> bytes:
        with open(path, "rb", buffering=0) as file:
            if not hasattr(os, "posix_fadvise"):  # macOS, on which a plan is made
                return os.pread(file.fileno(), count, offset)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            data = os.pread(file.fileno(), count, offset)
            # Only this part: the weights behind it may be cached for a server that is about to start.
            os.posix_fadvise(file.fileno(), offset, count, os.POSIX_FADV_DONTNEED)
        return data

    return read, os.path.getsize(path)


def summary(headers: list[Header]) -> Gguf:
    """What is worth knowing of one file, or of all shards of a set, the first one first."""
    for index, header in enumerate(headers):
        count = header.metadata.get("split.count") or 1
        if count != len(headers) or (count != 1 and header.metadata.get("split.no") != index):
            raise GgufError(
                f"File {index + 1} of {len(headers)} is by its header not shard {index + 1} of {len(headers)}: take "
                "all shards of one set, in their order."
            )
    tensors = [tensor for header in headers for tensor in header.tensors]
    metadata = loaded_metadata(headers[0].metadata, tensors)
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise GgufError("Two shards have a tensor of the same name: take all shards of one set.")
    file_type = metadata.get("general.file_type")
    by_type: dict[str, int] = {}
    for tensor in tensors:
        by_type[tensor.type] = by_type.get(tensor.type, 0) + tensor.bytes

    def text(key: str) -> str | None:
        return metadata[key] if isinstance(metadata.get(key), str) else None

    values, kv, limits = HeaderValues(metadata), geometry(metadata), bounds(metadata)
    weights = weights_read(metadata, tensors)
    return {
        "architecture": text("general.architecture"),
        "name": text("general.name"),
        "quantization": max(by_type, key=lambda name: by_type[name]) if by_type else None,
        "file_type": FILE_TYPES.get(file_type) if isinstance(file_type, int) else None,
        "bytes_by_type": by_type,
        "parameters": sum(math.prod(tensor.dimensions) for tensor in tensors),
        "active_bytes": weights.active,
        "ahead_bytes": weights.ahead,
        "block_count": values.number("block_count") or None,
        "context_length": values.number("context_length") or None,
        "expert_count": values.number("expert_count") or None,
        "expert_used_count": values.largest("expert_used_count") or None,
        "kv": kv,
        "kv_least": limits[0] if limits else None,
        "kv_bytes_per_token": bytes_per_token(kv) if kv else None,
        "compute": compute_geometry(metadata, ((tensor.name, tensor.dimensions) for tensor in tensors)),
    }


def _bits(name: str) -> int | None:
    """6 for Q6_K and UD-Q6_K_XL, 16 for BF16. None for what is no step of one ladder: models that were trained in
    MXFP4 keep it under whatever name the rest of them is quantized to."""
    match = re.search(r"(?:Q|F|FP)(\d+)", name.upper())
    return int(match[1]) if match and "FP4" not in name.upper() else None


def quantization_problem(name: str, model: Gguf) -> str | None:
    """What to say where a file has fewer bits than its name claims, else None; ``model`` is its :func:`summary`.

    Mixtures are what quantizations are made of: Q4_K_M has tensors in Q6_K, Q6_K_L more in Q8_0, and rows that are
    no multiple of 256 fall back to a larger type, 87 % of the bytes of one Q6_K file. So only less than claimed
    counts, on average and in the type of most bytes, and only where the file calls itself so, too; if it says
    nothing of itself, where the type is two steps below. Of several labels in a name the smallest counts.
    """
    labels = {label: _bits(label) for label in LABEL.findall(name)}
    label = min(labels, key=lambda each: labels[each] or 0, default=None)
    claimed, found = labels[label] if label else None, _bits(model["quantization"] or "")
    if not claimed or not found or not model["parameters"]:
        return None
    average = sum(model["bytes_by_type"].values()) * 8 / model["parameters"]
    itself = model["file_type"]
    less = _bits(itself) == found < claimed if itself else found <= claimed - 2
    if not less or average >= claimed:
        return None
    called = f", and it calls itself {itself}" if itself else ""
    return (
        f"{name} is named {label}, but most of its bytes are {model['quantization']}, {average:.1f} bits a weight"
        f"{called}: check that it is the model you want."
    )
