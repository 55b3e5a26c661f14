# SPDX-License-Identifier: MIT
"""Run llama-bench with the settings of a service: its command line, what it answers, how long the model loaded.

It dies with whoever runs it, so that a tuner that was killed leaves no second copy of a model in memory, and it is
stopped in the middle where its speed has become hopeless.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
import tempfile
import time
from typing import NamedTuple, Optional

from .document import BenchTest

# What a setting of the server means to llama-bench. Both take the same values.
OPTIONS = {
    "LLAMA_ARG_THREADS": "--threads",
    "LLAMA_ARG_LOAD_MODE": "--load-mode",
    "LLAMA_ARG_FLASH_ATTN": "--flash-attn",
    "LLAMA_ARG_NUMA": "--numa",
}
# The first repetition of a process may fault in the pages of a mapped file, from the disk, and nothing tells the end of
# the last one from the seconds that giving back hundreds of gigabytes takes.
EDGE_PATIENCE = 10.0


class BenchError(Exception):
    """llama-bench did not do its work; the text is one sentence."""


class Outcome(NamedTuple):
    """The tests that llama-bench did, seconds until the model was loaded, and whether it was stopped as hopeless."""

    tests: list[BenchTest]
    load_seconds: Optional[float]
    hopeless: bool


def command(
    binary: str,
    model: str,
    settings: dict[str, str],
    repetitions: int,
    generated: int = 0,
    prompt: int = 0,
    prefix: Optional[list[str]] = None,
) -> list[str]:
    """The command line. ``settings`` are the server's, by their ``LLAMA_ARG_`` names; of them ``OPTIONS`` are used.

    Threads and flash attention may list several values, separated by commas: all are tried within one load.
    """
    options = [word for name, option in OPTIONS.items() if name in settings for word in (option, settings[name])]
    count = ["--repetitions", str(repetitions), "--n-gen", str(generated), "--n-prompt", str(prompt)]
    return [*(prefix or []), binary, "--output", "json", "--progress", "--model", model, *count, *options]


def parse(text: str) -> list[BenchTest]:
    """The tests of ``llama-bench --output json``: threads, flash_attention, prompt, generated, tokens_per_second.

    ``flash_attention`` is None where llama-bench decided itself. Raises BenchError for anything else.
    """
    # 1 is on and 0 off, -1 auto; llama.cpp before August 2025 wrote booleans.
    flash = {1: True, 0: False}
    try:
        return [
            {
                "threads": test["n_threads"],
                "flash_attention": flash.get(int(test["flash_attn"])),
                "prompt": test["n_prompt"],
                "generated": test["n_gen"],
                "tokens_per_second": [float(value) for value in test["samples_ts"]],
            }
            for test in json.loads(text)
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"llama-bench answered something else than its JSON ({error!r}): {text[:200]!r}.") from error


def run(
    words: list[str], environment: Optional[dict[str, str]] = None, longest_repetition: Optional[float] = None
) -> Outcome:
    """Run a command of :func:`command`; ``environment`` is added to this process's.

    A repetition that takes more than ``longest_repetition`` seconds ends it; the first and the last one may take ten
    times as long.
    Raises BenchError, with the last words of llama-bench, where it fails.
    """
    # setpriv stays no process of its own: it asks the kernel for the signal and becomes llama-bench.
    words = ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", *words]
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as answer:
        with subprocess.Popen(
            words,
            stdout=answer,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
        ) as process:
            try:
                loaded, hopeless, said = _watch(process, longest_repetition)
            finally:
                process.kill()
        if hopeless:
            return Outcome([], loaded - began if loaded else None, True)
        if process.returncode:
            raise BenchError(
                f"llama-bench ended with {process.returncode}: {said or 'it said nothing'}; its command was "
                f"{' '.join(words[4:])}."
            )
        answer.seek(0)
        return Outcome(parse(answer.read()), loaded - began if loaded else None, False)


def _watch(process: subprocess.Popen[bytes], longest: Optional[float]) -> tuple[Optional[float], bool, str]:
    """When the model was loaded, whether a repetition took too long, and the last line that is no progress."""
    loaded: Optional[float] = None
    deadline: Optional[float] = None
    said, text = "", b""
    assert process.stderr is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stderr, selectors.EVENT_READ)
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not selector.select(left):
                return loaded, True, said
            more = os.read(process.stderr.fileno(), 65536)
            if not more:
                process.wait()
                return loaded, False, said
            *lines, text = (text + more).split(b"\n")
            for line in (raw.decode(errors="replace").strip() for raw in lines):
                if "llama-bench: benchmark" not in line:
                    said = line or said
                    continue
                now = time.monotonic()
                # The first thing that is done with the model, or a repetition where there is no warm-up.
                if loaded is None and "starting" not in line:
                    loaded = now
                number = re.search(r"(?:prompt|generation) run (\d+)/(\d+)", line)
                if longest and number:
                    deadline = now + longest * (EDGE_PATIENCE if number[1] in ("1", number[2]) else 1)
                else:
                    deadline = None
