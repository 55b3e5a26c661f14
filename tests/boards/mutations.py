# SPDX-License-Identifier: MIT
"""SMBIOS tables with bytes changed, cut out, put in or repeated."""

from __future__ import annotations

import os
import random
from typing import Any

from hypothesis import strategies as st

# A long run takes a quarter of an hour: SMBIOS_MUTATIONS=1000000 bin/test unit.
MUTATIONS = int(os.environ.get("SMBIOS_MUTATIONS", "3000"))


def hostile(data: bytes, draw: Any) -> bytes:
    """A table with bytes changed, cut out, doubled or put elsewhere."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 12))):
        place, kind = draw(st.integers(0, max(len(changed) - 1, 0))), draw(st.integers(0, 3))
        if kind == 0 and changed:
            changed[place] = draw(st.integers(0, 255))
        elif kind == 1:
            del changed[place : place + draw(st.integers(1, 64))]
        elif kind == 2:
            changed[place:place] = draw(st.binary(max_size=16))
        else:
            changed = changed[:place] + changed[place : place + 64] * 2 + changed[place + 64 :]
    return bytes(changed)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A table with bytes changed, cut out, put in, repeated or cut off."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
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
