# SPDX-License-Identifier: MIT
"""What the layers of each architecture keep of a token, for every one that the pinned engine has a name for.

Source: ``llama_model::create_memory`` (src/llama-model.cpp), ``load_arch_hparams`` of each file in src/models, and
``llm_arch_is_recurrent`` and ``llm_arch_is_hybrid`` (src/llama-arch.cpp) of llama.cpp. The test of this table walks the
list of names that tests/engine_architectures.json has of the engine that llama_build_source pins.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from ..text import printable


class Window(NamedTuple):
    """Layers that see the last tokens only.

    Where the file does not list them, all layers do but every nth (``every``), the full one last in its group, or first
    (``full_first``); with 0 all do. ``size`` is the window where the file has none, and ``fixed`` the one
    where it has any. ``layers`` is the number of layers that a model with windows has, where others have none.
    """

    every: int = 0
    full_first: bool = False
    size: int = 0
    fixed: int = 0
    layers: int = 0


class Indexer(NamedTuple):
    """Keys by which sparse attention finds the tokens that matter, in a cache of their own, one head a layer.

    ``layers``: every layer (``all``); those that ``attention.indexer.types`` has 1 for (``listed``), which without such
    a list are none (``listed, else none``) or one of four (GLM-5.2); those after the leading dense ones (``sparse``);
    those with attention (``attention``). A token has the key ``times`` times, and a value of the length of the others
    where ``values``.
    """

    layers: str
    times: int = 1
    values: bool = False


class Architecture(NamedTuple):
    """What its layers keep: each keys and values of all tokens, but for what is said here.

    ``cache``: whether a context has a memory at all. ``latent``: keys and values are one latent (MLA), where the file
    has attention.key_length_mla. ``recurrent``: layers with a state instead are all of them (``all``, or ``besides``
    their cache), those without KV heads (``no KV heads``; ``no KV heads and no feed-forward``), or all but every nth
    (``interval``). ``state`` is the kind of it (recurrent_state.py). ``ahead``: layers that predict tokens ahead have a
    cache in the context of the others, too. ``own_layers``: only so many of the first have one, and the others share.
    ``compressed``: besides a window there are keys of several tokens in one (attention.compress_ratios). ``router``:
    one more layer with one head.
    """

    cache: bool = True
    window: Optional[Window] = None
    latent: bool = False
    indexer: Optional[Indexer] = None
    recurrent: Optional[str] = None
    interval: int = 0
    state: Optional[str] = None
    ahead: bool = False
    own_layers: int = 0
    compressed: bool = False
    router: bool = False


FULL = Architecture()
LISTED, EVERY_FOURTH = Architecture(window=Window()), Architecture(window=Window(4))
GATED_DELTA = Architecture(recurrent="interval", interval=4, state="grouped")
KIMI_DELTA = Architecture(latent=True, recurrent="no KV heads", state="delta", ahead=True)
WKV = Architecture(recurrent="all", state="wkv")
SHORT_CONVOLUTION = Architecture(recurrent="no KV heads", state="short convolution", ahead=True)
NEMOTRON = Architecture(recurrent="no KV heads and no feed-forward", state="grouped", ahead=True)
DSA = Architecture(latent=True, indexer=Indexer("all"))

WHOLE_CONTEXT = """
    apertus arcee arctic baichuan bailingmoe bailingmoe2 bitnet bloom chameleon chatglm codeshell cogvlm command-r dbrx
    deci deepseek deepseek2-ocr dots1 ernie4_5 ernie4_5-moe exaone falcon gemma glm4 glm4moe gpt2 gptneox granite
    granitemoe grok grovemoe hrm_text hunyuan-dense hunyuan-moe hunyuan_vl hy_v3 internlm2 jais jais2 llama llama-embed
    maincoder minicpm minicpm3 minimax-m2 mistral3 mpt nanbeige nemotron olmo olmoe openelm orion paddleocr
    pangu-embedded phi2 phi3 phimoe plamo plm pockettts qwen qwen2 qwen2moe qwen2vl qwen3 qwen3moe qwen3tts qwen3vl
    qwen3vlmoe refact seed_oss smollm3 stablelm starcoder starcoder2 talkie xverse
"""
# Embeddings and diffusion.
WITHOUT_CONTEXT = """
    bert dream eurobert gemma-embedding jina-bert-v2 jina-bert-v3 llada llada-moe modern-bert neo-bert nomic-bert
    nomic-bert-moe rnd1
"""

ARCHITECTURES: dict[str, Architecture] = {
    **dict.fromkeys(WHOLE_CONTEXT.split(), FULL),
    **dict.fromkeys(WITHOUT_CONTEXT.split(), Architecture(cache=False)),
    **dict.fromkeys(("afmoe", "cohere2", "mellum", "muse-glimmer", "olmo2"), EVERY_FOURTH),
    **dict.fromkeys(("gemma4", "granite_swa", "maple", "mimo2", "spark2_5", "step35"), LISTED),
    **dict.fromkeys(("cohere2moe", "laguna"), Architecture(window=Window(4, full_first=True))),
    "exaone-moe": Architecture(window=Window(4, size=128)),
    "exaone4": Architecture(window=Window(4, size=4096, layers=64)),
    "gemma2": Architecture(window=Window(2, size=4096)),
    "gemma3": Architecture(window=Window(6)),
    "gemma3n": Architecture(window=Window(5), own_layers=20),
    "gpt-oss": Architecture(window=Window(2)),
    "llama4": Architecture(window=Window(4, size=8192, fixed=8192)),
    "plamo3": Architecture(window=Window(8)),
    "smallthinker": Architecture(window=Window(4, full_first=True, fixed=4096)),
    **dict.fromkeys(("deepseek2", "mistral4"), Architecture(latent=True)),
    "deepseek32": DSA,
    "deepseek4": Architecture(window=Window(), compressed=True, ahead=True),
    "dots3note": Architecture(latent=True, window=Window(), indexer=Indexer("listed, else none")),
    "glm-dsa": Architecture(latent=True, indexer=Indexer("listed, else one of four")),
    "hy_v4": Architecture(latent=True, indexer=Indexer("listed, else none")),
    "minimax-m3": Architecture(indexer=Indexer("sparse", values=True), ahead=True),
    "mamba": Architecture(recurrent="all", state="sums"),
    "mamba2": Architecture(recurrent="all", state="grouped"),
    **dict.fromkeys(("rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"), WKV),
    "jamba": Architecture(recurrent="no KV heads", state="sums", ahead=True),
    "falcon-h1": Architecture(recurrent="besides", state="grouped", ahead=True),
    **dict.fromkeys(("granitehybrid", "plamo2"), Architecture(recurrent="no KV heads", state="grouped", ahead=True)),
    **dict.fromkeys(("nemotron_h", "nemotron_h_moe"), NEMOTRON),
    "lfm2": SHORT_CONVOLUTION._replace(window=Window()),
    "lfm2moe": SHORT_CONVOLUTION,
    **dict.fromkeys(("qwen3next", "qwen35", "qwen35moe"), GATED_DELTA),
    "qwen4exp": GATED_DELTA._replace(indexer=Indexer("attention")),
    "minimax-01": Architecture(recurrent="interval", interval=8, state="lightning"),
    **dict.fromkeys(("kimi-linear", "kimi-k3", "bailingmoe3"), KIMI_DELTA),
    "glm5-next": KIMI_DELTA._replace(indexer=Indexer("listed, else all", times=3), ahead=False),
    "graniteswitch": Architecture(router=True),
}

# What the engine has a name for and no server of text is made of; why, to be read after "the architecture".
NOT_SERVED: dict[str, str] = {
    "clip": "is that of an encoder of images, which goes with another model",
    "dflash": "is that of a draft, which goes with another model",
    "eagle3": "is that of a draft, which goes with another model",
    "gemma4-assistant": "is that of a draft, which uses the cache of another model",
    "gptj": "has a name in llama.cpp, and no code",
    "t5": "is that of an encoder with a decoder, and llama-server asks no encoder",
    "t5encoder": "is that of an encoder, which writes no text",
    "wavtokenizer-dec": "is that of a decoder of sounds",
}


def architecture_problem(model: str, architecture: Optional[str]) -> Optional[str]:
    """One sentence where what a model keeps of a token is not known, or where it is none for a server; else None."""
    if not architecture or architecture in ARCHITECTURES:
        return None
    name = printable(architecture)[:80]
    if architecture in NOT_SERVED:
        return (
            f"The architecture of {model}, {name!r}, {NOT_SERVED[architecture]}: llama-server does not serve it; "
            "choose another model."
        )
    return (
        f"The architecture of {model}, {name!r}, is not among those that the pinned llama.cpp loads, and the most that "
        "it can keep of a token is counted: set llama_build_source to a llama.cpp that has it, or choose another model."
    )
