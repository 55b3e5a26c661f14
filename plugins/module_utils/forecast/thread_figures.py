# SPDX-License-Identifier: MIT
"""The calculation that the project began with, made again: a thread of June 2024 on a model of 400B weights at home."""

from __future__ import annotations

import math
from typing import NamedTuple, Optional

from ..model.document import ModelEntry
from ..model.kv_cache import kv_bytes
from ..text import rate, size
from .catalog import BITS
from .document import CpuEntry, DiskEntry, GpuEntry, MachineEntry, MemoryPrice, ThreadFigure
from .prices import cost_of, priced
from .purchase import answer, gpus_needed

# Its weights: 400e9 of six bits.
TOLD_BYTES = 6 / 8 * 400e9


class Subjects(NamedTuple):
    """What it speaks of, as the catalog has it."""

    model: ModelEntry
    disk: DiskEntry
    desktop: CpuEntry
    one_socket: CpuEntry
    sample: CpuEntry
    consumer_gpus: GpuEntry
    datacenter_gpus: GpuEntry


def thread_figures(
    models: list[ModelEntry], machines: list[MachineEntry], memory: Optional[MemoryPrice] = None
) -> list[ThreadFigure]:
    """Each figure that it gave, and with a price of memory what its build costs now. Of a catalog that lacks what they
    are made of, as one's own may, there are none."""
    subjects = _subjects(models, machines)
    if subjects is None:
        return []
    costs = [*_costs(subjects), *_now(subjects, memory)]
    return [*_reading(subjects), *_bandwidths(subjects), *_gpus(subjects), *costs, _speed(subjects)]


def _subjects(models: list[ModelEntry], machines: list[MachineEntry]) -> Optional[Subjects]:
    model = next((model for model in models if model["name"] == "llama-3.1-405b"), None)
    disks = {machine["name"]: machine for machine in machines if machine["kind"] == "disk"}
    cpus = {machine["name"]: machine for machine in machines if machine["kind"] == "cpu"}
    gpus = {machine["name"]: machine for machine in machines if machine["kind"] == "gpu" and machine["price_usd"]}
    told = {name: machine for name, machine in cpus.items() if machine.get("told")}
    if model is None:
        return None
    try:
        return Subjects(
            model,
            disks["desktop-m2"],
            cpus["desktop-2ch"],
            told["epyc-9124-1s"],
            told["epyc-9124-2s"],
            gpus["gpu-24gb"],
            gpus["gpu-80gb"],
        )
    except KeyError:
        return None


def _gb_s(machine: CpuEntry) -> float:
    return machine["channels"] * machine["mts"] * 8 / 1000


def _reading(subjects: Subjects) -> list[ThreadFigure]:
    model, disk, desktop = subjects.model, subjects.disk, subjects.desktop
    channels = _gb_s(desktop)
    return [
        {
            "what": "weights of a model of 400B at 6 bits",
            "told": "300 GB",
            "found": f"{TOLD_BYTES / 1e9:.0f} GB",
            "say": f"Q6_K has {BITS['Q6_K']} bits, and Llama 3.1 405B has {model['parameters'] / 1e9:.1f}B weights: "
            f"{size(model['bytes'])}.",
        },
        {
            "what": "a token from an M.2 drive",
            "told": "30 s",
            "found": f"{TOLD_BYTES / disk['gb_s'] / 1e9:.0f} s",
            "say": "At the drive's full rate.",
        },
        {
            "what": "a token from two channels",
            "told": "80 GB/s, 4 s",
            "found": f"{rate(channels)}, {TOLD_BYTES / channels / 1e9:.2f} s",
            "say": f"The desktop's {desktop['memory_bytes'] / 2**30:.0f} GiB do not hold the model.",
        },
    ]


def _bandwidths(subjects: Subjects) -> list[ThreadFigure]:
    return [
        {
            "what": f"bandwidth of {machine['channels']} channels",
            "told": told,
            "found": rate(_gb_s(machine)),
            "say": f"It counts 40 GB/s a channel; DDR5-{machine['mts']} has {machine['mts'] * 8 / 1000:.1f}.",
        }
        for machine, told in ((subjects.one_socket, "480 GB/s"), (subjects.sample, "960 GB/s"))
    ]


def _gpus(subjects: Subjects) -> list[ThreadFigure]:
    rows: list[ThreadFigure] = []
    for gpu, told in (
        (subjects.consumer_gpus, "about 16, more than $30,000"),
        (subjects.datacenter_gpus, "4 to 5, more than $50,000"),
    ):
        price = gpu["price_usd"] or 0
        least = math.ceil(TOLD_BYTES / (gpu["memory_bytes"] / 2**30 * 1e9))
        count = gpus_needed(gpu, subjects.model["bytes"] + kv_bytes(subjects.model["kv"], 8192))
        rows.append(
            {
                "what": gpu["title"],
                "told": told,
                "found": f"{least} to {count}, ${least * price:,} to ${count * price:,}",
                "say": f"{least} hold 300 GB and nothing else; {count} hold the real file and 8192 tokens.",
            }
        )
    return rows


def _costs(subjects: Subjects) -> list[ThreadFigure]:
    rows: list[ThreadFigure] = []
    for machine in (subjects.one_socket, subjects.sample):
        cost, price = cost_of(machine) or 0.0, machine["told"]["price_usd"] or 0.0
        off = f"{abs(price - cost):,.0f} {'less' if cost < price else 'more'}"
        rows.append(
            {
                "what": f"cost of {machine['title'].partition(':')[0]}",
                "told": f"${price:,}",
                "found": f"${cost:,.0f}",
                "say": "" if price == cost else f"Its parts add up to ${off}.",
            }
        )
    memory: ThreadFigure = {
        "what": "384 GB of memory",
        "told": "$2,100, at $300 to 400 for 64 GB",
        "found": f"6 x 64 GB, ${6 * 300:,} to ${6 * 400:,}",
        "say": "Six such modules fill six channels: 12 or 24 smaller ones are what the bandwidth needs.",
    }
    return [*rows, memory]


def _now(subjects: Subjects, memory: Optional[MemoryPrice]) -> list[ThreadFigure]:
    """The build with its memory at the price that all machines of the plan have."""
    if memory is None:
        return []
    told, cost = subjects.sample["told"]["price_usd"] or 0.0, cost_of(priced(subjects.sample, memory)) or 0.0
    return [
        {
            "what": "the same with memory at the price of this plan",
            "told": f"${told:,}",
            "found": f"${cost:,.0f}",
            "say": f"Memory is ${memory['usd_per_gb']:.2f} a GB ({memory['date']}); the other parts are the thread's.",
        }
    ]


def _speed(subjects: Subjects) -> ThreadFigure:
    said = answer(subjects.sample, subjects.model)
    speed, found = said["tokens_per_second"], "it does not fit"
    if speed:
        found = rate(speed["low"], speed["high"], unit="tokens/s")
    return {
        "what": "speed of the sample build",
        "told": "1 to 2 tokens/s",
        "found": found,
        "say": f"Not the {said['ideal'] or 0:.1f} that its channels would give: {said['why']} ({said['limited_by']}).",
    }
