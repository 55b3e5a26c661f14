# SPDX-License-Identifier: MIT
"""The report of one tower: one JSON document, and the text that the terminal shows.

The document is the only place where results meet; every rendering is made from it alone, so what
the terminal says and what the file says cannot differ. Sizes are bytes, speeds tokens a second.
"""

from __future__ import annotations

import textwrap
from typing import Any

# Raised when a key is renamed, removed or changes its meaning; new keys do not raise it.
SCHEMA_VERSION = 1

WIDTH = 80
LABEL = 11


def clean(value: Any) -> str:
    """Text from a machine without control characters: a terminal must not obey a DMI string."""
    return "".join(character if character.isprintable() else " " for character in str(value)).strip()


def size(count: float | None) -> str:
    """Bytes in the unit that people read: ``282972864`` is ``283 MB``."""
    if count is None:
        return "unknown"
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.5:
            return f"{count:.0f} {unit}" if unit != "GB" or count >= 99.95 else f"{count:.1f} GB"
        count /= 1000
    return f"{count:.2f} TB"


def build_report(parts: dict[str, Any], host: str, generated: str) -> dict[str, Any]:
    """The document from what the roles and modules returned; a part that is not there yet is None.

    ``parts`` has ``tower``, ``memory_channels``, ``build`` and ``model`` (the two manifests) and
    ``service`` (``completion``, ``server``, ``placement``, ``nodes`` and ``problem``).
    """
    document: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "generated": generated, "host": host}
    for name in ("tower", "memory_channels", "build", "model", "service"):
        document[name] = parts.get(name) or None
    document["advice"] = advice(document)
    return document


def advice(document: dict[str, Any]) -> list[dict[str, str]]:
    """What to do next, the most important first: each with severity, message and fix."""
    found = []
    for part, playbook in (("build", "build"), ("model", "models"), ("service", "serve")):
        if not document[part]:
            found.append(
                {
                    "severity": "problem",
                    "message": f"There is no {part} on this tower yet.",
                    "fix": f"ansible-playbook playbooks/{playbook}.yml",
                }
            )
    service = document["service"] or {}
    if service.get("problem"):
        found.append(
            {"severity": "problem", "message": service["problem"], "fix": "ansible-playbook playbooks/serve.yml"}
        )
    for entry in (document["memory_channels"] or {}).get("advice") or []:
        found.append({key: entry[key] for key in ("severity", "message", "fix")})
    order = {"problem": 0, "advice": 1, "info": 2}
    return sorted(found, key=lambda entry: order.get(entry["severity"], 3))


def _wrapped(label: str, text: str) -> list[str]:
    lines = textwrap.wrap(clean(text), WIDTH - LABEL) or [""]
    return [f"{label if not number else '':<{LABEL}}{line}" for number, line in enumerate(lines)]


def _memory(document: dict[str, Any]) -> list[str]:
    tower, channels = document["tower"], document["memory_channels"]
    text = f"{size(tower['memory_bytes'])} for the system"
    if channels:
        sockets = [socket for socket in channels["sockets"] or [] if socket["populated"]]
        used = [socket["channels_populated"] for socket in sockets]
        total = [socket["channels_total"] for socket in sockets]
        if sockets and None not in used and None not in total:
            text += f"; {sum(used)} of {sum(total)} channels populated"
        bandwidth = channels["bandwidth"] or {}
        if bandwidth.get("populated_gb_s"):
            text += f", {bandwidth['populated_gb_s']:.1f} GB/s"
            if bandwidth.get("theoretical_gb_s"):
                text += f" of {bandwidth['theoretical_gb_s']:.1f}"
        reachable = bandwidth.get("reachable_gb_s")
        if reachable:
            text += f", reachable {reachable[0]:.0f} to {reachable[1]:.0f} ({bandwidth['limited_by']})"
    return _wrapped("MEMORY", text)


def _nodes(document: dict[str, Any]) -> list[str]:
    nodes = document["tower"]["nodes"]
    each = ", ".join(f"node {node['node']}: {size(node['memory_bytes'])}, {len(node['cpus'])} CPUs" for node in nodes)
    return _wrapped("NODES", f"{len(nodes)} ({each})")


def _build(manifest: dict[str, Any]) -> list[str]:
    version = manifest.get("llama_version") or "llama.cpp"
    return _wrapped("BUILD", f"{manifest['key'][:12]}  {version}, for {manifest.get('cpu', 'unknown')} CPUs")


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
    return _wrapped("MODEL", ", ".join(part for part in parts if part))


def _service(service: dict[str, Any]) -> list[str]:
    placement, completion = service["placement"], service["completion"]
    held = ", ".join(f"node {node} {size(count)}" for node, count in (placement["nodes"] or {}).items())
    shares = list((placement["nodes"] or {}).values())
    apart = (max(shares) - min(shares)) * len(shares) / sum(shares) if len(shares) > 1 else 0.0
    policies = ", ".join(placement["policies"] or {})
    lines = _wrapped("PLACEMENT", f"{held}; {apart:.1%} apart; policy {policies}")
    total = placement["bytes"] or 0
    huge = f"{placement['huge_bytes'] / total:.0%} of weights and buffers" if total else "nothing is loaded"
    lines += _wrapped("HUGE PAGES", huge)
    speed = completion["tokens_per_second"]
    lines += _wrapped("SPEED", f"{speed:.2f} tokens a second" if speed else "not told by the server")
    lines += _wrapped("ANSWER", completion["text"])
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
        lines += ["", *board.splitlines(), ""]
    lines += _nodes(document)
    if document["build"]:
        lines += _build(document["build"])
    if document["model"]:
        lines += _model(document["model"])
    if document["service"]:
        lines += _service(document["service"])
    lines.append("")
    for entry in document["advice"]:
        lines += _wrapped(entry["severity"].upper(), entry["message"])
        lines += _wrapped("", f"-> {entry['fix']}") if entry["fix"] else []
    if not document["advice"]:
        lines += _wrapped("OK", "Nothing to mend was found.")
    return "\n".join(line.rstrip() for line in lines)
