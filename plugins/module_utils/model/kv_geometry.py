# SPDX-License-Identifier: MIT
"""What a model keeps of each token, read from the metadata of its file by the table of architectures.

Source: src/llama-hparams.cpp, src/llama-kv-cache*.cpp and src/llama-memory-*.cpp of llama.cpp. Held against the
buffers that the engine itself makes, for the headers of its own tests, in tests/unit/model/test_engine_caches.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

from .architectures import ARCHITECTURES, Architecture, Indexer, Window
from .document import KvGeometry
from .header_values import LARGEST, HeaderValues, trunk
from .recurrent_state import history_numbers, state_numbers

# The compressed caches of DeepSeek V4: tokens that become one (DSV4_CSA_RATIO, with an indexer, and DSV4_HCA_RATIO).
SPARSE_RATIO, HEAVY_RATIO = 4, 128
# From so many tokens of context on, GLM's indexers are in one of four layers, where the file lists none.
LONG_CONTEXT = 2**20
F32 = 4


class _Shape(NamedTuple):
    """Layers and what each has: ``all`` of them, those of the ``trunk``, and lengths of keys and values in numbers."""

    all: int
    trunk: int
    heads: int
    kv_heads: list[int]
    key: int
    value: int
    window_key: int
    window_value: int


def _shape(values: HeaderValues, metadata: dict[str, Any]) -> Optional[_Shape]:
    trunk_layers, every = trunk(metadata), values.number("block_count")
    if not trunk_layers or every > LARGEST or not values.number("embedding_length"):
        return None
    heads = values.each("attention.head_count", every, [0] * every)
    kv_heads = values.each("attention.head_count_kv", every, heads)
    if heads is None or kv_heads is None:
        return None
    default = values.number("embedding_length") // heads[0] if heads[0] else 0
    # Without heads in the first layer there is no length either, but for PLaMo 2, which reads it again.
    told = bool(heads[0]) or values.architecture == "plamo2"
    key = values.number("attention.key_length", default) if told else 0
    # Without a length of their own values have the default, not that of the keys.
    value = values.number("attention.value_length", default) if told else 0
    return _Shape(
        every,
        trunk_layers,
        heads[0],
        kv_heads,
        key,
        value,
        values.number("attention.key_length_swa", key),
        values.number("attention.value_length_swa", value),
    )


def _windowed(window: Optional[Window], values: HeaderValues, shape: _Shape) -> tuple[list[bool], int]:
    """Whether each layer sees a window only, and how long that is."""
    told = values.get("attention.sliding_window")
    size = 0
    if window and not (window.layers and window.layers != shape.trunk):
        size = window.size if told is None else values.number("attention.sliding_window")
        size = (size and window.fixed) or size
    if not window or not size:
        return [False] * shape.all, 0
    listed = values.flags("attention.sliding_window_pattern", shape.all)
    every = values.number("attention.sliding_window_pattern", window.every)
    full = 0 if window.full_first else every - 1
    flags = listed or [not every or layer % every != full for layer in range(shape.all)]
    if values.architecture == "deepseek4":
        return [True] * shape.all, size
    return flags if listed else [flag and layer < shape.trunk for layer, flag in enumerate(flags)], size


def _widths(values: HeaderValues, shape: _Shape) -> list[int]:
    """The width of each layer's feed-forward part; 0 where it has none."""
    none = [0] * shape.all
    return values.each("feed_forward_length", shape.all, none) or none


def _recurrent(kind: Architecture, values: HeaderValues, shape: _Shape) -> list[bool]:
    """Whether each layer keeps a state; of those that predict ahead none does."""
    none = [count == 0 for count in shape.kv_heads]
    if kind.recurrent in ("all", "besides"):
        flags = [True] * shape.all
    elif kind.recurrent == "no KV heads":
        flags = none
    elif kind.recurrent == "no KV heads and no feed-forward":
        flags = [no_heads and not width for no_heads, width in zip(none, _widths(values, shape))]
    elif kind.recurrent == "interval":
        every = values.number("full_attention_interval", kind.interval)
        counted = [(layer + 1) % every != 0 for layer in range(shape.all)]
        flags = values.flags("attention.recurrent_layers", shape.all) or counted
    else:
        flags = [False] * shape.all
    return [flag and layer < shape.trunk for layer, flag in enumerate(flags)]


def _attends(kind: Architecture, values: HeaderValues, shape: _Shape, recurrent: list[bool]) -> list[bool]:
    """Whether each layer has a cache of its own."""
    own = shape.all
    if values.architecture in ("gemma3n", "gemma4"):
        own = kind.own_layers or shape.all - values.number("attention.shared_kv_layers")
    flags = [kind.ahead or layer < shape.trunk for layer in range(shape.all)]
    if kind.recurrent == "no KV heads and no feed-forward":
        flags = [flag and not width for flag, width in zip(flags, _widths(values, shape))]
    without = recurrent if kind.recurrent != "besides" else [False] * shape.all
    return [flag and layer < own and not without[layer] for layer, flag in enumerate(flags)]


def _indexed(indexer: Indexer, values: HeaderValues, shape: _Shape, attends: list[bool]) -> list[bool]:
    """Whether each layer has the keys of an indexer of its own."""
    layers = range(shape.all)
    if indexer.layers == "attention":
        return attends
    if indexer.layers == "sparse":
        return [layer >= values.number("leading_dense_block_count") for layer in layers]
    flags = [True] * shape.all
    if indexer.layers.startswith("listed"):
        told = values.get("attention.indexer.types")
        listed = values.flags("attention.indexer.types", shape.all)
        if told is not None:
            flags = listed or [bool(told)] * shape.all
        elif indexer.layers == "listed, else none":
            flags = [False] * shape.all
        elif indexer.layers == "listed, else one of four" and values.number("context_length") >= LONG_CONTEXT:
            flags = [layer < 2 or layer % 4 == 2 for layer in layers]
        if values.architecture == "hy_v4" and not values.number("attention.indexer.top_k"):
            flags = [False] * shape.all
        if values.architecture == "glm5-next":
            flags = [flag and attends[layer] for layer, flag in enumerate(flags)]
    return [flag and layer < shape.trunk for layer, flag in enumerate(flags)]


def _compress(values: HeaderValues, shape: _Shape, found: KvGeometry) -> None:
    """Add the compressed caches of DeepSeek V4, and the states that the tokens since the last of them are in."""
    ratios = values.get("attention.compress_ratios")
    ratios = ratios[: shape.all] if isinstance(ratios, list) else []
    index = values.number("attention.indexer.key_length")
    heads = max(shape.kv_heads)
    elements = {
        SPARSE_RATIO: ratios.count(SPARSE_RATIO) * (heads * shape.key + index),
        HEAVY_RATIO: ratios.count(HEAVY_RATIO) * heads * shape.key,
    }
    found["compressed"] = [{"ratio": ratio, "elements": count} for ratio, count in elements.items() if count]
    own = ratios[: shape.trunk]
    # Keys and their scores; twice as many and twice as long where groups of tokens overlap.
    sparse = 2 * (2 * SPARSE_RATIO) * 2 * (shape.key + index)
    heavy = 2 * HEAVY_RATIO * shape.key
    found["state_bytes"] += F32 * (own.count(SPARSE_RATIO) * sparse + own.count(HEAVY_RATIO) * heavy)


def _exact(kind: Architecture, values: HeaderValues, shape: _Shape) -> KvGeometry:
    latent = (kind.latent and bool(values.number("attention.key_length_mla"))) or kind.compressed
    windowed, window = _windowed(kind.window, values, shape)
    recurrent = _recurrent(kind, values, shape)
    if values.architecture == "lfm2" and window:
        windowed = [not flag for flag in recurrent]
    attends = _attends(kind, values, shape, recurrent)
    lengths = [(shape.window_key, shape.window_value) if flag else (shape.key, shape.value) for flag in windowed]
    each_value = [0 if latent else heads * length[1] for heads, length in zip(shape.kv_heads, lengths)]
    found: KvGeometry = {
        "elements": 0,
        "window_elements": 0,
        "window": 0,
        "state_bytes": 0,
        "value_padding": 0,
        "window_value_padding": 0,
    }
    widest = max(each_value)
    for layer in (number for number, flag in enumerate(attends) if flag):
        numbers = shape.kv_heads[layer] * lengths[layer][0] + each_value[layer]
        found["window_elements" if windowed[layer] else "elements"] += numbers
        found["window_value_padding" if windowed[layer] else "value_padding"] += widest - each_value[layer]
    if kind.router:
        found["elements"] += shape.key + shape.value
        found["value_padding"] += widest - shape.value
    if kind.indexer:
        key = values.number("attention.indexer.key_length") * kind.indexer.times
        each = key + (shape.value if kind.indexer.values else 0) if key else 0
        found["elements"] += each * sum(_indexed(kind.indexer, values, shape, attends))
    found["window"] = window if found["window_elements"] else 0
    numbers = state_numbers(kind.state, values, shape.heads, shape.key)
    found["state_bytes"] = F32 * (sum(recurrent) * numbers + (history_numbers(values) if sum(recurrent) else 0))
    if kind.compressed:
        _compress(values, shape, found)
    return found


def _looped(metadata: dict[str, Any]) -> dict[str, Any]:
    """With as many layers as there are caches: Nanbeige goes through its layers several times."""
    values = HeaderValues(metadata)
    loops, layers = values.number("num_loops", 1), values.number("block_count")
    if values.architecture != "nanbeige" or loops < 2 or loops * layers > LARGEST:
        return metadata
    heads = {
        f"nanbeige.{key}": value * loops
        for key in ("attention.head_count", "attention.head_count_kv")
        if isinstance(value := values.get(key), list)
    }
    return {**metadata, **heads, "nanbeige.block_count": layers * loops}


def geometry(metadata: dict[str, Any]) -> Optional[KvGeometry]:
    """What a model keeps of each token; None where its header does not tell. Of an architecture that is not known, or
    none to be served, the most that it can be (:func:`bounds`)."""
    metadata = _looped(metadata)
    values = HeaderValues(metadata)
    kind = ARCHITECTURES.get(values.architecture)
    if kind is None:
        limits = bounds(metadata)
        return limits[1] if limits else None
    shape = _shape(values, metadata)
    if shape is None:
        return None
    if not kind.cache:
        return _exact(Architecture(), values, shape._replace(kv_heads=[0] * shape.all))
    found = _exact(kind, values, shape)
    empty = not (found["elements"] or found["window_elements"] or found["state_bytes"])
    return None if empty else found


def bounds(metadata: dict[str, Any]) -> Optional[tuple[KvGeometry, KvGeometry]]:
    """The least and the most that a model of an architecture can keep that is not in the table, by the keys that it has
    in common with those that are; None where its header does not tell, or its architecture is known.

    At most every layer keeps keys and values of all its KV heads for all tokens, the key of an indexer, and a state. At
    least it keeps keys alone, which are those of one layer where there is something of a recurrent one, and of no more
    than a window where there is one.
    """
    values = HeaderValues(metadata)
    if not values.architecture or values.architecture in ARCHITECTURES:
        return None
    shape = _shape(values, metadata)
    if shape is None or not any(shape.kv_heads):
        return None
    shape = shape._replace(trunk=shape.all)
    hybrid = values.get("full_attention_interval") or values.get("attention.recurrent_layers")
    kinds = ("sums", "grouped", "delta", "short convolution", "wkv", *(("lightning",) if hybrid else ()))
    most = _exact(Architecture(indexer=Indexer("all", times=3)), values, shape)
    most["state_bytes"] = F32 * shape.all * max(state_numbers(each, values, shape.heads, shape.key) for each in kinds)
    keys = [heads * shape.key for heads in shape.kv_heads if heads]
    least: KvGeometry = {**most, "elements": sum(keys), "state_bytes": 0, "value_padding": 0}
    if most["state_bytes"] or hybrid:
        least["elements"] = min(keys)
    if values.number("attention.sliding_window") or values.get("attention.compress_ratios"):
        window = values.number("attention.sliding_window", 1)
        least = {**least, "elements": 0, "window_elements": least["elements"], "window": window}
    return least, most
