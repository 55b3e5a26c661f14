# SPDX-License-Identifier: MIT
"""What the cores of a machine cost and give while they decode: the time they wait for each other, and their arithmetic.

After each operation of the graph all threads meet at a barrier: each writes one counter, and reads one flag, and every
one of these moves a cache line between two cores, one after the other. That time grows with the threads, and with
how far the cores are apart. Beside it stands what a core can multiply of a type, however fast the memory is.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

from ..memory.cpus import ccd_links

Range = tuple[float, float]

# Barriers of a layer, counted in the graphs that the pinned engine makes of llama and deepseek2 (GGML_SCHED_DEBUG=2):
# one after each operation that computes, and one within each product of matrices. Of qwen2moe there are 45.
BARRIERS = {"dense": 26, "moe": 46}
# Cache lines that a barrier moves for each thread while all wait: the counter to arrive, and the flag to leave
# (ggml_barrier). In a mixture many barriers follow an operation that one thread has to do, such as the choice of the
# experts: the others arrive meanwhile, and wait for it anyway. Sweeps over threads of two runs that are called fitted
# show how many are left: from 24 to 128 threads an EPYC 7773X becomes 0.14 ms a token slower for each (ik_llama.cpp
# discussion 223), and a Xeon 6980P from 64 to 128 threads 0.15 ms (pull request 259). One line fits them best.
LINES: dict[str, Range] = {"dense": (2.0, 2.0), "moe": (1.0, 1.5)}


class Core(NamedTuple):
    """Nanoseconds that a cache line takes to another core: of the same die, of another die of the socket, and of the
    other socket; and the arithmetic of a core as a part of :data:`ARITHMETIC_GB_S`."""

    near: Range
    across: Range
    remote: Range
    arithmetic: Optional[Range]


# Nanoseconds are medians of github.com/nviennot/core-to-core-latency where nothing else is said: Threadripper 3960X,
# EPYC 7R13 and 7773X, EPYC 9274F (its issue 132), Xeon E5-2695 v4, Gold 6242, Platinum 8275CL and 8375C. Xeon 6: mlc on
# two 6980P, 80 to 131 with three nodes a socket and 180 with one, 425 between sockets (ik_llama.cpp discussion 201);
# of Xeons between those two nothing was found. Zen 5 is taken to be like Zen 4. Nothing was found of AmpereOne: fitted
# on Llama 3.2 3B, the run of it that reads least.
#
# Arithmetic. Zen 4: one core of a server, whose plain read loop had 23.4 GB/s, 14.2 (Q8_0), 19.3 (Q4_K_M) and 22.0
# (Q6_K): less the reading 0.72 to 1.28. Zen 3: two threads of an EPYC 7773X with DeepSeek R1 in Q4_K_M, 11 GB/s each
# (ik_llama.cpp discussion 223), and 13 to 16 in a guest with Q6_K: 0.47 to 0.57. Xeon 6980P: 43 threads with DeepSeek
# R1 in Q8_0 reach 3.3 GB/s each with small pages, and without their waiting 8.5 with huge ones and repacked weights
# (discussion 201 and pull request 259). Xeon E5 and the others by their clock, 2.1 to 2.6 GHz and more of 5.3, and the
# width of their units: estimates.
# fmt: off
CORES = {
    "zen2":            Core((24, 24), (94, 94),   (190, 200), (0.4, 0.57)),
    "zen3":            Core((23, 23), (107, 115), (190, 200), (0.47, 0.57)),
    "zen4":            Core((23, 23), (90, 99),   (188, 190), (0.72, 1.28)),
    "zen5":            Core((23, 23), (90, 99),   (188, 190), (0.72, 1.28)),
    "xeon-e5":         Core((44, 44), (44, 44),   (118, 118), (0.3, 0.45)),
    "xeon-scalable":   Core((47, 51), (47, 51),   (108, 136), (0.3, 0.65)),
    "xeon-scalable-4": Core((51, 80), (51, 80),   (108, 425), (0.25, 0.65)),
    "xeon-6":          Core((131, 180), (131, 180), (413, 433), (0.15, 0.40)),
    "ampereone":       Core((105, 145), (105, 145), (190, 430), None),
}
# By cores of a socket where the CPU is not known: a small ring or mesh (Xeon E5 to Kunpeng 920), and one like a Xeon 6.
SMALL, WIDE = (Core((44, 72), (44, 72), (108, 136), None), Core((131, 180), (131, 180), (190, 430), None))
# fmt: on
MOST_OF_SMALL = 64
NAMES = (
    ("xeon-e5", r"Xeon\(R\)(?: CPU)? E5-\d{4}\w? v[34]"),
    ("xeon-6", r"Xeon\(R\) 6[579]\d\dP"),
    (
        "xeon-scalable-4",
        r"Xeon\(R\) (?:(?:Gold|Silver|Platinum|Bronze) \d[45]|w\d-[23][45])\d\d|Xeon\(R\)(?: CPU)? Max",
    ),
    ("xeon-scalable", r"Xeon\(R\) (?:Gold|Silver|Platinum|Bronze) \d[123]\d\d|Xeon\(R\)(?: CPU)? W-[23][123]\d\d"),
    ("ampereone", r"AmpereOne"),
    ("zen4", r"Ryzen \d (?:PRO )?[78]\d{3}"),
    ("zen5", r"Ryzen (?:\d (?:PRO )?9\d{3}|AI )"),
    ("zen3", r"Ryzen \d (?:PRO )?5\d{3}"),
)

# Bytes of weights that one core multiplies in a second, GB/s: llama.cpp with two threads of a Ryzen 7950X and Llama 3.1
# 8B (ik_llama.cpp discussion 164), tokens a second x bytes without the embedding / 2, less the reading of its memory
# (62.8 GB/s, discussion 201) as below. A type that looks its weights up in a grid costs most for its bytes.
ARITHMETIC_GB_S = {
    "F16": 67.0, "BF16": 67.0, "Q8_0": 21.5, "Q6_K": 28.0, "Q5_K": 21.4, "Q5_0": 14.3, "Q4_K": 23.6, "Q4_0": 30.3,
    "Q3_K": 15.7, "Q2_K": 16.7, "IQ4_NL": 13.3, "IQ4_XS": 17.9, "IQ3_S": 6.3, "IQ3_XXS": 6.3, "IQ2_S": 7.1,
    "IQ2_XS": 7.1, "IQ2_XXS": 6.0,
}  # fmt: skip
# Where reading and arithmetic take as long, they take 1.26 times as long together: the passes of a Xeon E5-2683 v4 over
# 2, 4, 8 and 32 tokens, which go from reading to arithmetic, take as long as the cubes added (discussion 164).
OVERLAP = 3.0


def core_of(brand: str, signature: tuple[Optional[int], Optional[int]] = (None, None)) -> Optional[str]:
    """The kind of core that a CPU has, as :data:`CORES` names it."""
    links = ccd_links(*signature, brand)
    return links[0] if links else next((name for name, pattern in NAMES if re.search(pattern, brand, re.I)), None)


def arithmetic_gb_s(core: Optional[str], kind: Optional[str], cores: int) -> Optional[Range]:
    """What so many cores multiply of a type, GB/s of its weights; None where the core or the type is not known.

    ``kind`` is a type of tensors (Q4_K) or of files (Q4_K_M, UD-Q4_K_XL).
    """
    part = CORES[core].arithmetic if core in CORES else None
    name = re.sub(r"^UD-|_(?:S|M|L|XL)$", "", str(kind).upper())
    each = ARITHMETIC_GB_S.get(str(kind).upper()) or ARITHMETIC_GB_S.get(name)
    return (cores * each * part[0], cores * each * part[1]) if part and each else None


def line_seconds(core: Optional[str], threads: int, cores: Optional[int], dies: Optional[int], sockets: int) -> Range:
    """How long a cache line takes to the thread that is next, at best and at worst; all counts are of all sockets.

    At best as few dies as can be have threads, which come one after the other; at worst all have, in any order, and
    half of the lines come from the other socket.
    """
    known = CORES.get(core or "") or (WIDE if (cores or 0) > MOST_OF_SMALL * sockets else SMALL)
    spread = min(dies or -(-threads // 8), threads)
    packed = min(-(-threads * dies // cores) if dies and cores else spread, spread)
    best = (packed * known.across[0] + (threads - packed) * known.near[0]) / threads
    worst = known.near[1] / spread + known.across[1] * (1 - 1 / spread)
    if sockets > 1:
        worst = (worst + (sockets - 1) * known.remote[1]) / sockets
    return best * 1e-9, worst * 1e-9


def waiting(kind: str, threads: int, line: Range) -> Range:
    """Seconds that the threads wait in each layer of a dense model or a mixture of experts."""
    if threads == 1:
        return 0.0, 0.0
    low, high = (BARRIERS[kind] * lines * threads for lines in LINES[kind])
    return low * line[0], high * line[1]
