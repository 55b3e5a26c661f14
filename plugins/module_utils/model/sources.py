# SPDX-License-Identifier: MIT
"""What the sources of models say about them: commit, files with sizes and hashes, and the GGUF headers."""

from __future__ import annotations

import fnmatch
import glob
import http.client
import os
import re
import time
import urllib.request
from typing import Any, Callable, NamedTuple, Optional

from ..text import first_line, without_secrets
from .architectures import architecture_problem
from .declaration import (
    SHA256,
    choose_files,
    clean_token,
    file_names,
    is_gguf,
    name_problem,
    piece_problem,
    shard_problem,
    shards_of,
    source_of,
)
from .document import Declaration, Gguf, ResolvedModel, SourceFile
from .gguf import GgufError, Read, file_reader, quantization_problem, read_header, summary
from .http_source import told_wait
from .uncached import sha256_uncached

# The SHA-256 of each of some files, by its path.
Digest = Callable[[list[str]], dict[str, str]]

TIMEOUT = 60
# For a question whose answer is only worth a warning.
SHORT_TIMEOUT = 10


class ModelSourceError(Exception):
    """The source has no such model; the text is one sentence."""


class Found(NamedTuple):
    """What a source says of a model; the commit is that of a repository."""

    commit: Optional[str]
    files: list[SourceFile]
    gguf: Gguf


def from_hub(model: Declaration, endpoint: str | None, token: str | None) -> Found:
    """What the hub says of a model, with every way in which it may say nothing as a sentence."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the client is imported
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise ModelSourceError(
            "huggingface_hub is not installed beside Ansible: pip install -r requirements.txt"
        ) from error
    repo, revision = model["repo"], model["revision"]
    try:
        token = clean_token(token)
    except ValueError as error:
        raise ModelSourceError(str(error)) from error
    api = huggingface_hub.HfApi(endpoint=endpoint, token=token)
    hub = f"The hub {without_secrets(api.endpoint)}"
    try:
        return ask_hub(api, model)
    except errors.GatedRepoError as error:
        mend = "whose owner must be given access" if token else "set model_store_hf_token"
        raise ModelSourceError(f"{repo} is gated: accept its terms on the hub, and {mend}.") from error
    except errors.RevisionNotFoundError as error:
        raise ModelSourceError(
            f"{repo} has no revision {revision}: name a branch, a tag or a commit that it has."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelSourceError(
            f"{hub} knows no repository {repo}: correct its name, or set model_store_hf_token if it is private."
        ) from error
    except errors.HFValidationError as error:
        raise ModelSourceError(f"{repo!r} is no name of a repository: write organization/name.") from error
    except errors.HfHubHTTPError as error:
        code = error.response.status_code
        wait = told_wait(code, error.response.headers, time.time())
        later = f"in {wait:.0f} seconds" if wait else "later"
        raise ModelSourceError(f"{hub} answered {code} about {repo}: run the same command again {later}.") from error
    except (ModelSourceError, GgufError):
        raise
    except Exception as error:  # whatever the client's HTTP library raises
        raise ModelSourceError(
            f"{hub} cannot be reached ({without_secrets(first_line(error))}): check the network, or set HF_ENDPOINT."
        ) from error


def ask_hub(api: Any, model: Declaration) -> Found:
    repo, pattern = model["repo"], model["files"]
    info = api.model_info(repo, revision=model["revision"], files_metadata=True)
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or []}
    names = choose_files(pattern, list(siblings))
    if not names:
        problem = piece_problem([name for name in siblings if fnmatch.fnmatch(name, pattern)])
        if problem:
            raise ModelSourceError(f"{pattern} in {repo}: {problem}")
        known = ", ".join(sorted(filter(is_gguf, siblings))[:6]) or "no GGUF file at all"
        raise ModelSourceError(f"{repo} has no file that matches {pattern}; it has {known}.")
    problem = shard_problem(names)
    if problem:
        raise ModelSourceError(f"{pattern} in {repo}: {problem}")
    files: list[SourceFile] = []
    for name in names:
        sha256 = str(getattr(siblings[name].lfs, "sha256", None))
        if not SHA256.fullmatch(sha256):
            raise ModelSourceError(f"The hub tells no SHA-256 of {name} in {repo}, so it could not be verified.")
        files.append({"file": name, "size": siblings[name].size, "sha256": sha256})
    sources = [(hub_reader(api, repo, info.sha, entry["file"]), entry["size"]) for entry in files]
    return Found(info.sha, files, headers(sources))


def hub_reader(api: Any, repo: str, commit: str, name: str) -> Read:
    """Ranges of a file, from where the hub redirects to; the token goes to the hub only.

    A mirror without ranges sends all of it, of which no more is read than what is wanted.
    """
    import huggingface_hub

    utils: Any = huggingface_hub.utils
    url = huggingface_hub.hf_hub_url(repo, name, revision=commit, endpoint=api.endpoint)
    location = huggingface_hub.get_hf_file_metadata(url, token=api.token, endpoint=api.endpoint).location
    token = api.token if location == url else False

    def read(offset: int, count: int) -> bytes:
        wanted = {**utils.build_hf_headers(token=token), "Range": f"bytes={offset}-{offset + count - 1}"}
        found = bytearray()
        with utils.get_session().stream("GET", location, headers=wanted, timeout=TIMEOUT) as answer:
            utils.hf_raise_for_status(answer)
            start = 0 if answer.status_code == 206 else offset
            for block in answer.iter_bytes():
                found += block
                if len(found) >= start + count:
                    break
        return bytes(found[start : start + count])

    return read


def moved_revision(entry: ResolvedModel, endpoint: str | None, token: str | None) -> str | None:
    """One sentence where the branch or tag of a locked model is at another commit now, else None.

    None also where the hub cannot say: what is locked does not need it.
    """
    repo, revision = entry["source"]["repo"], entry["source"]["revision"]
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return None
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import huggingface_hub

        api = huggingface_hub.HfApi(endpoint=endpoint, token=clean_token(token))
        now = api.model_info(repo, revision=revision, timeout=SHORT_TIMEOUT).sha
    except Exception:  # no client, no hub, no access: see above
        return None
    if now == entry["commit"]:
        return None
    return (
        f"{revision} of {repo} is at commit {now} now; model {entry['name']} is deployed as it is locked, at "
        f"{entry['commit']}: to follow, run ansible-playbook llamatower.tower.lock."
    )


def files_of_path(path: str) -> list[str]:
    """The files of one model that a path means: the GGUF files of a directory or a pattern, or a file's shards."""
    if os.path.isdir(path):
        found = list(filter(is_gguf, glob.glob(os.path.join(glob.escape(path), "*"))))
    elif glob.has_magic(path) and not os.path.exists(path):
        found = list(filter(is_gguf, glob.glob(path)))
    else:
        found = shards_of(path)
    return sorted(found)


def from_path(model: Declaration, digest: Digest) -> Found:
    """The files of a path; where their hashes are not declared, from ``digest``."""
    path, sha256, name = model["path"], model.get("sha256"), model["name"]
    paths = files_of_path(path)
    if not paths:
        pieces = os.path.join(glob.escape(path), "*") if os.path.isdir(path) else path
        problem = piece_problem(list(map(os.path.basename, glob.glob(pieces))))
        if problem:
            raise ModelSourceError(f"{path} of model {name}: {problem}")
        raise ModelSourceError(f"There is no GGUF file of model {name} in {path} on the tower: put it there.")
    problem = shard_problem([os.path.basename(each) for each in paths])
    if problem:
        raise ModelSourceError(f"{path} of model {name}: {problem}")
    if sha256 and len(paths) > 1:
        raise ModelSourceError(
            f"Model {name} has {len(paths)} files and one sha256: remove that, and run ansible-playbook "
            "llamatower.tower.lock, which keeps one of each."
        )
    try:
        sources = [file_reader(each) for each in paths]
        gguf = headers(sources)  # before hours of hashing
        hashes = {paths[0]: sha256} if sha256 else digest(paths)
    except OSError as error:
        raise ModelSourceError(
            f"The file {error.filename or path} of model {name} cannot be read ({error.strerror}): give a file on the "
            "tower."
        ) from error
    return Found(
        None,
        [{"file": each, "size": size, "sha256": hashes[each]} for each, (_, size) in zip(paths, sources)],
        gguf,
    )


def from_url(model: Declaration) -> Found:
    url = model["url"]  # as it is declared: what is said and kept of it has no signature

    def get(offset: int, count: int) -> tuple[bytes, int]:
        """The range, and the size of the whole. A server without ranges sends everything."""
        request = urllib.request.Request(url, headers={"Range": f"bytes={offset}-{offset + count - 1}"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            if answer.status == 206:
                return answer.read(count), int(answer.headers["Content-Range"].rpartition("/")[2])
            answer.read(offset)
            return answer.read(count), int(answer.headers["Content-Length"])

    try:
        _start, size = get(0, 1)
        gguf = headers([(lambda offset, count: get(offset, count)[0], size)])
    except (OSError, http.client.HTTPException, AttributeError, TypeError, ValueError) as error:
        raise ModelSourceError(
            f"The URL {without_secrets(url)} of model {model['name']} cannot be read ({error}): correct it."
        ) from error
    return Found(None, [{"file": without_secrets(url), "size": size, "sha256": model["sha256"]}], gguf)


def headers(sources: list[tuple[Read, int]]) -> Gguf:
    return summary([read_header(read, size) for read, size in sources])


def one_by_one(paths: list[str]) -> dict[str, str]:
    """Hashes, without a word about how far that is."""
    return {path: sha256_uncached(path, lambda _done: None) for path in paths}


def resolve(model: Declaration, endpoint: str | None, token: str | None, digest: Digest = one_by_one) -> ResolvedModel:
    """A declared model with what its source says. Raises ModelSourceError with one sentence."""
    try:
        if model.get("repo"):
            found = from_hub(model, endpoint, token)
        else:
            found = from_path(model, digest) if model.get("path") else from_url(model)
    except GgufError as error:
        raise ModelSourceError(f"Model {model['name']} cannot be served: {error}") from error
    entry: ResolvedModel = {
        "name": model["name"],
        "source": source_of(model),
        "commit": found.commit,
        "bytes": sum(file["size"] for file in found.files),
        "files": found.files,
        "gguf": found.gguf,
    }
    problem = name_problem(file_names(entry))
    if problem:
        raise ModelSourceError(f"Model {model['name']} cannot be kept: {problem}")
    return entry


def misnamed(entry: ResolvedModel) -> list[str]:
    """One sentence at most for a resolved model that has fewer bits a weight than one of its names says."""
    names = [entry["files"][0]["file"], entry["source"].get("files", ""), entry["name"]]
    problems = [quantization_problem(name, entry["gguf"]) for name in names]
    return [problem for problem in problems if problem][:1]


def unserved(entry: ResolvedModel) -> list[str]:
    """One sentence at most for a resolved model whose architecture is not known, or is none for a server."""
    problem = architecture_problem(entry["name"], entry["gguf"]["architecture"])
    return [problem] if problem else []
