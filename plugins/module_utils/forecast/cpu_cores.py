# SPDX-License-Identifier: MIT
"""How many cores a CPU has by its number, for machines that are one line of text.

From the makers' lists of products; 28 of them are checked against the counts of SMBIOS tables (linuxhw/DMI). Of a CPU
that is not here the cores are asked for.
"""

from __future__ import annotations

import re
from typing import Optional

# The P of an EPYC for one socket, and most letters behind a number of a Xeon, change no count. T (for long life) does,
# and H in the third generation: it is Cooper Lake, where Ice Lake has the numbers without it.
# fmt: off
CORES = {
    "EPYC": {
        8: "7232P 7252 7262 7F32 7203 72F3 9015",
        12: "7272",
        16: "7282 7302 7F52 7303 7313 7343 7373X 73F3 9124 9174F 9184X 9115 9135 9175F",
        24: "7352 7402 7F72 7413 7443 7473X 74F3 9224 9254 9274F 9255 9275F",
        28: "7453",
        32: "7452 7502 7532 7542 7513 7543 7573X 75F3 9334 9354 9374F 9384X 9335 9355 9375F",
        36: "9365",
        48: "7552 7642 7643 9454 9474F 9455 9475F",
        56: "7663",
        64: "7662 7702 7742 7H12 7713 7763 7773X 9534 9554 9535 9555 9575F",
        72: "9565",
        84: "9634",
        96: "9654 9684X 9645 9655",
        112: "9734",
        128: "9754 9745 9755",
        144: "9825",
        160: "9845",
        192: "9965",
    },
    "Threadripper": {
        12: "5945WX 7945WX 9945WX",
        16: "3955WX 5955WX 7955WX 9955WX",
        24: "3960X 5965WX 7960X 7965WX 9960X 9965WX",
        32: "3970X 3975WX 5975WX 7970X 7975WX 9970X 9975WX",
        64: "3990X 3995WX 5995WX 7980X 7985WX 9980X 9985WX",
        96: "7995WX 9995WX",
    },
    "Xeon": {
        8: "6434 4509 5515 6507",
        10: "4310T 4410T",
        12: "4310 4410 4510 6505",
        16: "4314 6346 5416 6426 6444 4514 6526 6544 6511 6515 6517",
        18: "5318H",
        20: "4316 4416",
        24: "6330H 6338T 6348H 5318 5418 5412 6442 4516 6542 6520 6521 6527",
        28: "6330 6348 8380H 8380HL 5420 5520",
        32: "6338 8358 6430 6438 6448 6454 8462 6530 6538 6548 8562 6730 6731 6737",
        36: "6554 8452",
        40: "8380 8460",
        48: "8468 8558 8568 6740 6741 6747",
        52: "8470",
        56: "8480 8570 w9-3495",
        60: "8490 8580 w9-3595",
        64: "8592 6760 6761 6767",
        72: "6960",
        80: "6781",
        86: "6787",
        96: "6952 6972",
        120: "6979",
        128: "6980",
    },
    "Ryzen": {8: "7700 9700", 12: "7900 9900", 16: "7950 9950"},
}
# fmt: on


def _numbers(family: str) -> dict[str, int]:
    return {number: cores for cores, numbers in CORES[family].items() for number in numbers.split()}


def family_of(brand: str) -> Optional[str]:
    """The family in a brand, as the table has it."""
    return next((family for family in CORES if re.search(rf"\b{family}\b", brand, re.I)), None)


def cores_of(brand: str) -> Optional[int]:
    """The cores of one CPU; None where its number is not in the table."""
    family = family_of(brand)
    numbers = _numbers(family) if family else {}
    for word in re.findall(r"(?:w\d-)?\d\w{3,}", brand):
        for name in (word, word.upper(), word.upper().rstrip("PX"), word[: len(word.rstrip("PYHNUSVQXMCL"))]):
            if name in numbers:
                return numbers[name]
    return None


def known_cpus() -> list[str]:
    """Names of all CPUs in the table."""
    return [f"{family} {number}" for family in CORES for number in _numbers(family)]
