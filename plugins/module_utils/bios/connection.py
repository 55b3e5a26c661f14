# SPDX-License-Identifier: MIT
"""HTTPS to one BMC: requests never leave it, answers are bounded in size and time, every failure is one sentence.

What a BMC says is taken for hostile: a wrong ``bios_bmc_host`` may be any machine, and each request carries the token
of the session or the password.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
import string
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from typing import Any, NamedTuple, Optional

from ..model.http_source import NoRedirect
from ..text import clean

# A BMC that restarts answers 503, refuses connections, or lets them time out.
BUSY = (502, 503, 504)
REDIRECTED = (301, 302, 303, 307, 308)
REDIRECTS = 5
# The largest documents are attribute registries, of a few megabytes.
LARGEST = 2**24
# Of what is said of an error, as many characters are shown.
MOST_SAID = 500
# An answer may pause for the timeout; all of it has so many times that.
PATIENCE = 4
GZIP = b"\x1f\x8b"


class RedfishError(Exception):
    """One sentence: what was asked, what came back, what mends it. ``status`` is that of HTTP, where there is one."""

    def __init__(self, message: str, status: Optional[int] = None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def passing(self) -> bool:
        """Whether it may be better in a while: nobody answered, or what answers is restarting."""
        return self.status is None or self.status in (*BUSY, 401, 404)


class ElsewhereError(RedfishError):
    """A link or a redirect that is no path on this BMC; nothing was sent there. No waiting mends it."""

    passing = False


class Document(NamedTuple):
    """A resource, its ETag (None where it has none), and the headers of the answer."""

    body: dict[str, Any]
    etag: Optional[str]
    headers: Any


class _Answer(NamedTuple):
    status: int
    headers: Any
    body: bytes


def mapping(value: Any) -> dict[str, Any]:
    """An object of a document; an empty one where it has null or something else."""
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list of a document; none where it has null or something else."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def said(body: bytes) -> str:
    """What a BMC says of an error: the messages of its extended info; nothing where it is cut off."""
    try:
        error = mapping(mapping(json.loads(body)).get("error"))
    except (ValueError, RecursionError):
        return ""
    told = [str(entry["Message"]) for entry in objects(error.get("@Message.ExtendedInfo")) if entry.get("Message")]
    return clean(" ".join(told) or error.get("message") or "")[:MOST_SAID]


def content(answer: Any) -> bytes:
    """The body of an answer, unpacked. Raises ValueError where that is too large, or packed wrongly."""
    raw = bytearray()
    while len(raw) <= LARGEST and (block := answer.read(2**16)):
        raw += block
    if len(raw) <= LARGEST and answer.length:
        raise http.client.IncompleteRead(bytes(raw), answer.length)
    if raw[:2] == GZIP:  # JSON never begins so, and some send registries without saying that they are packed
        unpacker = zlib.decompressobj(wbits=31)
        try:
            raw = bytearray(unpacker.decompress(raw, LARGEST + 1))
        except zlib.error as error:
            raise ValueError(str(error)) from error
    if len(raw) > LARGEST:
        raise ValueError("too large")
    return bytes(raw)


class _Socket(ssl.SSLSocket):
    """Ends an answer that comes a byte now and then, which no timeout between two bytes would."""

    _silence = _end = 0.0

    def recv_into(self, *arguments: Any) -> int:
        if not self._end:
            self._silence = self.gettimeout() or 0.0
            self._end = time.monotonic() + PATIENCE * self._silence
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer does not come to its end")
        self.settimeout(min(self._silence, left))
        return super().recv_into(*arguments)


class Connection:
    """Requests to one BMC, with ``credentials`` as headers."""

    def __init__(self, host: str, ca_path: Optional[str], validate_certs: bool, timeout: float) -> None:
        self.host = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
        self.timeout = timeout
        self.credentials: dict[str, str] = {}
        try:
            self._origin = _origin(urllib.parse.urlsplit(f"https://{self.host}"))
        except ValueError as error:
            raise RedfishError(f"{clean(host)} is no name or address of a BMC: correct bios_bmc_host.") from error
        try:
            context = ssl.create_default_context(cafile=ca_path)
        except (OSError, ssl.SSLError) as error:
            raise RedfishError(f"{ca_path} is no file of CA certificates ({error}).") from error
        if not validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.sslsocket_class = _Socket
        # urllib would make a GET of a redirected POST or PATCH, and lose what is written.
        self._open = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), NoRedirect).open

    def own_path(self, link: Any, base: str = "") -> str:
        """The path of a link on this BMC, which some write whole; of a redirect, seen from ``base``.

        Raises ElsewhereError where it leads to another host, port or scheme, or is no path that could be appended.
        """
        # Quoted like urllib does it for redirects: a blank or an umlaut is no character of a request.
        text = urllib.parse.quote(str(link), string.punctuation)
        try:
            parts = urllib.parse.urlsplit(urllib.parse.urljoin(f"https://{self.host}{base}", text) if base else text)
            here = not (parts.scheme or parts.netloc) or _origin(parts) == self._origin
        except ValueError:
            here = False
        if not here or not parts.path.startswith("/"):
            raise ElsewhereError(
                f"The BMC {self.host} leads to {clean(link)[:MOST_SAID]}, which is no path on it, and nothing was sent "
                "there: name it in bios_bmc_host as it names itself, or update its firmware."
            )
        return parts.path + (f"?{parts.query}" if parts.query else "")

    def request(self, method: str, path: str, body: Any = None, etag: Optional[str] = None) -> Document:
        """A request, through redirects to other paths of this BMC. Raises RedfishError."""
        headers = {"Accept": "application/json", "OData-Version": "4.0", "Accept-Encoding": "gzip", **self.credentials}
        if etag:
            headers["If-Match"] = etag
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        at = self.own_path(path)
        for _hop in range(REDIRECTS + 1):
            answer = self._send(urllib.request.Request(f"https://{self.host}{at}", data, headers, method=method), at)
            location = answer.headers.get("Location") if answer.status in REDIRECTED else None
            if not location:
                break
            at = self.own_path(location, at)
        else:
            raise RedfishError(
                f"The BMC {self.host} redirects {method} {clean(path)} in a circle: its firmware is not supported.",
                answer.status,
            )
        if answer.status >= 300:
            raise RedfishError(self._refusal(method, clean(at), answer.status, said(answer.body)), answer.status)
        try:
            document = json.loads(answer.body) if answer.body.strip() else {}
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise RedfishError(f"The BMC {self.host} answers {method} {clean(at)} with what is no JSON object.")
        tag = answer.headers.get("ETag") or document.get("@odata.etag")
        usable = isinstance(tag, str) and tag.isascii() and tag.isprintable()
        return Document(document, tag if usable else None, answer.headers)

    def _send(self, request: urllib.request.Request, path: str) -> _Answer:
        asked = f"{request.get_method()} {clean(path)}"
        try:
            try:
                answer: Any = self._open(request, timeout=self.timeout)
            except urllib.error.HTTPError as error:
                with error:
                    try:
                        return _Answer(error.code, error.headers, content(error))
                    except (OSError, http.client.HTTPException, ValueError):
                        return _Answer(error.code, error.headers, b"")
            with answer:
                return _Answer(answer.status, answer.headers, content(answer))
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise RedfishError(self._untrusted(error.reason)) from error
            raise RedfishError(f"The BMC {self.host} cannot be reached ({error.reason}).") from error
        except (OSError, http.client.HTTPException) as error:
            raise RedfishError(f"The BMC {self.host} does not answer {asked} ({error}).") from error
        except ValueError as error:
            raise RedfishError(f"The BMC {self.host} answers {asked} with what cannot be used ({error}).") from error

    def _untrusted(self, error: Exception) -> str:
        reason = getattr(error, "verify_message", None) or str(error)
        return f"The certificate of the BMC {self.host} is not trusted ({reason}): give its CA, or renew it."

    def _refusal(self, method: str, path: str, status: int, told: str) -> str:
        why = f" ({told})" if told else ""
        if status == 401 or (status == 403 and not self.credentials):
            return f"The BMC {self.host} refuses the user name or password{why}."
        if "licen" in told.lower():
            return f"The BMC {self.host} needs a license for {method} {path}{why}."
        if status in BUSY:
            return f"The BMC {self.host} is busy or restarting (HTTP {status}): try again in a few minutes."
        if status in (412, 428):
            return f"The settings of the BMC {self.host} changed at the same time (HTTP {status}){why}: run this again."
        return f"The BMC {self.host} answers {method} {path} with HTTP {status}{why}."


def _origin(parts: urllib.parse.SplitResult) -> tuple[str, str, int]:
    """Who is meant: scheme, host and port. Raises ValueError where there is more, such as a user, or less."""
    host = parts.hostname or ""
    if not host or not re.fullmatch(rf"\[?{re.escape(host)}\]?(:\d*)?", parts.netloc.lower()):
        raise ValueError(f"{parts.netloc} is no host")
    return parts.scheme, host, parts.port or 443
