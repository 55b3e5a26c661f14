# SPDX-License-Identifier: MIT
"""Bytes of the KV cache, of any geometry and type: one way for the memory check, the forecast and the catalog.

:func:`geometry` reads the :class:`document.KvGeometry` from the metadata of a GGUF file. Source:
src/llama-hparams.cpp, src/llama-kv-cache.cpp, src/llama-kv-cache-iswa.cpp, src/llama-memory-recurrent.cpp and
src/models of llama.cpp.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional

from .document import KvGeometry

# Bytes a number; --cache-type-k and -v of llama-server. A block is 32 numbers, with the size that ggml gives it.
TYPES = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
    "iq4_nl": 18 / 32,
}
# A window holds the tokens of one batch besides its own, and its length is padded.
UBATCH, PADDING = 512, 256
# Which layers see a window, where the file does not list them: all but every nth, the full one last in its group, or
# first. Architectures that are not here have none, whatever their file says (Phi-3's is not used, for one).
WINDOW_PATTERNS = {
    **dict.fromkeys(("afmoe", "cohere2", "exaone4", "exaone-moe", "llama4", "mellum", "muse-glimmer", "olmo2"), 4),
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gpt-oss": 2,
    "plamo3": 8,
}
FULL_FIRST = {"cohere2moe": 4, "laguna": 4, "smallthinker": 4}
# These list their layers.
LISTED = ("gemma4", "granite-swa", "maple", "mimo2", "spark2-5", "step35")
# Windows that are in no file.
WINDOWS = {"gemma2": 4096, "llama4": 8192}
# Layers with a recurrent state instead of a cache are those without KV heads, or all but every nth, or all besides it.
FULL_INTERVAL = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4, "minimax-01": 8}
BOTH = ("falcon-h1",)
LARGEST = 2**16


def positive(value: Any) -> Optional[int]:
    """The number, or None for what is none that a size could be."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**32 else None


def trunk(metadata: dict[str, Any]) -> Optional[int]:
    """The layers that every token passes: those that guess tokens ahead (MTP) come last, and are not loaded."""
    prefix = metadata.get("general.architecture")
    layers, ahead = (metadata.get(f"{prefix}.{key}") for key in ("block_count", "nextn_predict_layers"))
    count = (positive(layers) or 0) - (positive(ahead) or 0)
    return count if 0 < count <= LARGEST else None


def _each(value: Any, layers: int) -> Optional[list[int]]:
    """For each of the layers a number that is one for all, or one for each."""
    values = value[:layers] if isinstance(value, list) else [value] * layers
    if len(values) < layers or not all(type(each) is int and 0 <= each < 2**32 for each in values):
        return None
    return values


def _flags(value: Any, layers: int) -> Optional[list[bool]]:
    return [bool(each) for each in value[:layers]] if isinstance(value, list) and len(value) >= layers else None


def _windowed(metadata: dict[str, Any], layers: int) -> tuple[list[bool], int]:
    """Whether each layer sees a window only, and how long that is."""
    name = str(metadata.get("general.architecture"))
    window = metadata.get(f"{name}.attention.sliding_window")
    # Llama 4 attends in chunks of 8192 tokens, whatever else its file says but 0.
    size = positive(WINDOWS.get(name) if window is None or (window and name == "llama4") else window)
    pattern = metadata.get(f"{name}.attention.sliding_window_pattern")
    default = WINDOW_PATTERNS.get(name) or FULL_FIRST.get(name)
    if not size or not (default or name in LISTED):
        return [False] * layers, 0
    every = positive(pattern) or default or 1
    full = 0 if name in FULL_FIRST else every - 1
    return _flags(pattern, layers) or [layer % every != full for layer in range(layers)], size


def _recurrent(metadata: dict[str, Any], layers: int, kv_heads: list[int]) -> list[bool]:
    name = str(metadata.get("general.architecture"))
    listed = _flags(metadata.get(f"{name}.attention.recurrent_layers"), layers)
    if listed:
        return listed
    every = positive(metadata.get(f"{name}.full_attention_interval")) or FULL_INTERVAL.get(name) or 1
    feed_forward = _each(metadata.get(f"{name}.feed_forward_length"), layers) if name.startswith("nemotron_h") else None
    return [
        (layer + 1) % every != 0 or not (kv_heads[layer] or (feed_forward and feed_forward[layer]))
        for layer in range(layers)
    ]


def _state_bytes(metadata: dict[str, Any], heads: int) -> int:
    """The state of one recurrent layer for one request, in F32: a convolution's last inputs, and what they came to."""

    def get(key: str) -> int:
        return positive(metadata.get(f"{metadata.get('general.architecture')}.{key}")) or 0

    kernel = get("ssm.conv_kernel")
    if get("shortconv.l_cache"):
        return 4 * get("embedding_length") * (get("shortconv.l_cache") - 1)
    if get("kda.head_dim"):
        size = get("kda.head_dim")
        return 4 * (3 * ((kernel or 4) - 1) * heads * size + size * size * heads)
    convolution = (kernel - 1) * (get("ssm.inner_size") + 2 * get("ssm.group_count") * get("ssm.state_size"))
    return 4 * (max(0, convolution) + get("ssm.state_size") * get("ssm.inner_size"))


def geometry(metadata: dict[str, Any]) -> Optional[KvGeometry]:
    """What a model keeps for each token, from the metadata of its file; None where that does not tell.

    Multi-head latent attention keeps one latent and one rotary part a layer and no values, sparse attention the keys of
    its indexer besides; others the keys and values of every KV head. Layers that share the cache of another keep none.
    """

    def get(key: str, default: Any = None) -> Any:
        return metadata.get(f"{metadata.get('general.architecture')}.{key}", default)

    layers, width = trunk(metadata), positive(get("embedding_length"))
    if not layers or not width:
        return None
    heads = _each(get("attention.head_count"), layers)
    kv_heads = _each(get("attention.head_count_kv", get("attention.head_count")), layers)
    if not heads or not kv_heads:
        return None
    most = max(heads)
    key = positive(get("attention.key_length", width // most if most else None))
    # Without a length of their own values have the default, not that of the keys.
    value = positive(get("attention.value_length", width // most if most else None))
    if key is None or value is None:
        return None
    window_key = positive(get("attention.key_length_swa")) or key
    window_value = positive(get("attention.value_length_swa")) or value
    if get("attention.key_length_mla"):
        value = window_value = 0
    windowed, window = _windowed(metadata, layers)
    recurrent = _recurrent(metadata, layers, kv_heads)
    both = get("ssm.inner_size") and metadata.get("general.architecture") in BOTH
    own = layers - (positive(get("attention.shared_kv_layers")) or 0)
    if metadata.get("general.architecture") == "gemma3n":
        own = min(layers, 20)
    indexer = positive(get("attention.indexer.key_length")) or 0
    elements = window_elements = 0
    values: list[tuple[bool, int]] = []
    for layer in range(max(0, own)):
        if recurrent[layer] and not both:
            continue
        values.append((windowed[layer], kv_heads[layer] * (window_value if windowed[layer] else value)))
        if windowed[layer]:
            window_elements += kv_heads[layer] * (window_key + window_value)
        else:
            elements += kv_heads[layer] * (key + value) + indexer
    states = sum(1 for layer in range(layers) if recurrent[layer] or both)
    found: KvGeometry = {
        "elements": elements,
        "window_elements": window_elements,
        "window": window if window_elements else 0,
        "state_bytes": states * _state_bytes(metadata, most),
    }
    widest = max((count for _window, count in values), default=0)
    padding = {
        flag: sum(widest - count for window_only, count in values if window_only is flag) for flag in (True, False)
    }
    found["value_padding"], found["window_value_padding"] = padding[False], padding[True]
    return found if elements or window_elements else None


def padded(cells: int) -> int:
    """Tokens that a cache has room for, where so many were asked for."""
    return -(-cells // PADDING) * PADDING


def request_cells(context: int, parallel: int = 1) -> int:
    """Tokens of the context that each of the requests has for itself (src/llama-context.cpp, n_ctx_seq)."""
    return padded(padded(context) // max(1, parallel))


def window_cells(window: int, context: int, ubatch: int = UBATCH) -> int:
    """Tokens that a layer with a sliding window keeps for one request of so many tokens of context."""
    return padded(min(context, window + ubatch))


def cells(geometry: KvGeometry, context: int, parallel: int = 1, ubatch: int = UBATCH) -> tuple[int, int]:
    """Tokens kept for each request by layers that see all of its context, and by those with a window."""
    own = request_cells(context, parallel)
    window = window_cells(geometry["window"], own, ubatch) if geometry["window_elements"] else 0
    return own if geometry["elements"] else 0, window


def bytes_per_token(geometry: KvGeometry) -> dict[str, int]:
    """Bytes that one token of context takes in a cache of each type, at most, which is where no window is full."""
    numbers = geometry["elements"] + geometry["window_elements"]
    return {kind: round(numbers * size) for kind, size in TYPES.items()}


def _parts(geometry: KvGeometry, seen: tuple[int, int], kv_type: str) -> list[int]:
    """Bytes that so many cells take of layers that see all and of those with a window, and those of recurrent ones."""
    numbers = (geometry["elements"] * seen[0], geometry["window_elements"] * seen[1])
    return [*(round(each * TYPES[kv_type]) for each in numbers), geometry["state_bytes"]]


def kv_bytes(geometry: Optional[KvGeometry], context: int, kv_type: str = "f16") -> int:
    """Bytes that so many tokens of one request take; 0 where the geometry is unknown."""
    if not geometry or not context:
        return 0
    return sum(_parts(geometry, (context, window_cells(geometry["window"], context)), kv_type))


def kv_buffers(
    geometry: Optional[KvGeometry], context: int, kv_type: str = "f16", parallel: int = 1, ubatch: int = UBATCH
) -> list[int]:
    """Bytes of each of the buffers that are made for ``context`` tokens, which ``parallel`` requests divide; [] where
    the geometry is unknown."""
    if not geometry or not context:
        return []
    each = _parts(geometry, cells(geometry, context, parallel, ubatch), kv_type)
    return [parallel * part for part in each if part]


def checkpoint_bytes(geometry: Optional[KvGeometry], context: int, kv_type: str = "f16", parallel: int = 1) -> int:
    """Bytes of one checkpoint of a request: what cannot be rolled back, which is its windows and states as they were
    (LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY); 0 for a model that has neither."""
    if not geometry:
        return 0
    window = min(geometry["window"], request_cells(context, parallel))
    return round(geometry["window_elements"] * window * TYPES[kv_type]) + geometry["state_bytes"]


def longest(takes: Callable[[int], int], room: int, most: int) -> int:
    """The longest context of which ``takes`` says no more than ``room`` bytes, at most ``most``; 0 where none fits."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if takes(middle) <= room else (low, middle)
    return low
