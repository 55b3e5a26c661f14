# SPDX-License-Identifier: MIT
"""Small models of the architectures that differ in what they keep and read, each loadable by llama.cpp.

Metadata and tensors are those that src/models of llama.cpp asks for; there is no vocabulary, and all weights are zero.
"""

from __future__ import annotations

from typing import Any

from tests.gguf_builder import F32, Q8_0, gguf

WIDTH, VOCABULARY, HEADS, HEAD = 256, 128, 4, 64
EXPERTS, EXPERT = 8, 128

Shapes = dict[str, list[int]]
Settings = dict[str, Any]

HEAD_SETTINGS: Settings = {"attention.key_length": HEAD, "attention.value_length": HEAD}
EXPERT_SETTINGS: Settings = {"expert_count": EXPERTS, "expert_used_count": 2, "expert_feed_forward_length": EXPERT}


def _attention(kv_heads: int, norms: bool = False) -> Shapes:
    shapes = {
        "attn_q.weight": [WIDTH, HEADS * HEAD],
        "attn_k.weight": [WIDTH, kv_heads * HEAD],
        "attn_v.weight": [WIDTH, kv_heads * HEAD],
        "attn_output.weight": [HEADS * HEAD, WIDTH],
    }
    return {**shapes, **({"attn_q_norm.weight": [HEAD], "attn_k_norm.weight": [HEAD]} if norms else {})}


def _feed_forward(size: int, kind: str = "") -> Shapes:
    up = [WIDTH, size]
    return {f"ffn_gate{kind}.weight": up, f"ffn_up{kind}.weight": up, f"ffn_down{kind}.weight": up[::-1]}


def _experts() -> Shapes:
    experts = {name: [*shape, EXPERTS] for name, shape in _feed_forward(EXPERT, "_exps").items()}
    return {"ffn_gate_inp.weight": [WIDTH, EXPERTS], **experts}


def _shared_expert(size: int) -> Shapes:
    return {"ffn_gate_inp_shexp.weight": [WIDTH], **_feed_forward(size, "_shexp")}


def _norms(*names: str) -> Shapes:
    return {f"{name}.weight": [WIDTH] for name in names}


def _model(name: str, layers: list[Shapes], settings: Settings, tied: bool = False, norm: str = "output_norm") -> bytes:
    shapes = {"token_embd.weight": [WIDTH, VOCABULARY], f"{norm}.weight": [WIDTH]}
    if not tied:
        shapes["output.weight"] = [WIDTH, VOCABULARY]
    for number, layer in enumerate(layers):
        shapes.update({f"blk.{number}.{tensor}": shape for tensor, shape in layer.items()})
    common: Settings = {
        "block_count": len(layers),
        "context_length": 8192,
        "embedding_length": WIDTH,
        "attention.head_count": HEADS,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.dimension_count": HEAD,
        "vocab_size": VOCABULARY,
    }
    metadata = {"general.architecture": name, "tokenizer.ggml.model": "no_vocab"}
    metadata.update({f"{name}.{key}": value for key, value in {**common, **settings}.items()})

    def kind(tensor: str, shape: list[int]) -> int:
        matrix = len(shape) > 1 and shape[0] % 32 == 0 and tensor.endswith(".weight")
        return Q8_0 if matrix and "gate_inp" not in tensor else F32

    return gguf(metadata, [(tensor, shape, kind(tensor, shape)) for tensor, shape in shapes.items()])


def llama() -> bytes:
    """Dense, with two KV heads for four heads."""
    layer = {**_norms("attn_norm", "ffn_norm"), **_attention(2), **_feed_forward(512)}
    return _model("llama", [layer] * 3, {"attention.head_count_kv": 2, "feed_forward_length": 512})


def gemma3() -> bytes:
    """Five of six layers see a window; the embeddings are used again at the output."""
    norms = _norms("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
    layer = {**norms, **_attention(1, norms=True), **_feed_forward(512)}
    settings = {
        "attention.head_count_kv": 1,
        **HEAD_SETTINGS,
        "attention.sliding_window": 512,
        "feed_forward_length": 512,
    }
    return _model("gemma3", [layer] * 7, settings, tied=True)


def qwen2moe() -> bytes:
    """Two of eight experts, and a shared one."""
    layer = {**_norms("attn_norm", "ffn_norm"), **_attention(4), **_experts(), **_shared_expert(256)}
    settings = {
        "attention.head_count_kv": 4,
        "feed_forward_length": 512,
        **EXPERT_SETTINGS,
        "expert_shared_feed_forward_length": 256,
    }
    return _model("qwen2moe", [layer] * 2, settings)


def gpt_oss() -> bytes:
    """Experts with biases, and every other layer sees a window."""
    inner, outer = [EXPERT, EXPERTS], [WIDTH, EXPERTS]
    biases = {"ffn_gate_exps.bias": inner, "ffn_up_exps.bias": inner, "ffn_down_exps.bias": outer}
    sinks = {"attn_sinks.weight": [HEADS], "attn_output.bias": [WIDTH], "ffn_gate_inp.bias": [EXPERTS]}
    norms = _norms("attn_norm", "post_attention_norm")
    layer = {**norms, **_attention(2), **sinks, **_experts(), **biases}
    settings = {
        "attention.head_count_kv": 2,
        **HEAD_SETTINGS,
        "attention.sliding_window": 128,
        "feed_forward_length": 128,
        **EXPERT_SETTINGS,
    }
    return _model("gpt-oss", [layer] * 4, settings)


def deepseek2() -> bytes:
    """Multi-head latent attention: one latent of 128 and a rotary part of 32 a layer, whatever the heads."""
    latent, rope, plain, value, query = 128, 32, 64, 64, 96
    attention = {
        "attn_q_a.weight": [WIDTH, query],
        "attn_q_a_norm.weight": [query],
        "attn_q_b.weight": [query, HEADS * (plain + rope)],
        "attn_kv_a_mqa.weight": [WIDTH, latent + rope],
        "attn_kv_a_norm.weight": [latent],
        "attn_k_b.weight": [plain, latent, HEADS],
        "attn_v_b.weight": [latent, value, HEADS],
        "attn_output.weight": [HEADS * value, WIDTH],
    }
    common = {**_norms("attn_norm", "ffn_norm"), **attention}
    sparse = {**common, **_experts(), **_feed_forward(EXPERT, "_shexp")}
    settings = {
        "attention.head_count_kv": 1,
        "attention.q_lora_rank": query,
        "attention.kv_lora_rank": latent,
        "attention.key_length": latent + rope,
        "attention.value_length": latent,
        "attention.key_length_mla": plain + rope,
        "attention.value_length_mla": value,
        "rope.dimension_count": rope,
        "leading_dense_block_count": 1,
        "feed_forward_length": 512,
        **EXPERT_SETTINGS,
        "expert_shared_count": 1,
        "expert_weights_scale": 1.0,
    }
    return _model("deepseek2", [{**common, **_feed_forward(512)}, sparse, sparse], settings)


def lfm2() -> bytes:
    """Hybrid: short convolutions, and attention in one layer of three."""
    common = {**_norms("attn_norm", "ffn_norm"), **_feed_forward(512)}
    convolution = {
        "shortconv.conv.weight": [3, WIDTH],
        "shortconv.in_proj.weight": [WIDTH, 3 * WIDTH],
        "shortconv.out_proj.weight": [WIDTH, WIDTH],
    }
    layers = [{**common, **convolution}, {**common, **convolution}, {**common, **_attention(2, norms=True)}]
    settings = {"attention.head_count_kv": [0, 0, 2], "feed_forward_length": 512, "shortconv.l_cache": 3}
    return _model("lfm2", layers, settings, tied=True, norm="token_embd_norm")


def qwen3next() -> bytes:
    """Hybrid: a gated delta net in three of four layers, experts and a shared one in all."""
    state, groups, steps = 32, 2, 4
    key, value = state * groups, state * steps
    delta = {
        "attn_qkv.weight": [WIDTH, 2 * key + value],
        "attn_gate.weight": [WIDTH, value],
        "ssm_conv1d.weight": [4, 2 * key + value],
        "ssm_dt.bias": [steps],
        "ssm_a": [steps],
        "ssm_ba.weight": [WIDTH, 2 * steps],
        "ssm_norm.weight": [state],
        "ssm_out.weight": [value, WIDTH],
    }
    attention = {**_attention(1, norms=True), "attn_q.weight": [WIDTH, 2 * HEADS * HEAD]}
    common = {**_norms("attn_norm", "post_attention_norm"), **_experts(), **_shared_expert(EXPERT)}
    settings = {
        "attention.head_count_kv": 1,
        **HEAD_SETTINGS,
        "feed_forward_length": 512,
        **EXPERT_SETTINGS,
        "expert_shared_feed_forward_length": 128,
        "ssm.conv_kernel": 4,
        "ssm.inner_size": value,
        "ssm.state_size": state,
        "ssm.time_step_rank": steps,
        "ssm.group_count": groups,
    }
    return _model("qwen3next", [{**common, **delta}] * 3 + [{**common, **attention}], settings)


ARCHITECTURES = {made.__name__: made for made in (llama, gemma3, qwen2moe, gpt_oss, deepseek2, lfm2, qwen3next)}
