# SPDX-License-Identifier: MIT
"""Which settings a model decodes fastest with: a search that is bounded, and a pure function of what was measured.

What needs a new process and a new load of the model (NUMA policy, load mode, huge pages) is varied first, with a few
tokens each; loads that cannot win any more are dropped; then threads and flash attention are varied within one load of
the best. :func:`next_step` tells from the measurements what to measure next, so a search that was killed goes on by
reading its measurements again.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import NamedTuple, Optional, TypeVar

from ..service.document import Arm
from .document import Decision, Measurement, SampledSpeed
from .results import quantity

# An arm that is so far behind the best, beyond what samples of one process differ by, is not measured again.
HOPELESS = 0.03
# What is not faster by more than this is as fast.
TIE = 0.01
# Of very many cores fewer and fewer are tried, down to so many.
FEWEST = 16
# Loads that are measured a second time beside the default, and repetitions of a first look and of a second one.
FINALISTS = 2
SCREEN_REPETITIONS = 2
FINAL_REPETITIONS = 3
# With the first one, which is left out, five: as many as llama-bench makes by itself.
SWEEP_REPETITIONS = 4
# Tokens decoded and read in one repetition. A prompt is computation, so a short one tells as much as a long one.
GENERATED = 24
PROMPT = 128

Load = tuple[str, str, str]
Samples = dict[tuple[Load, int, bool], list[float]]
Key = TypeVar("Key")


class Step(NamedTuple):
    """One process: what it loads, and the settings that it goes through. ``prompt`` tokens are read; 0 decodes."""

    stage: str  # screen, final, threads, prompt
    load: Load
    threads: tuple[int, ...]
    flash_attention: tuple[bool, ...]
    repetitions: int
    prompt: int = 0


class Space(NamedTuple):
    """What there is to choose from; the first of each is the setting without a measurement, which wins ties.

    ``bound_threads`` are those of the policy bind, whose threads have the CPUs of one node: with twice as many as there
    are cores, which wait for each other at every layer, it would always lose.
    """

    loads: tuple[Load, ...]
    threads: tuple[int, ...]
    threads_batch: tuple[int, ...]
    flash_attention: tuple[bool, ...] = (True, False)
    bound_threads: tuple[int, ...] = ()
    bound_threads_batch: tuple[int, ...] = ()

    def threads_of(self, load: Load) -> tuple[int, ...]:
        """How many threads may decode with this load."""
        return self.bound_threads if load[0] == "bind" and self.bound_threads else self.threads

    def threads_batch_of(self, load: Load) -> tuple[int, ...]:
        """How many threads may read prompts with this load; () where it has to be as many as decode."""
        if load[0] == "distribute":
            return ()
        return self.bound_threads_batch if load[0] == "bind" and self.bound_threads_batch else self.threads_batch


def thread_counts(cores: int, cpus: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Candidates for decoding and for prompts: all cores first, then fewer, and every hyper-thread if there are any.

    Decoding is bound by memory: three quarters or half of the cores may saturate it with less waiting, and of hundreds
    of cores a quarter or an eighth: 24 of the 64 of an EPYC 7773X were the fastest with DeepSeek R1.
    """
    halves = [cores >> times for times in range(2, 5) if cores >> times >= FEWEST]
    fewer = [count for count in (cores * 3 // 4, cores // 2, *halves, cores - 1) if 0 < count < cores]
    more = [cpus] if cpus > cores else []
    return tuple(dict.fromkeys([cores, *fewer, *more])), tuple(dict.fromkeys([cores, *more]))


def loads(
    policies: Iterable[str], load_modes: Iterable[str], huge_pages: Iterable[str], default: Optional[Load] = None
) -> tuple[Load, ...]:
    """The combinations that mean something, the default first.

    The file's own pages (mmap) are never huge, and the policy distribute places those and no others.
    """
    pages = tuple(huge_pages)
    found = [
        (policy, mode, page)
        for policy in policies
        for mode in load_modes
        for page in pages
        if not (mode == "mmap" and page != "none") and (policy != "distribute" or mode == "mmap")
    ]
    return tuple(dict.fromkeys([*([default] if default in found else []), *found]))


def beats(samples: list[float], default: list[float]) -> bool:
    """Whether these are faster than the default: by more than ``TIE`` in the median, and in three of four pairs.

    On a machine whose samples differ by a tenth, the best median of many settings that are equal is some percent better
    than that of the default, by chance.
    """
    pairs = [mine > other for mine in samples for other in default]
    return median(samples) > median(default) * (1 + TIE) and sum(pairs) >= 0.75 * len(pairs)


def fastest(samples: dict[Key, list[float]], default: Key) -> Key:
    """That with the best median, the first of equals; or the default, where it is one of them and is not beaten."""
    best = max(samples, key=lambda key: median(samples[key]))
    return default if default in samples and not beats(samples[best], samples[default]) else best


def _by_load(measurements: list[Measurement], space: Space, stages: tuple[str, ...]) -> dict[Load, list[float]]:
    """Decode samples of each load with the default threads and flash attention, of these stages."""
    found: dict[Load, list[float]] = {}
    for entry in measurements:
        usual = space.threads_of(load_of(entry))[0], space.flash_attention[0]
        same = (entry["threads"], entry["flash_attention"]) == usual
        if entry["stage"] in stages and same and not entry["prompt"]:
            found.setdefault(load_of(entry), []).extend(entry["tokens_per_second"])
    return found


def load_of(entry: Arm) -> Load:
    """The part of an arm or a measurement that needs a load of its own."""
    return entry["numa_policy"], entry["load_mode"], entry["huge_pages"]


def hopeful(samples: dict[Load, list[float]], order: tuple[Load, ...]) -> list[Load]:
    """The loads that may still be the best, best first: ``FINALISTS``, and the default, which they have to beat.

    Equal ones are in the order of the space. What one of them shows of the machine's noise is true of all.
    """
    if not samples:
        return []
    top = max(median(values) for values in samples.values())
    noise = max(quantity(values, "tokens/s")["spread"] for values in samples.values()) / 2
    kept = [load for load in samples if median(samples[load]) * (1 + HOPELESS + noise) >= top]
    kept.sort(key=lambda load: (-median(samples[load]), order.index(load)))
    return [load for place, load in enumerate(kept) if place < FINALISTS or load == order[0]]


def chosen_load(space: Space, measurements: list[Measurement]) -> Optional[Load]:
    """The load with the best median of all its samples, or the default one where nothing speaks against it."""
    both = _by_load(measurements, space, ("screen", "final"))
    if not both:
        return None
    finalists = _by_load(measurements, space, ("final",)) or both
    return fastest({load: both[load] for load in space.loads if load in finalists}, space.loads[0])


def last_steps(space: Space, load: Load) -> list[Step]:
    """What is varied within the load that was chosen, where there is more than one value."""
    threads, batch, flash = space.threads_of(load), space.threads_batch_of(load), space.flash_attention
    decode = Step("threads", load, threads, flash, FINAL_REPETITIONS)
    prompt = Step("prompt", load, batch, flash, SCREEN_REPETITIONS, PROMPT)
    return [*([decode] if len(threads) * len(flash) > 1 else []), *([prompt] if batch else [])]


def steps_left(space: Space, measurements: list[Measurement]) -> list[Step]:
    """What there is left to measure, the next step first; of what depends on the result, that which takes longest.

    A load that failed has measurements too, with ``tokens_per_second`` empty and ``problem`` set.
    """

    def usual(stage: str, load: Load, repetitions: int) -> Step:
        return Step(stage, load, space.threads_of(load)[:1], space.flash_attention[:1], repetitions)

    seen = {(entry["stage"], load_of(entry)) for entry in measurements}
    usable = [entry for entry in measurements if entry["tokens_per_second"]]
    first = [usual("screen", load, SCREEN_REPETITIONS) for load in space.loads if ("screen", load) not in seen]
    finalists = hopeful(_by_load(usable, space, ("screen",)), space.loads)
    if first:
        # Any of them may turn out to be: as many are counted as there can be.
        finalists = list(space.loads[: FINALISTS + 1])
    if len(finalists) > 1:
        first += [usual("final", load, FINAL_REPETITIONS) for load in finalists if ("final", load) not in seen]
    if first:
        return first + max((last_steps(space, load) for load in space.loads), key=_tokens)
    chosen = chosen_load(space, usable)
    return [step for step in last_steps(space, chosen) if (step.stage, chosen) not in seen] if chosen else []


def next_step(space: Space, measurements: list[Measurement]) -> Optional[Step]:
    """What to measure next, or None when the search is over."""
    return next(iter(steps_left(space, measurements)), None)


def _tokens(steps: Iterable[Step]) -> int:
    """Tokens of these steps; the first repetition of each setting is left out, and a prompt is read to warm up, too."""
    return sum(
        len(step.threads)
        * len(step.flash_attention)
        * (step.prompt * (step.repetitions + 2) or GENERATED * (step.repetitions + 1))
        for step in steps
    )


def seconds_left(space: Space, measurements: list[Measurement]) -> Optional[float]:
    """How long the rest of the search takes, at most; None before the first load was measured.

    A prompt is read at least as fast as an answer is written.
    """
    steps = steps_left(space, measurements)
    decoded = [entry for entry in measurements if entry["tokens_per_second"] and not entry["prompt"]]
    loading = [seconds for entry in decoded if (seconds := entry.get("load_seconds"))]
    if not loading:
        return None if steps else 0.0
    token = 1 / median(rate for entry in decoded for rate in entry["tokens_per_second"])
    return len(steps) * median(loading) + _tokens(steps) * token


def exhaustive(space: Space) -> list[Step]:
    """Every arm, each in a process of its own, as runs by hand would be: what the search is compared with."""
    return [
        Step("sweep", load, (threads,), (flash,), SWEEP_REPETITIONS, prompt)
        for load in space.loads
        for counts, prompt in ((space.threads_of(load), 0), (space.threads_batch_of(load), PROMPT))
        for threads in counts
        for flash in space.flash_attention
    ]


def decide(space: Space, measurements: list[Measurement]) -> Optional[Decision]:
    """What the measurements say; None where nothing could be measured."""
    usable = [entry for entry in measurements if entry["tokens_per_second"]]
    best = chosen_load(space, usable)
    if best is None:
        return None
    default = (best, space.threads_of(best)[0], space.flash_attention[0])
    decode, prompt = _samples(space, best, usable)
    within = {key: values for key, values in decode.items() if key[0] == best} or {
        default: _by_load(usable, space, ("screen", "final"))[best]
    }
    top = load, threads, flash = fastest(within, default)
    batch = {count: median(values) for (count, used), values in prompt.items() if used == flash}
    threads_batch = max(batch, key=lambda count: batch[count]) if batch else threads
    others = {key: values for key, values in {**decode, **within}.items() if key != top}
    runner = max(others, key=lambda key: median(others[key])) if others else None
    return {
        "winner": {**arm_of(load, threads, flash), "threads_batch": threads_batch},
        "confidence": confidence(within[top], others[runner] if runner else []),
        "evidence": {
            "decode_tokens_per_second": _speed(within[top]),
            "prompt_tokens_per_second": _speed(prompt[(threads_batch, flash)]) if batch else None,
            "load_seconds": [
                seconds for entry in usable if load_of(entry) == best and (seconds := entry.get("load_seconds"))
            ],
            "runner_up": {**arm_of(*runner), "decode_tokens_per_second": _speed(others[runner])} if runner else None,
            "measurements": measurements,
        },
    }


def _samples(
    space: Space, best: Load, usable: list[Measurement]
) -> tuple[Samples, dict[tuple[int, bool], list[float]]]:
    """What is compared: samples of decoding by load, threads and flash attention, and of prompts by the last two."""
    decode: Samples = {}
    prompt: dict[tuple[int, bool], list[float]] = {}
    for entry in usable:
        rates = entry["tokens_per_second"]
        if entry["prompt"]:
            prompt.setdefault((entry["threads"], entry["flash_attention"]), []).extend(rates)
        elif entry["stage"] == "threads" or load_of(entry) != best or len(space.threads_of(best)) == 1:
            # Within the best load only samples of the same process are compared.
            decode.setdefault((load_of(entry), entry["threads"], entry["flash_attention"]), []).extend(rates)
    return decode, prompt


def arm_of(load: Load, threads: int, flash_attention: bool) -> Arm:
    """All settings by their names."""
    policy, mode, pages = load
    return {
        "numa_policy": policy,
        "load_mode": mode,
        "huge_pages": pages,
        "threads": threads,
        "flash_attention": flash_attention,
    }


def _speed(samples: list[float]) -> SampledSpeed:
    return {"median": round(median(samples), 3), "low": min(samples), "high": max(samples), "samples": len(samples)}


def confidence(winner: list[float], runner_up: list[float]) -> str:
    """``certain``: each sample beats all of the runner-up's; ``likely``: the median does, by ``TIE``; or ``tie``."""
    if not runner_up or min(winner) > max(runner_up):
        return "certain"
    return "likely" if median(winner) > median(runner_up) * (1 + TIE) else "tie"
