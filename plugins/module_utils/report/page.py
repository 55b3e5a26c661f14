# SPDX-License-Identifier: MIT
"""What the pages of the report show, HTML and Markdown alike, as plain data.

Made from the report's document alone, like the text for the terminal. The templates (roles/report/templates) and
report_markdown.py only lay it out and escape it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from typing import Any, Optional

from ..advice.document import OddTower
from ..benchmark.text import arm_text
from ..service.placement import imbalance
from ..text import clean, number, size
from .bandwidth_steps import KINDS, served_speed, steps
from .benchmark_history import history, moment, nice
from .board_picture import natural, picture


def bandwidth(document: dict[str, Any]) -> Optional[dict[str, Any]]:
    """The steps with their bars in percent of the axis, and the ``ticks`` of the axis; None where nothing is known.

    ``lost`` is how far the bar of the last step before reaches that was known.
    """
    found = steps(document)
    longest = max((step["high"] for step in found if step["kind"]), default=0.0)
    if not longest:
        return None
    tick = nice(longest / 4)
    axis = tick * math.ceil(longest / tick - 1e-9)
    before = 0.0
    for step in found:
        step["from"], step["to"] = (round(100 * (step[end] or 0) / axis, 2) for end in ("low", "high"))
        step["lost"] = before
        before = step["to"] if step["kind"] else before
    return {
        "steps": found,
        "kinds": [(kind, text) for kind, text in KINDS.items() if any(step["kind"] == kind for step in found)],
        "ticks": [
            {"at": round(100 * tick * mark / axis, 2), "text": number(tick * mark)}
            for mark in range(round(axis / tick) + 1)
        ],
    }


def placement(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The memory of the service on each node, as parts of the largest."""
    nodes = ((document["service"] or {}).get("placement") or {}).get("nodes") or {}
    largest, total = max(nodes.values(), default=0), sum(nodes.values())
    return [
        {
            "node": node,
            "said": size(count),
            "share": f"{count / total:.1%}" if total else "",
            "to": round(100 * count / largest, 2) if largest else 0,
        }
        for node, count in sorted(nodes.items(), key=lambda item: int(item[0]))
    ]


def forecast(document: dict[str, Any]) -> Optional[dict[str, Any]]:
    """The forecast of the speed, how the measured one compares with it, and what would change that one."""
    found = document["forecast"]
    if not found:
        return None
    speed, seconds, (measured, when) = found["tokens_per_second"], found["seconds"], served_speed(document)
    compared = None
    if measured:
        where = "above" if measured > speed["high"] else "below" if measured < speed["low"] else "within"
        compared = f"{number(measured)} tokens/s {when}, {where} the forecast"
    return {
        "said": f"{number(speed['low'])} to {number(speed['high'])} tokens/s, {number(speed['expected'])} expected",
        "measured": compared,
        "limit": f"{found['limited_by'].replace('-', ' ')}: {found['why']}",
        "token": f"{number(1000 * seconds['reading'])} ms of reading, {number(1000 * seconds['fixed'])} ms of waiting",
        "changes": [
            {
                "change": entry["change"],
                "gain": f"{entry['gain']:+.0%}",
                "speed": f"about {number((measured or speed['expected']) * (1 + entry['gain']))} tokens/s",
                "note": "at a quality cost" if entry["costs_quality"] else "",
            }
            for entry in (found["calibrated"] or found)["sensitivity"]
        ],
    }


def tuning(document: dict[str, Any]) -> Optional[str]:
    """The fastest settings that the tuner found for this model, and how sure it is."""
    found, model = document["tuning"], document["model"] or {}
    if not found or found["model"]["name"] != model.get("name"):
        return None
    winner = found["winner"]
    arm = arm_text(winner, winner["threads_batch"])
    return clean(f"{arm} (confidence: {found['confidence']}; {moment(found['measured'])} UTC)")


def apart(document: dict[str, Any]) -> Optional[str]:
    """How far the fullest and the emptiest node are apart, as a part of an even share."""
    placement = (document["service"] or {}).get("placement") or {}
    nodes = {int(node): count for node, count in (placement.get("nodes") or {}).items()}
    spread = imbalance(nodes, list(nodes)) if nodes else None
    return f"{spread:.1%}" if spread is not None else None


def huge_pages(document: dict[str, Any]) -> Optional[str]:
    """The part of the service's memory that is in huge pages."""
    placed = (document["service"] or {}).get("placement") or {}
    return f"{placed['huge_bytes'] / placed['bytes']:.0%}" if placed.get("bytes") else None


def dimms(document: dict[str, Any]) -> dict[str, Any]:
    """``kinds``: how many DIMMs there are of each kind; ``slots``: a row a slot, for the table under the board."""
    found = (document["memory_channels"] or {}).get("dimms") or []

    def kind(dimm: dict[str, Any]) -> str:
        speed, rated = dimm["configured_mts"], dimm["rated_mts"]
        at = f"at {speed} MT/s" if speed and speed != rated else ""
        parts = [
            f"{dimm['size_bytes'] / 2**30:.0f} GiB",
            f"{dimm['type'] or 'DIMM'}{f'-{rated}' if rated else ''}{' RDIMM' if dimm['registered'] else ''}",
            at,
            f"{dimm['ranks']} rank{'s' if dimm['ranks'] > 1 else ''}" if dimm["ranks"] else "",
            clean(dimm["manufacturer"] or ""),
            clean(dimm["part_number"] or ""),
        ]
        return " ".join(part for part in parts if part)

    kinds = Counter(kind(dimm) for dimm in found if dimm["populated"])
    slots = [
        {
            "locator": clean(dimm["locator"] or "unnamed"),
            "socket": "unknown" if dimm["socket"] is None else dimm["socket"],
            "channel": clean(dimm["channel"] or "unknown"),
            "content": kind(dimm) if dimm["populated"] else "empty",
        }
        for dimm in sorted(found, key=lambda dimm: (dimm["socket"] or 0, natural(dimm["locator"])))
    ]
    return {"kinds": [f"{count} x {name}" for name, count in kinds.most_common()], "slots": slots}


def verdict(document: dict[str, Any]) -> str:
    """What stands in the way of this tower, in one sentence."""
    worst = next((entry for entry in document["advice"] if entry["severity"] == "problem"), None)
    if worst:
        return clean(worst["message"])
    advised = sum(1 for entry in document["advice"] if entry["severity"] == "advice")
    if advised:
        return f"It serves, and {'one thing' if advised == 1 else f'{advised} things'} would make it better."
    return "It serves, and nothing to mend was found."


def declarations(document: dict[str, Any]) -> list[str]:
    """What to write in an inventory to get this very build and model; nothing for a model that is in no repository.

    The values are JSON, which is YAML: no name can break out of its quotes.
    """
    build, model = document["build"] or {}, document["model"] or {}
    lines = []
    if build.get("source"):
        lines += [
            f"llama_build_source: {json.dumps(build['source'])}",
            f"llama_build_cpu: {json.dumps(build.get('cpu'))}",
        ]
    source = model.get("source") or {}
    if source.get("repo") and model.get("commit"):
        declared = {"name": model["name"], **source, "revision": model["commit"]}
        lines += ["model_store_models:", f"  - {json.dumps(declared)}"]
    return lines


def tower_view(document: dict[str, Any]) -> dict[str, Any]:
    """All that the page of one tower shows."""
    tower, service = document["tower"], document["service"] or {}
    name = " ".join(clean(tower["board"][key]) for key in ("vendor", "name") if tower["board"][key])
    sockets = f"{tower['sockets']}x " if (tower["sockets"] or 1) > 1 else ""
    placed = service.get("placement") or {}
    build, model, bios = document["build"], document["model"], tower.get("bios") or {}
    return {
        "host": clean(document["host"]),
        "file": report_name(document["host"]),
        "machine": name,
        "cpu": clean(f"{sockets}{tower['cpu']['model']}"),
        "generated": document["generated"],
        "verdict": verdict(document),
        "figures": figures(document),
        "advice": document["advice"],
        "board": picture(document),
        "dimms": dimms(document),
        "rule": (document["memory_channels"] or {}).get("rule"),
        "confidence": (document["memory_channels"] or {}).get("confidence"),
        "bandwidth": bandwidth(document),
        "forecast": forecast(document),
        "history": history(document),
        "tuning": tuning(document),
        "placement": placement(document),
        "apart": apart(document),
        "policies": sorted(map(clean, placed.get("policies") or {})),
        "huge": huge_pages(document),
        "nodes": [
            {
                "node": node["node"],
                "memory": size(node["memory_bytes"]),
                "cpus": len(node["cpus"]),
                "hugepages": ", ".join(
                    f"{count['total']} of {int(kilobytes) // 1024} MiB, {count['free']} free"
                    for kilobytes, count in sorted((node.get("hugepages") or {}).items(), key=lambda item: int(item[0]))
                    if count["total"]
                ),
            }
            for node in tower["nodes"]
        ],
        "thp": (tower.get("thp") or {}).get("enabled"),
        "completion": service.get("completion"),
        "system": ", ".join(
            part
            for part in (
                clean((tower.get("os") or {}).get("name") or ""),
                f"kernel {clean(tower['kernel'])}" if tower.get("kernel") else "",
                f"{size(tower['memory_bytes'])} of memory",
                f"BIOS {clean(bios['version'])}" if bios.get("version") else "",
            )
            if part
        ),
        "model": model,
        "model_size": size(model["bytes"]) if model else None,
        "declarations": declarations(document),
        "build": build,
        "distribution": document["distribution"],
    }


def figures(document: dict[str, Any]) -> list[dict[str, str]]:
    """The four numbers to see first: ``name``, ``value``, ``unit`` and what to hold it ``against``, if anything."""
    memory = document["memory_channels"] or {}
    speed, _when = served_speed(document)
    model, known = document["model"] or {}, memory.get("bandwidth") or {}
    reachable, used = known.get("reachable_gb_s"), channels(document)
    return [
        {
            "name": "Speed",
            "value": number(speed) if speed else "none",
            "unit": "tokens/s" if speed else "",
            "against": clean(model.get("name") or "no model"),
        },
        {
            "name": "Memory channels",
            "value": str(used[0]) if used else "unknown",
            "unit": f"of {used[1]}" if used else "",
            "against": f"{known['populated_gb_s']:.0f} GB/s with these DIMMs" if known.get("populated_gb_s") else "",
        },
        {
            "name": "Reachable",
            "value": f"{reachable[0]:.0f} to {reachable[1]:.0f}" if reachable else "unknown",
            "unit": "GB/s" if reachable else "",
            "against": {"channels": "limited by the channels", "ccd-links": "limited by the dies' links"}.get(
                known.get("limited_by") or "", ""
            ),
        },
        {
            "name": "In huge pages",
            "value": huge_pages(document) or "none",
            "unit": "",
            "against": f"nodes {apart(document)} apart" if apart(document) else "nothing is loaded",
        },
    ]


def channels(document: dict[str, Any]) -> Optional[tuple[int, int]]:
    """Channels in use and channels of the CPUs; None where either is unknown."""
    sockets = [socket for socket in (document["memory_channels"] or {}).get("sockets") or [] if socket["populated"]]
    used = [socket["channels_populated"] for socket in sockets]
    total = [socket["channels_total"] for socket in sockets]
    return (sum(used), sum(total)) if used and None not in used + total else None


def fleet_view(documents: list[dict[str, Any]], odd: list[OddTower]) -> dict[str, Any]:
    """All that the page of the fleet shows: a row a tower, and who is not like the others."""
    different = {entry["host"]: {change["what"] for change in entry["differences"]} for entry in odd}
    speeds = {document["host"]: served_speed(document)[0] or 0.0 for document in documents}
    fastest = max(speeds.values(), default=0.0)
    rows = []
    for document in sorted(documents, key=lambda document: natural(document["host"])):
        host, used = document["host"], channels(document)
        known = (document["memory_channels"] or {}).get("bandwidth") or {}
        measured = {step["name"]: step["said"] for step in steps(document)}
        view = {key: tower_view(document)[key] for key in ("host", "machine", "cpu", "generated", "verdict")}
        rows.append(
            {
                **view,
                "page": f"{report_name(host)}.html",
                "odd": host in different,
                "channels": f"{used[0]} of {used[1]}" if used else "unknown",
                "missing": bool(used and used[0] < used[1]),
                "populated": f"{known['populated_gb_s']:.0f} GB/s" if known.get("populated_gb_s") else "unknown",
                "read": measured.get("Read") or "not measured",
                "model": clean((document["model"] or {}).get("name") or "none"),
                "speed": number(speeds[host]) if speeds[host] else "none",
                "bar": round(100 * speeds[host] / fastest, 1) if fastest else 0,
                "problems": sum(1 for entry in document["advice"] if entry["severity"] == "problem"),
            }
        )
    return {
        "rows": rows,
        "problems": sum(1 for row in rows if row["problems"]),
        "odd": [
            {
                "host": clean(entry["host"]),
                "page": f"{report_name(entry['host'])}.html",
                "message": clean(entry["message"]),
                "differences": entry["differences"],
            }
            for entry in odd
        ],
    }


def report_name(host: str) -> str:
    """What the files of a tower's report are called, without their ending.

    A host's name may have characters that a path gives a meaning, and ``index`` is the page of all towers: such names
    get a part of their digest, so that two hosts never share a file.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", host).lstrip(".")
    if plain == host and host != "index":
        return host
    return f"{plain}-{hashlib.sha256(host.encode()).hexdigest()[:8]}"
