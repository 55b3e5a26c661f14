# SPDX-License-Identifier: MIT
"""The report of one tower for a terminal, and what to know of each tower at the end of a run."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from ..advice.bandwidth_steps import explanation, steps
from ..build.document import BuildManifest
from ..forecast.roofline import sensitivity_text
from ..memory.bandwidth import channels_in_use
from ..model.document import Manifest
from ..service.document import ServiceResult
from ..text import LABEL, WIDTH, clean, file_name, moment, printable, rate, size, wrapped
from .advice_text import advice_lines
from .document import Report, ReportForecast, cpu_name, machine_name
from .page import apart, huge_page_share
from .servers import held_text, servers, use_it

# The bars of the bandwidths: a column of names, and the length of the longest.
STEP, BAR = 13, 24


def _memory(document: Report) -> list[str]:
    used, total = channels_in_use(document["memory_channels"])
    text = f"{size(document['tower']['memory_bytes'])} for the system"
    if used is not None and total is not None:
        text += f"; {used} of {total} channels populated"
    return wrapped("MEMORY", text)


def _bandwidth(document: Report) -> list[str]:
    """A line a step: as long as its bandwidth, a range from # to . long; or how it would be measured."""
    found = steps(document)
    longest = max((step["high"] or 0.0 for step in found), default=0.0)
    lines: list[str] = []
    for step in found:
        label = f"{'' if lines else 'BANDWIDTH':<{LABEL}}{step['name']:<{STEP}}"
        said = explanation(step)
        if step["kind"]:
            low, high = (round(BAR * (end or 0.0) / longest) for end in (step["low"], step["high"]))
            said = f"{'#' * low + '.' * (high - low):<{BAR}}  {step['said']}"
            lines.append(f"{label}{said}")
        else:
            lines += textwrap.wrap(said, WIDTH, initial_indent=label, subsequent_indent=" " * len(label))
    return lines


def _forecast(found: ReportForecast) -> list[str]:
    speed = found["tokens_per_second"]
    said = rate(speed["low"], speed["high"], unit="tokens a second")
    text = f"{said}, limited by {found['limited_by']} ({found['why']})"
    changes = sensitivity_text((found["calibrated"] or found)["sensitivity"])
    return wrapped("FORECAST", text) + (wrapped("", changes) if changes else [])


def _nodes(document: Report) -> list[str]:
    nodes = document["tower"]["nodes"]
    each = ", ".join(f"node {node['node']}: {size(node['memory_bytes'])}, {len(node['cpus'])} CPUs" for node in nodes)
    return wrapped("NODES", f"{len(nodes)} ({each})")


def _build(manifest: BuildManifest) -> list[str]:
    version = manifest.get("llama_version") or "llama.cpp"
    return wrapped("BUILD", f"{manifest['key'][:12]}  {version}, for {manifest.get('cpu', 'unknown')} CPUs")


def _model(manifest: Manifest) -> list[str]:
    header, count, commit = manifest.get("gguf"), len(manifest["files"]), manifest.get("commit")
    kind = (header.get("file_type") or header.get("quantization")) if header else None
    parts = [manifest["name"], kind, size(manifest["bytes"]), f"{count} file{'s' if count > 1 else ''}"]
    parts.append(f"commit {commit[:12]}" if commit else None)
    return wrapped("MODEL", ", ".join(part for part in parts if part))


def _service(document: Report, service: ServiceResult) -> list[str]:
    placement, completion = service["placement"], service["completion"]
    policies = ", ".join(placement["policies"] or {})
    lines = wrapped("PLACEMENT", f"{held_text(placement)}; {apart(document) or '0.0%'} apart; policy {policies}")
    huge = huge_page_share(document)
    lines += wrapped("HUGE PAGES", f"{huge} of weights and buffers" if huge else "nothing is loaded")
    speed = completion["tokens_per_second"]
    lines += wrapped("SPEED", rate(speed, unit="tokens a second") if speed else "not told by the server")
    return lines + wrapped("ANSWER", completion["text"])


def _verdict(document: Report) -> list[str]:
    """Whether the tower is fast, when that was, and how to use it."""
    lines = wrapped("VERDICT", document["verdict"]["sentence"]) + wrapped(
        "AS OF", f"{moment(document['generated'])} UTC"
    )
    use = use_it(document)
    if use:
        lines += wrapped("USE IT", f"{use['url']}, {use['reached']}; the keys are in {use['keys']}; in its shell:")
        lines += ["", *use["command"], ""]
    return lines


def _advice(document: Report) -> list[str]:
    lines: list[str] = []
    for entry in document["advice"]:
        lines += advice_lines(entry)
        lines += wrapped("", entry["worth"]) if entry["worth"] and entry["gain"] is not None else []
    return lines or wrapped("OK", "Nothing to mend was found.")


def report_text(document: Report, board: str = "") -> str:
    """The report for a terminal, at most 80 columns, without color."""
    tower = document["tower"]
    title = " · ".join(part for part in (document["host"], machine_name(tower), cpu_name(tower)) if part)
    lines = ["=" * WIDTH, *textwrap.wrap(clean(title), WIDTH), "=" * WIDTH, *_verdict(document), *_memory(document)]
    if board:
        lines += ["", *board.split("\n"), ""]
    lines += _bandwidth(document)
    if document["forecast"]:
        lines += _forecast(document["forecast"])
    lines += _nodes(document)
    if document["build"]:
        lines += _build(document["build"])
    if document["model"]:
        lines += _model(document["model"])
    if document["distribution"]:
        lines += wrapped("SHARED BY", document["distribution"])
    if document["service"]:
        lines += _service(document, document["service"])
    for number, server in enumerate(servers(document)):
        parts = (server["model"], server["url"], server["speed"], server["memory"], server["problem"])
        lines += wrapped("" if number else "SERVERS", f"{server['name']}: {', '.join(filter(None, parts))}")
    lines.append("")
    lines += _advice(document)
    # A terminal must not obey what a machine calls itself or its parts, wherever that stands.
    return "\n".join(printable(line).rstrip() for line in lines)


def next_step(document: Report) -> str:
    """What to do first: what is wrong, or brings most; of a tower without either, to measure and to tune it."""
    for entry in document["advice"]:
        if entry["gain"] != 0.0:
            worth = f" {entry['worth']}" if entry["worth"] else ""
            return f"{entry['fix'] or entry['message']}{worth}"
    if not document["benchmarks"]:
        return "ansible-playbook llamatower.tower.bench (measures it, to know when it becomes slower)"
    if not document["tuning"]:
        return "ansible-playbook llamatower.tower.tune (finds its fastest settings)"
    return "Nothing to mend was found."


def fleet_text(reports: Iterable[Report], directory: str) -> str:
    """The end of a run: whether each tower is fast, where and with which key to ask it, its page, and what to do next.

    Lines that are there to be copied are as long as they must be.
    """
    lines: list[str] = []
    for report in reports:
        use = use_it(report)
        url, keys = (f"{use['url']} ({use['reached']})", use["keys"]) if use else ("no server answered", "-")
        lines += ["", *textwrap.wrap(clean(report["host"]), WIDTH)]
        lines += wrapped("VERDICT", report["verdict"]["sentence"])
        lines += [f"{'URL':<{LABEL}}{url}", f"{'KEYS':<{LABEL}}{keys}"]
        lines.append(f"{'PAGE':<{LABEL}}{clean(directory)}/{file_name(report['host'])}.html")
        lines += wrapped("NEXT", next_step(report))
    return "\n".join(lines)
