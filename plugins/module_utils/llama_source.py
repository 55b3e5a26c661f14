# SPDX-License-Identifier: MIT
"""Fetch the source of llama.cpp, prove what it is, and unpack it beside the others.

A source tree appears under the name of its digest only when it is whole, so one that is there is right.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from typing import Any

from .build import source_digest
from .progress import Progress

# pip asks every source distribution for its metadata, even to download it. The backend of llama-cpp-python
# would have packages fetched and run for that which nobody pinned; this one answers in its name.
STUB = '''\
import pathlib
def prepare_metadata_for_build_wheel(directory, config_settings=None):
    name = "{package}-{version}.dist-info"
    path = pathlib.Path(directory, name)
    path.mkdir()
    path.joinpath("METADATA").write_text("Metadata-Version: 2.1\\nName: {package}\\nVersion: {version}\\n")
    return name
build_wheel = None
'''


class SourceError(Exception):
    """The source cannot be had or is not what it should be; the text is one sentence."""


def fetch_source(source: dict[str, Any], directory: str, progress: Progress) -> str:
    """The path of the llama.cpp tree of a source, fetched into ``directory`` unless it is there."""
    final = os.path.join(directory, source_digest(source))
    if not os.path.isdir(final):
        os.makedirs(directory, exist_ok=True)
        progress.tell("fetching the source of llama.cpp")
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=directory) as partial:
            tree = os.path.join(partial, "tree")
            {"sdist": _sdist, "archive": _archive, "git": _git}[source["type"]](source, partial, tree, progress)
            os.rename(tree, final)
    return _llama_cpp(final)


def _llama_cpp(tree: str) -> str:
    """The directory of llama.cpp in an unpacked tree: its top, one below, or vendored."""
    for parent, directories, files in os.walk(tree):
        if "CMakeLists.txt" in files and "ggml" in directories and "src" in directories:
            return parent
        if parent[len(tree) :].count(os.sep) >= 4:
            directories.clear()
    shutil.rmtree(tree)
    raise SourceError("The source has no llama.cpp in it (CMakeLists.txt beside ggml and src): name another one.")


def _run(argv: list[str], **options: Any) -> str:
    result = subprocess.run(argv, capture_output=True, text=True, check=False, **options)
    if result.returncode:
        words = (result.stderr.strip() or result.stdout.strip()).splitlines()
        raise SourceError(f"'{' '.join(argv[:4])} …' failed: {words[-1] if words else 'it said nothing'}")
    return result.stdout.strip()


def _sdist(source: dict[str, Any], partial: str, tree: str, _progress: Progress) -> None:
    """By pip, from wherever this machine's pip gets its packages; the hash decides whether it is the right one."""
    package, version = source["package"], source["version"]
    requirements = os.path.join(partial, "requirements.txt")
    with open(requirements, "w", encoding="utf-8") as file:
        file.write(f"{package}=={version} --hash=sha256:{source['sha256']}\n")
    backend = os.path.join(partial, "backend", "scikit_build_core")
    os.makedirs(backend)
    with open(os.path.join(backend, "build.py"), "w", encoding="utf-8") as file:
        file.write(STUB.format(package=package.replace("-", "_"), version=version))
    download = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--require-hashes"]
    try:
        _run(
            [sys.executable, "-m", "pip", *download, "--dest", partial, "--requirement", requirements],
            env={**os.environ, "PYTHONPATH": os.path.dirname(backend), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        )
    except SourceError as error:
        raise SourceError(
            f"pip could not fetch {package} {version} with the SHA-256 {source['sha256'][:12]}…: {error} Check the hash in "
            "llama_build_source, and pip's index on the builder."
        ) from error
    (archive,) = (name for name in os.listdir(partial) if name.endswith((".tar.gz", ".zip")))
    _unpack(os.path.join(partial, archive), tree)


def _archive(source: dict[str, Any], partial: str, tree: str, progress: Progress) -> None:
    location = source["location"]
    path = location
    if "://" in location:
        path = os.path.join(partial, os.path.basename(location.split("?", 1)[0]) or "archive")
        try:
            with urllib.request.urlopen(location, timeout=60) as answer, open(path, "wb") as file:
                total = int(answer.headers.get("Content-Length") or 0)
                for block in iter(lambda: answer.read(2**20), b""):
                    file.write(block)
                    progress.tell("fetching the source of llama.cpp:", file.tell(), total, "bytes")
        except (OSError, ValueError) as error:
            raise SourceError(f"{location} cannot be fetched: {error}") from error
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(2**20), b""):
                digest.update(block)
    except OSError as error:
        raise SourceError(f"{path} cannot be read on the builder: {error.strerror}.") from error
    if digest.hexdigest() != source["sha256"]:
        raise SourceError(
            f"{location} has the SHA-256 {digest.hexdigest()}, not {source['sha256']}: correct llama_build_source, "
            "or find out who changed the file."
        )
    _unpack(path, tree)


def _unpack(archive: str, tree: str) -> None:
    os.makedirs(tree)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as contents:
                contents.extractall(tree)
            return
        with tarfile.open(archive) as contents:
            # The filter refuses members that would land outside; Pythons of 2023 and later have it.
            contents.extractall(tree, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    except (tarfile.TarError, zipfile.BadZipFile) as error:
        raise SourceError(f"{archive} is not an archive that can be unpacked: {error}") from error


def _git(source: dict[str, Any], _partial: str, tree: str, _progress: Progress) -> None:
    url, tag = source["url"], source["tag"]
    _run(["git", "-c", "advice.detachedHead=false", "clone", "--quiet", "--depth", "1", "--branch", tag, url, tree])
    commit = _run(["git", "-C", tree, "rev-parse", "HEAD"])
    if commit != source["commit"]:
        raise SourceError(
            f"The tag {tag} of {url} is the commit {commit}, not {source['commit']}: the tag was moved, or "
            "llama_build_source names the wrong one."
        )
