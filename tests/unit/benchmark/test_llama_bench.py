# SPDX-License-Identifier: MIT
"""Running llama-bench: its command line, its answer, and when it is stopped."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plugins.module_utils.benchmark.llama_bench import BenchError, command, parse, run

# Speaks as llama-bench does with --progress and --output json; a repetition takes as long as its argument says.
DOUBLE = """#!{python}
import json, os, sys, time
repetitions = [float(value) for value in os.environ["REPETITIONS"].split(",")]
def say(what):
    print(f"llama-bench: benchmark 1/1: {{what}}", file=sys.stderr, flush=True)
if os.environ.get("FAILS"):
    print("main: error: failed to load model 'x.gguf'", file=sys.stderr)
    sys.exit(1)
say("starting")
time.sleep(0.05)
say("warmup generation run")
for number, seconds in enumerate(repetitions, 1):
    say(f"generation run {{number}}/{{len(repetitions)}}")
    time.sleep(seconds)
print(json.dumps([{{"n_threads": 2, "flash_attn": 1, "n_prompt": 0, "n_gen": 24, "samples_ts": [40, 41.5],
                   "load": os.environ.get("GLIBC_TUNABLES")}}]))
"""


@pytest.fixture
def double(tmp_path: Path) -> str:
    path = tmp_path / "llama-bench"
    path.write_text(DOUBLE.format(python=sys.executable))
    path.chmod(0o755)
    return str(path)


def test_the_command_has_the_settings_of_the_service_and_no_others() -> None:
    settings = {"LLAMA_ARG_THREADS": "16,8", "LLAMA_ARG_LOAD_MODE": "dio", "LLAMA_ARG_CTX_SIZE": "8192"}
    words = command("/o/llama-bench", "/m/x.gguf", settings, 5, generated=24, prefix=["numactl", "--interleave=0-1"])
    assert words[:3] == ["numactl", "--interleave=0-1", "/o/llama-bench"]
    assert " ".join(words[3:]) == (
        "--output json --progress --model /m/x.gguf --repetitions 5 --n-gen 24 --n-prompt 0"
        " --threads 16,8 --load-mode dio"
    )


def test_its_answer_is_read() -> None:
    test = {"n_threads": 2, "flash_attn": 1, "n_prompt": 0, "n_gen": 24, "samples_ts": [40, 41.5]}
    (found,) = parse(json.dumps([test]))
    assert found["tokens_per_second"] == [40.0, 41.5]
    assert found["flash_attention"] is True
    assert parse(json.dumps([{**test, "flash_attn": -1}]))[0]["flash_attention"] is None
    with pytest.raises(BenchError, match="something else"):
        parse("error: no model")


def test_it_tells_the_tests_and_how_long_the_model_loaded(double: str) -> None:
    outcome = run([double], {"REPETITIONS": "0,0"})
    assert outcome.tests[0]["tokens_per_second"] == [40.0, 41.5]
    assert outcome.load_seconds is not None
    assert outcome.load_seconds >= 0.05
    assert not outcome.hopeless


def test_a_repetition_in_the_middle_that_takes_too_long_ends_it(double: str) -> None:
    outcome = run([double], {"REPETITIONS": "0.2,60,0"}, longest_repetition=0.1)
    assert outcome.hopeless
    assert outcome.tests == []


def test_the_first_and_the_last_repetition_may_take_longer(double: str) -> None:
    assert not run([double], {"REPETITIONS": "0.8,0,0.8"}, longest_repetition=0.5).hopeless


def test_a_failure_is_told_with_its_last_words(double: str) -> None:
    with pytest.raises(BenchError, match=r"ended with 1: main: error: failed to load model"):
        run([double], {"REPETITIONS": "0", "FAILS": "1"})


def test_it_does_not_outlive_whoever_runs_it(double: str, repo: Path) -> None:
    code = f"from plugins.module_utils.benchmark.llama_bench import run\nrun([{double!r}], {{'REPETITIONS': '60'}})"
    with subprocess.Popen([sys.executable, "-c", code], cwd=repo) as runner:
        children = Path(f"/proc/{runner.pid}/task/{runner.pid}/children")
        end, child = time.monotonic() + 30, None
        try:
            # The child is setpriv first, and the double when it has asked for the signal.
            while child is None:
                assert time.monotonic() < end, "llama-bench was not started"
                for number in children.read_text().split():
                    if Path(f"/proc/{number}/cmdline").read_text().split("\0")[1:2] == [double]:
                        child = number
        finally:
            runner.kill()
    end = time.monotonic() + 30
    while Path(f"/proc/{child}/status").exists() and "State:\tZ" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < end, "llama-bench is still there"
        time.sleep(0.05)
