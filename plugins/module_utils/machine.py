# SPDX-License-Identifier: MIT
"""Which machine something is, by what its SMBIOS table tells: its UUID and its serial numbers."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any, Literal, Optional, TypedDict

from .sysfs import read_text

# What boards have whose maker wrote none: one digit only, or what AMI's sources come with.
SAMPLE_UUIDS = {"03000200040005000006000700080009", "0123456789abcdef0123456789abcdef"}
SAMPLE_SERIAL = re.compile(
    r".{0,3}|(.)\1*|[\W_]*|to be filled.*|default.*|(system|base ?board|chassis|product)?[ -]*serial.*|not .*|unknown"
    r"|none|null|n/a|empty|invalid|undefined|o\.?e\.?m\.?|x+|0?123456789.*"
)


class Machine(TypedDict):
    """What tells a machine from others, as it is written there: None and nothing where it does not show it."""

    uuid: Optional[str]
    serials: list[str]


def machine_of(root: str | Path = "/") -> Machine:
    """The machine of a root directory by the kernel's names of its SMBIOS table, which only root may read.

    The serial number of the chassis is not among them: that of a blade's has other machines in it.
    """
    dmi = Path(root) / "sys/class/dmi/id"
    serials = (read_text(dmi / "product_serial"), read_text(dmi / "board_serial"))
    return {"uuid": read_text(dmi / "product_uuid") or None, "serials": [serial for serial in serials if serial]}


def machine_text(machine: Machine) -> str:
    """The machine in a sentence."""
    serials = ", ".join(machine["serials"])
    told = [f"UUID {machine['uuid']}"] if machine["uuid"] else []
    told += [f"serial number {serials}"] if serials else []
    return " and ".join(told) or "without UUID and serial number"


def compared(one: Machine, other: Machine) -> Literal["same", "other", "unknown"]:
    """Whether two are one machine.

    UUIDs decide where both have one, and serial numbers where not. Of two UUIDs with one serial number nothing is said:
    serial numbers may be a maker's default that is not known here.
    """
    ours, theirs = _uuid(one["uuid"]), _uuid(other["uuid"])
    if ours and theirs and ours in _orders(theirs):
        return "same"
    serials, others = _serials(one["serials"]), _serials(other["serials"])
    if ours and theirs:
        return "unknown" if serials & others else "other"
    if serials & others:
        return "same"
    return "other" if serials and others else "unknown"


def _uuid(text: Any) -> Optional[str]:
    """The 32 digits of a UUID; None where it is none of this machine's."""
    digits = re.sub(r"[^0-9a-f]", "", str(text or "").lower().replace("uuid", ""))
    sample = len(set(digits)) == 1 or SAMPLE_UUIDS & (_orders(digits) if len(digits) == 32 else set())
    return digits if len(digits) == 32 and not sample else None


def _orders(digits: str) -> set[str]:
    """A UUID in the orders of bytes that firmware writes it in.

    SMBIOS has the first three fields with the low byte first since version 2.6; some BMCs turn them around, and some
    all of it, as IPMI's GUIDs are.
    """
    found = uuid.UUID(hex=digits)
    return {digits, uuid.UUID(bytes_le=found.bytes).hex, found.bytes[::-1].hex()}


def _serials(texts: list[str]) -> set[str]:
    plain = {str(text).strip().lower() for text in texts}
    return {text for text in plain if not SAMPLE_SERIAL.fullmatch(text)}
