# SPDX-License-Identifier: MIT
"""A change of BIOS settings: read, compared, written with what to go back to kept before, and applied by a reset."""

from __future__ import annotations

from typing import Any, Optional

from ..machine import Machine
from .plan import BiosPlan, bios_plan, machine_problem, taken_over
from .record import Record, after_write, before_write, keep_record, still_pending
from .redfish import Redfish, SystemBios, machine_of_system


class Change:
    """One BMC, what is wanted of it (the options of redfish_bios), and what was written to it before."""

    def __init__(self, options: dict[str, Any], bmc: Redfish, record: Record) -> None:
        self.options, self.bmc, self.record = options, bmc, record
        self.wanted, self.exact = self.options["settings"], self.options["attributes"]
        if self.options["restored"]:
            self.wanted, self.exact = {}, record.get("previous", {})
        self.written = still_pending(record, self.options["boot"])

    def read(self) -> tuple[SystemBios, BiosPlan]:
        found = self.bmc.bios(self.options["system"])
        pending = found.pending.body if found.pending else None
        spellings = self.options["spellings"]
        return found, bios_plan(
            found.bios.body, pending, found.registry, self.wanted, spellings, self.exact, self.written
        )

    def machine_problem(self, found: SystemBios) -> Optional[str]:
        """Why this machine is not the one that is meant."""
        unknown: Machine = {"uuid": None, "serials": []}
        kept = self.record.get("machine", unknown) if self.record.get("previous") else None
        machine, accept = machine_of_system(found.system), self.options["accept_unknown_machine"]
        return machine_problem(self.bmc.host, machine, self.options["machine"], kept, accept)

    def apply(self, found: SystemBios, planned: BiosPlan) -> None:
        """Write the difference; what to go back to is kept before anything is written."""
        path = self.options["record"]
        record = before_write(self.record, planned, machine_of_system(found.system))
        keep_record(path, record)
        task = self.bmc.write(found, planned["changes"])
        keep_record(path, after_write(record, planned, self.options["boot"], task))
        # Some say yes to what they drop, because another setting owns it.
        if found.pending:
            names = ", ".join(planned["changes"])
            dropped = f"The BMC {self.bmc.host} accepted {names}, and did not show what was written as pending"
            self.bmc.wait(dropped, lambda: not self.read()[1]["changes"], self.options["timeout"])

    def reset(self, found: SystemBios, planned: BiosPlan) -> None:
        """Restart the system, and wait until its BIOS has what is wanted."""
        self.bmc.restart(found.system, planned["cold"], self.options["wait"])
        self.written = {}
        task, before = self.record.get("task"), found.system.get("LastResetTime")

        def applied() -> bool:
            now, again = self.read()
            ended = not task or self.bmc.finished(task)
            return ended and taken_over(again, before, now.system.get("LastResetTime"))

        self.bmc.wait("The BIOS did not take the settings over", applied, self.options["wait"])
