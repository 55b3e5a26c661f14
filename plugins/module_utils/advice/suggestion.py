# SPDX-License-Identifier: MIT
"""Which models of the catalog a tower could serve, how fast, and what is said where none is declared."""

from __future__ import annotations

from typing import NamedTuple, Optional

from ..forecast.document import Speed
from ..forecast.names import matching, name_problem
from ..forecast.roofline import Machine, forecast, machine_of, model_of, prefill
from ..limits import usable
from ..memory.document import MemoryChannels
from ..model.document import ModelEntry
from ..service.document import Settings
from ..service.memory_budget import entry_weighed, fits, memory_budget, pool_page_bytes, serving
from ..text import duration, rate, size
from ..tower import cpu_signature
from ..tower_document import Tower
from .speed import decoding_cores

# More would not be read.
MOST = 3
# Tokens a second below which nobody waits for an answer, and the tokens of a page of a prompt.
USEFUL, PAGE = 3.0, 700


class Choice(NamedTuple):
    """A model that fits, and by the forecast how fast it decodes and reads a prompt, where the machine is known."""

    model: ModelEntry
    speed: Optional[Speed] = None
    prompt: Optional[tuple[float, float]] = None


def models_that_fit(catalog: list[ModelEntry], tower: Tower, settings: Settings) -> list[ModelEntry]:
    """The models of the catalog that fit the memory, the largest first."""
    served = serving(settings, settings["flash_attention"], tower, pool_page_bytes(settings))
    fitting = [model for model in catalog if fits(memory_budget(entry_weighed(model), served), settings, tower)]
    return sorted(fitting, key=lambda model: -model["bytes"])


def choices(
    catalog: list[ModelEntry], tower: Tower, settings: Settings, memory: Optional[MemoryChannels]
) -> list[Choice]:
    """A few of those that fit: the largest that are useful, since these know most, the fastest of them first. Where no
    forecast can be made, the largest."""
    fitting = models_that_fit(catalog, tower, settings)
    # The board that a guest shows is what its host makes up.
    told = memory and not tower.get("hypervisor")
    machine = machine_of(memory, decoding_cores(tower), cpu_signature(tower)) if memory and told else None
    if not machine:
        return [Choice(model) for model in fitting[:MOST]]
    known = [choice for choice in (_choice(machine, model) for model in fitting) if choice.speed]
    known.sort(key=lambda choice: min(_expected(choice), USEFUL), reverse=True)
    return sorted(known[:MOST], key=_expected, reverse=True)


def _choice(machine: Machine, entry: ModelEntry) -> Choice:
    model = model_of(entry)
    if not model:
        return Choice(entry)
    return Choice(entry, forecast(machine, model)["tokens_per_second"], prefill(machine, model))


def _expected(choice: Choice) -> float:
    return choice.speed["expected"] if choice.speed else 0.0


def suggestion(
    catalog: list[ModelEntry], tower: Tower, settings: Settings, memory: Optional[MemoryChannels] = None
) -> str:
    """What to say where no model is declared: a few that fit, what they bring, and the lines to paste."""
    tower = usable(tower)
    found, whole = choices(catalog, tower, settings, memory), size(tower["memory_bytes"])
    if not found:
        smallest = min(model["bytes"] for model in catalog)
        return (
            f"No model is declared, and none of the catalog fits {whole} of memory (the smallest has "
            f"{size(smallest)}): declare one of your own in model_store_models."
        )
    order = ", the fastest of the largest first" if found[0].speed else ""
    lines = ["No model is declared; nothing was touched.", "", f"These fit this machine{order}:", ""]
    for model, speed, prompt in found:
        active = size(model["active_bytes"])
        lines.append(f"  {model['name']:<24} {size(model['bytes']):>9} of {whole}, {active} read a token")
        if speed:
            page = f", up to {duration(PAGE / prompt[0])} for a page of prompt" if prompt else ""
            lines.append(f"    {rate(speed['low'], speed['high'], unit='tokens/s')}{page}")
    lines += ["", "Take one for this run with -e model=NAME. To keep it:"]
    lines += ["Paste the lines of one into group_vars/towers.yml beside the inventory:"]
    for choice in found:
        one = declared(catalog, choice.model["name"])
        lines += ["", "model_store_models:", f"  - name: {one['name']}", f"    repo: {one['repo']}"]
        lines += [f"    revision: {one['revision']}", f'    files: "{one["files"]}"']
    return "\n".join(lines)


def declared(catalog: list[ModelEntry], name: str) -> dict[str, str]:
    """A model of the catalog as an inventory declares it, by its name as people write it; a KeyError says which names
    are near one that is not there, or which it may be."""
    found = matching(name, catalog)
    problem = name_problem(name, found, catalog, "model")
    if problem:
        raise KeyError(problem)
    entry = found[0]
    return {"name": entry["name"], "repo": entry["repo"], "revision": "main", "files": entry["files"]}
