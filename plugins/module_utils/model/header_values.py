# SPDX-License-Identifier: MIT
"""Values of a header as the engine reads them: one for all layers, or a list with one for each."""

from __future__ import annotations

from typing import Any, Optional

LARGEST = 2**16


def positive(value: Any) -> Optional[int]:
    """The number, or None for what is none that a size could be."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**32 else None


def trunk(metadata: dict[str, Any]) -> Optional[int]:
    """The layers that every token passes: those that predict tokens ahead (MTP) come last."""
    values = HeaderValues(metadata)
    count = values.number("block_count") - values.number("nextn_predict_layers")
    return count if 0 < count <= LARGEST else None


class HeaderValues:
    """The values that the keys of an architecture have in the metadata of a file."""

    def __init__(self, metadata: dict[str, Any]) -> None:
        name = metadata.get("general.architecture")
        self.architecture = name if isinstance(name, str) else ""
        self._metadata = metadata

    def get(self, key: str) -> Any:
        return self._metadata.get(f"{self.architecture}.{key}")

    def number(self, key: str, default: int = 0) -> int:
        """One number; the default where there is none that a size could be."""
        return positive(self.get(key)) or default

    def each(self, key: str, layers: int, default: Optional[list[int]] = None) -> Optional[list[int]]:
        """For each of the layers a number; the default where the key is not there, None where it is no such value."""
        value = self.get(key)
        if value is None:
            return default
        found = value[:layers] if isinstance(value, list) else [value] * layers
        if len(found) < layers or not all(type(one) is int and 0 <= one < 2**32 for one in found):
            return None
        return found

    def flags(self, key: str, layers: int) -> Optional[list[bool]]:
        """For each of the layers whether it is so; a list that is too short says no of the others."""
        value = self.get(key)
        if not isinstance(value, list):
            return None
        return [bool(one) for one in value[:layers]] + [False] * (layers - len(value))

    def largest(self, key: str) -> int:
        """The number, or the largest of a list of them; 0 where there is none."""
        value = self.get(key)
        return max((positive(one) or 0 for one in (value if isinstance(value, list) else [value])), default=0)
