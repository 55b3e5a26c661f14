# SPDX-License-Identifier: MIT
"""What the pages of the report show, HTML and Markdown alike, as plain data.

Made from the report's document alone, like the text for the terminal. The templates (roles/report/templates) and
markdown.py only lay it out and escape it.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Optional

from ..advice.bandwidth_steps import KINDS, served_placement, served_speed, steps
from ..benchmark.terminal import arm_text
from ..memory.bandwidth import channels_in_use
from ..memory.document import Bandwidth, Dimm
from ..service.placement import HUGE_SHARE, imbalance
from ..text import clean, file_name, moment, number, rate, size
from ..tower_document import Node, Tower
from .benchmark_history import history, nice
from .board_picture import natural, picture
from .document import Report, cpu_name, machine_name
from .servers import servers, use_it
from .view import (
    BandwidthView,
    Dimms,
    Figure,
    ForecastView,
    NodeBar,
    NodeView,
    SlotRow,
    StepBar,
    Title,
    TowerView,
)

# From here on steps are drawn on an axis of powers of ten.
HUNDREDFOLD = 100
# Beginnings of the policies that are not to spread memory evenly.
UNEVEN = ("bind", "prefer", "weighted")


def bandwidth(document: Report) -> Optional[BandwidthView]:
    """None where nothing is known."""
    found = steps(document)
    figures = [end for step in found for end in (step["low"], step["high"]) if end]
    if not figures:
        return None
    # A step of a hundredth would be a bar that nobody sees.
    powers = max(figures) > HUNDREDFOLD * min(figures)
    low, marks = _powers(min(figures), max(figures)) if powers else (0.0, _even_marks(max(figures)))

    def at(value: float) -> float:
        part = math.log(value / low, marks[-1] / low) if powers else value / marks[-1]
        return round(100 * part, 2)

    bars: list[StepBar] = []
    before = 0.0
    for step in found:
        start, end = (at(value) if value else 0.0 for value in (step["low"], step["high"]))
        bars.append({**step, "start": start, "end": end, "lost": before})
        before = end if step["kind"] else before
    return {
        "steps": bars,
        "kinds": [(kind, text) for kind, text in KINDS.items() if any(step["kind"] == kind for step in found)],
        "ticks": [{"at": at(mark) if mark else 0.0, "text": f"{mark:,.10g}"} for mark in marks],
        "powers": powers,
    }


def _even_marks(most: float) -> list[float]:
    """The marks of an axis from nothing to at least this, equally far apart."""
    tick = nice(most / 4)
    return [tick * mark for mark in range(math.ceil(most / tick - 1e-9) + 1)]


def _powers(least: float, most: float) -> tuple[float, list[float]]:
    """Where an axis begins whose marks are ten times the one before each, and its marks."""
    first, last = math.floor(math.log10(least) - 0.1), math.ceil(math.log10(most) - 1e-9)
    return 10.0**first, [10.0**power for power in range(first, last + 1)]


def _held(document: Report) -> dict[str, int]:
    """The bytes of the service on each node."""
    placed = served_placement(document)
    return (placed["nodes"] if placed else None) or {}


def placement(document: Report) -> list[NodeBar]:
    """The memory of the service on each node, as parts of the largest, with the even share where it should be even."""
    held, service, placed = _held(document), document["service"], served_placement(document)
    total, largest = sum(held.values()), max(held.values(), default=0)
    if not total:
        return []
    nodes = {str(node): 0 for node in (service.get("nodes") if service else None) or []} | held
    spread = len(nodes) > 1 and not any(
        name.startswith(UNEVEN) for name in (placed["policies"] if placed else None) or {}
    )
    even = total / len(nodes)
    return [
        {
            "node": node,
            "said": size(count),
            "share": f"{count / total:.1%}{f', {_against_even(count, even)}' if spread else ''}",
            "bar": round(100 * count / largest, 2),
            "even": round(100 * even / largest, 2) if spread else None,
        }
        for node, count in sorted(nodes.items(), key=lambda item: int(item[0]))
    ]


def _against_even(count: int, even: float) -> str:
    part = f"{abs(count - even) / even:.1%}"
    return "even" if part == "0.0%" else f"{part} {'more' if count > even else 'less'} than even"


def forecast(document: Report) -> Optional[ForecastView]:
    """The forecast of the speed, how the measured one compares with it, and what would change that one."""
    found = document["forecast"]
    if not found:
        return None
    speed, seconds, (measured, when) = found["tokens_per_second"], found["seconds"], served_speed(document)
    compared = None
    if measured:
        where = "above" if measured > speed["high"] else "below" if measured < speed["low"] else "within"
        compared = f"{rate(measured, unit='tokens/s')} {when}, {where} the forecast"
    return {
        "said": f"{rate(speed['low'], speed['high'], unit='tokens/s')}, {number(speed['expected'])} expected",
        "measured": compared,
        "limit": f"{found['limited_by'].replace('-', ' ')}: {found['why']}",
        "token": f"{number(1000 * seconds['reading'])} ms of reading, {number(1000 * seconds['fixed'])} ms of waiting",
        "changes": [
            {
                "change": entry["change"],
                "gain": f"{entry['gain']:+.0%}",
                "speed": f"about {rate((measured or speed['expected']) * (1 + entry['gain']), unit='tokens/s')}",
                "note": "at a quality cost" if entry["costs_quality"] else "",
            }
            for entry in (found["calibrated"] or found)["sensitivity"]
        ],
    }


def tuning(document: Report) -> Optional[str]:
    """The fastest settings that the tuner found for this model, and how sure it is."""
    found, model = document["tuning"], document["model"]
    if not found or found["model"]["name"] != (model.get("name") if model else None):
        return None
    arm = arm_text(found["winner"], found["winner"]["threads_batch"])
    return clean(f"{arm} (confidence: {found['confidence']}; {moment(found['measured'])} UTC)")


def apart(document: Report) -> Optional[str]:
    """How far the fullest and the emptiest node are apart, as a part of an even share."""
    nodes = {int(node): count for node, count in _held(document).items()}
    spread = imbalance(nodes, list(nodes)) if nodes else None
    return None if spread is None else f"{spread:.1%}"


def huge_page_share(document: Report) -> Optional[str]:
    """The part of the service's memory that is in huge pages."""
    placed = served_placement(document)
    return f"{(placed['huge_bytes'] or 0) / placed['bytes']:.0%}" if placed and placed["bytes"] else None


def _kind(dimm: Dimm) -> str:
    """A DIMM in words: what it is, how fast it runs, and whose it is."""
    speed, rated = dimm["configured_mts"], dimm["rated_mts"]
    parts = [
        f"{(dimm['size_bytes'] or 0) / 2**30:.0f} GiB",
        f"{dimm['type'] or 'DIMM'}{f'-{rated}' if rated else ''}{' RDIMM' if dimm['registered'] else ''}",
        f"at {speed} MT/s" if speed and speed != rated else "",
        f"{dimm['ranks']} rank{'s' if dimm['ranks'] > 1 else ''}" if dimm["ranks"] else "",
        clean(dimm["manufacturer"] or ""),
        clean(dimm["part_number"] or ""),
    ]
    return " ".join(part for part in parts if part)


def dimms(document: Report) -> Dimms:
    """What the table under the board shows."""
    memory = document["memory_channels"]
    found = (memory["dimms"] if memory else None) or []
    kinds = Counter(_kind(dimm) for dimm in found if dimm["populated"])
    slots: list[SlotRow] = [
        {
            "locator": clean(dimm["locator"] or "unnamed"),
            "socket": "unknown" if dimm["socket"] is None else dimm["socket"],
            "channel": clean(dimm["channel"] or "unknown"),
            "content": _kind(dimm) if dimm["populated"] else "empty",
        }
        for dimm in sorted(found, key=lambda dimm: (dimm["socket"] or 0, natural(dimm["locator"])))
    ]
    return {"kinds": [f"{count} x {name}" for name, count in kinds.most_common()], "slots": slots}


def declarations(document: Report) -> list[str]:
    """What to write in an inventory to get this very build and model; nothing for a model that is in no repository.

    The values are JSON, which is YAML: no name can break out of its quotes.
    """
    build, model = document["build"], document["model"]
    lines = []
    if build and build.get("source"):
        lines += [
            f"llama_build_source: {json.dumps(build['source'])}",
            f"llama_build_cpu: {json.dumps(build.get('cpu'))}",
        ]
    source = model.get("source") if model else None
    if model and source and source.get("repo") and model.get("commit"):
        declared = {"name": model["name"], **source, "revision": model["commit"]}
        lines += ["model_store_models:", f"  - {json.dumps(declared)}"]
    return lines


def tower_view(document: Report) -> TowerView:
    """All that the page of one tower shows."""
    tower, memory, model = document["tower"], document["memory_channels"], document["model"]
    service, placed = document["service"], served_placement(document)
    return {
        **title(document),
        "file": file_name(document["host"]),
        "use": use_it(document),
        "figures": figures(document),
        "advice": document["advice"],
        "board": picture(document),
        "dimms": dimms(document),
        "rule": memory["rule"] if memory else None,
        "confidence": memory["confidence"] if memory else None,
        "bandwidth": bandwidth(document),
        "forecast": forecast(document),
        "history": history(document["benchmarks"]),
        "tuning": tuning(document),
        "placement": placement(document),
        "apart": apart(document),
        "policies": sorted(map(clean, (placed["policies"] if placed else None) or {})),
        "huge": huge_page_share(document),
        "servers": servers(document),
        "nodes": [_node(node) for node in tower["nodes"]],
        "thp": tower["thp"]["enabled"] if tower["thp"] else None,
        "completion": service.get("completion") if service else None,
        "system": _system(tower),
        "model": model,
        "model_size": size(model["bytes"]) if model else None,
        "declarations": declarations(document),
        "build": document["build"],
        "distribution": document["distribution"],
    }


def title(document: Report) -> Title:
    """What both pages say."""
    return {
        "host": clean(document["host"]),
        "machine": clean(machine_name(document["tower"])),
        "cpu": clean(cpu_name(document["tower"])),
        "generated": document["generated"],
        "verdict": clean(document["verdict"]["sentence"]),
    }


def _node(node: Node) -> NodeView:
    pools = sorted((node.get("hugepages") or {}).items(), key=lambda item: int(item[0]))
    return {
        "node": node["node"],
        "memory": size(node["memory_bytes"]),
        "cpus": len(node["cpus"]),
        "hugepages": ", ".join(
            f"{pool['total']} of {int(kilobytes) // 1024} MiB, {pool['free']} free"
            for kilobytes, pool in pools
            if pool["total"]
        ),
    }


def _system(tower: Tower) -> str:
    parts = (
        clean(tower["os"]["name"] or ""),
        f"kernel {clean(tower['kernel'])}" if tower["kernel"] else "",
        f"{size(tower['memory_bytes'])} of memory",
        f"BIOS {clean(tower['bios']['version'])}" if tower["bios"]["version"] else "",
    )
    return ", ".join(part for part in parts if part)


def _bandwidths(document: Report) -> Optional[Bandwidth]:
    return document["memory_channels"]["bandwidth"] if document["memory_channels"] else None


def populated_text(document: Report) -> Optional[str]:
    """What the DIMMs give, as text."""
    known = _bandwidths(document)
    return rate(known["populated_gb_s"]) if known and known["populated_gb_s"] else None


def figures(document: Report) -> list[Figure]:
    """The four numbers to see first, each against what it could be."""
    speed, _when = served_speed(document)
    judged, model, known = document["verdict"], document["model"], _bandwidths(document)
    used, total = channels_in_use(document["memory_channels"])
    reachable, populated = (known["reachable_gb_s"], known["populated_gb_s"]) if known else (None, None)
    whole = known["theoretical_gb_s"] if known else None
    reached, _, unit = rate(*reachable).rpartition(" ") if reachable else ("unknown", "", "")
    held = f"of {number(judged['allowed'])} that its memory allows" if judged["allowed"] else ""
    limits = {"channels": "limited by the channels", "ccd-links": "limited by the dies' links"}
    given = f"of {rate(populated)} that the DIMMs give" if populated and reachable else ""
    return [
        {
            "name": "Speed",
            "value": number(speed) if speed else "none",
            "unit": "tokens/s" if speed else "",
            "against": ", ".join(filter(None, [held, clean(model["name"] if model else "no model")])),
        },
        {
            "name": "Memory channels",
            "value": "unknown" if used is None or total is None else str(used),
            "unit": "" if used is None or total is None else f"of {total}",
            "against": f"{rate(populated)}{f' of {rate(whole)}' if whole else ''} with these DIMMs"
            if populated
            else "",
        },
        {
            "name": "Reachable",
            "value": reached,
            "unit": unit,
            "against": ", ".join(filter(None, [given, limits.get(known["limited_by"], "") if known else ""])),
        },
        {
            "name": "In huge pages",
            "value": huge_page_share(document) or "none",
            "unit": "",
            "against": f"of at least {HUGE_SHARE:.0%}; nodes {apart(document)} apart"
            if apart(document)
            else "nothing is loaded",
        },
    ]
