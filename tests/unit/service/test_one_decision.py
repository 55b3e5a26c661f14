# SPDX-License-Identifier: MIT
"""What validate refuses, before 300 GB are fetched, is what serve would refuse afterwards: no more and no less."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as some

from plugins.module_utils.model.fit import named
from plugins.module_utils.model.store import model_plan
from plugins.module_utils.service.instances import plans, together_problems
from plugins.module_utils.service.numa_policy import POLICIES
from plugins.module_utils.service.plan import make_plan
from plugins.module_utils.service.settings import OLD_LOAD_MODES, OWNERS
from tests.llama_server import GB, HELP, settings

# A build that knows every setting of every plan, and the numactl of Debian 13.
BUILD: Any = {"key": "0123456789abcdef"}
WHOLE_HELP = HELP + "".join(f"(env: {name})\n" for name in (*OWNERS, "LLAMA_ARG_TOP_K", "LLAMA_ARG_CACHE_RAM"))
NUMACTL = "--weighted-interleave=nodes"

TLS = {"tls": True}
SIZES = some.sampled_from([0, 1, 16, 64, 96, 192, 768])


@some.composite
def towers(draw: Any) -> Any:
    """One to eight nodes, equal or not, some of them with memory or CPUs only, and numbers that may have gaps."""
    cores = draw(some.integers(1, 96))
    nodes: list[dict[str, Any]] = []
    for number in sorted(draw(some.sets(some.integers(0, 9), min_size=1, max_size=8))):
        first = len(nodes) * cores
        cpus = list(range(first, first + cores)) if not nodes or draw(some.integers(0, 3)) else []
        memory = draw(SIZES) * GB
        nodes.append({"node": number, "memory_bytes": memory, "cpus": cpus, "distances": [], "hugepages": {}})
    total = sum(len(node["cpus"]) for node in nodes)
    return {
        "nodes": nodes,
        "memory_bytes": sum(node["memory_bytes"] for node in nodes),
        "cpu": {"model": "A CPU"},
        "cpus": total,
        "cores": max(1, total // draw(some.sampled_from([1, 2]))),
        "kernel": draw(some.sampled_from(["6.1.0-37-amd64", "6.12.48"])),
        "thp": draw(some.sampled_from([None, {"enabled": "never", "defrag": "madvise"}])),
    }


@some.composite
def models(draw: Any) -> Any:
    """What the lock or the hub says of a model."""
    shards = draw(some.integers(1, 3))
    kv = {"elements": draw(some.integers(1, 10**6)), "window_elements": 0, "window": 0, "state_bytes": 0}
    total = draw(some.sampled_from([1, 50, 100, 190, 400, 1000])) * GB
    return {
        "name": "a-model",
        "source": {"repo": "someone/a-model"},
        "commit": "f" * 40,
        "bytes": total,
        "files": [
            {"file": f"Q4/m-{shard + 1:05}-of-{shards:05}.gguf", "size": total // shards, "sha256": str(shard) * 64}
            for shard in range(shards)
        ],
        "gguf": {"kv": draw(some.sampled_from([None, kv]))},
    }


def mostly(right: list[Any], wrong: list[Any]) -> Any:
    """Few settings that are wrong by themselves, so that the others come to be judged."""
    return some.integers(0, 9).flatmap(lambda number: some.sampled_from(right if number else wrong))


@some.composite
def choices(draw: Any) -> Any:
    return settings(
        context=draw(mostly([1, 8192, 131_072], [-1, 0])),
        parallel=draw(mostly([1, 4], [0])),
        numa_policy=draw(some.sampled_from(["auto", *POLICIES])),
        numa_node=draw(some.sampled_from([None, 0, 1, 7])),
        weights=draw(mostly([{}], [{0: 3, 1: 2}, {0: 300}])),
        load_mode=draw(some.sampled_from(["auto", *OLD_LOAD_MODES])),
        huge_pages=draw(some.sampled_from(["thp", "hugetlb", "none"])),
        threads=draw(some.sampled_from([None, 1, 64])),
        **draw(mostly([{}, TLS], [{**TLS, "tls_backend_port": 8080}, {**TLS, "tls_backend_port": 70000}])),
        model_path=draw(mostly(["/var/lib/llama-models/a-model"], ["/root/models/a-model"])),
        extra=draw(mostly([{}, {"LLAMA_ARG_TOP_K": 20}], [{"LLAMA_ARG_PORT": 1}, {"LLAMA_ARG_TOP_K": "1\n"}])),
    )


@some.composite
def measured(draw: Any, model: Any, tower: Any) -> Any:
    """Nothing, or what the tuner stored for this build, model and hardware."""
    if draw(some.booleans()):
        return None
    return {
        "schema_version": 1,
        "build": BUILD["key"],
        "model": {"sha256": [entry["sha256"] for entry in model["files"]]},
        "conditions": {
            "cpu": "A CPU",
            "cores": tower["cores"],
            "threads_per_core": max(1, tower["cpus"] // tower["cores"]),
            "nodes": len(tower["nodes"]),
        },
        "winner": {
            "numa_policy": draw(some.sampled_from(POLICIES)),
            "load_mode": draw(some.sampled_from(["dio", "none", "mmap"])),
            "huge_pages": draw(some.sampled_from(["thp", "none", "hugetlb"])),
            "threads": draw(some.sampled_from([1, 12])),
            "threads_batch": 32,
            "flash_attention": True,
        },
    }


def one_of(model: Any, chosen: Any) -> tuple[Any, Any]:
    """A declared model before it is fetched, and as it is installed, both by the name that the settings have."""
    model = {**model, "name": chosen["model"]}
    absent: Any = {"name": chosen["model"], "state": "absent", "reason": None, "locked": model, "verified": None}
    absent |= {"source": model["source"], "manifest": None, "intact": [], "partial_bytes": 0}
    files = [{**entry, "file": entry["file"].rpartition("/")[2], "mtime_ns": 1} for entry in model["files"]]
    return named(model_plan([absent], []), chosen["model"]), {"schema_version": 1, **model, "files": files}


# How long an example takes says how busy the machine is.
@given(some.data())
def test_validate_refuses_what_serve_would_refuse(data: Any) -> None:
    tower, model, chosen = data.draw(towers()), data.draw(models()), data.draw(choices())
    tuning = data.draw(measured(model, tower))
    declared, installed = one_of(model, chosen)
    before = make_plan(chosen, tower, BUILD, declared, tuning)
    after = make_plan(chosen, tower, BUILD, installed, tuning, WHOLE_HELP, NUMACTL)

    assert before["problems"] == after["problems"]
    # What was not refused is started as it was decided.
    for key in ("numa_policy", "load_mode", "huge_pages", "threads", "threads_batch", "needed_bytes"):
        assert before[key] == after[key], key


@given(some.data())
def test_of_several_instances_validate_refuses_what_serve_would_refuse(data: Any) -> None:
    """Each with its own model and settings, beside others that are deployed, declared or not."""
    tower = data.draw(towers())
    names = data.draw(mostly([["main", "small"], ["a", "b", "c"]], [["main", "main"], ["a", "b-node0"]]))
    wanted: list[Any] = []
    first, then, tuned = {}, {}, {}
    for number, name in enumerate(names):
        model = data.draw(models())
        chosen = {**data.draw(choices()), "instance": name, "model": f"model{number}"}
        chosen["port"] += data.draw(mostly([number], [0, 1]))
        wanted.append(chosen)
        first[chosen["model"]], then[chosen["model"]] = one_of(model, chosen)
        tuned[chosen["model"]] = data.draw(measured(model, tower))
    there = []
    for name in data.draw(some.sets(some.sampled_from(["old", *names]))):
        of: Any = {**data.draw(choices()), "port": 9000, "instance": name}
        plan = make_plan(of, tower, BUILD, one_of(data.draw(models()), of)[1])
        there.append(json.loads(json.dumps({**plan, "schema_version": 1, "instance": name})))

    def decided(found: dict[str, Any], *help_texts: str) -> tuple[list[Any], list[str]]:
        def make(of: Any) -> Any:
            return make_plan(of, tower, BUILD, found[of["model"]], tuned[of["model"]], *help_texts)

        made = plans(wanted, there, tower, make)
        undeclared = [each for each in there if each["instance"] not in names]
        return made, together_problems(
            list(zip(names, made, strict=True)), undeclared, tower, wanted[0]["reserve_bytes"]
        )

    before, refused = decided(first)
    after, then_refused = decided(then, WHOLE_HELP, NUMACTL)
    assert refused == then_refused
    for one, other in zip(before, after, strict=True):
        for key in ("numa_policy", "load_mode", "huge_pages", "threads", "threads_batch", "needed_bytes", "weights"):
            assert one[key] == other[key], key
        for key in ("name", "port", "node", "prefix", "intent"):
            assert [unit[key] for unit in one["units"]] == [unit[key] for unit in other["units"]], key
