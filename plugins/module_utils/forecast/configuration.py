# SPDX-License-Identifier: MIT
"""The configuration of a model as its maker publishes it: config.json of the hub, or Mistral's params.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

# Mistral's params.json has other names for the same, those of the experts in a part of their own.
MISTRAL = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "hidden_dim": "intermediate_size",
    "num_experts": "n_routed_experts",
    "num_shared_experts": "n_shared_experts",
    "expert_hidden_dim": "moe_intermediate_size",
}
# Names of the same in other families.
SAME = {
    "n_routed_experts": ("num_local_experts", "num_experts"),
    "num_experts_per_tok": ("experts_per_token",),
}


class ConfigurationError(Exception):
    """No header can be made of a configuration; the text is one sentence."""


class Configuration:
    """The keys of a configuration, of its text model where there are several; ``used`` are those asked for."""

    def __init__(self, published: Mapping[str, Any]) -> None:
        text = published.get("text_config")
        keys = {**published, **(text if isinstance(text, dict) else {})}
        if "dim" in keys:
            keys = {MISTRAL.get(key, key): value for key, value in {**keys, **keys.pop("moe", {})}.items()}
            keys.setdefault("model_type", "deepseek_v3" if "kv_lora_rank" in keys else "mistral")
        self._keys = keys
        self.used: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        """The value of a key, or of another name of it; None where it is not there."""
        for name in (key, *SAME.get(key, ())):
            if self._keys.get(name) is not None:
                self.used[key] = self._keys[name]
                return self._keys[name]
        return None

    def number(self, key: str, default: Optional[int] = None) -> int:
        """A whole number from 0 on; the default where the key is not there."""
        value = self.get(key)
        found = default if value is None else value
        if type(found) is not int or not 0 <= found < 2**40:
            raise ConfigurationError(f"The configuration says {str(value)[:40]} of {key}: it has to be a whole number.")
        return found

    def flags(self, key: str, true: Any) -> list[bool]:
        """Of a list with one item a layer, which of them are ``true``."""
        value = self.get(key)
        if not isinstance(value, list) or len(value) < self.layers:
            raise ConfigurationError(f"The configuration has no {key} for each layer.")
        return [item == true for item in value]

    @property
    def layers(self) -> int:
        return self.number("num_hidden_layers")

    @property
    def width(self) -> int:
        return self.number("hidden_size")

    @property
    def heads(self) -> int:
        return self.number("num_attention_heads")

    @property
    def kv_heads(self) -> int:
        return self.number("num_key_value_heads", self.heads)

    @property
    def head(self) -> int:
        return self.number("head_dim", self.width // max(1, self.heads))
