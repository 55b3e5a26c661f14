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

from ..advice.bandwidth_steps import KINDS, served_speed, steps
from ..advice.document import OddTower
from ..benchmark.terminal import arm_text
from ..memory.bandwidth import channels_in_use
from ..memory.document import Bandwidth, Dimm
from ..service.document import PlacementInfo
from ..service.placement import imbalance
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
    FleetRow,
    FleetView,
    ForecastView,
    NodeBar,
    NodeView,
    SlotRow,
    StepBar,
    Title,
    TowerView,
)


def bandwidth(document: Report) -> Optional[BandwidthView]:
    """None where nothing is known."""
    found = steps(document)
    longest = max((step["high"] or 0.0 for step in found), default=0.0)
    if not longest:
        return None
    tick = nice(longest / 4)
    axis = tick * math.ceil(longest / tick - 1e-9)
    bars: list[StepBar] = []
    before = 0.0
    for step in found:
        start, end = (round(100 * (value or 0.0) / axis, 2) for value in (step["low"], step["high"]))
        bars.append({**step, "start": start, "end": end, "lost": before})
        before = end if step["kind"] else before
    return {
        "steps": bars,
        "kinds": [(kind, text) for kind, text in KINDS.items() if any(step["kind"] == kind for step in found)],
        "ticks": [
            {"at": round(100 * tick * mark / axis, 2), "text": number(tick * mark)}
            for mark in range(round(axis / tick) + 1)
        ],
    }


def _placed(document: Report) -> Optional[PlacementInfo]:
    return document["service"].get("placement") if document["service"] else None


def _held(document: Report) -> dict[str, int]:
    """The bytes of the service on each node."""
    placed = _placed(document)
    return (placed["nodes"] if placed else None) or {}


def placement(document: Report) -> list[NodeBar]:
    """The memory of the service on each node, as parts of the largest."""
    nodes = _held(document)
    largest, total = max(nodes.values(), default=0), sum(nodes.values())
    return [
        {
            "node": node,
            "said": size(count),
            "share": f"{count / total:.1%}" if total else "",
            "bar": round(100 * count / largest, 2) if largest else 0,
        }
        for node, count in sorted(nodes.items(), key=lambda item: int(item[0]))
    ]


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
    placed = _placed(document)
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
    service, placed = document["service"], _placed(document)
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


def _populated(document: Report) -> Optional[str]:
    """What the DIMMs give, as text."""
    known = _bandwidths(document)
    return rate(known["populated_gb_s"]) if known and known["populated_gb_s"] else None


def figures(document: Report) -> list[Figure]:
    """The four numbers to see first."""
    speed, _when = served_speed(document)
    model, known, populated = document["model"], _bandwidths(document), _populated(document)
    used, total = channels_in_use(document["memory_channels"])
    reachable = known["reachable_gb_s"] if known else None
    reached, _, unit = rate(*reachable).rpartition(" ") if reachable else ("unknown", "", "")
    limits = {"channels": "limited by the channels", "ccd-links": "limited by the dies' links"}
    return [
        {
            "name": "Speed",
            "value": number(speed) if speed else "none",
            "unit": "tokens/s" if speed else "",
            "against": clean(model["name"] if model else "no model"),
        },
        {
            "name": "Memory channels",
            "value": "unknown" if used is None or total is None else str(used),
            "unit": "" if used is None or total is None else f"of {total}",
            "against": f"{populated} with these DIMMs" if populated else "",
        },
        {
            "name": "Reachable",
            "value": reached,
            "unit": unit,
            "against": limits.get(known["limited_by"], "") if known else "",
        },
        {
            "name": "In huge pages",
            "value": huge_page_share(document) or "none",
            "unit": "",
            "against": f"nodes {apart(document)} apart" if apart(document) else "nothing is loaded",
        },
    ]


def _unread(host: str) -> FleetRow:
    """The row of a tower of which nothing is known."""
    return {
        "host": clean(host),
        "machine": "",
        "cpu": "",
        "generated": "",
        "verdict": "There is no report of it yet.",
        "page": "",
        "old": True,
        "odd": False,
        "channels": "unknown",
        "populated": "unknown",
        "read": "not measured",
        "model": "unknown",
        "speed": "none",
        "bar": 0,
        "problems": 0,
    }


def fleet_view(
    documents: list[Report], odd: list[OddTower], hosts: list[str], read: list[str], generated: str
) -> FleetView:
    """All that the page of the fleet shows: a row a tower, and who is not like the others.

    ``hosts`` are the towers of the inventory, ``read`` those that were read in this run, and ``generated`` is now.
    """
    different = {entry["host"] for entry in odd}
    speeds = {document["host"]: served_speed(document)[0] or 0.0 for document in documents}
    fastest = max(speeds.values(), default=0.0)
    rows = [_unread(host) for host in set(hosts) - speeds.keys()]
    for document in documents:
        host, (used, total) = document["host"], channels_in_use(document["memory_channels"])
        counted = used is not None and total is not None
        measured = {step["code"]: step["said"] for step in steps(document)}
        rows.append(
            {
                **title(document),
                "generated": moment(document["generated"]),
                "page": f"{file_name(host)}.html",
                "old": host not in read,
                "odd": host in different,
                "channels": f"{used} of {total}" if counted else "unknown",
                "populated": _populated(document) or "unknown",
                "read": measured.get("read") or "not measured",
                "model": clean(document["model"]["name"] if document["model"] else "none"),
                "speed": number(speeds[host]) if speeds[host] else "none",
                "bar": round(100 * speeds[host] / fastest, 1) if fastest else 0,
                "problems": sum(1 for entry in document["advice"] if entry["severity"] == "problem"),
            }
        )
    return {
        "rows": sorted(rows, key=lambda row: natural(row["host"])),
        "generated": generated,
        "old": sum(1 for row in rows if row["old"]),
        "problems": sum(1 for row in rows if row["problems"]),
        "odd": [
            {
                "host": clean(entry["host"]),
                "page": f"{file_name(entry['host'])}.html",
                "message": clean(entry["message"]),
                "differences": entry["differences"],
            }
            for entry in odd
        ],
    }
