# SPDX-License-Identifier: MIT
"""What machines cost, in US dollars, and of which day the prices are.

Memory has one price a gigabyte, which all machines use: it costs a multiple in 2026 of what it did in 2024, and a sum
of parts of both years is the price of nothing.
"""

from __future__ import annotations

import re
from typing import Optional

from ..text import whole
from .document import GpuEntry, MachineEntry, MemoryPrice, Part

# ``$6,000``, ``6000``, ``6k``, ``6000 USD``; within a line of other things it has a sign or a unit.
AMOUNT = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?\s?k?(?![\w.])"
MONEY = re.compile(rf"\$\s*{AMOUNT}|\b{AMOUNT}\s*(?:USD|dollars?)\b", re.I)
GIB = 2**30


def dollars(text: str) -> Optional[float]:
    """A sum of money as people write it; None where it is none."""
    found = re.fullmatch(rf"\s*\$?\s*({AMOUNT})\s*(?:USD|dollars?)?\s*", text, re.I)
    if not found:
        return None
    digits = found.group(1).replace(",", "").lower()
    return float(digits.rstrip("k ")) * (1000 if "k" in digits else 1)


def memory_usd(entry: MachineEntry, memory: MemoryPrice) -> int:
    """What the memory of a machine costs at so much a gigabyte."""
    return round(entry["memory_bytes"] / GIB * memory["usd_per_gb"]) if entry["kind"] == "cpu" else 0


def priced(entry: MachineEntry, memory: Optional[MemoryPrice]) -> MachineEntry:
    """The machine with its memory at that price. One that was sold as a whole for less than its memory alone costs now
    costs at least that."""
    if entry["kind"] != "cpu" or memory is None:
        return entry
    said: Part = {"part": "memory", "price_usd": None, "date": memory["date"], "source": memory["source"]}
    if any("gb" in part for part in entry["parts"]):
        parts: list[Part] = [
            {**part, **said, "price_usd": round(part["gb"] * memory["usd_per_gb"])} if "gb" in part else part
            for part in entry["parts"]
        ]
        return {**entry, "parts": parts}
    known, least = cost_of(entry), memory_usd(entry, memory)
    if known is None or known >= least or any(part.get("own") for part in entry["parts"]):
        return entry
    return {**entry, "parts": [{**said, "price_usd": least}], "least": True}


def cost_of(entry: MachineEntry, count: int = 1) -> Optional[float]:
    """What the machine costs, or so many of its GPUs with what they are plugged into; None where a price is unknown."""
    if entry["kind"] == "tower":
        return None
    if entry["kind"] == "gpu":
        # What GPUs are plugged into costs more, but nothing is known of it: the sum is then a least one.
        return float(count * entry["price_usd"] + (entry["host"]["price_usd"] or 0)) if entry["price_usd"] else None
    prices = [part["price_usd"] for part in entry["parts"]]
    known = [price for price in prices if price is not None]
    return float(sum(known)) if prices and len(known) == len(prices) else None


def is_least(entry: MachineEntry) -> bool:
    """Whether the whole costs more than the sum that is known."""
    if entry["kind"] == "gpu":
        return entry["host"]["price_usd"] is None
    return entry["kind"] == "cpu" and entry.get("least", False)


def _gpu_date(entry: GpuEntry) -> str:
    told = entry.get("price")
    return str(told["date"]) if told and told.get("date") else ""


def oldest(entry: MachineEntry) -> Optional[str]:
    """The day of the oldest price that counts, as 2024-06-21; None where there is no price, or none has a day."""
    if entry["kind"] == "tower":
        return None
    if entry["kind"] == "gpu":
        return _gpu_date(entry) or None
    return min((str(part["date"]) for part in entry["parts"] if part["price_usd"] and part.get("date")), default=None)


def is_old(date: Optional[str], today: str) -> bool:
    """Whether a day is more than a year before another."""
    return date is not None and date < f"{int(today[:4]) - 1:04}{today[4:]}"


def price_remarks(entry: MachineEntry, cost: Optional[float]) -> list[str]:
    """What is to be said of the price of a machine."""
    remarks = []
    if entry["kind"] == "gpu" and entry["host"]["price_usd"] is None:
        remarks.append("What the GPUs are plugged into is not in the cost.")
    if entry["kind"] == "cpu":
        unknown = [str(part.get("part")) for part in entry["parts"] if part["price_usd"] is None]
        known = sum(part["price_usd"] or 0 for part in entry["parts"])
        if entry.get("least"):
            remarks.append(
                "It was sold for less than its memory alone costs now, which is the cost here: the whole is more."
            )
        if cost is None and known:
            remarks.append(f"The price of {' and of '.join(unknown)} is not known, of the rest it is ${whole(known)}.")
    return remarks
