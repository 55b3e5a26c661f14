# SPDX-License-Identifier: MIT
"""Take an instance of the service away: its units, what systemd and the checks know of it, its deployments, and what is
pinned for them.

The instance's directory goes last, by which the next run finds what an interrupted one has left.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
import time

from ..files import sync_directory, write_beside
from ..limits import SLICE
from ..lock import CHANGE, locked
from ..progress import Progress
from . import unit_files
from .deployment import INSTANCES, Instance, UnreadableError, current_deployments, instance_of, instances
from .pool import trim_pools
from .prepare import stores_of, unpin_needless
from .switch import LOCK_SECONDS
from .unit import RUNNING, call, front_of, reload_files, show, start_state, switch_of

# What the checks of a unit keep of it, by the name of the unit.
KEPT = ("/var/lib/llama-server/{}.json", "/run/llama-server/{}.json", "/run/llamatower/{}.restarts")

# They stay after their last unit: that of the servers, and those that systemd makes for templates.
SLICES = (
    SLICE,
    r"system-llama\x2dserver\x2dcheck.slice",
    r"system-llama\x2dtls.slice",
    r"system-llamatower\x2dswitch.slice",
)


def known_instances(path: str = INSTANCES, system: str = unit_files.SYSTEM) -> list[str]:
    """The instances that the tower has, by their directories and by their units."""
    units = glob.glob(os.path.join(system, "llama-server@*.service.d"))
    names = [os.path.basename(unit)[len("llama-server@") : -len(".service.d")] for unit in units]
    return sorted({*(instance.name for instance in instances(path)), *map(instance_of, names)})


def switches(name: str) -> bool:
    """Whether a switch of the instance goes on, or is about to."""
    return Instance(name).named("wanted") is not None and start_state(switch_of(name))[0] in RUNNING


class Removing:
    """The removal of instances, one after the other. ``by`` says who wants it, to those who wait for the tower."""

    def __init__(self, by: str, progress: Progress) -> None:
        self.by, self.progress = by, progress

    def carry_out(self, names: list[str]) -> None:
        """Remove these. Raises UnitError, HeldError and OSError."""
        for name in names:
            while not self._removed(name):
                # It is not cut, and ends by itself.
                self.progress.tell(f"waiting for the switch of {name}")
                time.sleep(1)

    def _removed(self, name: str) -> bool:
        with locked(CHANGE, f"the removal of {name}", LOCK_SECONDS, self.progress.waiting, 1, self.by):
            if switches(name):
                return False
            remove(name)
            return True


def remove(name: str, path: str = INSTANCES, system: str = unit_files.SYSTEM) -> None:
    """Remove an instance. Only with the lock of the tower. Raises UnitError and OSError."""
    instance = Instance(name, path)
    # From here on no boot brings it back.
    instance.forget("wanted")
    current = instance.current()
    units = sorted({*unit_files.own_units(name, system), *(unit_files.units_of(current) if current else [])})
    names = [re.sub(r"^llama-server@|\.service$", "", unit) for unit in units]
    checks = [f"llama-server-check@{each}.service" for each in names]
    timers = [f"llama-server-check@{each}.timer" for each in names]
    fronts = [front_of(each) for each in names]
    for unit in [switch_of(name), *units]:
        for link in glob.glob(os.path.join(glob.escape(system), "*.wants", unit)):
            os.unlink(link)
    for unit in [switch_of(name), *timers, *checks, *units, *fronts]:
        _stop(unit)
        # Also a check that has just been stopped; systemd would keep it.
        if show(unit, "ActiveState").get("ActiveState") == "failed":
            call(["systemctl", "reset-failed", unit])
    for unit, each in zip(units, names):
        shutil.rmtree(os.path.join(system, f"{unit}.d"), ignore_errors=True)
        for kept in KEPT:
            if os.path.exists(kept.format(each)):
                os.unlink(kept.format(each))
    _protect(name, path, system)
    reload_files(call)
    trim_pools(path, but=[name])
    with contextlib.suppress(UnreadableError):
        unpin_needless(stores_of(instance), path, but=[name])
    if os.path.isdir(instance.path):
        shutil.rmtree(instance.path)
        sync_directory(path)


def _protect(name: str, path: str, system: str) -> None:
    """Have the slice protect what the other instances need."""
    others, directory = current_deployments(path, but=[name]), os.path.join(system, f"{SLICE}.d")
    if others:
        write_beside(os.path.join(directory, unit_files.DROP_IN), unit_files.slice_drop_in(others))
    else:
        shutil.rmtree(directory, ignore_errors=True)
        for unit in SLICES:
            _stop(unit)


def _stop(unit: str) -> None:
    if show(unit, "ActiveState").get("ActiveState") in RUNNING:
        call(["systemctl", "stop", unit])
