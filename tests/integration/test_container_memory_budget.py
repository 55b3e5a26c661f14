# SPDX-License-Identifier: MIT
"""The memory budget of a plan is what the engine then has, within 5 % and never below, whatever the architecture."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from plugins.module_utils.model.gguf import file_reader, read_header, summary
from plugins.module_utils.service.document import MemoryBudget
from plugins.module_utils.service.plan import make_plan
from tests.architectures import ARCHITECTURES, Size
from tests.benchmarks import benchmark_model
from tests.engine import Engine, free_port, running, unpack
from tests.llama_server import settings, tower

VOCABULARY = 4096
TOKENIZER = {
    key: value
    for key, value in benchmark_model.metadata(benchmark_model.Size(1, 1, 1, VOCABULARY)).items()
    if key.startswith("tokenizer.")
}
COMMON = Size(width=512, heads=8, head=64, feed_forward=1024, expert=256, vocabulary=VOCABULARY, tokenizer=TOKENIZER)
# Each so large that its cache, its states, its checkpoints and its scores are most of what there is, in few layers.
SIZES = {
    "llama": COMMON._replace(kv=4, head=256, repeat=2),
    "gemma3": COMMON._replace(kv=8, head=256, window=2),
    "qwen2moe": COMMON._replace(kv=2, repeat=4, experts=64),
    "gpt_oss": COMMON._replace(kv=4, repeat=2, head=256, window=8, experts=32),
    "deepseek2": COMMON._replace(head=256, repeat=5, experts=96),
    "lfm2": COMMON._replace(width=1024, heads=16, kv=8, repeat=7),
    "qwen3next": COMMON._replace(kv=8, head=256, repeat=2, states=16, experts=48),
    "openelm": COMMON._replace(kv=4, head=256, repeat=2),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("build")) / "llama-server"


class Served(NamedTuple):
    engine: Engine
    budget: MemoryBudget


@contextmanager
def served(server: Path, place: Path, architecture: str, **changes: Any) -> Iterator[Served]:
    """A server that is started as the plan for it says."""
    path = place / f"{architecture}.gguf"
    path.write_bytes(ARCHITECTURES[architecture](SIZES[architecture]))
    read, size = file_reader(str(path))
    model: Any = {
        "name": architecture,
        "bytes": size,
        "files": [{"file": path.name, "sha256": "0"}],
        "gguf": summary([read_header(read, size)]),
    }
    given = settings(model_path=str(place), port=free_port(), threads=2, threads_batch=2, **changes)
    machine: Any = {**tower(1), "cpus": os.cpu_count(), "cores": os.cpu_count()}
    plan = make_plan(given, machine, None, model)
    with running(server, plan["units"][0]["environment"], plan["options"], place / "log") as engine:
        yield Served(engine, plan["budget"])


def compared(engine: Engine, budget: MemoryBudget) -> None:
    """Within 5 %, and never below."""
    peak = engine.peak_bytes()
    print(engine.told())
    print(budget, "taken:", peak)
    assert peak <= budget["total"] <= peak * 1.05


def prompt(length: int, first: int = 0) -> list[int]:
    """Tokens that are words."""
    return [300 + (first + number) * 7 % 3000 for number in range(length)]


@pytest.mark.parametrize("flash", [True, False], ids=lambda flash: "flash" if flash else "scores")
@pytest.mark.parametrize("architecture", SIZES)
def test_the_budget_is_what_the_engine_takes(server: Path, tmp_path: Path, architecture: str, flash: bool) -> None:
    """Eight requests have their caches, one of which is filled where the scores grow with it."""
    context = 4096 if flash else 3072
    changes = {"context": 8 * context, "parallel": 8, "flash_attention": flash, "checkpoints": 0}
    with served(server, tmp_path, architecture, **changes) as (engine, budget):
        engine.complete(prompt(600 if flash else context - 8))
        compared(engine, budget)


@pytest.mark.parametrize("architecture", ["gemma3", "qwen3next"])
def test_a_chat_of_twenty_turns_stays_inside_it(server: Path, tmp_path: Path, architecture: str) -> None:
    """Each turn goes on from the first words of the last answer, as where the thoughts of a model are left out: what
    follows them is taken back, for which the engine keeps checkpoints."""
    with served(server, tmp_path, architecture, context=8192, flash_attention=True) as (engine, budget):
        said, peaks = prompt(1200), []
        for turn in range(20):
            said += engine.complete(said, 8)[:4] + prompt(100, turn)
            peaks.append(engine.peak_bytes())
        print(engine.told())
        print(budget, peaks)
        assert engine.log.read_text().count("created context checkpoint") >= 20
        assert max(peaks) <= budget["total"]
