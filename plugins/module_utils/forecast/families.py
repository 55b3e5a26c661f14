# SPDX-License-Identifier: MIT
"""The header that a model's file will have, by the family that its published configuration names.

What conversion/*.py of llama.cpp makes of a configuration: the metadata that the readers of headers ask for, and the
name and shape of every tensor (load_arch_tensors in src/models). So a model that nobody has converted, or whose file is
not at hand, is counted by the code that counts a file. A vision tower is another file, and is left out.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

from .configuration import Configuration, ConfigurationError

Shapes = dict[str, tuple[int, ...]]


class Family(NamedTuple):
    """How models of one ``model_type`` become a file: ``architecture``, the tensors of a layer, metadata of its own.

    ``ahead``: the file has the layers that predict tokens ahead, too, where the configuration has any.
    """

    architecture: str
    layer: Callable[[Configuration, int], Shapes]
    settings: Callable[[Configuration], dict[str, Any]] = lambda keys: {}
    ahead: bool = False


def _vectors(size: int, *names: str) -> Shapes:
    return {f"{name}.weight": (size,) for name in names}


def _grouped(keys: Configuration, gated: int = 1) -> Shapes:
    """Attention with KV heads for groups of heads; ``gated``: twice as many queries, half of which are a gate."""
    query, key = keys.heads * keys.head, keys.kv_heads * keys.head
    return {
        **_vectors(keys.width, "attn_norm", "ffn_norm"),
        "attn_q.weight": (keys.width, query * gated),
        "attn_k.weight": (keys.width, key),
        "attn_v.weight": (keys.width, key),
        "attn_output.weight": (query, keys.width),
    }


def _normed(keys: Configuration, gated: int = 1) -> Shapes:
    return {**_grouped(keys, gated), **_vectors(keys.head, "attn_q_norm", "attn_k_norm")}


def _latent(keys: Configuration) -> Shapes:
    """Multi-head latent attention: queries and the pair of keys and values go through a latent each."""
    query, latent = keys.number("q_lora_rank"), keys.number("kv_lora_rank")
    plain, rotary, value = (keys.number(key) for key in ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"))
    return {
        **_vectors(keys.width, "attn_norm", "ffn_norm"),
        **_vectors(query, "attn_q_a_norm"),
        **_vectors(latent, "attn_kv_a_norm"),
        "attn_q_a.weight": (keys.width, query),
        "attn_q_b.weight": (query, keys.heads * (plain + rotary)),
        "attn_kv_a_mqa.weight": (keys.width, latent + rotary),
        "attn_k_b.weight": (plain, latent, keys.heads),
        "attn_v_b.weight": (latent, value, keys.heads),
        "attn_output.weight": (keys.heads * value, keys.width),
    }


def _feed(width: int, size: int, kind: str = "") -> Shapes:
    up, down = (width, size), (size, width)
    return {f"ffn_gate{kind}.weight": up, f"ffn_up{kind}.weight": up, f"ffn_down{kind}.weight": down}


def _experts(keys: Configuration, size: int, shared: int = 0, bias: bool = True) -> Shapes:
    """A router, its experts, and one of the ``shared`` size that every token goes through."""
    count = keys.number("n_routed_experts")
    return {
        "ffn_gate_inp.weight": (keys.width, count),
        **({"exp_probs_b.bias": (count,)} if bias else {}),
        **{name: (*shape, count) for name, shape in _feed(keys.width, size, "_exps").items()},
        **(_feed(keys.width, shared, "_shexp") if shared else {}),
    }


def _mixture(keys: Configuration, layer: int) -> Shapes:
    """The feed-forward part of DeepSeek, Kimi, GLM and MiniMax M3: the first layers are dense."""
    if layer < _leading(keys):
        return _feed(keys.width, keys.number("dense_intermediate_size", keys.number("intermediate_size")))
    size = keys.number("moe_intermediate_size")
    return _experts(keys, size, size * keys.number("n_shared_experts", 0))


def _leading(keys: Configuration) -> int:
    return keys.number("first_k_dense_replace", 0)


def _ahead(keys: Configuration, layer: int, tables: bool = False) -> Shapes:
    """What a layer that predicts tokens ahead has besides; ``tables``: an embedding and an output of its own, too."""
    if layer < keys.layers:
        return {}
    table = (keys.width, keys.number("vocab_size"))
    return {
        "nextn.eh_proj.weight": (2 * keys.width, keys.width),
        **_vectors(keys.width, "nextn.enorm", "nextn.hnorm", "nextn.shared_head_norm"),
        **({"nextn.embed_tokens.weight": table, "nextn.shared_head_head.weight": table} if tables else {}),
    }


def _llama(keys: Configuration, layer: int) -> Shapes:
    return {**_grouped(keys), **_feed(keys.width, keys.number("intermediate_size"))}


def _qwen3(keys: Configuration, layer: int) -> Shapes:
    return {**_normed(keys), **_feed(keys.width, keys.number("intermediate_size"))}


def _gemma3(keys: Configuration, layer: int) -> Shapes:
    return {**_qwen3(keys, layer), **_vectors(keys.width, "post_attention_norm", "post_ffw_norm")}


def _qwen3_moe(keys: Configuration, layer: int) -> Shapes:
    return {**_normed(keys), **_experts(keys, keys.number("moe_intermediate_size"), bias=False)}


def _llama4(keys: Configuration, layer: int) -> Shapes:
    size = keys.number("intermediate_size")
    if (layer + 1) % keys.number("interleave_moe_layer_step"):
        return {**_grouped(keys), **_feed(keys.width, keys.number("intermediate_size_mlp"))}
    return {**_grouped(keys), **_experts(keys, size, size, bias=False)}


def _gpt_oss(keys: Configuration, layer: int) -> Shapes:
    size, count = keys.number("intermediate_size"), keys.number("n_routed_experts")
    found = {**_grouped(keys), **_experts(keys, size, bias=False), **_vectors(keys.heads, "attn_sinks")}
    for name, shape in list(found.items()):
        if "norm" not in name and "sinks" not in name:
            found[name.replace(".weight", ".bias")] = (shape[1], count) if len(shape) > 2 else shape[1:]
    return found


def _glm4_moe(keys: Configuration, layer: int) -> Shapes:
    return {**_normed(keys), **_mixture(keys, layer), **_ahead(keys, layer)}


def _minimax_m2(keys: Configuration, layer: int) -> Shapes:
    norms = {"attn_q_norm.weight": (keys.heads * keys.head,), "attn_k_norm.weight": (keys.kv_heads * keys.head,)}
    return {**_grouped(keys), **norms, **_experts(keys, keys.number("intermediate_size"))}


def _sparse_attention(keys: Configuration) -> tuple[int, int]:
    """Heads and length of MiniMax M3's indexer."""
    found = keys.get("sparse_attention_config")
    if not isinstance(found, dict):
        raise ConfigurationError("The configuration has no sparse_attention_config.")
    return found["sparse_num_index_heads"], found["sparse_index_dim"]


def _minimax_m3(keys: Configuration, layer: int) -> Shapes:
    heads, length = _sparse_attention(keys)
    indexer = {
        "indexer.q_proj.weight": (keys.width, heads * length),
        "indexer.k_proj.weight": (keys.width, length),
        **_vectors(length, "indexer.q_norm", "indexer.k_norm"),
    }
    return {**_normed(keys), **_mixture(keys, layer), **({} if layer < _leading(keys) else indexer)}


def _deepseek2(keys: Configuration, layer: int) -> Shapes:
    return {**_latent(keys), **_mixture(keys, layer)}


def _sparse_latent(keys: Configuration, layer: int) -> Shapes:
    """DeepSeek V3.2 and GLM-5: an indexer finds the tokens that matter, in each layer or in those that are listed."""
    length, heads = keys.number("index_head_dim"), keys.number("index_n_heads")
    listed = keys.flags("indexer_types", "full") if keys.get("indexer_types") else []
    indexer = {
        **_vectors(length, "indexer.k_norm"),
        "indexer.k_norm.bias": (length,),
        "indexer.proj.weight": (keys.width, heads),
        "indexer.attn_k.weight": (keys.width, length),
        "indexer.attn_q_b.weight": (keys.number("q_lora_rank"), heads * length),
    }
    has = not listed or layer >= len(listed) or listed[layer]
    tables = keys.get("model_type") == "deepseek_v32"
    return {**_deepseek2(keys, layer), **(indexer if has else {}), **_ahead(keys, layer, tables)}


def _compressed(keys: Configuration, ratio: int) -> Shapes:
    """What makes keys of several tokens into one, in DeepSeek V4; groups of four overlap, and have an indexer."""
    if not ratio:
        return {}
    times, length, index = 2 if ratio == 4 else 1, keys.head, keys.number("index_head_dim")
    found: Shapes = {
        "attn_compressor_kv.weight": (keys.width, times * length),
        "attn_compressor_gate.weight": (keys.width, times * length),
        "attn_compressor_ape.weight": (times * length, ratio),
        **_vectors(length, "attn_compressor_norm"),
    }
    if ratio == 4:
        heads = keys.number("index_n_heads")
        found.update(
            {
                "indexer.proj.weight": (keys.width, heads),
                "indexer.attn_q_b.weight": (keys.number("q_lora_rank"), heads * index),
                "indexer_compressor_kv.weight": (keys.width, 2 * index),
                "indexer_compressor_gate.weight": (keys.width, 2 * index),
                "indexer_compressor_ape.weight": (2 * index, ratio),
                **_vectors(index, "indexer_compressor_norm"),
            }
        )
    return found


def _deepseek4(keys: Configuration, layer: int) -> Shapes:
    query, groups, rank = keys.number("q_lora_rank"), keys.number("o_groups"), keys.number("o_lora_rank")
    streams, out = keys.number("hc_mult"), keys.heads * keys.head
    mixing = (2 + streams) * streams
    size, ratios = keys.number("moe_intermediate_size"), keys.get("compress_ratios")
    if not isinstance(ratios, list) or len(ratios) < keys.layers:
        raise ConfigurationError("The configuration has no compress_ratios for each layer.")
    hashed = layer < keys.number("num_hash_layers", 0)
    streams_of = {
        f"hc_{part}_{name}.weight": shape
        for part in ("attn", "ffn")
        for name, shape in (("fn", (streams * keys.width, mixing)), ("base", (mixing,)), ("scale", (3,)))
    }
    return {
        **_vectors(keys.width, "attn_norm", "ffn_norm"),
        **_vectors(query, "attn_q_a_norm"),
        **_vectors(keys.head, "attn_kv_norm"),
        **_vectors(keys.heads, "attn_sinks"),
        "attn_q_a.weight": (keys.width, query),
        "attn_q_b.weight": (query, out),
        "attn_kv.weight": (keys.width, keys.head),
        "attn_output_a.weight": (out // groups, rank * groups),
        "attn_output_b.weight": (rank * groups, keys.width),
        **streams_of,
        **_compressed(keys, ratios[layer]),
        **_experts(keys, size, size * keys.number("n_shared_experts"), bias=not hashed),
        **(
            {"ffn_gate_tid2eid.weight": (keys.number("num_experts_per_tok"), keys.number("vocab_size"))}
            if hashed
            else {}
        ),
    }


def _delta(keys: Configuration, names: tuple[str, ...]) -> Shapes:
    """A gated delta net instead of attention; ``names``: its two gates, in one matrix or in two."""
    steps, length = keys.number("linear_num_value_heads"), keys.number("linear_value_head_dim")
    key, value = keys.number("linear_key_head_dim") * keys.number("linear_num_key_heads"), steps * length
    return {
        **_vectors(keys.width, "attn_norm", "post_attention_norm"),
        "attn_qkv.weight": (keys.width, 2 * key + value),
        "attn_gate.weight": (keys.width, value),
        "ssm_conv1d.weight": (keys.number("linear_conv_kernel_dim"), 2 * key + value),
        "ssm_dt.bias": (steps,),
        "ssm_a": (steps,),
        **{f"{name}.weight": (keys.width, 2 * steps // len(names)) for name in names},
        **_vectors(length, "ssm_norm"),
        "ssm_out.weight": (value, keys.width),
    }


def _hybrid(keys: Configuration, layer: int, names: tuple[str, ...] = ("ssm_beta", "ssm_alpha")) -> Shapes:
    """Qwen3-Next and Qwen3.5: attention in one layer of four, and a delta net in the others."""
    whole = (layer + 1) % keys.number("full_attention_interval", 4) == 0
    mixing = _normed(keys, gated=2) if whole else _delta(keys, names)
    if not keys.get("n_routed_experts"):
        return {**mixing, **_feed(keys.width, keys.number("intermediate_size"))}
    shared = keys.number("shared_expert_intermediate_size")
    experts = _experts(keys, keys.number("moe_intermediate_size"), shared, bias=False)
    return {**mixing, **experts, **_vectors(keys.width, "ffn_gate_inp_shexp")}


def _qwen3_next(keys: Configuration, layer: int) -> Shapes:
    return _hybrid(keys, layer, ("ssm_ba",))


def _latent_settings(keys: Configuration) -> dict[str, Any]:
    latent, rotary = keys.number("kv_lora_rank"), keys.number("qk_rope_head_dim")
    return {
        "attention.head_count_kv": 1,
        "attention.key_length": latent + rotary,
        "attention.value_length": latent,
        "attention.key_length_mla": keys.number("qk_nope_head_dim") + rotary,
        "attention.value_length_mla": keys.number("v_head_dim"),
    }


def _indexed_settings(keys: Configuration) -> dict[str, Any]:
    listed = {"attention.indexer.types": keys.flags("indexer_types", "full")} if keys.get("indexer_types") else {}
    return {**_latent_settings(keys), "attention.indexer.key_length": keys.number("index_head_dim"), **listed}


def _window_settings(keys: Configuration) -> dict[str, Any]:
    return {"attention.sliding_window": keys.number("sliding_window")}


def _compressed_settings(keys: Configuration) -> dict[str, Any]:
    return {
        **_window_settings(keys),
        "attention.compress_ratios": keys.get("compress_ratios"),
        "attention.indexer.key_length": keys.number("index_head_dim"),
    }


def _delta_settings(keys: Configuration) -> dict[str, Any]:
    return {
        "full_attention_interval": keys.number("full_attention_interval", 4),
        "ssm.conv_kernel": keys.number("linear_conv_kernel_dim"),
        "ssm.state_size": keys.number("linear_key_head_dim"),
        "ssm.group_count": keys.number("linear_num_key_heads"),
        "ssm.inner_size": keys.number("linear_value_head_dim") * keys.number("linear_num_value_heads"),
    }


# By model_type.
FAMILIES: dict[str, Family] = {
    **dict.fromkeys(("llama", "mistral"), Family("llama", _llama)),
    "qwen3": Family("qwen3", _qwen3),
    "qwen3_moe": Family("qwen3moe", _qwen3_moe),
    "qwen3_next": Family("qwen3next", _qwen3_next, _delta_settings),
    "qwen3_5_text": Family("qwen35", _hybrid, _delta_settings),
    "qwen3_5_moe_text": Family("qwen35moe", _hybrid, _delta_settings),
    "gemma3_text": Family("gemma3", _gemma3, _window_settings),
    "llama4_text": Family("llama4", _llama4),
    "gpt_oss": Family("gpt-oss", _gpt_oss, _window_settings),
    "glm4_moe": Family("glm4moe", _glm4_moe, ahead=True),
    "minimax_m2": Family("minimax-m2", _minimax_m2),
    "minimax_m3": Family(
        "minimax-m3", _minimax_m3, lambda keys: {"attention.indexer.key_length": _sparse_attention(keys)[1]}
    ),
    **dict.fromkeys(("deepseek_v3", "kimi_k2", "glm4_moe_lite"), Family("deepseek2", _deepseek2, _latent_settings)),
    "deepseek_v32": Family("deepseek32", _sparse_latent, _indexed_settings, ahead=True),
    "glm_moe_dsa": Family("glm-dsa", _sparse_latent, _indexed_settings, ahead=True),
    "deepseek_v4": Family("deepseek4", _deepseek4, _compressed_settings),
}


def header_of(keys: Configuration) -> tuple[dict[str, Any], Shapes]:
    """The metadata of a file as far as it is read, and the shapes of its tensors. Raises ConfigurationError."""
    kind = keys.get("model_type")
    family = FAMILIES.get(kind) if isinstance(kind, str) else None
    if family is None:
        raise ConfigurationError(
            f"The configuration has the model_type {str(kind)[:40]}, whose tensors are not known: take a GGUF file."
        )
    ahead = keys.number("num_nextn_predict_layers", 0) if family.ahead else 0
    vocabulary = (keys.width, keys.number("vocab_size"))
    shapes: Shapes = {"token_embd.weight": vocabulary, "output_norm.weight": (keys.width,)}
    if not keys.get("tie_word_embeddings"):
        shapes["output.weight"] = vocabulary
    for layer in range(keys.layers + ahead):
        shapes.update({f"blk.{layer}.{name}": shape for name, shape in family.layer(keys, layer).items()})
    settings = {
        "block_count": keys.layers + ahead,
        "nextn_predict_layers": ahead,
        "context_length": keys.number("max_position_embeddings"),
        "embedding_length": keys.width,
        "attention.head_count": keys.heads,
        "attention.head_count_kv": keys.kv_heads,
        "attention.key_length": keys.head,
        "attention.value_length": keys.head,
        "leading_dense_block_count": _leading(keys),
        **family.settings(keys),
    }
    if any("_exps" in name for name in shapes):
        settings["expert_count"] = keys.number("n_routed_experts")
        settings["expert_used_count"] = keys.number("num_experts_per_tok")
    metadata = {f"{family.architecture}.{key}": value for key, value in settings.items()}
    return {"general.architecture": family.architecture, **metadata}, shapes
