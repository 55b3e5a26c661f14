# SPDX-License-Identifier: MIT
"""What memory a CPU has: channels of 64 bits, the fastest DIMMs, and what its links let through.

The tables are read from the top; the first row whose pattern is in the brand answers, whatever its case (Emerald Rapids
prints INTEL(R) XEON(R) GOLD). What is in no row is unknown. Speeds are the makers'; boards may be slower.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Optional


class CpuMemory(NamedTuple):
    """Memory of one CPU; ``server`` CPUs are those whose boards name slots as servers do."""

    name: str
    channels: int
    mts_1dpc: Optional[int]
    mts_2dpc: Optional[int]
    server: bool


# Name, channels, MT/s with one and two DIMMs a channel (0: unknown), pattern of the brand. A channel is 64 bits wide,
# whatever the chips. Sources: AMD, Intel, Ampere and Hygon product pages and tuning guides; the channels were checked
# against public dmidecode dumps. Of Hygon, AmpereOne, Xeon 6 "-B" and Xeon 600 there were none.
# fmt: off
SERVERS = (
    # AMD. The generation of an EPYC is the last digit of its number.
    # Hygon's are AMD's first Zen and its heirs: the first digit is the socket, the second the generation.
    ("Hygon 7400",                    12, 4800,    0, r"Hygon C86(?:-4G)? (?:\(OPN:? ?)?74\d\d"),
    ("Hygon 7100 to 7300",             8,    0,    0, r"Hygon C86 (?:\(OPN:? ?)?7[123]\d\d"),
    ("Hygon 5100 to 5300",             4,    0,    0, r"Hygon C86 (?:\(OPN:? ?)?5[123]\d\d"),
    ("EPYC 8004 (Siena)",              6, 4800,    0, r"EPYC 8\w\w4"),
    ("EPYC 3001 (two dies)",           4, 2666, 2133, r"EPYC 3[34]\d1"),
    ("EPYC 3001",                      2, 2666, 2133, r"EPYC 3\d\d1"),
    ("EPYC 9005 (Turin)",             12, 6000, 4400, r"EPYC 9\w\w5"),
    ("EPYC 9004 (Genoa)",             12, 4800, 3600, r"EPYC 9\w\w4(?!H)"),
    ("EPYC 7003 (Milan)",              8, 3200, 2933, r"EPYC 7\w\w3"),
    ("EPYC 7002 (Rome)",               8, 3200, 2933, r"EPYC 7\w\w2"),
    ("EPYC 7001 (Naples)",             8, 2666, 2133, r"EPYC 7\w\w1"),
    ("Threadripper PRO 9000 WX",       8, 6400,    0, r"Threadripper PRO 9\d{3}WX"),
    ("Threadripper 9000",              4, 6400,    0, r"Threadripper 9\d{3}X"),
    ("Threadripper PRO 7000 WX",       8, 5200, 3600, r"Threadripper PRO 7\d{3}WX"),
    ("Threadripper 7000",              4, 5200, 3600, r"Threadripper 7\d{3}X"),
    ("Threadripper PRO 5000 WX",       8, 3200, 2933, r"Threadripper PRO 5\d{3}WX"),
    ("Threadripper PRO 3000 WX",       8, 3200, 2933, r"Threadripper PRO 3\d{3}WX"),
    ("Threadripper 3000",              4, 3200, 2933, r"Threadripper 3\d{3}X"),
    ("Threadripper 2000",              4, 2933, 2133, r"Threadripper 2\d{3}W?X"),
    ("Threadripper 1000",              4, 2666, 2133, r"Threadripper 1\d{3}X"),
    ("Opteron 6000",                   4,    0,    0, r"Opteron\(tm\) Processor 6[123]\w\w"),
    # Intel.
    ("Xeon 6+ 6900E+",                12, 8000,    0, r"Xeon\(R\) 69\d\dE\+"),
    ("Xeon 6 6900",                   12, 6400,    0, r"Xeon\(R\) 69\d\d[PE]"),
    # Soldered ones with network ports: 8 channels from 64 cores on. What is slower than 6400 has no rule in its number.
    ("Xeon 6 6756P-B to 6776P-B",      8, 6400,    0, r"Xeon\(R\) 67[567]\dP-B"),
    ("Xeon 6 6500P-B and 6700P-B",     4,    0,    0, r"Xeon\(R\) 6[57]\d\dP-B"),
    ("Xeon 6 6500/6700",               8, 6400, 5200, r"Xeon\(R\) 6[57]\d\d[PE](?!-B)"),
    ("Xeon 650 to 698X",               8, 6400,    0, r"Xeon\(R\) 6[5-9]\dX?(?!\w)"),
    ("Xeon 634 to 638",                4, 6400,    0, r"Xeon\(R\) 63\dX?(?!\w)"),
    ("Xeon w-3400/3500",               8, 4800, 4400, r"Xeon\(R\) w\d-3[45]\d\d"),
    ("Xeon w-2400/2500",               4, 4800, 4400, r"Xeon\(R\) w\d-2[45]\d\d"),
    ("Xeon W-3300",                    8, 3200, 3200, r"Xeon\(R\)(?: CPU)? W-33\d\d"),
    ("Xeon W-3200",                    6, 2933, 2933, r"Xeon\(R\)(?: CPU)? W-32\d\d"),
    ("Xeon W-3100",                    6, 2666, 2666, r"Xeon\(R\)(?: CPU)? W-31\d\d"),
    ("Xeon W-2200",                    4, 2933, 2933, r"Xeon\(R\)(?: CPU)? W-22\d\d"),
    ("Xeon W-2100",                    4, 2666, 2666, r"Xeon\(R\)(?: CPU)? W-21\d\d"),
    ("Xeon Max",                       8, 4800, 4400, r"Xeon\(R\)(?: CPU)? Max 94\d\d"),
    ("Xeon Platinum 9200",            12, 2933,    0, r"Xeon\(R\) Platinum 92\d\d"),
    ("Xeon SP 5 (Emerald Rapids)",     8, 5600, 4400, r"Xeon\(R\) Platinum 85\d\d"),
    ("Xeon Gold 6530 and 6534",        8, 4800, 4400, r"Xeon\(R\) Gold 653[04]\b"),
    ("Xeon Gold 6500",                 8, 5200, 4400, r"Xeon\(R\) Gold 65\d\d"),
    ("Xeon Gold 5500",                 8, 4800, 4400, r"Xeon\(R\) Gold 55\d\d"),
    ("Xeon Silver 4500 and Bronze",    8, 4400, 4400, r"Xeon\(R\) (?:Silver 4|Bronze 3)5\d\d"),
    ("Xeon Gold 6430",                 8, 4400, 4400, r"Xeon\(R\) Gold 6430"),
    ("Xeon SP 4 (Sapphire Rapids)",    8, 4800, 4400, r"Xeon\(R\) (?:Gold 6|Platinum 8)4\d\d"),
    ("Xeon Gold 5400",                 8, 4400, 4400, r"Xeon\(R\) Gold 54\d\d"),
    ("Xeon Silver 4400 and Bronze",    8, 4000, 4000, r"Xeon\(R\) (?:Silver 4|Bronze 3)4\d\d"),
    ("Xeon SP 3 (Cooper Lake)",        6, 3200, 2933, r"Xeon\(R\) (?:Gold|Platinum) [568]3\d\dH"),
    ("Xeon Gold 6330 and 8352V",       8, 2933, 2933, r"Xeon\(R\) (?:Gold 6330|Platinum 8352V)\b"),
    ("Xeon Gold 6330N and 6338N",      8, 2666, 2666, r"Xeon\(R\) Gold 633[08]N\b"),
    ("Xeon SP 3 (Ice Lake)",           8, 3200, 3200, r"Xeon\(R\) (?:Gold 6|Platinum 8)3\d\d"),
    ("Xeon Gold 5300",                 8, 2933, 2933, r"Xeon\(R\) Gold 53\d\d"),
    ("Xeon Silver 4300",               8, 2666, 2666, r"Xeon\(R\) Silver 43\d\d"),
    ("Xeon Gold 6222V and 6262V",      6, 2400, 2400, r"Xeon\(R\) Gold 62[26]2V"),
    ("Xeon SP 2 (Cascade Lake)",       6, 2933, 2933, r"Xeon\(R\) (?:Gold (?:62\d\d|5222)|Platinum 82\d\d)"),
    ("Xeon Gold 5200",                 6, 2666, 2666, r"Xeon\(R\) Gold 52\d\d"),
    ("Xeon Silver 4200",               6, 2400, 2400, r"Xeon\(R\) Silver 42\d\d"),
    ("Xeon SP 1 (Skylake)",            6, 2666, 2666, r"Xeon\(R\) (?:Gold (?:61\d\d|5122)|Platinum 81\d\d)"),
    ("Xeon Gold 5100 and Silver 4100", 6, 2400, 2400, r"Xeon\(R\) (?:Gold 5|Silver 4)1\d\d"),
    ("Xeon Bronze 3100 and 3200",      6, 2133, 2133, r"Xeon\(R\) Bronze 3[12]\d\d"),
    ("Xeon D-2000",                    4,    0,    0, r"Xeon\(R\)(?: CPU)? D-2[178]\d\d"),
    ("Xeon D-1500 and D-1600",         2,    0,    0, r"Xeon\(R\)(?: CPU)? D-1[56]\d\d"),
    ("Xeon E5-2603 and 2609 v4",       4, 1866, 1866, r"Xeon\(R\)(?: CPU)? E5-260[39] v4"),
    ("Xeon E5-2620 to 2640 v4",        4, 2133, 2133, r"Xeon\(R\)(?: CPU)? E5-26(?:[234]0L?|23) v4"),
    ("Xeon E5 v4",                     4, 2400, 2133, r"Xeon\(R\)(?: CPU)? E5-(?:16|26|46)\d\d\w? v4"),
    ("Xeon E5-2603 and 2609 v3",       4, 1600, 1600, r"Xeon\(R\)(?: CPU)? E5-260[39] v3"),
    ("Xeon E5-2620 to 2640 v3",        4, 1866, 1866, r"Xeon\(R\)(?: CPU)? E5-26(?:[234]0L?|23) v3"),
    ("Xeon E5 v3",                     4, 2133, 1866, r"Xeon\(R\)(?: CPU)? E5-(?:16|26|46)\d\d\w? v3"),
    ("Xeon E5",                        4,    0,    0, r"Xeon\(R\)(?: CPU)? E5-(?:16|26|46)\d\d"),
    ("Xeon E5-2400",                   3,    0,    0, r"Xeon\(R\)(?: CPU)? E5-(?:14|24)\d\d"),
    ("Xeon E5520 to E5640",            3, 1066,    0, r"Xeon\(R\) CPU +E5(?:5[234]0|6[234]0)"),
    ("Xeon 5500 and 5600",             3, 1333,    0, r"Xeon\(R\) CPU +(?:[XEL]5[56]|W[35][56])\d\d"),
    # ARM. The smaller Kunpeng 920 have fewer channels. Of an AmpereOne only the part number says which it is.
    ("AmpereOne M",                   12, 5600,    0, r"AmpereOne.*\bA\d{2,3}-\d{2}M\b"),
    ("AmpereOne",                      8, 5200,    0, r"AmpereOne.*\bA\d{2,3}-\d{2}X\b"),
    ("Ampere Altra",                   8, 3200, 3200, r"Ampere\(R\) Altra"),
    ("Kunpeng 920",                    8, 2933, 2666, r"Kunpeng 920[- ](?:48\d\d|64\d\d|5230|525\d|726\d)"),
)
CLIENTS = (
    ("Hygon 3100 to 3300",          2,    0,    0, r"Hygon C86 (?:\(OPN:? ?)?3[123]\d\d"),
    ("EPYC 4004",                   2, 5200, 3600, r"EPYC 4\d\d4"),
    ("EPYC 4005",                   2, 5600, 3600, r"EPYC 4\d\d5"),
    ("Ryzen AI Max",                4, 8000,    0, r"Ryzen AI Max"),
    ("Ryzen 7020 and Athlon 7020",  1, 5500,    0, r"(?:Ryzen \d|Athlon (?:Gold|Silver)) (?:PRO )?7[1235]20[UC]"),
    ("AMD, one channel",            1,    0,    0, r"AMD 3015|Embedded R1102G|Athlon\(tm\) 5[1-3][57]0"
     r"|AMD A(?:9-94|6-92|4-91)\d\d|AMD (?:C-[3-7]0|E-[234]\d0|E[12]-[12679]\d{3})"),
    ("Ryzen for laptops",           2,    0,    0, r"Ryzen \d (?:PRO )?[789]\d{3}(?:U|C|HS?|HX3?D?)\b"),
    ("Ryzen 9000",                  2, 5600, 3600, r"Ryzen \d (?:PRO )?9\d{3}"),
    ("Ryzen 7000 and 8000",         2, 5200, 3600, r"Ryzen \d (?:PRO )?[78]\d{3}"),
    ("Ryzen",                       2,    0,    0, r"Ryzen (?!Threadripper)"),
    ("AMD Athlon, FX, Phenom",      2,    0,    0, r"Athlon (?:3000G|(?:Gold|Silver|PRO) \d|2\d\dGE)"
     r"|Athlon\(tm\) (?:II|X4)|AMD FX\(tm\)-\d{4}|Phenom\(tm\)|AMD A1[02]-"),
    ("Core X (X99, X299)",          4,    0,    0, r"i[79]-(?:58[23]0K|59[36]0[KX]|6[89][05]0[KX]|7[89]\d0XE?|98\d0XE?"
     r"|99\d0XE?|109\d0XE?)"),
    ("Core X (X79)",                4,    0,    0, r"i7-(?:3820|39[37]0K|39[67]0X|4820K|4930K|4960X)(?![A-Z])"),
    ("Core i7-900",                 3, 1066,    0, r"i7 CPU +(?:9[2-8]\d|X 9[89]0)"),
    ("Intel N and Core N",          1,    0,    0, r"\bN(?:50|95|97|100|150|200|250)\b|i3-N30\d|Core\(TM\) 3 N35\d"),
    ("Celeron and Atom, one channel", 1,  0,    0, r"CPU +N28(?:0[5-8]|15)"
     r"|Atom\(TM\) CPU +[DN](?:[45]\d|2[5-8]\d)\d\b"),
    ("Core Ultra",                  2,    0,    0, r"Core\(TM\) Ultra \d"),
    ("Core",                        2,    0,    0, r"Core\(TM\) (?:\d \d{3}|i[3579][- ]|m[357]?-|2 |M-)|Core\(TM\)2"),
    ("Pentium and Celeron",         2,    0,    0, r"Pentium\(R\) (?:CPU +)?(?:G\d|Gold|Silver)"
     r"|Celeron\(R\) (?:CPU +)?[GNJ]\d{4}"),
    ("Xeon 6300",                   2, 4800, 3600, r"Xeon\(R\) 63\d\dP"),
    ("Xeon E3, E and W-1000",       2,    0,    0, r"Xeon\(R\)(?: CPU)? (?:E3-|E-\d{4}|W-1\d{3,4})"),
)
# Engineering samples, whose brand says nothing, by the family and model of CPUID as decimal numbers in /proc/cpuinfo.
# Not here are those that one model shares with other numbers of channels: 6/85, 6/143, 6/173, 23/1, 25/24 …
SAMPLES = {
    (25, 1): "EPYC 7003 (Milan)", (25, 17): "EPYC 9004 (Genoa)",
    (26, 2): "EPYC 9005 (Turin)", (26, 17): "EPYC 9005 (Turin)",
    (6, 106): "Xeon SP 3 (Ice Lake)", (6, 207): "Xeon SP 5 (Emerald Rapids)",
}
# fmt: on
SAMPLE = re.compile(r"Eng Sample: *1|Genuine Intel|0000%@", re.I)


def cpu_memory(brand: str, family: Optional[int] = None, model: Optional[int] = None) -> Optional[CpuMemory]:
    """The memory of a CPU, or None where it is unknown."""
    name = SAMPLES.get((family or 0, model or 0)) if SAMPLE.search(brand) else None
    for rows, server in ((SERVERS, True), (CLIENTS, False)):
        for title, channels, one, two, pattern in rows:
            if title == name or (not name and re.search(pattern, brand, re.I)):
                return CpuMemory(title, channels, one or None, two or None, server)
    return None


# --- Links between the cores and the memory ------------------------------------------------------------
# Reads of one CCD over its GMI link, GB/s, low and high. Zen 2: 36 to 37 measured on an EPYC 7452 (ktransformers
# PR 2175). Zen 4: 49.9 measured on an EPYC 9354P (DRAMHiT, local_interleave_analysis.md), about 66 on a dual EPYC 9124
# (llama.cpp discussion 11530). Zen 5: about 60 narrow, 99.8 over two links (Chips and Cheese, EPYC 9355P). Zen 3 is
# taken to be like Zen 2, not measured.
GMI_GB_S = {"zen2": (36.0, 40.0), "zen3": (36.0, 40.0), "zen4": (49.9, 66.0), "zen5": (60.0, 100.0)}
# Links between two sockets, GB/s each way, low and high. Infinity Fabric: three or four links of 16 lanes at 16 (Zen 2,
# Zen 3) and 32 GT/s, of which 0.8 to 0.9 are data; calculated, not measured. Xeons are not in it: two Xeon 6980P
# measured 248 each way (ik_llama.cpp discussion 201), others are unknown.
SOCKET_LINK_GB_S = {"zen2": (77.0, 115.0), "zen3": (77.0, 115.0), "zen4": (154.0, 230.0), "zen5": (154.0, 230.0)}
# What the memory controllers themselves reach of the theoretical bandwidth, by a read probe: 0.78 on an EPYC 9654
# (likwid, llama.cpp discussion 11733), 0.79 on two Xeon 4510 (colibri issue 537), 0.80 on the EPYC 9354P above, 0.83
# on an EPYC 9575F (479 of 576, Chips and Cheese), 0.90 on a Xeon 6980P (mlc, ik_llama.cpp discussion 201).
DRAM_EFFICIENCY = (0.75, 0.90)


GENERATIONS = (
    ("zen2", 2, ((23, 49),), r"EPYC 7\w\w2|Threadripper (?:PRO )?3\d{3}"),
    ("zen3", 1, ((25, 1), (25, 8)), r"EPYC 7\w\w3|Threadripper PRO 5\d{3}"),
    ("zen4", 2, ((25, 160),), r"EPYC (?:97\d4|8\d\d4)"),
    ("zen4", 1, ((25, 17), (25, 24)), r"EPYC 9\w\w4|Threadripper (?:PRO )?7\d{3}"),
    ("zen5", 1, ((26, 2), (26, 8), (26, 17)), r"EPYC 9\w\w5|Threadripper (?:PRO )?9\d{3}"),
)
# L3 domains of CPUs whose dies somebody looked at: hwloc of two 9124; L3 sizes of public dmidecode dumps and tables of
# vendors (32 MB a die of Zen 4, 16 of a 9124); likwid and core-to-core latency of a 9354P and 9454P; Chips and Cheese
# of a 9355P; ktransformers PR 2175 of a 7452.
L3_DOMAINS = (
    (4, r"EPYC (?:9124|9254|9334)\b"),
    (8, r"EPYC (?:7452|9354P?|9355P|9374F|9454P?|9534|9554P?)\b"),
    (12, r"EPYC (?:9634|9654P?)\b"),
)


def ccd_links(family: Optional[int], model: Optional[int], brand: str) -> Optional[tuple[str, int]]:
    """Generation and L3 domains a CCD of an AMD server CPU; None for others and for Zen 1, whose dies are nodes.

    Two domains share a CCD on Zen 2 and on the dense Zen 4c (EPYC 97x4 and 8004). By family and model where they are
    known, else by the brand.
    """
    if not re.search(r"EPYC|Threadripper", brand, re.I) and not SAMPLE.search(brand):
        return None
    known = [row for row in GENERATIONS if (family, model) in row[2]]
    known += [row for row in GENERATIONS if re.search(row[3], brand, re.I)]
    return known[0][:2] if known else None


def l3_domains_by_name(brand: str) -> Optional[int]:
    """How many L3 caches a CPU of this name has, for guests, whose caches are their host's invention."""
    return next((count for count, pattern in L3_DOMAINS if re.search(pattern, brand)), None)


def dies_of(links: Optional[tuple[str, int]], l3_domains: Sequence[Optional[int]]) -> Optional[int]:
    """The dies of all sockets together, whose L3 caches these are; None where they are no limit, or unknown."""
    known = [count for count in l3_domains if count is not None]
    return sum(-(-count // links[1]) for count in known) if links and known and len(known) == len(l3_domains) else None
