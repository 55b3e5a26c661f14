# SPDX-License-Identifier: MIT
"""The catalog of models is what the command makes of the stored configurations, and these are counted as files are."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.forecast.catalog import catalog_problems
from plugins.module_utils.forecast.configuration import Configuration, ConfigurationError
from plugins.module_utils.forecast.families import FAMILIES, header_of
from plugins.module_utils.forecast.model_catalog import Stored, model_entry, needed
from plugins.module_utils.forecast.quantization import Layout, quantized_tensors
from plugins.module_utils.model.architectures import ARCHITECTURES
from plugins.module_utils.model.gguf import file_reader, read_header
from tests import architectures, catalog_models
from tests.catalog_models import CATALOG, main, models_text, rendered, stored_models
from tests.forecast_inputs import MODELS, model

STORED = {stored["name"]: stored for stored in stored_models()}
MIB = 2**20


def of_type(name: str, kind: str) -> Any:
    entry = model(name)
    return entry if entry["quantization"] == kind else model(f"{name}:{kind}")


def by_name(text: str) -> dict[str, str]:
    """The text of each entry."""
    return {entry.partition("\n")[0]: entry for entry in text.split("\n  - name: ")[1:]}


@pytest.fixture(scope="module")
def made() -> str:
    """What the command makes of all that is stored."""
    return models_text(stored_models())


@pytest.mark.parametrize("name", STORED)
def test_an_entry_is_regenerated_byte_for_byte(name: str, made: str) -> None:
    assert by_name(made)[name] == by_name((CATALOG / "models.yml").read_text(encoding="utf-8"))[name]


def test_the_files_are_what_the_command_writes(made: str) -> None:
    assert made == (CATALOG / "models.yml").read_text(encoding="utf-8")
    text = rendered("configurations", stored_models())
    assert text == (CATALOG / "configurations.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("entry", MODELS, ids=lambda entry: entry["name"])
def test_every_entry_says_where_its_figures_are_from(entry: Any) -> None:
    assert entry["source"]
    assert entry["date"]
    for kind, sizes in entry.get("types", {}).items():
        published = kind in STORED[entry["name"]].get("sizes", {})
        assert published == bool(sizes.get("source") and sizes.get("date")), kind


@pytest.mark.parametrize(
    ("name", "parameters", "active"),
    [
        # As their makers tell them, in 1e9.
        ("deepseek-r1-0528", 671, 37),
        ("deepseek-v3.2", 685, 37),
        ("deepseek-v4-flash", 284, 13),
        ("deepseek-v4-pro", 1600, 49),
        ("glm-4.6", 357, 32),
        ("glm-5", 754, 40),
        ("gpt-oss-120b", 116.83, 5.13),
        ("gpt-oss-20b", 20.91, 3.61),
        ("kimi-k2.6", 1030, 32),
        ("llama-4-maverick", 400, 17),
        ("llama-4-scout", 109, 17),
        ("minimax-m2.7", 229, 10),
        ("minimax-m3", 428, 24.7),
        ("mistral-large-3", 673, 39),
        ("qwen3-235b-a22b", 235, 22),
        ("qwen3.5-397b-a17b", 397, 16.3),
        ("qwen3.5-27b", 27, 25.6),
    ],
)
def test_parameters_are_those_that_the_maker_tells(name: str, parameters: float, active: float) -> None:
    entry = model(name)
    assert entry["parameters"] == pytest.approx(parameters * 1e9, rel=0.02)
    assert entry["active_parameters"] == pytest.approx(active * 1e9, rel=0.06)


@pytest.mark.parametrize(
    ("name", "kind", "size"),
    [
        # Of files on the hub; the headers that their sizes include are not counted.
        ("deepseek-r1-0528", "Q8_0", 713_290_000_000),
        ("deepseek-r1-0528", "Q4_K_M", 404_427_000_000),
        ("gpt-oss-120b", "MXFP4_MOE", 63_387_346_208),
        ("kimi-k2-instruct", "Q8_0", 1_090_000_000_000),
        ("kimi-k2.6", "UD-Q4_K_XL", 583_700_000_000),
        ("llama-3.3-70b", "Q6_K", 57_890_000_000),
        ("llama-3.3-70b", "Q4_K_M", 42_520_000_000),
        ("qwen3.5-397b-a17b", "Q8_0", 421_580_000_000),
    ],
)
def test_sizes_are_those_of_the_files(name: str, kind: str, size: int) -> None:
    assert of_type(name, kind)["bytes"] == pytest.approx(size, rel=0.001)


def test_a_mixture_by_hand_has_what_its_header_says_beside_the_experts() -> None:
    metadata, shapes = header_of(Configuration(STORED["kimi-k2.6"]["config"]))
    tensors = quantized_tensors(metadata, shapes, Layout("Q4_0", "Q8_0"))
    experts = sum(tensor.bytes for tensor in tensors if "_exps" in tensor.name)
    assert experts / MIB == pytest.approx(544_320, rel=1e-6)
    assert (sum(tensor.bytes for tensor in tensors) - experts) / MIB == pytest.approx(12_343, rel=1e-3)


def test_of_a_published_size_the_experts_take_what_the_rest_leaves() -> None:
    entry = model("glm-4.6:UD-Q4_K_XL")
    rest = model("glm-4.6:Q8_0")["active_bytes"]
    assert entry["bytes"] == 204_000_000_000
    assert model("glm-4.6:Q4_K_M")["active_bytes"] < entry["active_bytes"] < rest
    said = model_entry({**STORED["glm-4.6"], "sizes": {}})
    assert "UD-Q4_K_XL" not in said["types"]


def test_a_size_without_room_for_experts_is_refused() -> None:
    stored: Any = {**STORED["glm-4.6"], "sizes": {"UD-IQ1_S": {"bytes": 10**9, "source": "x", "date": "2026-01-01"}}}
    with pytest.raises(ConfigurationError, match=r"^A file of 1,000,000,000 bytes has no room for experts"):
        model_entry(stored)


@pytest.mark.parametrize("kind", ["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "Q2_K"])
def test_types_are_in_the_order_of_their_bits(kind: str) -> None:
    order = ["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "Q2_K"]
    for name in ("deepseek-v3.2", "llama-3.1-405b", "qwen3.5-122b-a10b"):
        sizes = [of_type(name, each)["bytes"] for each in order]
        assert sizes == sorted(sizes, reverse=True), name
        assert of_type(name, kind)["active_bytes"] <= of_type(name, kind)["bytes"]


def test_more_bits_are_where_the_engine_puts_them() -> None:
    """Of tests/snapshots of llama.cpp (test-quant-type-selection): DeepSeek V3.1 as Q4_K_M."""
    metadata, shapes = header_of(Configuration(STORED["deepseek-v3.1"]["config"]))
    found = {tensor.name: tensor.type for tensor in quantized_tensors(metadata, shapes, "Q4_K_M")}
    other = [name for name, kind in found.items() if kind not in ("Q4_K", "F32")]
    assert found["output.weight"] == "Q6_K"
    assert sum(name.endswith("attn_k_b.weight") and found[name] == "Q5_0" for name in other) == 61
    assert sum(name.endswith("ffn_down_exps.weight") and found[name] == "Q6_K" for name in other) == 27
    assert sum(name.endswith("ffn_down_shexp.weight") for name in other) == 27
    assert [name for name in other if "ffn_down.weight" in name] == [f"blk.{n}.ffn_down.weight" for n in range(3)]
    assert len(other) == 1 + 61 + 27 + 27 + 3


TINY = {
    "num_hidden_layers": 3,
    "hidden_size": 256,
    "num_attention_heads": 4,
    "head_dim": 64,
    "intermediate_size": 512,
    "vocab_size": 128,
    "max_position_embeddings": 8192,
    "moe_intermediate_size": 128,
    "num_experts_per_tok": 2,
}
# Configurations of the models of tests/architectures.py, which llama.cpp loads.
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "llama": {**TINY, "model_type": "llama", "num_key_value_heads": 2},
    "gemma3": {
        **TINY,
        "text_config": {"model_type": "gemma3_text", "num_hidden_layers": 7, "sliding_window": 512},
        "num_key_value_heads": 1,
        "tie_word_embeddings": True,
    },
    "gpt_oss": {
        **TINY,
        "model_type": "gpt_oss",
        "num_hidden_layers": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 128,
        "num_local_experts": 8,
        "sliding_window": 128,
    },
    "deepseek2": {
        **TINY,
        "model_type": "deepseek_v3",
        "q_lora_rank": 96,
        "kv_lora_rank": 128,
        "qk_nope_head_dim": 64,
        "qk_rope_head_dim": 32,
        "v_head_dim": 64,
        "n_routed_experts": 8,
        "n_shared_experts": 1,
        "first_k_dense_replace": 1,
    },
    "qwen3next": {
        **TINY,
        "model_type": "qwen3_next",
        "num_hidden_layers": 4,
        "num_key_value_heads": 1,
        "num_experts": 8,
        "shared_expert_intermediate_size": 128,
        "linear_num_value_heads": 4,
        "linear_value_head_dim": 32,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 32,
        "linear_conv_kernel_dim": 4,
    },
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration_has_the_matrices_and_metadata_of_its_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(architectures.ARCHITECTURES[name]())
    header = read_header(*file_reader(str(path)))
    metadata, shapes = header_of(Configuration(CONFIGURATIONS[name]))
    matrices = {tensor.name: tensor.dimensions for tensor in header.tensors if len(tensor.dimensions) > 1}
    assert {key: shape for key, shape in shapes.items() if len(shape) > 1 and not key.endswith("bias")} == {
        key: shape for key, shape in matrices.items() if not key.endswith("bias")
    }
    read = {key: value for key, value in header.metadata.items() if key in metadata}
    assert read == {key: metadata[key] for key in read}


def test_every_family_is_an_architecture_that_the_engine_has() -> None:
    assert {family.architecture for family in FAMILIES.values()} <= set(ARCHITECTURES)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"model_type": "mixtral"}, "The configuration has the model_type mixtral, whose tensors are not known"),
        ({"hidden_size": None}, "The configuration says None of hidden_size"),
        ({"vocab_size": "many"}, "The configuration says many of vocab_size"),
    ],
)
def test_what_cannot_be_counted_is_one_sentence(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        needed({**CONFIGURATIONS["llama"], **changed})
    assert str(error.value).startswith(sentence)


def test_only_the_keys_that_are_needed_are_kept() -> None:
    published = {**CONFIGURATIONS["llama"], "torch_dtype": "bfloat16", "vision_config": {"depth": 27}}
    assert header_of(Configuration(needed(published))) == header_of(Configuration(published))
    assert not {"torch_dtype", "vision_config", "num_experts_per_tok"} & set(needed(published))


def test_another_name_of_a_key_is_the_same() -> None:
    """Mistral's params.json."""
    assert STORED["mistral-large-3"]["config"]["num_hidden_layers"] == 61
    told = {"dim": 256, "n_layers": 3, "n_heads": 4, "n_kv_heads": 2, "hidden_dim": 512, "head_dim": 64}
    assert header_of(Configuration({**told, "vocab_size": 128, "max_position_embeddings": 8192})) == header_of(
        Configuration(CONFIGURATIONS["llama"])
    )


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(catalog_models, "CATALOG", tmp_path)
    (tmp_path / "configurations.yml").write_text(rendered("configurations", [STORED["qwen3-4b"]]))
    return tmp_path


def test_the_command_adds_a_configuration(catalog: Path) -> None:
    (catalog / "config.json").write_text(json.dumps(CONFIGURATIONS["llama"]))
    arguments = ["tiny", str(catalog / "config.json"), "--repo", "org/tiny-GGUF", "--source", "org/tiny"]
    assert main([*arguments, "--date", "2026-11-30"]) == 0
    written = (catalog / "models.yml").read_text()
    assert [stored["name"] for stored in stored_models()] == ["qwen3-4b", "tiny"]
    assert "date: '2026-11-30'" in written
    assert main([]) == 0
    assert (catalog / "models.yml").read_text() == written


def test_the_command_adds_a_file(catalog: Path) -> None:
    (catalog / "tiny.gguf").write_bytes(architectures.gpt_oss())
    told = ["--files", "*.gguf", "--type", "Q8_0", "--repo", "org/tiny-GGUF", "--source", "org/tiny-GGUF"]
    assert main(["tiny", str(catalog / "tiny.gguf"), *told]) == 0
    stored: Stored = stored_models()[1]
    entry: Any = model_entry(stored)
    header = read_header(*file_reader(str(catalog / "tiny.gguf")))
    assert entry["bytes"] == sum(tensor.bytes for tensor in header.tensors)
    assert entry["parameters"] == sum(math.prod(tensor.dimensions) for tensor in header.tensors)
    assert (entry["layers"], entry["context"], entry["experts"]) == (4, 8192, True)
    assert catalog_problems([entry], []) == []


def test_the_command_says_what_is_wrong_and_writes_nothing(catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (catalog / "config.json").write_text(json.dumps({**CONFIGURATIONS["llama"], "model_type": "rwkv"}))
    assert main(["tiny", str(catalog / "config.json"), "--repo", "org/tiny", "--source", "org/tiny"]) == 1
    assert "model_type rwkv" in capsys.readouterr().err
    assert not (catalog / "models.yml").exists()
