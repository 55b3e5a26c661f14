# SPDX-License-Identifier: MIT
"""Sources are fetched, proven and unpacked, or it is said what is wrong with them."""

from __future__ import annotations

import functools
import http.server
import subprocess
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.build.key import sha256_file
from plugins.module_utils.build.source import SourceError, pip_problem
from tests.tiny_build import fetch, source_archive


def test_an_archive_with_another_hash_is_not_unpacked(tmp_path: Path) -> None:
    source = {**source_archive(tmp_path / "source.tar.gz"), "sha256": "ab" * 32}
    with pytest.raises(SourceError, match=r"source.tar.gz has the SHA-256 \w{64}, not (ab){32} as llama_build_source"):
        fetch(source, tmp_path)
    assert list((tmp_path / "sources").iterdir()) == []


def test_an_archive_without_llama_cpp_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.tar"
    with tarfile.open(path, "w") as contents:
        contents.add(__file__, "other/README")
    with pytest.raises(SourceError, match=r"has no llama.cpp in it"):
        fetch({"type": "archive", "location": str(path), "sha256": sha256_file(str(path))}, tmp_path)
    assert list((tmp_path / "sources").iterdir()) == []


def test_an_archive_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none.tar cannot be read on the builder: No such file or directory"):
        fetch({"type": "archive", "location": "/none.tar", "sha256": "ab" * 32}, tmp_path)


def test_what_a_killed_fetch_left_is_removed(tmp_path: Path) -> None:
    source = source_archive(tmp_path / "source.tar.gz")
    (tmp_path / "sources" / f"{source['sha256']}.partial" / "tree").mkdir(parents=True)
    fetch(source, tmp_path)
    assert [path.name for path in (tmp_path / "sources").iterdir()] == [source["sha256"]]


@pytest.fixture
def repository(tmp_path: Path) -> Any:
    """A git repository with one tag."""
    fetch(source_archive(tmp_path / "source.tar.gz"), tmp_path)
    (tree,) = (tmp_path / "sources").glob("*/package-1.0/vendor/llama.cpp")
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]

    def git(*words: str) -> str:
        command = ["git", "-C", str(tree), *identity, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "all")
    git("tag", "v1")
    return {"type": "git", "url": f"file://{tree}", "tag": "v1", "commit": git("rev-parse", "HEAD")}


def test_a_tag_that_is_the_commit_is_fetched(repository: Any, tmp_path: Path) -> None:
    assert fetch(repository, tmp_path) == str(tmp_path / "sources" / repository["commit"])


def test_a_secret_of_a_url_is_used_and_not_kept_in_the_clone(repository: Any, tmp_path: Path) -> None:
    tree = Path(repository["url"].partition("://")[2])
    tree.rename(f"{tree}?token=S3cret")  # so that nothing is where the URL without it leads
    fetched = fetch({**repository, "url": f"{repository['url']}?token=S3cret"}, tmp_path)
    assert Path(fetched) == tmp_path / "sources" / repository["commit"]
    config = (Path(fetched) / ".git/config").read_text()
    assert repository["url"] in config
    assert "S3cret" not in config


def test_a_tag_that_is_another_commit_is_refused(repository: Any, tmp_path: Path) -> None:
    wrong = "cd" * 20
    sentence = f"The tag v1 of .* is the commit {repository['commit']}, not {wrong} as llama_build_source says"
    with pytest.raises(SourceError, match=sentence):
        fetch({**repository, "commit": wrong}, tmp_path)
    assert not (tmp_path / "sources" / wrong).exists()


def test_a_tag_that_is_not_there_is_named(repository: Any, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"git could not fetch the tag v2 of .*v2"):
        fetch({**repository, "tag": "v2", "commit": "cd" * 20}, tmp_path)


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (
            "ERROR: HASHES\n        Expected sha256 aa\n             Got        " + "bc" * 32,
            "p 1 has the SHA-256 " + "bc" * 32,
        ),
        ("ERROR: No matching distribution found for p==1", "pip finds no source distribution of p 1"),
        ("/usr/bin/python3: No module named pip", "has no pip: install the package python3-pip."),
        ("WARNING: x\nERROR: the disk is full\n", "pip could not fetch p 1: ERROR: the disk is full"),
    ],
)
def test_what_pip_prints_becomes_one_sentence(output: str, sentence: str) -> None:
    assert sentence in pip_problem(output, "p", "1", "ab" * 32)


def test_an_archive_is_fetched_from_a_web_server(made: Any, tmp_path: Path) -> None:
    directory = Path(made["source"]["location"]).parent
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(directory))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        source = {**made["source"], "location": f"{url}/source.tar.gz"}
        assert fetch(source, tmp_path).endswith("package-1.0/vendor/llama.cpp")
        with pytest.raises(SourceError, match=r"none.tar cannot be fetched by the builder: HTTP Error 404"):
            fetch({**source, "location": f"{url}/none.tar", "sha256": "cd" * 32}, tmp_path)
        server.shutdown()


@pytest.mark.parametrize(
    "source",
    [
        {"type": "archive", "location": "http://host:S3cret@127.0.0.1:9/a.tar", "sha256": "ab" * 32},
        {"type": "archive", "location": "http://127.0.0.1:9/a.tar?token=S3cret", "sha256": "ab" * 32},
        {"type": "git", "url": "http://host:S3cret@127.0.0.1:9/a", "tag": "v1", "commit": "0" * 40},
    ],
)
def test_a_secret_of_a_url_is_not_in_what_is_said(source: Any, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        fetch(source, tmp_path)
    print(caught.value)
    assert "S3cret" not in str(caught.value)
