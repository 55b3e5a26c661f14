# SPDX-License-Identifier: MIT
"""Talk to a llama-server over its HTTP interface: health, properties, one completion."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from typing import Any, Optional

from ..text import clean
from .api_keys import read_keys
from .document import Completion, Server

# A request that is answered while the model loads takes milliseconds; a completion may take minutes.
SHORT_SECONDS = 10
# Where a server listens that does so on all addresses, and where it is reached on its own machine.
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class ServerError(Exception):
    """The server answered something else than what was asked for; the text is one sentence."""


def url_host(host: str) -> str:
    """A host as it is in a URL: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def reachable(host: str) -> str:
    """The host of a URL for a server that listens there: loopback for all addresses."""
    return url_host(EVERY_ADDRESS.get(host, host))


def read_key(path: Optional[str]) -> Optional[str]:
    """A key that a server takes: the first of its key file; None where there is none. Raises OSError."""
    if not path:
        return None
    with open(path, encoding="utf-8") as file:
        return next(iter(read_keys(file.read())), None)


def request(
    url: str,
    key: str | None,
    body: dict[str, Any] | None = None,
    timeout: float = SHORT_SECONDS,
) -> Any:
    """The decoded JSON answer to a GET, or to a POST of ``body``.

    Raises urllib.error.HTTPError for an HTTP status of 400 or more, OSError where no server answers, and ServerError
    where something else than such a server does.
    """
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    # A proxy of the environment must not see requests to the machine itself, and the certificate of the
    # server's public name is not one for the address that the tower itself uses.
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unverified)
    )
    try:
        with opener.open(urllib.request.Request(url, data, headers), timeout=timeout) as answer:
            return json.loads(answer.read())
    except (ValueError, http.client.HTTPException) as error:
        raise ServerError(
            f"What answers at {url} is no llama-server: {clean(error) or type(error).__name__}."
        ) from error


def healthy(url: str, timeout: float = SHORT_SECONDS, loading: bool = False) -> bool:
    """Whether the server has loaded its model: 200 on /health; 503 while it loads, nothing before that.

    With ``loading``, any answer will do.
    """
    try:
        request(f"{url}/health", None, timeout=timeout)
    except urllib.error.HTTPError:
        return loading
    except (OSError, ServerError):
        return False
    return True


def read_completion(answer: dict[str, Any]) -> Completion:
    """Text and speed of a completion, of what the server answered."""
    try:
        usage, timings = answer["usage"], answer.get("timings") or {}
        return {
            "text": answer["choices"][0]["text"].strip(),
            "tokens": usage["completion_tokens"],
            "tokens_per_second": timings.get("predicted_per_second"),
            "prompt_tokens": usage["prompt_tokens"],
            "prompt_tokens_per_second": timings.get("prompt_per_second"),
        }
    except (KeyError, IndexError, TypeError) as error:
        raise ServerError(f"The server's completion has no {error}: {json.dumps(answer)[:300]}") from error


def _completion(url: str, key: str | None, body: dict[str, Any], timeout: float) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = request(url, key, body, timeout)
    except urllib.error.HTTPError as error:
        said = error.read()[:300].decode(errors="replace")
        raise ServerError(f"The server refused the completion with HTTP status {error.code}: {said}") from error
    return answer


def complete(url: str, key: str | None, prompt: str, max_tokens: int, timeout: float) -> Completion:
    """Let the model go on from a prompt and return what :func:`read_completion` makes of the answer.

    A plain completion, since not every model has a chat template. Temperature and seed are fixed, so
    that the same build and model give the same text.
    """
    body = {
        "prompt": prompt,
        "max_tokens": max_tokens,
        "temperature": 0,
        "seed": 1,
        "stop": ["\n\n", "\nQuestion:"],
        "cache_prompt": False,
    }
    answer = _completion(f"{url}/v1/completions", key, body, timeout)
    completion = read_completion(answer)
    if not completion["tokens"]:
        raise ServerError("The server answered with no token at all: read its journal.")
    return completion


def warm_up(url: str, key: str | None, tokens: int, timeout: float) -> None:
    """Let the threads that decode read weights that no thread has read yet, for so many tokens.

    The prompt is one token, which every vocabulary has as number 0: longer ones are read as a batch, by the threads for
    batches (``--threads-batch``), which share out the rows in another way.
    """
    body = {"prompt": [0], "n_predict": tokens, "ignore_eos": True, "cache_prompt": False}
    _completion(f"{url}/completion", key, body, timeout)


def asks_for_key(url: str) -> bool:
    """Whether a request without a key is refused. /props needs one in every build: /health and /v1/models may not
    (tools/server/server-http.cpp, public endpoints). Raises OSError."""
    try:
        request(f"{url}/props", None)
    except urllib.error.HTTPError as error:
        return error.code == 401
    return False


def properties(url: str, key: str | None) -> Server:
    """What runs there."""
    answer = request(f"{url}/props", key)
    return {
        "build": answer.get("build_info"),
        "model_path": answer.get("model_path"),
        "context": (answer.get("default_generation_settings") or {}).get("n_ctx"),
    }
