# SPDX-License-Identifier: MIT
"""What was written to a BIOS from here and what to go back to, in a file beside the reports of the controller."""

from __future__ import annotations

import json
import os
from typing import Any, Optional, TypedDict, cast

from ..files import make_directory, write_json
from ..machine import Machine
from .plan import BiosPlan


class Record(TypedDict, total=False):
    """The file, whose keys come with what is done. Attributes and values are the board's.

    ``machine`` is the one whose BIOS it is, and ``previous`` has its values from before the first write. ``written`` is
    what was written during the tower's ``boot`` of this identity, and ``task`` the BMC's task of the last write.
    """

    machine: Machine
    previous: dict[str, Any]
    boot: Optional[str]
    written: dict[str, Any]
    task: Optional[str]


def read_record(path: Optional[str]) -> Record:
    """The record; an empty one where there is none. Raises ValueError, as one sentence, where the file is no record."""
    if not path or not os.path.exists(path):
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            kept = dict(json.load(file))
        if not all(isinstance(kept.get(key, {}), dict) for key in ("machine", "previous", "written")):
            raise ValueError("it has other values than such records")
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is no record of BIOS settings ({error}): put it aside.") from error
    return cast(Record, kept)


def keep_record(path: Optional[str], record: Record) -> None:
    """Write the record, where one is wanted. Raises OSError."""
    if path:
        make_directory(os.path.dirname(path))
        write_json(path, record)


def still_pending(record: Record, boot: Optional[str]) -> dict[str, Any]:
    """What was written during this boot, and so is pending."""
    return record.get("written") or {} if record.get("boot") == boot else {}


def before_write(record: Record, planned: BiosPlan, machine: Machine) -> Record:
    """The record with the machine and what to go back to, which is never overwritten by later values."""
    return {**record, "machine": machine, "previous": {**planned["previous"], **record.get("previous", {})}}


def after_write(record: Record, planned: BiosPlan, boot: Optional[str], task: Optional[str]) -> Record:
    """The record with what has been written and is pending."""
    return {**record, "boot": boot, "written": {**still_pending(record, boot), **planned["changes"]}, "task": task}
