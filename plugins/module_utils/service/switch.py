# SPDX-License-Identifier: MIT
"""Make the wanted deployment of an instance the current one: it proves itself, or the last good one comes back.

    switch INSTANCE        as root, by llamatower-switch@INSTANCE.service; what is wanted, the link ``wanted`` says

It runs as a unit of its own, so that a lost controller changes nothing, and at every boot while something is wanted:
each step can be done again, and a power failure between any two of them ends in one of the two states. What runs is
asked of the processes.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import NamedTuple, Optional

from ..files import write_beside, write_json
from ..lock import CHANGE, HeldError, locked
from ..text import utc
from . import unit_files
from .client import ServerError, asks_for_key, complete, healthy, read_key
from .deployment import SCHEMA_VERSION, Deployment, Instance, SwitchRecord, process_deployment
from .document import PlannedUnit
from .placement import placement_problem, read_process
from .pool import grow_pool, trim_pools
from .tls import await_front, front_difference
from .unit import (
    RUNNING,
    UnitError,
    await_start,
    call,
    front_of,
    journal,
    main_pid,
    reload_files,
    show,
    systemd_answers,
)

# Another change of the tower, which may load a model of hundreds of gigabytes, is waited for.
LOCK_SECONDS = 6 * 3600.0


class Failure(NamedTuple):
    """Why a deployment is not proven, and the last words of its server."""

    problem: str
    journal: list[str]


def runs(unit: str, identity: str) -> bool:
    """Whether a unit runs or starts this deployment, by the files that there are now."""
    shown = show(unit, "ActiveState", "MainPID", "NeedDaemonReload")
    pid = int(shown.get("MainPID") or 0)
    fresh = shown["ActiveState"] in RUNNING and shown.get("NeedDaemonReload") != "yes"
    return fresh and pid > 0 and process_deployment(pid) == identity


def differences(instance: Instance, identity: str, deployment: Deployment) -> Iterator[str]:
    """In what the tower is not as it is to be with this deployment, a phrase each; nothing where it is."""
    for link, wanted in (("current", identity), ("good", identity), ("wanted", None)):
        if instance.named(link) != wanted:
            yield f"{link} is {instance.named(link)}"
    for path in unit_files.differing(unit_files.wanted_files(deployment)):
        yield f"{path} is another"
    for unit in unit_files.stale_units(deployment):
        yield f"{unit} is left over"
    for unit in unit_files.units_of(deployment):
        if not runs(unit, identity):
            yield f"{unit} does not run it"
        if show(unit, "UnitFileState").get("UnitFileState") != "enabled":
            yield f"{unit} is not started at boot"
    for planned in deployment["units"]:
        difference = front_difference(planned)
        if difference:
            yield difference


def apply(instance: Instance, identity: str, deployment: Deployment) -> None:
    """Have the units of an instance run this deployment, and none else. Raises UnitError and OSError."""
    for unit in unit_files.stale_units(deployment):
        unit_files.remove(unit)
    fronts = [front_of(planned["name"]) for planned in deployment["units"] if front_difference(planned)]
    # Before the link: what starts by itself in between has the limits of one of the two, and is started again below.
    # A full disk does not keep one that served from coming back: it has the limits of the other one then.
    with contextlib.suppress(OSError) if instance.named("good") == identity else contextlib.nullcontext():
        unit_files.write(unit_files.wanted_files(deployment))
    reload_files()
    instance.point("current", identity)
    units = unit_files.units_of(deployment)
    grow_pool(deployment, lambda: call(["systemctl", "stop", *units]))
    call(["systemctl", "enable", *units])
    if fronts:
        # Those that are wanted come again: with the server, or below.
        call(["systemctl", "stop", *fronts])
    for unit in units:
        if not runs(unit, identity):
            # A restart by hand is not delayed (supervise), and nor is this.
            call(["systemctl", "reset-failed", unit])
            call(["systemctl", "restart", "--no-block", unit])
    for planned in deployment["units"]:
        if planned.get("tls"):
            call(["systemctl", "start", "--no-block", front_of(planned["name"])])


def prove(instance: Instance, identity: str, deployment: Deployment) -> Optional[Failure]:
    """Wait for each unit of a deployment, and see whether it serves as it is to; None where all do."""
    for unit in deployment["units"]:
        try:
            _prove_unit(instance, identity, deployment, unit)
        except UnitError as error:
            lines, said = journal(unit["unit"])
            return Failure(f"{error} {said}".strip(), lines)
        except (ServerError, OSError) as error:
            return Failure(f"{unit['unit']} runs and gives no completion: {error}", journal(unit["unit"])[0])
    return None


def _prove_unit(instance: Instance, identity: str, deployment: Deployment, unit: PlannedUnit) -> None:
    name, url, seconds = unit["unit"], unit["url"], deployment["start_seconds"]
    await_start(name, lambda: healthy(unit["intent"]["url"]), seconds)
    await_front(unit)
    pid = main_pid(name)
    if pid is None or process_deployment(pid) != identity:
        raise UnitError(f"{name} runs another deployment than {identity}: somebody else starts it, too.")
    if not asks_for_key(url):
        raise UnitError(f"{name} answers whoever asks, without an API key.")
    key = read_key(instance.keys_path(identity))
    complete(url, key, deployment["proof"]["prompt"], deployment["proof"]["max_tokens"], seconds)
    problem = placement_problem(read_process(pid), unit["intent"])
    if problem:
        raise UnitError(problem)


def attempt(instance: Instance, identity: str) -> Optional[Failure]:
    """Switch to a deployment, and prove it; None where it is proven, and then it is the good one.

    Raises ConnectionError where the machine goes down meanwhile: that says nothing of a deployment, and what is wanted
    has to stay so until the next boot. A tower whose power was cut was seen to lose both, for one after the other
    could not be started.
    """
    failure = _attempt(instance, identity)
    if failure and not systemd_answers():
        raise ConnectionError(f"systemd does not answer: {failure.problem}")
    return failure


def _attempt(instance: Instance, identity: str) -> Optional[Failure]:
    deployment = instance.read(identity)
    if deployment is None:
        return Failure(f"{instance.directory(identity)} has no deployment that this version reads.", [])
    try:
        apply(instance, identity, deployment)
        failure = prove(instance, identity, deployment)
        if failure is None and instance.named("good") != identity:
            proof = 1 + max(map(instance.proof, instance.deployments()))
            write_beside(instance.proof_path(identity), f"{proof}\n")
            instance.point("good", identity)
    except (UnitError, OSError) as error:
        return Failure(str(error), [])
    except Exception as error:  # Whatever nobody thought of: the good one has to come back.
        return Failure(f"{type(error).__name__}: {error}", [])
    return failure


def serves(instance: Instance) -> Optional[str]:
    """The current deployment, where all of its units answer; else None."""
    identity = instance.named("current")
    deployment = instance.current()
    answering = deployment is not None and all(healthy(unit["url"]) for unit in deployment["units"])
    return identity if answering else None


def begin(instance: Instance, identity: str, by: str = "") -> None:
    """Want a deployment, ``by`` somebody: the next switch makes it the current one. Raises OSError."""
    record: SwitchRecord = {
        "schema_version": SCHEMA_VERSION,
        "deployment": identity,
        "by": by,
        "outcome": "switching",
        "serves": instance.named("current"),
        "problem": None,
        "journal": [],
        "started": utc(),
        "ended": None,
    }
    # In this order: what is wanted has a record that is its own.
    _write(instance, record)
    instance.point("wanted", identity)


def switch(instance: Instance) -> Optional[str]:
    """Make the wanted deployment the current one, or have the good one back; the sentence of what failed, else None.

    Raises OSError.
    """
    wanted, good, record = instance.named("wanted"), instance.named("good"), instance.record()
    if wanted is None or record is None:
        return record["problem"] if record else None
    # The good one, which is not what the record is of, comes back. One that is neither was wanted before, and whoever
    # wanted another was cut off at that.
    taking_back = wanted == good and wanted != record["deployment"]
    failure = attempt(instance, wanted)
    if failure and not taking_back:
        record["problem"], record["journal"] = failure.problem, failure.journal
        if good not in (None, wanted):
            # From the last of these on the wanted one is the good one, also after a power failure. A full disk does not
            # keep it from coming back.
            record["outcome"] = "taking_back"
            with contextlib.suppress(OSError):
                _write(instance, record)
                instance.point("wanted", str(good))
            taking_back, failure = True, attempt(instance, str(good))
    if failure and taking_back:
        record["problem"] = f"{record['problem']} And the deployment before it is not as it was: {failure.problem}"
    record["outcome"] = "failed" if failure else "taken_back" if taking_back else "committed"
    if not failure:
        trim_pools()
    record["serves"], record["ended"] = serves(instance), utc()
    _write(instance, record)
    instance.forget("wanted")
    return record["problem"]


def _write(instance: Instance, record: SwitchRecord) -> None:
    write_json(os.path.join(instance.path, "switch.json"), record)


def main(argv: list[str]) -> int:
    instance = Instance(argv[1])
    try:
        with locked(CHANGE, f"the switch of {instance.name} to {instance.named('wanted')}", LOCK_SECONDS):
            problem = switch(instance)
    except HeldError as holder:
        problem = f"Another change of this tower goes on ({holder}): end it, and start llamatower-switch@{argv[1]}."
    except OSError as error:
        problem = f"The switch of {argv[1]} cannot go on ({error}): mend that, and restart llamatower-switch@{argv[1]}."
    if problem:
        print(problem, file=sys.stderr, flush=True)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
