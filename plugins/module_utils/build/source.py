# SPDX-License-Identifier: MIT
"""Fetch the source of llama.cpp, prove what it is, and unpack it beside the others.

A source tree appears under the name of its digest only when it is whole, so one that is there is right.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from typing import Any

from ..files import make_directory
from ..progress import Progress
from ..text import has_user, without_secrets
from .document import BuildSource
from .key import sha256_file, source_digest

# pip asks a source distribution for its metadata even where it only downloads it, and for that it would fetch
# and run build tools that nobody pinned. Without build isolation it imports the backend that llama-cpp-python
# names from wherever Python finds it: here, and this one answers in its name.
BACKEND = """\
import pathlib
def prepare_metadata_for_build_wheel(directory, config_settings=None):
    path = pathlib.Path(directory, "{name}-{version}.dist-info")
    path.mkdir()
    path.joinpath("METADATA").write_text("Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    return path.name
build_wheel = None
"""


class SourceError(Exception):
    """The source cannot be had or is not what it should be; the text is one sentence."""


def fetch_source(source: BuildSource, directory: str, progress: Progress) -> str:
    """The path of the llama.cpp tree of a source, fetched into ``directory`` unless it is there."""
    final = os.path.join(directory, source_digest(source))
    if not os.path.isdir(final):
        progress.tell("fetching the source of llama.cpp")
        partial = f"{final}.partial"
        shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
        make_directory(partial)
        try:
            tree = os.path.join(partial, "tree")
            {"sdist": _sdist, "archive": _archive, "git": _git}[source["type"]](source, partial, tree, progress)
            find_llama_cpp(tree)
            os.rename(tree, final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return find_llama_cpp(final)


def find_llama_cpp(tree: str) -> str:
    """The directory of llama.cpp in an unpacked tree: its top, one below, or vendored."""
    for parent, directories, files in os.walk(tree):
        if "CMakeLists.txt" in files and {"ggml", "src", "tools"} <= set(directories):
            return parent
        if parent[len(tree) :].count(os.sep) >= 4:
            directories.clear()
    raise SourceError(
        "The source has no llama.cpp in it (CMakeLists.txt beside ggml, src and tools): name another one."
    )


def _run(argv: list[str], **options: Any) -> str:
    try:
        result = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False, **options)
    except FileNotFoundError:
        raise SourceError(f"The builder has no {argv[0]}: install it.") from None
    if result.returncode:
        raise SourceError(result.stderr.strip() or result.stdout.strip() or f"{argv[0]} failed and said nothing")
    output: str = result.stdout
    return output.strip()


def _sdist(source: BuildSource, partial: str, tree: str, _progress: Progress) -> None:
    """By pip, from wherever this machine's pip gets its packages; the hash decides whether it is the right one."""
    package, version, digest = source["package"], source["version"], source["sha256"]
    requirements = os.path.join(partial, "requirements.txt")
    with open(requirements, "w", encoding="utf-8") as file:
        file.write(f"{package}=={version} --hash=sha256:{digest}\n")
    backend = os.path.join(partial, "backend", "scikit_build_core")
    make_directory(backend)
    with open(os.path.join(backend, "__init__.py"), "w", encoding="utf-8"):
        pass
    with open(os.path.join(backend, "build.py"), "w", encoding="utf-8") as file:
        file.write(BACKEND.format(name=package.replace("-", "_"), version=version))
    download = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--require-hashes"]
    try:
        _run(
            [sys.executable, "-m", "pip", *download, "--dest", partial, "--requirement", requirements],
            env={**os.environ, "PYTHONPATH": os.path.dirname(backend), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        )
    except SourceError as error:
        raise SourceError(pip_problem(str(error), package, version, digest)) from None
    (archive,) = (name for name in os.listdir(partial) if name.endswith((".tar.gz", ".zip")))
    _unpack(os.path.join(partial, archive), tree)


def pip_problem(output: str, package: str, version: str, digest: str) -> str:
    """One sentence for what pip printed."""
    got = re.search(r"\bGot\s+([0-9a-f]{64})", output)
    if got:
        return wrong_digest(f"{package} {version}", got.group(1), digest)
    if "No module named pip" in output:
        return f"The builder's {sys.executable} has no pip: install the package python3-pip."
    if "No matching distribution" in output:
        return (
            f"pip finds no source distribution of {package} {version}: correct llama_build_source, or give the "
            "builder's pip an index that has it."
        )
    lines = [line for line in output.splitlines() if line.startswith("ERROR")] or output.splitlines()
    return f"pip could not fetch {package} {version}: {lines[-1]}"


def wrong_digest(name: str, got: str, wanted: str) -> str:
    """The sentence for content that is not what was pinned."""
    return (
        f"{name} has the SHA-256 {got}, not {wanted} as llama_build_source says: correct it there, or find out "
        "who changed the file."
    )


def _archive(source: BuildSource, partial: str, tree: str, progress: Progress) -> None:
    location, path = source["location"], source["location"]
    if "://" in location:
        path = os.path.join(partial, "archive")
        if has_user(location):
            raise SourceError(
                f"{without_secrets(location)} was given with a user name or password, which is not sent: serve it "
                "without one."
            )
        try:
            with urllib.request.urlopen(location, timeout=60) as answer, open(path, "wb") as file:
                total = int(answer.headers.get("Content-Length") or 0)
                for block in iter(lambda: answer.read(2**20), b""):
                    file.write(block)
                    progress.tell("fetching the source of llama.cpp:", file.tell(), total, "bytes")
        except (OSError, ValueError) as error:
            raise SourceError(f"{without_secrets(location)} cannot be fetched by the builder: {error}") from None
    try:
        digest = sha256_file(path)
    except OSError as error:
        raise SourceError(f"{path} cannot be read on the builder: {error.strerror}.") from None
    if digest != source["sha256"]:
        raise SourceError(wrong_digest(without_secrets(location), digest, source["sha256"]))
    _unpack(path, tree)


def _unpack(archive: str, tree: str) -> None:
    make_directory(tree)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                zipped.extractall(tree)
            return
        with tarfile.open(archive) as contents:
            # Pythons that know how refuse members that would land outside; who pinned the archive trusts it.
            if hasattr(tarfile, "data_filter"):
                contents.extractall(tree, filter="data")
            else:
                contents.extractall(tree)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise SourceError(f"{archive} is not an archive that can be unpacked: {error}") from None


def _git(source: BuildSource, _partial: str, tree: str, _progress: Progress) -> None:
    url, tag, wanted = without_secrets(source["url"]), source["tag"], source["commit"]
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    # A user or token of the URL stays out of the configuration of the clone, which everybody may read.
    if url != source["url"]:
        environment |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{source['url']}.insteadOf"}
        environment["GIT_CONFIG_VALUE_0"] = url
    clone = ["git", "-c", "advice.detachedHead=false", "clone", "--quiet", "--depth", "1", "--branch", tag, url, tree]
    try:
        _run(clone, env=environment)
        commit = _run(["git", "-C", tree, "rev-parse", "HEAD"])
    except SourceError as error:
        why = without_secrets(str(error).splitlines()[-1])
        raise SourceError(f"git could not fetch the tag {tag} of {url}: {why}") from None
    if commit != wanted:
        raise SourceError(
            f"The tag {tag} of {url} is the commit {commit}, not {wanted} as llama_build_source says: "
            "the tag was moved, or one of the two is wrong."
        )
