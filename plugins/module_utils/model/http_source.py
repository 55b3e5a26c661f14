# SPDX-License-Identifier: MIT
"""A file behind a URL, as a source of a transfer: ranges, redirects, and what answers other than the file mean."""

from __future__ import annotations

import email.utils
import http.client
import re
import socket
import string
import struct
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from email.message import Message
from typing import Any

from .transfer import BLOCK, SILENCE, CutError, SizeError, TransferError

REDIRECTS = 5
# What a server may ask for: the hub counts requests in windows of five minutes.
LONGEST_RETRY_AFTER = 600.0
# How rate limits are told by whom Retry-After is not: the draft of the IETF (draft-ietf-httpapi-ratelimit-headers), as
# the hub has it (huggingface_hub issues 3312 and 3577): RateLimit: "api";r=0;t=120, RateLimit-Policy: "fixed
# window";"api";q=500;w=300; its older form: RateLimit: limit=500, remaining=0, reset=120; and one header for each.
LEFT = re.compile(r"\b(?:r|remaining)\s*=\s*(\d+)", re.I)
RESET = re.compile(r"\b(?:t|reset)\s*=\s*(\d+)", re.I)
WINDOW = re.compile(r"\bw\s*=\s*(\d+)", re.I)
EPOCH = 1e9  # what is larger is a time since the epoch, and not seconds from now
# What waits in the receive buffer when this process is killed was sent in vain: five kills in 280 MB on the loopback
# cost 1.0 % with this buffer, and 5.1 % with the kernel's, at the same speed. Where an answer takes less than NEAR
# seconds, on a LAN, it lets a stream have BUFFER / NEAR = 300 MB/s; elsewhere the kernel sizes it to the path.
NEAR, BUFFER = 0.0002, 2**16
# struct tcp_info in linux/tcp.h: eight bytes and fifteen words before tcpi_rtt, in microseconds.
TCP_INFO_RTT = 8 + 15 * 4
# Answers after which the same request may succeed later.
TEMPORARY = {408, 425, 429}


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: who is meant when a token is sent."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def place(url: str) -> str:
    """A URL as messages show it: whatever follows the host may be a signature."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds to wait after ``now`` (a time since the epoch), from a number or an HTTP date; None where not said."""
    if not header:
        return None
    try:
        wanted = float(header)
    except ValueError:
        try:
            wanted = email.utils.parsedate_to_datetime(header).timestamp() - now
        except (OverflowError, TypeError, ValueError):
            return None
    return min(max(wanted, 0.0), LONGEST_RETRY_AFTER) if wanted == wanted else None


def _limited(header: str) -> float | None:
    """Seconds until requests are left again, by a RateLimit header; of several limits the longest of those reached."""
    reached = [limit for limit in re.split(r',\s*"', header) if not (left := LEFT.search(limit)) or int(left[1]) == 0]
    return max((float(found[1]) for limit in reached if (found := RESET.search(limit))), default=None)


def told_wait(code: int, headers: Mapping[str, str] | Message, now: float) -> float | None:
    """Seconds that an answer asks to be left alone for, in whichever of the ways there are; None where it does not."""
    told = [retry_after(headers.get("Retry-After"), now)]
    if code == 429:
        told.append(_limited(headers.get("RateLimit") or ""))
        for name in ("RateLimit-Reset", "X-RateLimit-Reset"):
            reset = (headers.get(name) or "").strip()
            if reset.isdigit():
                told.append(float(reset) - now if float(reset) > EPOCH else float(reset))
        if told == [None, None]:
            # The window in which requests are counted may have begun just now.
            told += [float(window) for window in WINDOW.findall(headers.get("RateLimit-Policy") or "")]
    known = [seconds for seconds in told if seconds is not None]
    return min(max(0.0, *known), LONGEST_RETRY_AFTER) if known else None


def keep_buffer_small(connection: socket.socket) -> None:
    information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    (microseconds,) = struct.unpack_from("I", information, TCP_INFO_RTT)
    if microseconds / 1e6 < NEAR:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)


class HTTPConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        keep_buffer_small(self.sock)


class HTTPSConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        keep_buffer_small(self.sock)


class HTTPHandler(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(HTTPConnection, request)


class HTTPSHandler(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(HTTPSConnection, request)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would take the headers along, the token among them."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


class Remote:
    """A file behind a URL; ``token`` goes to the origin of that URL and to no other. Proxies are the environment's."""

    def __init__(self, url: str, name: str, token: str | None = None, gated: str | None = None) -> None:
        self.url, self.name, self.token = url, name, token
        self.where = f" from {place(url)}"
        self.gated = gated
        self.opener = urllib.request.build_opener(HTTPHandler, HTTPSHandler, NoRedirect)

    def open(self, start: int, size: int) -> http.client.HTTPResponse:
        url = self.url
        for _ in range(REDIRECTS + 1):
            if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
                break
            headers = {"User-Agent": "llamatower", "Accept-Encoding": "identity"}
            if start:
                headers["Range"] = f"bytes={start}-"
            if self.token and origin(url) == origin(self.url):
                headers["Authorization"] = f"Bearer {self.token}"
            try:
                answer = self.opener.open(urllib.request.Request(url, headers=headers), timeout=SILENCE)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code in (301, 302, 303, 307, 308) and error.headers.get("Location"):
                        # Quoted like urllib does it: a blank or an umlaut is no character of a request.
                        location = urllib.parse.quote(error.headers["Location"], string.punctuation, "iso-8859-1")
                        url = urllib.parse.urljoin(url, location)
                        continue
                    self.refused(error, url, size)
            return self.checked(answer, start, size)
        raise TransferError(f"{self.name} is redirected{self.where} to where there is no file: correct its source.")

    def refused(self, error: urllib.error.HTTPError, url: str, size: int) -> None:
        """Say what an answer without the file means."""
        code, here = error.code, origin(url) == origin(self.url)
        if code == 416:  # what is there already is more than the source has
            self.compare_size(str(error.headers.get("Content-Range")).rpartition("/")[2], size)
        if code in TEMPORARY or code >= 500:
            raise CutError(f"{place(url)} answered {code}", told_wait(code, error.headers, time.time()))
        if code in (401, 403) and not here:
            raise CutError(f"{place(url)} answered {code} to the signed URL that {place(self.url)} gave")
        if code in (401, 403) and self.gated:
            raise TransferError(f"{self.gated} ({place(url)} answered {code}).")
        raise TransferError(f"{self.name} could not be fetched{self.where} (it answered {code}): correct its source.")

    def compare_size(self, told: str | None, size: int) -> None:
        if told and told.isdigit() and int(told) != size:
            raise SizeError(
                f"{self.name} has {told} bytes{self.where} and should have {size}: it was replaced or is broken there, "
                "so resolve the model again, or use another source."
            )

    def checked(self, answer: http.client.HTTPResponse, start: int, size: int) -> http.client.HTTPResponse:
        """The answer, at ``start``."""
        try:
            if answer.status == 206:
                span, _slash, total = str(answer.headers["Content-Range"]).partition("/")
                self.compare_size(total, size)
                if span.startswith(f"bytes {start}-"):
                    return answer
                raise CutError(f"it was asked for the bytes from {start} on and sent {span}")
            self.compare_size(answer.headers["Content-Length"], size)
            # It knows no ranges, so what is there already has to be sent again, and is passed over.
            while start and (block := answer.read1(min(BLOCK, start))):
                start -= len(block)
        except BaseException:
            answer.close()
            raise
        return answer
