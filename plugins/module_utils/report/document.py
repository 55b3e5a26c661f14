# SPDX-License-Identifier: MIT
"""The report of one tower: one JSON document, and the text that the terminal shows.

The document is the only place where results meet; every rendering is made from it alone, so what
the terminal says and what the file says cannot differ. Sizes are bytes, speeds tokens a second.
"""

from __future__ import annotations

import textwrap
from typing import Any, Optional

from ..benchmark.document import name_of
from ..forecast.roofline import Use, calibrated, forecast, machine_of, model_of, sensitivity_text
from ..service.document import ServiceResult
from ..service.placement import imbalance
from ..text import LABEL, WIDTH, clean, number, printable, size, wrapped
from .bandwidth_steps import runs_of_model, steps
from .benchmark_history import slower

# Raised when a key is renamed, removed or changes its meaning, and when a page cannot do without a new one.
SCHEMA_VERSION = 3

# The bars of the bandwidths: a column of names, and the length of the longest.
STEP, BAR = 13, 24

SEVERITIES = ("problem", "advice", "info")
# What is known of a piece of advice; a key that nobody filled in is None.
ADVICE = ("severity", "code", "message", "fix", "gb_s", "worth", "where", "why", "source")


def build_report(parts: dict[str, Any], host: str, generated: str) -> dict[str, Any]:
    """The document from what the roles and modules returned; a part that is not there yet is None.

    ``parts`` has ``tower``, ``memory_channels``, ``build`` and ``model`` (the two manifests), ``service``
    (``completion``, ``server``, ``placement``, ``nodes`` and ``problem``), ``advice``: what advise() says of the
    tower and its memory, the memory's own advice included, ``unlocked``: models that follow a branch or tag,
    ``distribution``: how models came to the towers in this run, and why so, ``benchmarks``: the kept runs, oldest
    first, and ``tuning``: the settings that were found fastest.
    """
    document: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "generated": generated, "host": host}
    for name in ("tower", "memory_channels", "build", "model", "service"):
        document[name] = parts.get(name) or None
    document["benchmarks"], document["tuning"] = parts.get("benchmarks") or [], parts.get("tuning") or None
    own = (document["memory_channels"] or {}).get("advice") or []
    hardware = own if parts.get("advice") is None else parts["advice"]
    document["forecast"] = _forecast(document)
    document["advice"] = advice(document, hardware, parts.get("unlocked") or [])
    document["distribution"] = parts.get("distribution") or None
    return document


def _forecast(document: dict[str, Any]) -> Optional[dict[str, Any]]:
    """What roofline.py says of this model on this machine before anything is measured, with ``calibrated``: the same
    after its benchmarks. None where the memory or the model is unknown."""
    model, memory, tower = document["model"] or {}, document["memory_channels"], document["tower"]
    # The board that a guest shows is what its host makes up, and its CPUs may be emulated.
    machine = machine_of(memory, tower.get("cores")) if memory and not tower.get("hypervisor") else None
    weights = model_of({**(model.get("gguf") or {}), "bytes": model.get("bytes")})
    if not machine or not weights:
        return None
    use = Use(_policy(document))
    known, factor = calibrated(machine, runs_of_model(document), weights, use)
    return {
        **forecast(machine, weights, use),
        "policy": use.policy,
        "calibrated": forecast(known, weights, use, factor) if known != machine else None,
    }


def _policy(document: dict[str, Any]) -> str:
    """The policy of the service's memory by the name that roofline.py has for it; interleave where none runs."""
    placed = (document["service"] or {}).get("placement") or {}
    name = str(next(iter(placed.get("policies") or {}), "interleave"))
    return next((policy for policy in ("weighted", "interleave", "bind") if name.startswith(policy)), "none")


def advice(document: dict[str, Any], hardware: list[dict[str, Any]], unlocked: list[str]) -> list[dict[str, Any]]:
    """What to do next, the most severe first and then what is worth most; each entry has all keys of ``ADVICE``."""
    found: list[dict[str, Any]] = []

    def say(severity: str, message: str, playbook: str) -> None:
        found.append({"severity": severity, "message": message, "fix": f"ansible-playbook llamatower.tower.{playbook}"})

    for part, playbook in (("build", "build"), ("model", "models"), ("service", "serve")):
        if not document[part]:
            say("problem", f"There is no {part} on this tower yet.", playbook)
    if (document["service"] or {}).get("problem"):
        say("problem", document["service"]["problem"], "serve")
    runs = document["benchmarks"]
    fell = [name_of(name) for name in slower(runs[-1], runs[:-1])] if runs else []
    if fell:
        say("advice", f"Slower than in the benchmark before, under the same conditions: {'; '.join(fell)}.", "bench")
    # Within a severity, what keeps a tower from serving at all comes first.
    found += sorted(hardware, key=lambda entry: -(entry.get("gb_s") or 0))
    for name in unlocked:
        say("info", f"Model {name} follows a branch or tag: another tower may get another commit.", "lock")
    entries = [{key: entry.get(key) for key in ADVICE} for entry in found]
    return sorted(entries, key=lambda entry: SEVERITIES.index(entry["severity"]))


def _memory(document: dict[str, Any]) -> list[str]:
    tower, channels = document["tower"], document["memory_channels"]
    text = f"{size(tower['memory_bytes'])} for the system"
    if channels:
        sockets = [socket for socket in channels["sockets"] or [] if socket["populated"]]
        used = [socket["channels_populated"] for socket in sockets]
        total = [socket["channels_total"] for socket in sockets]
        if sockets and None not in used and None not in total:
            text += f"; {sum(used)} of {sum(total)} channels populated"
    return wrapped("MEMORY", text)


def _bandwidth(document: dict[str, Any]) -> list[str]:
    """A line a step: as long as its bandwidth, a range from # to . long; or how it would be measured."""
    found = steps(document)
    longest = max((step["high"] for step in found if step["kind"]), default=0.0)
    lines: list[str] = []
    for step in found:
        said = f"{step['why']}: {step['fix']}" if step["fix"] else step["why"]
        if step["kind"]:
            low, high = (round(BAR * step[end] / longest) for end in ("low", "high"))
            said = f"{'#' * low + '.' * (high - low):<{BAR}}  {step['said']}"
        lines.append(f"{'' if lines else 'BANDWIDTH':<{LABEL}}{step['name']:<{STEP}}{said}")
    return lines


def _forecast_text(found: dict[str, Any]) -> list[str]:
    low, high = (number(found["tokens_per_second"][end]) for end in ("low", "high"))
    text = f"{low} to {high} tokens a second, limited by {found['limited_by']} ({found['why']})"
    changes = sensitivity_text((found["calibrated"] or found)["sensitivity"])
    return wrapped("FORECAST", text) + (wrapped("", changes) if changes else [])


def _nodes(document: dict[str, Any]) -> list[str]:
    nodes = document["tower"]["nodes"]
    each = ", ".join(f"node {node['node']}: {size(node['memory_bytes'])}, {len(node['cpus'])} CPUs" for node in nodes)
    return wrapped("NODES", f"{len(nodes)} ({each})")


def _build(manifest: dict[str, Any]) -> list[str]:
    version = manifest.get("llama_version") or "llama.cpp"
    return wrapped("BUILD", f"{manifest['key'][:12]}  {version}, for {manifest.get('cpu', 'unknown')} CPUs")


def _model(manifest: dict[str, Any]) -> list[str]:
    header = manifest.get("gguf") or {}
    count = len(manifest["files"])
    parts = [
        manifest["name"],
        str(header.get("file_type") or header.get("quantization") or ""),
        size(manifest["bytes"]),
    ]
    parts.append(f"{count} file{'s' if count > 1 else ''}")
    if manifest.get("commit"):
        parts.append(f"commit {manifest['commit'][:12]}")
    return wrapped("MODEL", ", ".join(part for part in parts if part))


def _service(service: ServiceResult) -> list[str]:
    placement, completion = service["placement"], service["completion"]
    nodes = {int(node): count for node, count in (placement["nodes"] or {}).items()}
    held = ", ".join(f"node {node} {size(count)}" for node, count in nodes.items())
    apart = imbalance(nodes, list(nodes)) or 0.0
    policies = ", ".join(placement["policies"] or {})
    lines = wrapped("PLACEMENT", f"{held}; {apart:.1%} apart; policy {policies}")
    total = placement["bytes"] or 0
    huge = f"{(placement['huge_bytes'] or 0) / total:.0%} of weights and buffers" if total else "nothing is loaded"
    lines += wrapped("HUGE PAGES", huge)
    speed = completion["tokens_per_second"]
    lines += wrapped("SPEED", f"{speed:.2f} tokens a second" if speed else "not told by the server")
    lines += wrapped("ANSWER", completion["text"])
    return lines


def report_text(document: dict[str, Any], board: str = "") -> str:
    """The report for a terminal, at most 80 columns, without color."""
    tower = document["tower"]
    name = " ".join(clean(tower["board"][key]) for key in ("vendor", "name") if tower["board"][key])
    sockets = f"{tower['sockets']}x " if (tower["sockets"] or 1) > 1 else ""
    lines = ["=" * WIDTH]
    lines += textwrap.wrap(
        clean(" · ".join(part for part in (document["host"], name, f"{sockets}{tower['cpu']['model']}") if part)), WIDTH
    )
    lines += ["=" * WIDTH, *_memory(document)]
    if board:
        lines += ["", *board.split("\n"), ""]
    lines += _bandwidth(document)
    if document["forecast"]:
        lines += _forecast_text(document["forecast"])
    lines += _nodes(document)
    if document["build"]:
        lines += _build(document["build"])
    if document["model"]:
        lines += _model(document["model"])
    if document["distribution"]:
        lines += wrapped("SHARED BY", document["distribution"])
    if document["service"]:
        lines += _service(document["service"])
    lines.append("")
    for entry in document["advice"]:
        lines += wrapped(entry["severity"].upper(), entry["message"])
        lines += wrapped("", f"-> {entry['fix']}") if entry["fix"] else []
    if not document["advice"]:
        lines += wrapped("OK", "Nothing to mend was found.")
    # A terminal must not obey what a machine calls itself or its parts, wherever that stands.
    return "\n".join(printable(line).rstrip() for line in lines)
