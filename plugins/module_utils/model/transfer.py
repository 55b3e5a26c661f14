# SPDX-License-Identifier: MIT
"""Get the bytes of large files onto the disk: resumed at the byte, hashed while written, kept out of the page cache.

This is ours because no well-kept engine does all of that. huggingface_hub starts a file from the beginning in a new
process, gives up on a CDN that answers 500, and checks sizes only. aria2 and curl resume, but take the token in an
argument or a file and send it wherever the hub redirects to, reuse a signed URL that has expired, hash in a second
pass over the file, and leave it in the page cache.

A file is one stream from its first byte to its last, so that its SHA-256 grows with it and what an interruption
leaves is a prefix. Every attempt asks the source anew, which for the hub is a new signed URL. How a source names a
version of a file (ETag) differs between the servers of a CDN, so what tells that a file was replaced meanwhile is
its size at once and its hash in the end.
"""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import http.client
import os
import random
import socket
import ssl
import string
import struct
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any, Protocol

from ..files import sync_directory
from .uncached import hash_uncached

BLOCK = 2**18
# Seconds without a byte after which a connection counts as lost.
SILENCE = 60
REDIRECTS = 5
# Attempts in a row that bring no byte. With the pauses between them that is about four minutes, in which a router
# restarts; what lasts longer needs somebody, and the next run goes on from there.
ATTEMPTS = 10
# Seconds of the first pause, which doubles to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
# What a server may ask for: the hub counts requests in windows of five minutes.
LONGEST_RETRY_AFTER = 600.0
# A power failure costs what was written since the last checkpoint: 1/256 of the file, within these bounds.
CHECKPOINTS, LEAST_CHECKPOINT, MOST_CHECKPOINT = 256, 2**19, 2**26
# What waits in the receive buffer when this process is killed was sent in vain: five kills in 280 MB on the loopback
# cost 1.0 % with this buffer, and 5.1 % with the kernel's, at the same speed. Where an answer takes less than NEAR
# seconds, on a LAN, it lets a stream have BUFFER / NEAR = 300 MB/s; elsewhere the kernel sizes it to the path.
NEAR, BUFFER = 0.0002, 2**16
# struct tcp_info in linux/tcp.h: eight bytes and fifteen words before tcpi_rtt, in microseconds.
TCP_INFO_RTT = 8 + 15 * 4
# Answers after which the same request may succeed later.
TEMPORARY = {408, 425, 429}


class TransferError(Exception):
    """The source does not give the file; the text is one sentence."""


class CutError(Exception):
    """An attempt ended early; ``pause`` is how many seconds the source asked to be left alone, or None."""

    def __init__(self, why: str, pause: float | None = None) -> None:
        super().__init__(why)
        self.pause = pause


class SizeError(Exception):
    """The source has another size for the file; the text is one sentence."""


class Stream(Protocol):
    def read1(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class Source(Protocol):
    """Where a file comes from. ``open`` gives its bytes from ``start`` on; ``size`` is what it must have as a whole."""

    name: str
    where: str

    def open(self, start: int, size: int) -> Stream: ...


class Tally:
    """What all files of a transfer have come to; safe to use from several threads. Counts are bytes."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.stop = threading.Event()
        # Written by this run, there before it, and read again because of that.
        self.received = self.resumed = self.hashed = 0
        self.retries = 0

    def add(self, received: int = 0, resumed: int = 0, hashed: int = 0, retries: int = 0) -> None:
        with self.lock:
            self.received += received
            self.resumed += resumed
            self.hashed += hashed
            self.retries += retries
        if self.stop.is_set():
            raise TransferError("Another file failed.")


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


def pause(fruitless: int) -> float:
    """Seconds before the next attempt after so many in vain; random, so that streams do not return all at once."""
    return float(min(FIRST_PAUSE * 2**fruitless, LONGEST_PAUSE) * random.uniform(0.5, 1))


def checkpoint_bytes(size: int) -> int:
    """Bytes of a file between the points to which it is on the disk for certain."""
    return min(max(size // CHECKPOINTS, LEAST_CHECKPOINT), MOST_CHECKPOINT)


def reason(error: BaseException) -> str:
    """What a library means, as the end of a sentence in brackets."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    if isinstance(error, TimeoutError):
        return f"no byte came for {SILENCE} seconds"
    return str(error).strip().partition("\n")[0] or type(error).__name__


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
            wanted = retry_after(error.headers.get("Retry-After"), time.time())
            raise CutError(f"{place(url)} answered {code}", wanted)
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


class Copied:
    """A file that is read once: its pages are dropped behind the reader."""

    def __init__(self, path: str, start: int) -> None:
        self.file = open(path, "rb", buffering=0)  # noqa: SIM115
        self.file.seek(start)

    def read1(self, size: int) -> bytes:
        block = self.file.read(size)
        os.posix_fadvise(self.file.fileno(), 0, self.file.tell(), os.POSIX_FADV_DONTNEED)
        return block

    def close(self) -> None:
        os.posix_fadvise(self.file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self.file.close()


class Local:
    """A file that the tower has elsewhere, such as on a disk that was carried there."""

    def __init__(self, path: str) -> None:
        self.name = self.path = path
        self.where = ""

    def open(self, start: int, size: int) -> Copied:
        found = os.path.getsize(self.path)
        if found != size:
            raise SizeError(f"{self.path} has {found} bytes now and had {size}: run the same command again.")
        return Copied(self.path, start)


class Part:
    """The first bytes of a file on the disk, and their hash. A context manager; entering hashes what is there."""

    def __init__(self, path: str, size: int, tally: Tally) -> None:
        self.path, self.size, self.tally = path, size, tally
        self.digest = hashlib.sha256()
        self.length = self.safe = 0
        self.step = checkpoint_bytes(size)

    def __enter__(self) -> Part:
        self.descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self.length = os.fstat(self.descriptor).st_size
            if self.length > self.size:  # no beginning of this file
                os.ftruncate(self.descriptor, 0)
                self.length = 0
            if self.length:
                self._hash()
            else:
                sync_directory(os.path.dirname(self.path))
            self.safe = self.length
        except BaseException:
            os.close(self.descriptor)
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        try:
            self.checkpoint()
            os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(self.descriptor)

    def _hash(self) -> None:
        before = 0

        def tell(done: int) -> None:
            nonlocal before
            self.tally.add(hashed=done - before)
            before = done

        self.tally.add(resumed=self.length)
        hash_uncached(self.path, self.digest, tell)

    def write(self, block: bytes) -> None:
        rest = memoryview(block)
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]
        self.digest.update(block)
        self.length += len(block)
        self.tally.add(received=len(block))
        if self.length - self.safe >= self.step:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Have all of it on the disk, and none of it in the page cache."""
        os.fdatasync(self.descriptor)
        os.posix_fadvise(self.descriptor, self.safe, self.length - self.safe, os.POSIX_FADV_DONTNEED)
        self.safe = self.length


def blocks(source: Source, start: int, size: int) -> Iterator[bytes]:
    """The bytes of a source from ``start`` on. Raises CutError where they end before ``size``."""
    try:
        with contextlib.closing(source.open(start, size)) as stream:
            while start < size:
                block = stream.read1(min(BLOCK, size - start))
                if not block:
                    raise CutError("the connection was closed early")
                start += len(block)
                yield block
    except (OSError, http.client.HTTPException) as error:
        if isinstance(source, Local):
            raise TransferError(f"{source.path} cannot be read ({reason(error)}): check the disk.") from error
        cause = getattr(error, "reason", error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise TransferError(
                f"{source.name} could not be fetched{source.where} ({cause.verify_message}): install the "
                "certificate of its authority, or correct the clock."
            ) from error
        raise CutError(reason(error)) from error
    except ValueError as error:  # of urllib and what is below it: such as http://[
        raise TransferError(
            f"{source.name} could not be fetched{source.where}, which names a place that is none: correct its source."
        ) from error


def fetch(source: Source, path: str, size: int, tally: Tally) -> str:
    """Complete the file at ``path`` from its source, and return the SHA-256 of what is there then.

    Goes on from what ``path`` holds, and tries again after what may pass. Raises TransferError, or the OSError of
    the disk; what came is kept in either case.
    """
    fruitless = sizes = 0
    with Part(path, size, tally) as part:
        while part.length < size:
            before, wait = part.length, None
            try:
                for block in blocks(source, part.length, size):
                    part.write(block)
                continue
            except CutError as error:
                why, wait = str(error), error.pause
            except SizeError as error:  # an answer may have been cut; a second one like it was not
                why, sizes = str(error), sizes + 1
                if sizes == 2 or isinstance(source, Local):
                    raise TransferError(why) from error
            fruitless = 0 if part.length > before else fruitless + 1
            if fruitless == ATTEMPTS:
                raise TransferError(
                    f"{source.name} could not be fetched{source.where} ({why}; {ATTEMPTS} attempts brought no byte): "
                    "run the same command again, and it goes on from there."
                )
            # A source that asks for no time at all gets as much as one that says nothing.
            tally.stop.wait(max(pause(fruitless), wait or 0.0))
            tally.add(retries=1)
        os.fsync(part.descriptor)
    return part.digest.hexdigest()
