# SPDX-License-Identifier: MIT
"""What a benchmark measures, on small files and a server of our own, and what it says where it cannot."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.benchmark import measure
from plugins.module_utils.benchmark.document import BenchmarkOptions
from plugins.module_utils.benchmark.run import Benchmark, build_of, measured_model
from plugins.module_utils.service.unit import UnitError
from tests.gguf_builder import gguf

OPTIONS: BenchmarkOptions = {
    "unit": "llama-server@main.service",
    "probe": "/bin/false",
    "repetitions": 2,
    "probe_mebibytes": 16,
    "tokens": 4,
    "prompt_words": 8,
    "disk_bytes": 2**30,
    "stop_service": False,
    "restart_service": False,
    "timeout": 10,
}


@pytest.fixture
def server() -> Iterator[tuple[str, list[Any]]]:
    """Answers completions as llama-server does, and keeps what was asked."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, self.headers["Authorization"], body))
            answer = json.dumps({"timings": {"predicted_per_second": 10.0 + len(asked), "prompt_per_second": 90.0}})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()


@pytest.fixture
def unit(tmp_path: Path, server: tuple[str, list[Any]]) -> Any:
    """A service whose model is a small file, and whose key is in a file."""
    (tmp_path / "x.gguf").write_bytes(gguf())
    (tmp_path / "keys").write_text("secret\nother\n")
    return {
        "name": "llama-server@main.service",
        "prefix": [],
        "binaries": "/opt/llama.cpp/releases/0123456789abcdef/bin",
        "model": str(tmp_path / "x.gguf"),
        "address": server[0],
        "key_file": str(tmp_path / "keys"),
        "settings": {"LLAMA_ARG_THREADS": "2", "LLAMA_ARG_CTX_SIZE": "4096"},
        "environment": {},
        "active": True,
        "maps_model": False,
    }


def test_the_disk_is_read_in_as_many_parts_as_there_are_repetitions(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(os.urandom(5 * measure.BLOCK))
    assert len(measure.disk([str(path)], 2**30, 2)) == 2
    assert all(rate > 0 for rate in measure.disk([str(path)], 2**30, 5))
    with pytest.raises(OSError, match="tells nothing of the disk"):
        measure.disk([str(path)], 2**30, 6)


@pytest.mark.parametrize("call", ["open", "preadv"])
def test_a_store_without_direct_reads_is_said_in_a_sentence(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    (tmp_path / "model").write_bytes(os.urandom(2 * measure.BLOCK))
    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OSError, match=rf"^The file system of {tmp_path} cannot be read past its cache \(no O_DIRECT"):
        measure.disk([str(tmp_path / "model")], 2**30, 1)


def test_hashing_is_measured_as_often_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "HASHED_BYTES", 2**21)
    assert len(measure.hashing(2, 3)) == 3


def test_requests_ask_for_exactly_so_many_tokens_and_show_the_key(
    server: tuple[str, list[Any]], tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("secret\nother\n")
    found = measure.completions(server[0], str(tmp_path / "keys"), 4, 8, 2, 10)
    assert [entry["decode"] for entry in found] == [11.0, 12.0]
    path, authorization, body = server[1][0]
    assert (path, authorization) == ("/completion", "Bearer secret")
    assert body["n_predict"] == 4
    assert body["ignore_eos"] is True
    assert body["cache_prompt"] is False
    assert len(body["prompt"].split()) == 8


def test_a_run_keeps_what_it_could_measure_and_says_why_it_could_not_the_rest(
    unit: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugins.module_utils.benchmark.run.read_unit", lambda _name: unit)
    monkeypatch.setattr(measure, "HASHED_BYTES", 2**21)
    run = Benchmark(OPTIONS, "lock", lambda _what: None).make()
    print(json.dumps(run, indent=1))
    assert run["results"]["service_first"]["median"] == 11.0
    assert run["results"]["service_steady"]["samples"] == [12.0, 13.0]
    assert set(run["skipped"]) == {"disk_read", "service_load", "read_whole", "bench_decode"}
    assert "/bin/false" in run["skipped"]["read_whole"]
    assert run["conditions"]["build"] == "0123456789abcdef"
    assert run["conditions"]["settings"] == {"LLAMA_ARG_THREADS": "2"}


def test_a_second_copy_that_has_no_room_needs_consent(unit: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins.module_utils.benchmark.run.read_unit", lambda _name: unit)
    monkeypatch.setattr("plugins.module_utils.benchmark.run.available_bytes", lambda: 1)
    monkeypatch.setattr(measure, "HASHED_BYTES", 2**21)
    run = Benchmark(OPTIONS, "lock", lambda _what: None).make()
    assert "benchmark_stop_service=true" in run["skipped"]["bench_decode"]
    assert run["conditions"]["beside_service"] is True


def test_llama_bench_is_not_compared_with_a_service_that_has_the_pool_of_huge_pages(
    unit: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = {**unit, "environment": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=2097152:glibc.malloc.arena_max=1"}}
    monkeypatch.setattr("plugins.module_utils.benchmark.run.read_unit", lambda _name: pool)
    monkeypatch.setattr(measure, "HASHED_BYTES", 2**21)
    run = Benchmark(OPTIONS, "lock", lambda _what: None).make()
    assert "no room for a second copy" in run["skipped"]["bench_decode"]
    assert "benchmark_stop_service=true" in run["skipped"]["bench_decode"]


def test_a_tower_without_a_service_is_measured_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_name: str) -> dict[str, Any]:
        raise UnitError("There is no service.")

    monkeypatch.setattr("plugins.module_utils.benchmark.run.read_unit", none)
    monkeypatch.setattr(measure, "HASHED_BYTES", 2**21)
    run = Benchmark(OPTIONS, "lock", lambda _what: None).make()
    assert set(run["results"]) == {"hash"}
    assert run["skipped"]["bench_decode"] == "There is no service."
    assert run["conditions"]["model"] is None


def test_a_model_is_known_by_its_manifest_and_a_build_by_its_directory(tmp_path: Path) -> None:
    model = tmp_path / "x.gguf"
    model.write_bytes(b"weights")
    assert measured_model(str(model))["name"] == "x.gguf"
    (tmp_path / "manifest.json").write_text(
        json.dumps({"schema_version": 1, "name": "x", "files": [{"sha256": "a" * 64}]})
    )
    assert measured_model(str(model)) == {"name": "x", "sha256": ["a" * 64]}
    release = tmp_path / "releases/0123456789abcdef/bin"
    release.mkdir(parents=True)
    (tmp_path / "current").symlink_to(release.parent)
    assert build_of(str(tmp_path / "current/bin")) == "0123456789abcdef"


def test_a_probe_that_would_fill_a_node_is_not_started() -> None:
    free = {"MemFree": 30 * 2**30, "FilePages": 12 * 2**30, "Mapped": 2**30, "Shmem": 2**30}
    assert measure.probe_problem({0: free, 1: free}, 128, 256) is None
    # The pages of a mapped model are those of the service.
    served = {"MemFree": 20 * 2**30, "FilePages": 150 * 2**30, "Mapped": 150 * 2**30}
    problem = measure.probe_problem({0: free, 1: served}, 128, 256)
    assert "needs 34.4 GB on each memory node, 256 MiB for each of 128 cores, and node 1 has 20.4 GB free" in str(
        problem
    )
    assert "to at most 152" in str(problem)


def test_the_probe_is_left_out_with_the_reason() -> None:
    run = Benchmark({**OPTIONS, "probe_mebibytes": 2**30}, "lock", lambda _what: None)
    run._probe()
    assert "set benchmark_probe_mebibytes to at most" in run.skipped["read_whole"]
