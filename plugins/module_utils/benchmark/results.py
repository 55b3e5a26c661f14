# SPDX-License-Identifier: MIT
"""What a measurement says: median and spread, what the read probe found, and what the memory would allow."""

from __future__ import annotations

import hashlib
from statistics import median
from typing import Optional

from ..service.tuned import hardware_of
from ..tower_document import Tower
from .document import Conditions, Derived, Probe, Quantity


def quantity(samples: list[float], unit: str) -> Quantity:
    """Median and spread (largest minus smallest over the median; 0.0 for one sample) of positive samples.

    Raises ValueError where there is none.
    """
    if not samples or min(samples) <= 0:
        raise ValueError(f"A quantity needs samples above zero, not {samples}.")
    middle = median(samples)
    return {
        "unit": unit,
        "samples": samples,
        "median": middle,
        "spread": round((max(samples) - min(samples)) / middle, 4),
    }


def model_label(name: str, sha256: list[str]) -> str:
    """A model in the conditions of a run: its name, and a digest of all of its files."""
    return f"{name} {hashlib.sha256(''.join(sha256).encode()).hexdigest()[:12]}"


def probe_results(answer: Probe) -> dict[str, Quantity]:
    """The quantities of what read_probe printed: ``read_node0_node1`` (CPU, memory) and ``read_whole``."""
    cells = {f"read_node{cell['cpu_node']}_node{cell['memory_node']}": cell for cell in answer["cells"]}
    return {name: quantity(cell["gb_s"], "GB/s") for name, cell in {**cells, "read_whole": answer["whole"]}.items()}


def misplaced(answer: Probe) -> Optional[str]:
    """One sentence where buffers of the probe did not lie where they were put, else None."""
    wrong = [f"{cell['cpu_node']} to {cell['memory_node']}" for cell in answer["cells"] if cell["misplaced"]]
    if not wrong:
        return None
    return (
        f"The probe's memory was not on the node asked for (CPU to memory node {', '.join(wrong)}): free memory there."
    )


def conditions_of(tower: Tower) -> Conditions:
    """What a tower's speed depends on without its being a fault of the tower's; of what tower_info returns."""
    return {
        "kernel": tower["kernel"],
        "bios": tower["bios"]["version"],
        **hardware_of(tower),
        "thp": tower["thp"]["enabled"] if tower["thp"] else None,
        "governor": tower["frequency"]["governor"] if tower["frequency"] else None,
    }


def derived(results: dict[str, Quantity], active_bytes: Optional[int]) -> Derived:
    """What the memory allows, in tokens a second, and which part of it the service reaches; None where not measured."""

    def ratio(above: Optional[float], below: Optional[float]) -> Optional[float]:
        return round(above / below, 3) if above and below else None

    middle = {name: result["median"] for name, result in results.items()}
    bytes_a_second = middle.get("read_whole", 0) * 1e9
    roofline = bytes_a_second / active_bytes if active_bytes and bytes_a_second else None
    return {
        "active_bytes": active_bytes,
        "roofline_tokens_per_second": round(roofline, 2) if roofline else None,
        "service_of_roofline": ratio(middle.get("service_steady"), roofline),
        "service_of_bench": ratio(middle.get("service_steady"), middle.get("bench_decode")),
    }
