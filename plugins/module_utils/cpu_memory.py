# SPDX-License-Identifier: MIT
"""What memory a CPU has: channels of 64 bits, the fastest DIMMs, and what its links let through.

The table is read from the top; the first row that fits answers. A row names the brand, or the family and model
of CPUID (as decimal numbers in /proc/cpuinfo) for engineering samples, whose brand says nothing. What is in no row is
unknown. Speeds in MT/s with one and two DIMMs a channel are the makers'; boards may be slower.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Optional


class CpuMemory(NamedTuple):
    """Memory of one CPU; ``server`` CPUs are those whose boards have a slot for every channel, or nearly."""

    name: str
    channels: int
    mts_1dpc: Optional[int]
    mts_2dpc: Optional[int]
    server: bool


class Row(NamedTuple):
    """One row: a pattern for the brand, and families with models where the brand is not enough or not there."""

    brand: str
    signature: tuple[tuple[int, int], ...]
    memory: CpuMemory


def _row(
    name: str,
    brand: str,
    signature: tuple[tuple[int, int], ...],
    channels: int,
    one: int,
    two: int,
    server: bool = True,
) -> Row:
    return Row(brand, signature, CpuMemory(name, channels, one or None, two or None, server))


# Sources: AMD and Intel product pages and tuning guides; channel counts checked against public dmidecode dumps.
ROWS = (
    # AMD. The generation of an EPYC is the last digit of its number.
    _row("EPYC 8004 (Siena)", r"EPYC 8\d\d4", (), 6, 4800, 0),
    _row("EPYC 4004", r"EPYC 4\d\d4", (), 2, 5200, 3600, False),
    _row("EPYC 4005", r"EPYC 4\d\d5", (), 2, 5600, 3600, False),
    _row("EPYC 3001 (two dies)", r"EPYC 3[34]\d1", (), 4, 2666, 2133),
    _row("EPYC 3001", r"EPYC 3\d\d1", (), 2, 2666, 2133, False),
    _row("EPYC 9005 (Turin)", r"EPYC 9\w\w5", (), 12, 6000, 4400),
    _row("EPYC 9004 (Genoa)", r"EPYC 9\w\w4", (), 12, 4800, 3600),
    _row("EPYC 7003 (Milan)", r"EPYC 7\w\w3", (), 8, 3200, 2933),
    _row("EPYC 7002 (Rome)", r"EPYC 7\w\w2", (), 8, 3200, 2933),
    _row("EPYC 7001 (Naples)", r"EPYC 7\w\w1", (), 8, 2666, 2133),
    _row("Threadripper PRO 9000 WX", r"Threadripper PRO 9\d+WX", (), 8, 6400, 0),
    _row("Threadripper 9000", r"Threadripper 9\d+X", (), 4, 6400, 0),
    _row("Threadripper PRO 7000 WX", r"Threadripper PRO 7\d+WX", (), 8, 5200, 3600),
    _row("Threadripper 7000", r"Threadripper 7\d+X", (), 4, 5200, 3600),
    _row("Threadripper PRO 5000 WX", r"Threadripper PRO 5\d+WX", (), 8, 3200, 2933),
    _row("Threadripper PRO 3000 WX", r"Threadripper PRO 3\d+WX", (), 8, 3200, 2933),
    _row("Threadripper", r"Threadripper [123]\d+W?X", (), 4, 3200, 2666),
    _row("Ryzen AI Max", r"RYZEN AI MAX", (), 4, 8000, 0, False),
    _row("Ryzen 9000", r"Ryzen \d (?:PRO )?9\d{3}", (), 2, 5600, 3600, False),
    _row("Ryzen 7000 and 8000", r"Ryzen \d (?:PRO )?[78]\d{3}", (), 2, 5200, 3600, False),
    _row("Ryzen AI 300", r"Ryzen AI \d", (), 2, 0, 0, False),
    _row("Ryzen", r"(?:Ryzen|Athlon|A\d+[- ]|A\d-|FX\(tm\)|Phenom)", (), 2, 0, 0, False),
    # Intel servers and workstations.
    _row("Xeon 6 6900", r"Xeon\(?R?\)? 69\d\d[PE]", (), 12, 6400, 0),
    _row("Xeon 6", r"Xeon\(?R?\)? 6[5-7]\d\d[PE]", (), 8, 6400, 5200),
    _row("Xeon w-3400/3500", r"Xeon\(R\) w\d-3[45]\d\d", (), 8, 4800, 4400),
    _row("Xeon w-2400/2500", r"Xeon\(R\) w\d-2[45]\d\d", (), 4, 4800, 4400),
    _row("Xeon W-3300", r"Xeon\(R\) W-33\d\d", (), 8, 3200, 3200),
    _row("Xeon W-3100/3200", r"Xeon\(R\) W-3[12]\d\d", (), 6, 2933, 2933),
    _row("Xeon W-2100/2200", r"Xeon\(R\) W-2[12]\d\d", (), 4, 2933, 2933),
    _row("Xeon W-1000", r"Xeon\(R\) W-1\d{3,4}", (), 2, 0, 0, False),
    _row("Xeon 9200", r"Xeon\(R\) Platinum 92\d\d", (), 12, 2933, 0),
    _row("Xeon SP 5 (Emerald Rapids)", r"Xeon\(R\) (?:Bronze|Silver|Gold|Platinum) \d5\d\d", (), 8, 5600, 4400),
    _row("Xeon SP 4 (Sapphire Rapids)", r"Xeon\(R\) (?:Bronze|Silver|Gold|Platinum) \d4\d\d", (), 8, 4800, 4400),
    _row("Xeon Max", r"Xeon\(R\) (?:CPU )?Max 94\d\d", (), 8, 4800, 4400),
    _row(
        "Xeon SP 3 (Cooper Lake)",
        r"Xeon\(R\) (?:Gold|Platinum) (?:53(?:18H|20H)|6328HL?|6330H|6348H|8353H|8354H|8356H|8360HL?|8376HL?|8380HL?)",
        (),
        6,
        3200,
        2933,
    ),
    _row("Xeon SP 3 (Ice Lake)", r"Xeon\(R\) (?:Bronze|Silver|Gold|Platinum) \d3\d\d", (), 8, 3200, 3200),
    _row("Xeon SP 2 (Cascade Lake)", r"Xeon\(R\) (?:Bronze|Silver|Gold|Platinum) \d2\d\d", (), 6, 2933, 2933),
    _row("Xeon SP 1 (Skylake)", r"Xeon\(R\) (?:Bronze|Silver|Gold|Platinum) \d1\d\d", (), 6, 2666, 2666),
    _row("Xeon D", r"Xeon\(R\)(?: CPU)? D-", (), 2, 0, 0, False),
    _row(
        "Xeon E5/E7 v1 to v4", r"Xeon\(R\)(?: CPU)? E5-(?:16|26|46)\d\d|Xeon\(R\)(?: CPU)? E7-\d{4} v[234]", (), 4, 0, 0
    ),
    _row("Xeon E5-2400", r"Xeon\(R\)(?: CPU)? E5-(?:14|24)\d\d", (), 3, 0, 0),
    _row("Xeon 5500/5600", r"Xeon\(R\) CPU\s+[XELW]5[56]\d\d", (), 3, 1333, 0),
    _row("Xeon E3 and E", r"Xeon\(R\)(?: CPU)? E3-|Xeon\(R\) E-\d{4}", (), 2, 0, 0, False),
    # Intel clients: the extreme ones first.
    _row(
        "Core X (X99, X299)",
        r"Core\(TM\) i[79]-(?:5[89][236]0K|6[89][05]0[KX]|7[89]\d\dXE?|9[89]\d\dXE?|10[9]\d\dXE?)",
        (),
        4,
        0,
        0,
    ),
    _row("Core X (X79)", r"Core\(TM\) i7-(?:38[24]0K?|39[3-7]0[KX]?|48[24]0K|49[36]0[KX])(?: |$)", (), 4, 0, 0),
    _row("Core i7-900", r"Core\(TM\) i7 CPU\s+(?:X )?\s?9\d\d", (), 3, 1066, 0, False),
    _row("Intel N", r"Intel\(R\) (?:N95|N97|N100|N200|N50)|i3-N30[05]", (), 1, 0, 0, False),
    _row("Core Ultra", r"Core\(TM\) Ultra \d", (), 2, 0, 0, False),
    _row(
        "Core",
        r"Core\(TM\) (?:\d |i[3579][- ]|m[357]?-|2 )|Pentium\(R\)|Celeron\(R\)|Intel\(R\) Core",
        (),
        2,
        0,
        0,
        False,
    ),
    # ARM servers.
    _row("Ampere Altra", r"Ampere\(R\) Altra", (), 8, 3200, 3200),
    _row("AmpereOne", r"AmpereOne", (), 8, 5200, 4400),
    _row("Kunpeng 920", r"Kunpeng 920", (), 8, 2933, 2666),
    # Engineering samples, by their signature alone.
    _row("EPYC 9004 (Genoa)", "", ((25, 17),), 12, 4800, 3600),
    _row("EPYC 9005 (Turin)", "", ((26, 2), (26, 17)), 12, 6000, 4400),
    _row("EPYC 7003 (Milan)", "", ((25, 1),), 8, 3200, 2933),
    _row("Xeon SP 3 (Ice Lake)", "", ((6, 106),), 8, 3200, 3200),
    _row("Xeon SP 5 (Emerald Rapids)", "", ((6, 207),), 8, 5600, 4400),
)
# What an engineering sample is called.
SAMPLE = re.compile(r"Eng Sample|Genuine Intel|0000%@|^\s*$|BAD INDEX", re.I)


def cpu_memory(brand: str, family: Optional[int] = None, model: Optional[int] = None) -> Optional[CpuMemory]:
    """The memory of a CPU, or None where it is unknown."""
    for row in ROWS:
        if row.brand and re.search(row.brand, brand, re.I):
            return row.memory
        if row.signature and (family, model) in row.signature and SAMPLE.search(brand):
            return row.memory
    return None


# --- Links between the cores and the memory ------------------------------------------------------------
# Reads of one CCD over its GMI link, GB/s, low and high. Zen 2: 36 to 37 measured on an EPYC 7452 (ktransformers
# PR 2175). Zen 4: 49.9 measured on an EPYC 9354P (DRAMHiT, local_interleave_analysis.md), about 66 on a dual EPYC 9124
# (llama.cpp discussion 11530). Zen 5: about 60 narrow, 99.8 over two links (Chips and Cheese, EPYC 9355P). Zen 3 is
# taken to be like Zen 2, not measured.
GMI_GB_S = {"zen2": (36.0, 40.0), "zen3": (36.0, 40.0), "zen4": (49.9, 66.0), "zen5": (60.0, 100.0)}
# What the memory controllers themselves reach of the theoretical bandwidth: 0.80 on the EPYC 9354P above, up to 0.99
# on an EPYC 9575F (Chips and Cheese).
DRAM_EFFICIENCY = (0.80, 0.95)


def ccd_links(family: Optional[int], model: Optional[int], brand: str) -> Optional[tuple[str, int]]:
    """Generation and L3 domains a CCD of an AMD server CPU; None for others and for Zen 1, whose dies are nodes.

    Two domains share a CCD on Zen 2 and on the dense Zen 4c (EPYC 97x4 and 8004).
    """
    if not re.search(r"EPYC|Threadripper", brand, re.I):
        return None
    if (family == 23 and model == 49) or re.search(r"EPYC 7\w\w2", brand):
        return "zen2", 2
    if (family, model) in ((25, 1), (25, 8)) or re.search(r"EPYC 7\w\w3", brand):
        return "zen3", 1
    if (family, model) == (25, 160) or re.search(r"EPYC (?:97\d4|8\d\d4)", brand):
        return "zen4", 2
    if (family, model) in ((25, 17), (25, 24)) or re.search(r"EPYC 9\w\w4", brand):
        return "zen4", 1
    if (family == 26 and model in (2, 8, 17)) or re.search(r"EPYC 9\w\w5", brand):
        return "zen5", 1
    return None
