# SPDX-License-Identifier: MIT
"""Deploy: write the wanted deployment down, have the tower switch to it, watch that, and remove what is not needed."""

from __future__ import annotations

import json
import re
import time
from typing import Any, Callable, Optional

from ..lock import CHANGE, locked
from ..progress import Progress
from . import unit_files
from .deployment import Deployment, Instance, SwitchRecord, UnreadableError
from .prepare import prune, renew_good, write_down
from .switch import LOCK_SECONDS, begin, differences
from .unit import UnitError, call, main_pid, reload_files, resident_bytes, start_state, switch_of

SECRET = re.compile("KEY|TOKEN|SECRET|PASSWORD")


def shown(deployment: Optional[Deployment]) -> str:
    """A deployment as a diff shows it: without secrets."""
    if deployment is None:
        return ""
    text: dict[str, Any] = json.loads(json.dumps(deployment))
    for unit in text["units"]:
        for name in unit["environment"]:
            if SECRET.search(name):
                unit["environment"][name] = "(not shown)"
    return json.dumps(text, indent=2, sort_keys=True) + "\n"


def diff_of(instance: Instance, deployment: Deployment) -> dict[str, str]:
    """The current deployment and another one, for a diff."""
    header, before = f"deployment of {instance.name}", instance.current()
    return {"before_header": header, "after_header": header, "before": shown(before), "after": shown(deployment)}


def switch_problem(instance: Instance, deployment: Deployment, record: SwitchRecord) -> Optional[str]:
    """What became of a switch to a deployment that was not committed; None of one that was."""
    if record["outcome"] == "committed":
        return None
    current, keys = instance.current(), ""
    if current and current["keys"] != deployment["keys"]:
        keys = " Its API keys are those of before: one that was taken out is valid until the next run succeeds."
    if record["outcome"] == "taken_back":
        now = f"{instance.named('current')}, which served before, serves again"
    else:
        now = f"{record['serves']} answers" if record["serves"] else "nothing answers"
    wanted = f"Deployment {record['deployment']} of {instance.name}"
    return f"{wanted} did not prove itself, and {now}.{keys} {record['problem']}"


def other_problem(name: str, identity: str, record: Optional[SwitchRecord]) -> str:
    """What became of a switch before another run wanted something else, nobody knows any more."""
    other = f"deployment {record['deployment']}" if record else "none"
    by = f" ({record['by']})" if record and record.get("by") else ""
    return (
        f"Another run{by} wanted {other} of {name} before it was seen that {identity} had proven itself: run "
        "ansible-playbook llamatower.tower.status, which says what serves, and then the same command again."
    )


class Deploying:
    """One deployment of an instance. ``what`` it is and ``by`` whom it is wanted, is told to who waits for the same
    tower; ``group`` may read it, and ``keep`` of those that were proven stay."""

    def __init__(self, instance: Instance, group: int, keep: int, what: str, by: str, progress: Progress) -> None:
        self.instance, self.group, self.keep = instance, group, keep
        self.what, self.by, self.progress = what, by, progress
        self.unit = switch_of(instance.name)

    def carry_out(self, wanted: Callable[[], tuple[Deployment, str]]) -> dict[str, Any]:
        """Deploy what ``wanted`` prepares, and return what the module does, with the ``problem`` of one that failed and
        the sentence why all that nobody needs any more was ``kept``.

        Raises UnitError, HeldError and OSError.
        """
        with locked(CHANGE, self.what, LOCK_SECONDS, self.progress.waiting, 1, self.by):
            deployment, keys = wanted()
            identity = write_down(self.instance, deployment, keys, self.group)
            found = list(differences(self.instance, identity, deployment))
            result: dict[str, Any] = {"deployment": identity, "differences": found, "problem": None}
            if not found:
                removal = self._prune()
                return {**result, "changed": bool(removal["removed"]), **removal}
            result["diff"] = diff_of(self.instance, deployment)
            renew_good(self.instance, identity, keys, self.group)
            proofs = self.instance.proof(identity)
            begin(self.instance, identity, self.by)
        reload_files()
        call(["systemctl", "enable", self.unit])
        call(["systemctl", "start", "--no-block", self.unit])
        record = self._watch(identity, deployment, proofs)
        with locked(CHANGE, self.what, LOCK_SECONDS, self.progress.waiting, 1, self.by):
            removal = self._prune()
        return {
            **result,
            **removal,
            "changed": True,
            "outcome": record["outcome"],
            "serves": record["serves"],
            "journal": record["journal"],
            "problem": switch_problem(self.instance, deployment, record),
        }

    def _prune(self) -> dict[str, Any]:
        try:
            return {"removed": prune(self.instance, self.keep), "kept": None}
        except UnreadableError as error:
            return {"removed": [], "kept": str(error)}

    def _watch(self, identity: str, deployment: Deployment, proofs: int) -> SwitchRecord:
        """Wait for the end of the switch, and tell how much of the model is in memory.

        Another run may want another one at any moment between two switches. ``proofs`` is the last proof of this one
        before its switch: one more, and it was the good one before that.
        """
        while True:
            # In this order: a switch that has just ended has let go of what was wanted.
            wanted = self.instance.named("wanted")
            record = self.instance.record()
            if record is None or record["deployment"] != identity:
                if record and self.instance.proof(identity) > proofs:
                    return {**record, "outcome": "committed", "problem": None, "journal": []}
                raise UnitError(other_problem(self.instance.name, identity, record))
            if wanted is None:
                return record
            if start_state(self.unit)[0] not in ("active", "activating") and self.instance.named("wanted"):
                raise UnitError(
                    f"{self.unit} ended before the switch was done: journalctl -u {self.unit} says why; systemctl "
                    f"start {self.unit} goes on, as does the next run."
                )
            now = self.instance.read(wanted or "") or deployment
            loaded = sum(resident_bytes(main_pid(unit)) for unit in unit_files.units_of(now))
            total = now["model"]["bytes"] * len(now["units"])
            back = "" if wanted == identity else "going back: "
            self.progress.tell(f"{back}loading {now['model']['name']}:", min(loaded, total), total, "bytes")
            time.sleep(1)
