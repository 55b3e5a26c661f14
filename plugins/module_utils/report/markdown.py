# SPDX-License-Identifier: MIT
"""The report of one tower as Markdown, for an issue or a wiki: what the HTML page says, without its pictures.

CommonMark with the tables of GitHub. Text of machines is escaped for all dialects: entities for what HTML would obey,
backslashes for what Markdown would.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Optional

from ..advice.bandwidth_steps import BENCH, explanation
from ..advice.document import Advice
from ..memory.document import MemoryChannels
from ..memory.drawing import draw
from ..text import clean, moment, printable
from .document import Report
from .page import tower_view
from .view import BandwidthView, ForecastView, TowerView

ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "~": "&#126;", "$": "&#36;", "@": "&#64;"}


def escape(value: Any) -> str:
    """Text of one line that stays text: no HTML, no link, no emphasis, no list."""
    text = "".join(ENTITIES.get(character, character) for character in clean(value))
    text = re.sub(r"([\\`*_\[\]!])", r"\\\1", text)
    # GitHub makes links of bare addresses, and issues of numbers.
    text = re.sub(r"(?i)\b(https?|ftp|mailto):", r"\1&#58;", text)
    text = re.sub(r"(?i)\b(www)\.", r"\1&#46;", text)
    text = re.sub(r"(?<!&)#", r"\\#", text)
    # What would begin a list or, alone, underline the line before.
    return re.sub(r"^(\d*)([-+.)](?=\s|$)|[-=](?=[-=\s]*$))", r"\1\\\2", text)


def code(value: Any) -> str:
    """Text of one line as code; in it nothing is obeyed, if only the fence is longer than what is inside."""
    text = clean(value).replace("|", "\u00a6")
    fence = "`" * (1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}{f' {text} ' if '`' in text else text}{fence}"


def block(lines: Iterable[str], language: str = "") -> list[str]:
    """Lines as a block of code."""
    content = [printable(line) for line in lines]
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", "\n".join(content))), default=0))
    return [f"{fence}{language}", *content, fence]


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> list[str]:
    """A table; its cells are escaped."""
    lines = [[escape(cell) for cell in head], ["---"] * len(head)]
    lines += [["" if cell is None else escape(cell) for cell in row] for row in rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def tower_markdown(document: Report) -> str:
    """The whole page."""
    view = tower_view(document)
    machine = " · ".join(part for part in (view["machine"], view["cpu"]) if part)
    parts = [
        [f"# {escape(view['host'])}"],
        [escape(machine)],
        [f"**{escape(view['verdict'])}**"],
        [f"As of {escape(moment(view['generated']))} UTC."],
        *_use(view),
        table(
            [figure["name"] for figure in view["figures"]],
            [
                [
                    ", ".join(filter(None, [f"{one['value']} {one['unit']}".strip(), one["against"]]))
                    for one in view["figures"]
                ]
            ],
        ),
        ["## What to do"],
        _advice(view["advice"]),
        ["## Memory channels"],
        *_board(document["memory_channels"], view),
        ["## Bandwidth, step by step"],
        _bandwidth(view["bandwidth"]),
        *_forecast(view["forecast"]),
        ["## Placement and huge pages"],
        *_placement(view),
        ["## Benchmarks"],
        *_history(view),
        ["## How to get the same"],
        *_origin(view),
        [f"Measured and written by llamatower, {escape(view['generated'])}."],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _use(view: TowerView) -> list[list[str]]:
    use = view["use"]
    if not use:
        return []
    said = f"Use it: {code(use['url'])}, {use['reached']}; the keys are in {code(use['keys'])}. In the tower's shell:"
    return [[said], block(use["command"], "sh")]


def _advice(entries: list[Advice]) -> list[str]:
    lines = []
    for number, entry in enumerate(entries, 1):
        worth = f" ({escape(entry['worth'])})" if entry["worth"] else ""
        lines.append(f"{number}. **{entry['severity']}**{worth}: {escape(entry['message'])}")
        lines += [f"   → {code(entry['fix']) if entry['command'] else escape(entry['fix'])}"] if entry["fix"] else []
        lines += [f"   In the BIOS: {escape(entry['where'])}"] if entry["where"] else []
        lines += [f"   {escape(entry['why'])}"] if entry["why"] else []
    return lines or ["Nothing to mend was found."]


def _board(memory: Optional[MemoryChannels], view: TowerView) -> list[list[str]]:
    if not memory or not view["board"]:
        return [["What is in the slots is not known: the machine shows no SMBIOS table."]]
    rule = f"Read from SMBIOS, by the rule {escape(view['rule'] or 'none')}, confidence {escape(view['confidence'])}."
    kinds = [f"- {escape(kind)}" for kind in view["dimms"]["kinds"]]
    return [block(draw(memory).split("\n")), kinds, [rule]]


def _bandwidth(found: Optional[BandwidthView]) -> list[str]:
    if not found:
        return [f"Neither the DIMMs nor a measurement tell anything of it: {code(BENCH)}"]
    rows = [[step["name"], step["said"], step["tokens"], explanation(step)] for step in found["steps"]]
    return table(["Step", "Bandwidth", "Speed it allows", "Why"], rows)


def _forecast(found: Optional[ForecastView]) -> list[list[str]]:
    if not found:
        return []
    lines = [f"- Forecast: {escape(found['said'])}", f"- Limited by {escape(found['limit'])}"]
    lines += [f"- Measured: {escape(found['measured'])}"] if found["measured"] else []
    rows = [[entry["change"], entry["gain"], entry["speed"], entry["note"]] for entry in found["changes"]]
    return [["## Forecast"], lines, table(["What would change it", "Gain", "Speed", "Note"], rows) if rows else []]


def _placement(view: TowerView) -> list[list[str]]:
    if not view["placement"]:
        return [["No server answered when this report was made."]]
    policies = ", ".join(view["policies"]) or "none"
    text = f"{view['huge']} of weights and buffers are in huge pages; policy {policies}; nodes {view['apart']} apart."
    rows = [[f"node {node['node']}", node["said"], node["share"]] for node in view["placement"]]
    others = [
        [server["name"], server["model"], server["url"], server["speed"], server["memory"], server["problem"]]
        for server in view["servers"]
    ]
    every = table(["Server", "Model", "Address", "Speed", "Memory", "Problem"], others) if others else []
    answer = [f"> {escape(view['completion']['text'])}"] if view["completion"] else []
    return [[escape(text)], table(["Node", "Holds", "Share"], rows), every, answer]


def _history(view: TowerView) -> list[list[str]]:
    found = view["history"]
    if not found:
        return [[f"Nothing was measured yet: {code(BENCH)}"]]
    rows = [
        [entry["title"], f"{entry['now']} {entry['unit']}", entry["before"] or "not measured", entry["change"]]
        for entry in found["quantities"]
    ]
    runs = [
        [row["started"], "; ".join(filter(None, [row["note"], *(f"slower: {name}" for name in row["slower"])]))]
        for row in found["rows"]
    ]
    parts = [
        table([f"Run of {found['started']} UTC", "Now", "Before, under the same conditions", "Change"], rows),
        [f"- **slower**: {escape(sentence)}" for sentence in found["regressions"]],
        table(["Run, UTC", "Notes"], runs),
    ]
    if found["matrix"]:
        columns = [f"memory of node {column}" for column in found["matrix"]["columns"]]
        parts.append(
            table(["GB/s, cores of", *columns], [[f"node {row}", *cells] for row, cells in found["matrix"]["rows"]])
        )
    parts.append([f"Fastest settings found: {escape(view['tuning'])}"] if view["tuning"] else [])
    parts.append([f"- {escape(name)} was left out: {escape(why)}" for name, why in found["skipped"]])
    return parts


def _origin(view: TowerView) -> list[list[str]]:
    build, model = view["build"], view["model"]
    lines = [f"- System: {escape(view['system'])}"]
    if build:
        version = f"{build.get('llama_version')}, for {build.get('cpu')} CPUs, {build.get('compiler')}"
        lines += [f"- llama.cpp: {escape(version)}", f"- Build key: {escape(build['key'])}"]
    if model:
        commit = f"commit {model['commit']}" if model.get("commit") else None
        lines.append(f"- Model: {escape(', '.join(filter(None, [model['name'], view['model_size'], commit])))}")
        lines += [f"- {escape(file['file'])}: SHA-256 {escape(file.get('sha256'))}" for file in model["files"]]
    lines += [f"- Shared by: {escape(view['distribution'])}"] if view["distribution"] else []
    declared = [
        ["In the inventory, and then `ansible-playbook llamatower.tower.site`:"],
        block(view["declarations"], "yaml"),
    ]
    return [lines, *(declared if view["declarations"] else [])]
