# SPDX-License-Identifier: MIT
"""SMBIOS tables with bytes changed, cut out, put in, repeated or cut off."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

from tests.boards.board import BOARD, table
from tests.boards.corpus import CORPUS

# A long run takes a quarter of an hour: SMBIOS_MUTATIONS=1000000 bin/test unit.
MUTATIONS = int(os.environ.get("SMBIOS_MUTATIONS", "3000"))


def mutations(seed: int) -> Iterator[bytes]:
    """So many tables of described boards and, where there are dumps, of real machines."""
    chance = random.Random(seed)
    dell = {"slots_per_channel": 2, "scheme": "dell", "vendor": "Dell Inc.", "empty": ["A3"]}
    tables = [table(BOARD), table(BOARD | dell)]
    tables += [path.read_bytes() for path in sorted(Path(CORPUS).rglob("*.bin"))] if CORPUS else []
    for _ in range(MUTATIONS):
        yield _mutated(chance.choice(tables), chance)


def _mutated(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 12)):
        place = chance.randrange(len(changed) + 1)
        kind = chance.randrange(5)
        if kind == 0 and place < len(changed):
            changed[place] = chance.randrange(256)
        elif kind == 1:
            del changed[place : place + chance.randrange(1, 64)]
        elif kind == 2:
            changed[place:place] = chance.randbytes(chance.randrange(1, 16))
        elif kind == 3:
            changed[place:place] = changed[place : place + 200] * chance.randrange(1, 5)
        elif chance.randrange(8) == 0:
            del changed[place:]
    return bytes(changed)
