# SPDX-License-Identifier: MIT
"""bench.yml and tune.yml on a tower: what they keep, what they say became slower, and what a killed tuner leaves."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.container_site import Places, evidence, playbook, server_environment, start, tower
from tests.waiting import wait_until

# The tower on which every place is another than by default.
NAME = "trixie"
PLACES = Places(NAME)
HISTORY = f"{PLACES.measured}/benchmarks"
TUNING = f"{PLACES.measured}/tuning-{PLACES.instance}.json"
MEASUREMENTS = f"{TUNING}.measurements"
# Two threads wait for each other in a loop, which takes long where other work shares the cores.
ONE_THREAD: dict[str, Any] = {"llama_service_threads": 1}
SMALL: dict[str, Any] = {
    **ONE_THREAD,
    "benchmark_repetitions": 2,
    "benchmark_probe_mebibytes": 16,
    "benchmark_tokens": 4,
    "benchmark_prompt_words": 4,
}
# A mapped model cannot be dropped from the page cache, so the service has to be stopped meanwhile.
MAPPED: dict[str, Any] = {**ONE_THREAD, "llama_service_load_mode": "mmap"}
SEARCH: dict[str, Any] = {
    **MAPPED,
    "benchmark_tune_load_modes": ["mmap", "dio"],
    "benchmark_tune_huge_pages": ["none", "thp"],
    "benchmark_tune_threads": [1],
    "benchmark_tune_threads_batch": [1],
    "benchmark_tune_flash_attention": [True],
}


def ended(process: subprocess.Popen[str]) -> bool:
    """Never true: what a playbook said that ended too early is evidence."""
    assert process.poll() is None, process.communicate()[0]
    return False


@pytest.fixture(scope="module")
def host() -> Iterator[Any]:
    """A tower whose service decodes with one thread; afterwards it is as before."""
    found = tower(NAME)
    assert playbook("playbooks/serve.yml", "--limit", NAME, **ONE_THREAD).code == 0
    yield found
    found.check_output(f"rm -rf {PLACES.measured}")
    assert playbook("playbooks/serve.yml", "--limit", NAME).code == 0


def runs(host: Any) -> list[tuple[str, dict[str, Any]]]:
    """The kept runs and their files, the oldest first."""
    names = host.check_output(f"find {HISTORY} -name '*.json' | sort").splitlines()
    return [(name, json.loads(host.file(name).content_string)) for name in names]


class TestBench:
    def test_a_run_is_kept_and_the_next_one_names_what_became_slower(self, host: Any, tmp_path: Path) -> None:
        small = {**SMALL, "benchmark_copy_dir": str(tmp_path)}
        assert playbook("playbooks/bench.yml", "--limit", NAME, **small).code == 0
        ((path, run),) = runs(host)
        print(json.dumps(run, indent=1))
        wanted = {
            "read_whole",
            "hash",
            "service_first",
            "service_steady",
            "service_prompt",
            "bench_decode",
            "bench_prompt",
        }
        assert wanted <= set(run["results"])
        assert "benchmark_restart_service=true" in run["skipped"]["service_load"]
        assert run["conditions"]["settings"]["LLAMA_ARG_THREADS"] == "1"
        assert run["conditions"]["model"].startswith(f"{PLACES.model_name} ")
        assert run["derived"]["active_bytes"] > 10**8
        assert all(len(run["results"][name]["samples"]) == 2 for name in wanted - {"service_first"})

        # As if hashing had been a thousand times as fast before, each time: beside other work two samples were seen
        # to differ by more than half, and only what is lost beyond their spread is told.
        run["results"]["hash"]["median"] *= 1000
        run["results"]["hash"]["spread"] = 0.0
        host.run_expect([0], "printf %%s %s > %s", json.dumps(run), path)
        again = playbook("playbooks/bench.yml", "--limit", NAME, host=NAME, **small)
        assert again.code == 0
        assert again.changes() == []
        assert again.finds("SLOWER hash fell by (99|100)%")
        copied = json.loads((tmp_path / f"{NAME}.json").read_text())
        assert [entry["started"] for entry in copied["history"]] == [entry["started"] for _path, entry in runs(host)]
        assert copied["latest"]["started"] == copied["history"][-1]["started"]
        assert any("hash fell by" in sentence for sentence in copied["regressions"])


class TestTune:
    def test_a_killed_tuner_leaves_the_service_as_it_was_and_the_next_run_goes_on(self, host: Any) -> None:
        assert playbook("playbooks/serve.yml", "--limit", NAME, **MAPPED).code == 0
        settings = server_environment(host, PLACES.unit)
        process = start("playbooks/tune.yml", "--limit", NAME, **SEARCH)
        # In the middle of the second process at the earliest, so that something was measured.
        wait_until(lambda: host.file(MEASUREMENTS).exists or ended(process), "the first measurements", 120)
        wait_until(lambda: host.run("pgrep --exact llama-bench").rc == 0 or ended(process), "the next process", 120)
        assert not host.service(PLACES.unit).is_running, "it was to be stopped, since it maps the model"
        # In brackets, so that the shell that runs this command is not meant.
        host.check_output("pkill --signal KILL --full [A]nsiballZ_llama_tune")
        wait_until(lambda: host.service(PLACES.unit).is_running, "the service", 120)
        assert host.run("pgrep --exact llama-bench").rc == 1, "no copy of the model may stay in memory"
        output, _ = process.communicate()
        print("\n".join(output.splitlines()[-30:]))
        assert process.returncode != 0
        assert "llama_tune was killed before it ended" in " ".join(output.split())
        assert not host.file(TUNING).exists
        assert server_environment(host, PLACES.unit)["LLAMATOWER_DEPLOYMENT"] == settings["LLAMATOWER_DEPLOYMENT"]
        kept = json.loads(host.file(MEASUREMENTS).content_string)["measurements"]
        assert kept

        run = playbook("playbooks/tune.yml", "--limit", NAME, **SEARCH)
        assert run.code == 0, evidence(host)
        stored = json.loads(host.file(TUNING).content_string)
        print(json.dumps(stored["evidence"], indent=1))
        assert stored["evidence"]["measurements"][: len(kept)] == kept
        assert stored["winner"]["load_mode"] in ("mmap", "dio")
        assert stored["model"]["name"] == PLACES.model_name
        assert not host.file(MEASUREMENTS).exists
        assert host.service(PLACES.unit).is_running, evidence(host)
        assert "llamatower-guard" not in host.check_output("systemctl list-units --all --plain --no-legend")

    def test_what_is_known_is_not_measured_again(self, host: Any) -> None:
        run = playbook("playbooks/tune.yml", "--limit", NAME, host=NAME, **SEARCH)
        assert run.code == 0
        assert run.changes() == []
        assert run.finds("FASTEST policy interleave")

    def test_the_service_takes_what_was_measured_as_the_fastest(self, host: Any) -> None:
        winner = json.loads(host.file(TUNING).content_string)["winner"]
        assert playbook("playbooks/serve.yml", "--limit", NAME).code == 0, evidence(host)
        settings = server_environment(host, PLACES.unit)
        print(settings)
        assert settings["LLAMA_ARG_LOAD_MODE"] == winner["load_mode"]
        assert settings["LLAMA_ARG_THREADS"] == str(winner["threads"])
        assert settings["LLAMA_ARG_FLASH_ATTN"] == ("on" if winner["flash_attention"] else "off")
        assert ("glibc.malloc.hugetlb=1:" in settings["GLIBC_TUNABLES"]) == (winner["huge_pages"] == "thp")
