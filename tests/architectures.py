# SPDX-License-Identifier: MIT
"""Models of the architectures that differ in what they keep and read, small or not, each loadable by llama.cpp.

Metadata and tensors are those that src/models of llama.cpp asks for; all weights are zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.gguf_builder import F32, Q8_0, gguf

Shapes = dict[str, list[int]]
Settings = dict[str, Any]


class Size(NamedTuple):
    """How large a model is: ``kv`` multiplies its KV heads, ``window`` and ``states`` those that it has, and ``repeat``
    its layers. ``tokenizer`` is the metadata of one; without there is no text in or out."""

    width: int = 256
    heads: int = 4
    head: int = 64
    kv: int = 1
    feed_forward: int = 512
    experts: int = 8
    used: int = 2
    expert: int = 128
    window: int = 1
    states: int = 1
    repeat: int = 1
    vocabulary: int = 128
    tokenizer: Settings = {"tokenizer.ggml.model": "no_vocab"}  # noqa: RUF012 - nobody changes it

    def head_settings(self) -> Settings:
        return {"attention.key_length": self.head, "attention.value_length": self.head}

    def expert_settings(self) -> Settings:
        return {
            "expert_count": self.experts,
            "expert_used_count": self.used,
            "expert_feed_forward_length": self.expert,
        }

    def norms(self, *names: str) -> Shapes:
        return {f"{name}.weight": [self.width] for name in names}

    def attention(self, kv_heads: int, norms: bool = False) -> Shapes:
        query = self.heads * self.head
        shapes = {
            "attn_q.weight": [self.width, query],
            "attn_k.weight": [self.width, kv_heads * self.head],
            "attn_v.weight": [self.width, kv_heads * self.head],
            "attn_output.weight": [query, self.width],
        }
        return {**shapes, **({"attn_q_norm.weight": [self.head], "attn_k_norm.weight": [self.head]} if norms else {})}

    def feed(self, size: int, kind: str = "") -> Shapes:
        up = [self.width, size]
        return {f"ffn_gate{kind}.weight": up, f"ffn_up{kind}.weight": up, f"ffn_down{kind}.weight": up[::-1]}

    def moe(self) -> Shapes:
        experts = {name: [*shape, self.experts] for name, shape in self.feed(self.expert, "_exps").items()}
        return {"ffn_gate_inp.weight": [self.width, self.experts], **experts}

    def shared_expert(self, size: int) -> Shapes:
        return {"ffn_gate_inp_shexp.weight": [self.width], **self.feed(size, "_shexp")}


SMALL = Size()


def _model(
    name: str, size: Size, layers: list[Shapes], settings: Settings, tied: bool = False, norm: str = "output_norm"
) -> bytes:
    shapes = {"token_embd.weight": [size.width, size.vocabulary], f"{norm}.weight": [size.width]}
    if not tied:
        shapes["output.weight"] = [size.width, size.vocabulary]
    for number, layer in enumerate(layers):
        shapes.update({f"blk.{number}.{tensor}": shape for tensor, shape in layer.items()})
    common: Settings = {
        "block_count": len(layers),
        "context_length": 8192,
        "embedding_length": size.width,
        "attention.head_count": size.heads,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.dimension_count": size.head,
        "vocab_size": size.vocabulary,
    }
    metadata = {"general.architecture": name, **size.tokenizer}
    metadata.update({f"{name}.{key}": value for key, value in {**common, **settings}.items()})

    def kind(tensor: str, shape: list[int]) -> int:
        matrix = len(shape) > 1 and shape[0] % 32 == 0 and tensor.endswith(".weight")
        return Q8_0 if matrix and "gate_inp" not in tensor else F32

    return gguf(metadata, [(tensor, shape, kind(tensor, shape)) for tensor, shape in shapes.items()])


def llama(size: Size = SMALL) -> bytes:
    """Dense, with two KV heads for four heads."""
    layer = {**size.norms("attn_norm", "ffn_norm"), **size.attention(2 * size.kv), **size.feed(size.feed_forward)}
    settings = {"attention.head_count_kv": 2 * size.kv, "feed_forward_length": size.feed_forward}
    return _model("llama", size, [layer] * 3 * size.repeat, settings | _long_heads(size))


def _long_heads(size: Size) -> Settings:
    """Their length, where it is not the part of the width that it is by default."""
    return size.head_settings() if size.heads * size.head != size.width else {}


def gemma3(size: Size = SMALL) -> bytes:
    """Five of six layers see a window; the embeddings are used again at the output."""
    norms = size.norms("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
    layer = {**norms, **size.attention(size.kv, norms=True), **size.feed(size.feed_forward)}
    settings = {
        "attention.head_count_kv": size.kv,
        **size.head_settings(),
        "attention.sliding_window": 512 * size.window,
        "feed_forward_length": size.feed_forward,
    }
    return _model("gemma3", size, [layer] * 7 * size.repeat, settings, tied=True)


def qwen2moe(size: Size = SMALL) -> bytes:
    """Two of eight experts, and a shared one."""
    shared = 2 * size.expert
    layer = {
        **size.norms("attn_norm", "ffn_norm"),
        **size.attention(4 * size.kv),
        **size.moe(),
        **size.shared_expert(shared),
    }
    settings = {
        "attention.head_count_kv": 4 * size.kv,
        "feed_forward_length": size.feed_forward,
        **size.expert_settings(),
        "expert_shared_feed_forward_length": shared,
    }
    return _model("qwen2moe", size, [layer] * 2 * size.repeat, settings | _long_heads(size))


def gpt_oss(size: Size = SMALL) -> bytes:
    """Experts with biases, and every other layer sees a window."""
    inner, outer = [size.expert, size.experts], [size.width, size.experts]
    biases = {"ffn_gate_exps.bias": inner, "ffn_up_exps.bias": inner, "ffn_down_exps.bias": outer}
    sinks = {
        "attn_sinks.weight": [size.heads],
        "attn_output.bias": [size.width],
        "ffn_gate_inp.bias": [size.experts],
    }
    norms = size.norms("attn_norm", "post_attention_norm")
    layer = {**norms, **size.attention(2 * size.kv), **sinks, **size.moe(), **biases}
    settings = {
        "attention.head_count_kv": 2 * size.kv,
        **size.head_settings(),
        "attention.sliding_window": 128 * size.window,
        "feed_forward_length": size.expert,
        **size.expert_settings(),
    }
    return _model("gpt-oss", size, [layer] * 4 * size.repeat, settings)


def deepseek2(size: Size = SMALL) -> bytes:
    """Multi-head latent attention: one latent and a rotary part a layer, whatever the heads; 128 and 32 here."""
    latent, rope, plain, value, query = 2 * size.head, size.head // 2, size.head, size.head, 3 * size.head // 2
    attention = {
        "attn_q_a.weight": [size.width, query],
        "attn_q_a_norm.weight": [query],
        "attn_q_b.weight": [query, size.heads * (plain + rope)],
        "attn_kv_a_mqa.weight": [size.width, latent + rope],
        "attn_kv_a_norm.weight": [latent],
        "attn_k_b.weight": [plain, latent, size.heads],
        "attn_v_b.weight": [latent, value, size.heads],
        "attn_output.weight": [size.heads * value, size.width],
    }
    common = {**size.norms("attn_norm", "ffn_norm"), **attention}
    sparse = {**common, **size.moe(), **size.feed(size.expert, "_shexp")}
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
        "feed_forward_length": size.feed_forward,
        **size.expert_settings(),
        "expert_shared_count": 1,
        "expert_weights_scale": 1.0,
    }
    dense = {**common, **size.feed(size.feed_forward)}
    return _model("deepseek2", size, [dense, *[sparse] * (3 * size.repeat - 1)], settings)


def lfm2(size: Size = SMALL) -> bytes:
    """Hybrid: short convolutions, and attention in one layer of three."""
    common = {**size.norms("attn_norm", "ffn_norm"), **size.feed(size.feed_forward)}
    convolution = {
        "shortconv.conv.weight": [3, size.width],
        "shortconv.in_proj.weight": [size.width, 3 * size.width],
        "shortconv.out_proj.weight": [size.width, size.width],
    }
    layers = [
        {**common, **convolution},
        {**common, **convolution},
        {**common, **size.attention(2 * size.kv, norms=True)},
    ]
    settings = {
        "attention.head_count_kv": [0, 0, 2 * size.kv] * size.repeat,
        "feed_forward_length": size.feed_forward,
        "shortconv.l_cache": 3,
    }
    return _model("lfm2", size, layers * size.repeat, settings, tied=True, norm="token_embd_norm")


def qwen3next(size: Size = SMALL) -> bytes:
    """Hybrid: a gated delta net in three of four layers, experts and a shared one in all."""
    state, groups, steps = 32 * size.states, 2, 4
    key, value = state * groups, state * steps
    delta = {
        "attn_qkv.weight": [size.width, 2 * key + value],
        "attn_gate.weight": [size.width, value],
        "ssm_conv1d.weight": [4, 2 * key + value],
        "ssm_dt.bias": [steps],
        "ssm_a": [steps],
        "ssm_ba.weight": [size.width, 2 * steps],
        "ssm_norm.weight": [state],
        "ssm_out.weight": [value, size.width],
    }
    query = {"attn_q.weight": [size.width, 2 * size.heads * size.head]}
    attention = {**size.attention(size.kv, norms=True), **query}
    common = {**size.norms("attn_norm", "post_attention_norm"), **size.moe(), **size.shared_expert(size.expert)}
    settings = {
        "attention.head_count_kv": size.kv,
        **size.head_settings(),
        "feed_forward_length": size.feed_forward,
        **size.expert_settings(),
        "expert_shared_feed_forward_length": size.expert,
        "ssm.conv_kernel": 4,
        "ssm.inner_size": value,
        "ssm.state_size": state,
        "ssm.time_step_rank": steps,
        "ssm.group_count": groups,
    }
    layers = [{**common, **delta}] * 3 + [{**common, **attention}]
    return _model("qwen3next", size, layers * size.repeat, settings)


def openelm(size: Size = SMALL) -> bytes:
    """Dense, with more heads and wider feed-forward the deeper the layer, and so a cache of its own size in each."""
    kv_heads = [size.kv * (1 + layer // size.repeat) for layer in range(2 * size.repeat)]
    heads = [size.heads // 2 if count == size.kv else size.heads for count in kv_heads]
    widths = [size.feed_forward // 2 if count == size.kv else size.feed_forward for count in kv_heads]
    layers = [
        {
            **size.norms("attn_norm", "ffn_norm"),
            "attn_qkv.weight": [size.width, (own + 2 * count) * size.head],
            "attn_q_norm.weight": [size.head],
            "attn_k_norm.weight": [size.head],
            "attn_output.weight": [own * size.head, size.width],
            **size.feed(wide),
        }
        for own, count, wide in zip(heads, kv_heads, widths, strict=True)
    ]
    settings = {
        "attention.head_count": heads,
        "attention.head_count_kv": kv_heads,
        **size.head_settings(),
        "feed_forward_length": widths,
    }
    return _model("openelm", size, layers, settings, tied=True)


ARCHITECTURES = {
    made.__name__: made for made in (llama, gemma3, qwen2moe, gpt_oss, deepseek2, lfm2, qwen3next, openelm)
}
