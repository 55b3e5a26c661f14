# SPDX-License-Identifier: MIT
"""Give a model to other towers, and get it from one, by rsync: the cheapest way for two.

The tower that has the model runs a daemon for as long as it is wanted, which shows that one directory, read-only, to
the towers that are to get it. They append to what an earlier run or fetch left of each file, so that an interrupted
copy goes on at the byte; whether the bytes are right is for model_fetch to prove.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from ..progress import Progress
from .fetch import Partial
from .share import Share, Shared, ShareError, at_port, forget, numeric, own_address, written
from .store import proven_files

# Whoever has everything asks for the list of the second module, which leaves a file of its address.
CONFIGURATION = """\
address = {address}
port = {port}
use chroot = no
log file = {directory}/log
path = {model}
read only = yes
list = no
hosts allow = {peers}
hosts deny = *
[model]
[whole]
post-xfer exec = touch "{directory}/whole/$RSYNC_HOST_ADDR"
"""
PAUSE = 0.5
# Ends with whoever started it, even if that is killed: a daemon would keep the port, and a receiver go on to append
# beside the next one.
RSYNC = ["setpriv", "--pdeathsig", "TERM", "rsync"]
# rsync's exit code for an error of files (RERR_FILEIO); the number of the error stands in brackets behind its text.
FILE_ERROR, FULL = 11, re.compile(rf"\(({errno.ENOSPC}|{errno.EDQUOT})\)")
# Messages in English, whatever the tower speaks.
ENVIRONMENT = {**os.environ, "LC_ALL": "C"}


def share(given: Share, progress: Progress) -> Shared:
    """The first of the towers that have it gives, those that lack it receive, and others have nothing to do."""
    return _receive(given, progress) if given.receive else _give(given, progress)


def _give(given: Share, progress: Progress) -> Shared:
    names = {numeric(address): name for name, address in given.peers.items() if name not in given.givers}
    label, own = f"sharing {given.model['name']}, towers that have it:", own_address(given)
    with tempfile.TemporaryDirectory(prefix="llamatower-") as place:
        directory = Path(place)
        (directory / "whole").mkdir()
        configuration = directory / "rsyncd.conf"
        configuration.write_text(
            CONFIGURATION.format(
                address=own,
                port=given.port,
                directory=directory,
                model=given.store / given.model["name"],
                peers=" ".join(names),
            ),
            encoding="utf-8",
        )
        command = [*RSYNC, "--daemon", "--no-detach", f"--config={configuration}"]
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            busy = time.monotonic()
            while True:
                complete = {address for address in names if (directory / "whole" / address).exists()}
                progress.tell(label, len(complete) + 1, len(names) + 1, "towers")
                if len(complete) == len(names) or time.monotonic() - busy > given.patience:
                    break
                if daemon.poll() is not None:
                    where = at_port(own, given.port)
                    raise ShareError(f"{where} cannot be listened at: set model_store_port to a free one.")
                if Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text(encoding="ascii"):
                    busy = time.monotonic()
                time.sleep(PAUSE)
        finally:
            daemon.terminate()
            daemon.wait()
            forget(given.model, given.store)
    unfinished = [name for address, name in names.items() if address not in complete]
    return Shared(0, given.model["bytes"] * len(complete), unfinished)


def _receive(given: Share, progress: Progress) -> Shared:
    shutil.rmtree(given.store / f".{given.model['name']}.swarm", ignore_errors=True)  # pieces, and no beginnings
    kept = {entry["sha256"] for entry in proven_files(str(given.store / given.model["name"]))}
    place = Partial(given.store, given.model, kept)
    place.open()
    before = there = place.bytes_there()
    giver = f"rsync://{at_port(numeric(given.peers[given.givers[0]]), given.port)}"
    # It answers whoever has the addresses that it was told.
    command = [*RSYNC, "--append", f"--address={own_address(given)}"]
    command += [f"--timeout={given.patience:.0f}", "--contimeout=10"]
    moved, missing, why = time.monotonic(), place.missing(), ""
    while missing and time.monotonic() - moved < given.patience:
        part = place.part(missing[0])
        with tempfile.TemporaryFile("w+") as errors:
            copy = subprocess.Popen(
                [*command, f"{giver}/model/{missing[0]['name']}", str(part)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=ENVIRONMENT,
            )
            try:
                while copy.poll() is None:
                    if place.bytes_there() > there:
                        there, moved = place.bytes_there(), time.monotonic()
                    progress.tell(f"receiving {given.model['name']}:", there, given.model["bytes"], "bytes")
                    time.sleep(PAUSE)
            finally:
                copy.terminate()
                copy.wait()
                written(part)
            errors.seek(0)
            why = errors.read()
        if copy.returncode == FILE_ERROR and FULL.search(why):
            raise given.disk_is_full()
        if copy.returncode == 0:
            missing, moved = missing[1:], time.monotonic()
    place.remove_if_empty()
    if missing:
        raise given.nothing_came(why.partition("\n")[0])
    # Where that fails, the giver waits in vain for a while, and no more.
    subprocess.run([*command, f"{giver}/whole/"], check=False, capture_output=True)
    return Shared(sum(entry["size"] for entry in place.files) - before, 0, [])
