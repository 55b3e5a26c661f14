# SPDX-License-Identifier: MIT
"""The wrapper that runs any command interleaved."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plugins.module_utils.service import interleave
from plugins.module_utils.service.interleave import files_in, pages_by_node, warning, with_huge_pages

NUMACTL = '#!/bin/sh\necho "numactl $1"; shift; exec "$@"\n'
REPO = Path(__file__).resolve().parents[3]


def run(tmp_path: Path, nodes: str, *command: str) -> subprocess.CompletedProcess[str]:
    """The wrapper on a machine with these memory nodes, and a numactl that says what it was asked for."""
    (tmp_path / "nodes").write_text(nodes)
    program = tmp_path / "bin/numactl"
    program.parent.mkdir(exist_ok=True)
    program.write_text(NUMACTL)
    program.chmod(0o755)
    start = (
        "import sys; from plugins.module_utils.service.interleave import main; "
        f"main(sys.argv[1:], {str(tmp_path / 'nodes')!r})"
    )
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    return subprocess.run(
        [sys.executable, "-c", start, *command], cwd=REPO, capture_output=True, text=True, check=False, env=environment
    )


def test_a_command_runs_over_the_nodes_with_memory_in_huge_pages_and_ends_as_it_ends(tmp_path: Path) -> None:
    done = run(tmp_path, "0,2-3\n", "sh", "-c", 'echo "$GLIBC_TUNABLES"; exit 7')
    assert done.stdout.splitlines() == ["numactl --interleave=0,2-3", "glibc.malloc.hugetlb=1"]
    assert (done.returncode, done.stderr) == (7, "")


def test_one_node_needs_no_numactl(tmp_path: Path) -> None:
    assert run(tmp_path, "0\n", "echo", "-n", "--help").stdout == "--help"


def test_without_a_command_it_says_how(tmp_path: Path) -> None:
    done = run(tmp_path, "0-1\n")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: interleave COMMAND")


def test_a_command_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, "0\n", "/no/such/command")
    assert done.returncode == 127
    assert done.stderr.count("\n") == 1


def test_tunables_that_are_set_stay() -> None:
    assert with_huge_pages({"GLIBC_TUNABLES": "glibc.malloc.arena_max=1"})["GLIBC_TUNABLES"] == (
        "glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1"
    )
    assert with_huge_pages({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"})["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=0"


def test_large_files_are_found_in_arguments(tmp_path: Path) -> None:
    large, small = tmp_path / "large.gguf", tmp_path / "small"
    large.touch()
    os.truncate(large, interleave.LARGE_BYTES)
    small.touch()
    assert files_in(["-m", str(large), f"--model={large}", str(small), "not\0a file"]) == [str(large)] * 2


def test_cached_pages_are_counted_and_others_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"x" * interleave.LARGE_BYTES)
    # A kernel with large folios maps the neighbors of a page, too.
    assert sum(pages_by_node(str(path)).values()) >= interleave.SAMPLES
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    assert sum(pages_by_node(str(path)).values()) == 0
    os.close(descriptor)


@pytest.mark.parametrize(
    ("pages", "nodes", "warned"),
    [
        ({0: 256}, [0, 1], True),
        ({0: 200, 1: 56}, [0, 1], True),
        ({0: 130, 1: 126}, [0, 1], False),
        ({0: 256}, [0], False),
        ({0: 8}, [0, 1], False),
        ({}, [0, 1], False),
    ],
)
def test_a_file_on_one_node_is_warned_about(pages: dict[int, int], nodes: list[int], warned: bool) -> None:
    line = warning("model.gguf", pages, nodes)
    assert (line is not None) == warned
    assert line is None or "dd if=model.gguf iflag=nocache count=0" in line
