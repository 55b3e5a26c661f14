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
import hashlib
import http.client
import os
import random
import ssl
import threading
import urllib.error
from collections.abc import Iterator
from typing import Protocol

from ..files import sync_directory
from ..text import first_line
from .uncached import hash_uncached

BLOCK = 2**18
# Seconds without a byte after which a connection counts as lost.
SILENCE = 60
# Attempts in a row that bring no byte. With the pauses between them that is about four minutes, in which a router
# restarts; what lasts longer needs somebody, and the next run goes on from there.
ATTEMPTS = 10
# Seconds of the first pause, which doubles to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
# A power failure costs what was written since the last checkpoint: 1/256 of the file, within these bounds.
CHECKPOINTS, LEAST_CHECKPOINT, MOST_CHECKPOINT = 256, 2**19, 2**26


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


def pause(fruitless: int) -> float:
    """Seconds before the next attempt after so many in vain; random, so that streams do not return all at once."""
    return float(min(FIRST_PAUSE * 2**fruitless, LONGEST_PAUSE) * random.uniform(0.5, 1))


def sync_bytes(size: int) -> int:
    """Bytes of a file between the points to which it is on the disk for certain."""
    return min(max(size // CHECKPOINTS, LEAST_CHECKPOINT), MOST_CHECKPOINT)


def reason(error: BaseException) -> str:
    """What a library means, as the end of a sentence in brackets."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    if isinstance(error, TimeoutError):
        return f"no byte came for {SILENCE} seconds"
    return first_line(error)


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


class PartFile:
    """The first bytes of a file on the disk, and their hash. A context manager; entering hashes what is there."""

    def __init__(self, path: str, size: int, tally: Tally) -> None:
        self.path, self.size, self.tally = path, size, tally
        self.digest = hashlib.sha256()
        self.length = self.safe = 0
        self.step = sync_bytes(size)

    def __enter__(self) -> PartFile:
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
    with PartFile(path, size, tally) as part:
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
