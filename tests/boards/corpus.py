# SPDX-License-Identifier: MIT
"""Dumps of real machines, which are not a part of this repository."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from plugins.module_utils.memory.smbios import Machine, read_table
from plugins.module_utils.memory.smbios_text import read_dmidecode

CORPUS = os.environ.get("SMBIOS_CORPUS")
needs_corpus = pytest.mark.skipif(not CORPUS, reason="SMBIOS_CORPUS names no directory of dumps of real machines")


def machines() -> list[tuple[dict[str, str], Machine]]:
    """Each with its row of the index."""
    assert CORPUS
    found = []
    with Path(CORPUS, "INDEX.tsv").open(encoding="utf-8") as index:
        for row in csv.DictReader(index, delimiter="\t"):
            path = Path(CORPUS, row["file"])
            text = path.suffix == ".txt"
            found.append(
                (row, read_dmidecode(path.read_text(errors="replace")) if text else read_table(path.read_bytes()))
            )
    return found
