# SPDX-License-Identifier: MIT
"""A machine that is described in one line: ``2x EPYC 9354, 24x32GB DDR5-4800``.

Parts are told apart by what they look like and may come in any order; of a CPU that is known nothing but its name and
the DIMMs are needed. A line that cannot be meant gets a sentence for each part that is wrong, all at once.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

from ..memory.cpus import ccd_links, cpu_memory, dies_of, l3_domains_by_name
from ..text import clean
from .catalog import machine_problems
from .cpu_cores import cores_of, family_of, known_cpus
from .document import CpuEntry, Part
from .names import nearest
from .prices import GIB, MONEY, dollars

COUNTS = {"one": 1, "single": 1, "two": 2, "dual": 2, "four": 4, "quad": 4}
# What people leave out of a name, in the order in which it is tried: the family before a number, and parts within.
FAMILIES = ("EPYC ", "Threadripper ", "Xeon(R) ", "Ryzen 9 ")
PARTS = (
    (r"^", ""),
    (r"^Threadripper ", "Threadripper PRO "),
    (r"^Xeon\(R\) ", "Xeon(R) Gold "),
    (r"^Xeon\(R\) ", "Xeon(R) Platinum "),
    (r"^Xeon\(R\) ", "Xeon(R) Silver "),
    (r"$", "P"),
)
DIMMS = re.compile(r"(?:([1-9]\d{0,3})\s*[x*\u00d7]\s*)?([1-9]\d{0,5})\s*(G|GB|GiB|T|TB|TiB)\b(.*)", re.I)
SPEED = re.compile(r"(?:DDR\d|PC\d)?[\s-]*(\d{4,5})?\s*(?:MT/s|MHz)?[\s-]*(?:ECC|R-?DIMMs?|L?R?DIMMs?|UDIMMs?)*", re.I)
FIGURES = {
    "cores": re.compile(r"([1-9]\d{0,4})[\s-]*cores?(?: each)?", re.I),
    "channels": re.compile(r"([1-9]\d{0,4})[\s-]*channels?", re.I),
    "dies": re.compile(r"([1-9]\d{0,4})[\s-]*(?:dies?|CCDs?)(?: each)?", re.I),
    "watts": re.compile(r"([1-9]\d{0,4})\s*(?:W|watts?)", re.I),
}
CPU = re.compile(r"(?:([1-9]\d{0,3})\s*[x*\u00d7]\s*|(one|single|two|dual|four|quad)\s+)?(.*\d.*)", re.I)


class Line(NamedTuple):
    """What a line says: ``cores``, ``channels`` and ``dies`` are of one CPU; ``dimms`` None: only the sum is told."""

    sockets: int
    cpu: str
    dimms: Optional[int]
    dimm_gb: int
    mts: Optional[int]
    figures: dict[str, int]
    usd: Optional[float]

    @property
    def gb(self) -> int:
        return (self.dimms or 1) * self.dimm_gb


def brand_of(text: str) -> Optional[str]:
    """``epyc 9354``, ``Intel Xeon 6 6980P`` or ``9354`` as a brand whose memory is known."""
    plain = re.sub(r"\((?:r|tm)\)|\b(?:AMD|Intel|Processors?|CPUs?|Ryzen(?= Threadripper))\b", " ", text, flags=re.I)
    plain = re.sub(r"\bXeon(?: 6(?= \d{4}))?", "Xeon(R)", " ".join(plain.split()), flags=re.I)
    plain = re.sub(r"\bEPYC (\w+)", lambda found: found.group().upper(), plain, flags=re.I)
    numbered = re.match(r"(?:w\d-)?\d{4}", plain) and not family_of(plain)
    starts = [family + plain for family in FAMILIES] if numbered else [plain]
    names = [re.sub(pattern, whole, start, flags=re.I) for start in starts for pattern, whole in PARTS]
    return next((name for name in names if cpu_memory(name)), None)


def looks_like_one(text: str) -> bool:
    """Whether a text describes a machine, rather than naming one: it tells its memory, or so many of a CPU."""
    parts = [part.strip() for part in text.split(",")]
    return any(DIMMS.fullmatch(part) for part in parts) or bool(re.match(r"\d+\s*[x*\u00d7]\s*\D", text))


def _read(text: str) -> tuple[Line, list[str]]:
    """The line, and a sentence for each part of it that is not understood."""
    money = MONEY.search(text)
    rest = text.replace(money.group(), ",") if money else text
    problems: list[str] = []
    figures: dict[str, int] = {}
    cpus: list[tuple[int, str]] = []
    memory: list[tuple[Optional[int], int, Optional[int]]] = []
    for part in filter(None, (clean(part).strip() for part in re.split(r"[,;+]|\b(?:with|and|for)\b", rest))):
        figure = next(((name, found) for name, each in FIGURES.items() if (found := each.fullmatch(part))), None)
        dimms = DIMMS.fullmatch(part)
        cpu = CPU.fullmatch(part)
        if figure:
            figures[figure[0]] = int(figure[1].group(1))
        elif dimms and (speed := SPEED.fullmatch(dimms.group(4).strip())):
            count, each = dimms.group(1), int(dimms.group(2)) * (1024 if dimms.group(3)[0] in "tT" else 1)
            memory.append((int(count) if count else None, each, int(speed.group(1)) if speed.group(1) else None))
        elif cpu and not cpus:
            cpus.append((int(cpu.group(1) or COUNTS.get(str(cpu.group(2)).lower(), 1)), cpu.group(3)))
        else:
            problems.append(f"{part} in plan_machine is not understood: write CPUs, DIMMs, cores, watts or dollars.")
    if not cpus:
        problems.append("plan_machine names no CPU: write it as in 2x EPYC 9354, 24x32GB DDR5-4800.")
    if len(memory) != 1:
        problems.append("plan_machine needs its DIMMs, all of one kind: write them as in 24x32GB DDR5-4800.")
    (sockets, name), (count, each, mts) = (cpus or [(1, "")])[0], (memory or [(None, 1, None)])[0]
    return Line(sockets, name, count, each, mts, figures, dollars(money.group()) if money else None), problems


def _dimm_problems(line: Line, channels: int) -> list[str]:
    """What is wrong with so many DIMMs for CPUs of so many channels each."""
    if line.dimms is None:
        return []
    if line.dimms < line.sockets:
        return [f"{line.dimms} DIMMs leave one of {line.sockets} CPUs without memory: give each its own."]
    if line.dimms > 2 * channels * line.sockets:
        return [
            f"{line.dimms} DIMMs are too many: {line.sockets} x {line.cpu} have {channels * line.sockets} channels, of "
            "two DIMMs at most."
        ]
    return []


def _cpu_problems(line: Line, brand: Optional[str], cores: Optional[int]) -> list[str]:
    near = ", ".join(nearest(line.cpu, known_cpus()))
    if brand is None:
        return [f"The CPU {line.cpu} is not known: the nearest are {near}."]
    if cores is None:
        return [f"The cores of {line.cpu} are not known: add them, as 32 cores; the nearest that are known are {near}."]
    return []


def own_machine(text: str) -> tuple[Optional[CpuEntry], list[str]]:
    """The machine of a line, like one of the catalog; else a sentence for everything that is wrong with it."""
    line, problems = _read(text)
    brand = brand_of(line.cpu) if line.cpu else None
    memory = cpu_memory(brand) if brand else None
    cores = line.figures.get("cores") or (cores_of(brand) if brand else None)
    if line.cpu:
        problems += _cpu_problems(line, brand, cores)
    if memory and line.gb > 1:
        problems += _dimm_problems(line, memory.channels)
    if problems or not brand or not memory or not cores:
        return None, problems
    per_socket = line.dimms // line.sockets if line.dimms else memory.channels
    channels = min(line.figures.get("channels", memory.channels), memory.channels, per_socket)
    # Two DIMMs on a channel are slower, and faster ones than a CPU can drive run at its speed.
    limit = memory.mts_2dpc if per_socket > memory.channels and memory.mts_2dpc else memory.mts_1dpc
    mts = min(limit or line.mts or 0, line.mts or limit or 0)
    if not mts:
        return None, [f"The memory speed of {line.cpu} is not known: add it to the DIMMs, as DDR5-4800."]
    links, domains = ccd_links(None, None, brand), l3_domains_by_name(brand)
    dies = line.figures["dies"] * line.sockets if "dies" in line.figures else dies_of(links, [domains] * line.sockets)
    what = f"{line.dimms} x {line.dimm_gb} GB" if line.dimms else f"{line.gb} GB on all channels"
    name = clean(brand.replace("(R)", ""))
    each = " each" if line.sockets > 1 else ""
    used = channels * line.sockets
    entry: CpuEntry = {
        "name": f"{line.sockets}x {name}" if line.sockets > 1 else name,
        "title": f"{line.sockets} x {name} of {cores} cores{each}, {used} channels, {what} at {mts} MT/s",
        "kind": "cpu",
        "cpu": brand,
        "sockets": line.sockets,
        "cores": cores * line.sockets,
        "dies": dies,
        "channels": used,
        "mts": mts,
        "memory_bytes": line.gb * GIB,
        "watts": line.figures.get("watts"),
        "parts": _parts(line),
    }
    problems = machine_problems({**entry}, f"the machine {entry['name']}")
    return None if problems else entry, problems


def _parts(line: Line) -> list[Part]:
    if line.usd is not None:
        return [{"part": "all of it, as you say", "price_usd": line.usd, "own": True}]
    return [
        {"part": "memory", "price_usd": None, "gb": line.gb},
        {"part": "everything but its memory", "price_usd": None},
    ]
