# SPDX-License-Identifier: MIT
"""The plan of a purchase as tables for a terminal."""

from __future__ import annotations

from ..forecast.document import Answer, Options, PlanDocument
from ..forecast.roofline import sensitivity_text
from ..text import number, printable, size, whole

HEADINGS = [
    "machine", "tokens/s", "range", "context", "$", "$ per token/s", "W", "J/token", "energy $ per 1M tokens", "limit"
]  # fmt: skip


def table_row(said: Answer) -> list[str]:
    """What one line of the table shows."""
    speed = said["tokens_per_second"]
    name = said["machine"] + (f" x{said['count']}" if said["count"] > 1 else "")
    if not speed:
        return [name, "-", "does not fit" if said["reason"] == "memory" else "unknown", *["-"] * 7]
    return [
        name,
        number(speed["expected"]),
        f"{number(speed['low'])} - {number(speed['high'])}",
        f"{said['context']:,}" if said["context"] is not None else "-",
        whole(said["cost_usd"]),
        number(said["cost_per_token_s"]),
        whole(said["watts"]),
        number(said["joules_per_token"]),
        number(said["energy_usd_per_million_tokens"]),
        said["limited_by"] or "-",
    ]


def options_text(options: Options) -> str:
    """What the forecast is of."""
    return (
        f"One stream of tokens with {options['context']:,} tokens of context or as many as the model was made for, a "
        f"KV cache in {options['kv_type']}, the NUMA policy {options['policy']}, and {options['price_kwh']:g} dollars "
        "a kWh"
    )


def plan_text(document: PlanDocument) -> str:
    """The tables for a terminal: a model each, the best machine first, and what would help the best tower or build; or
    why it fits none of them; at the end what is to be said of the machines."""
    lines = [f"{options_text(document['options'])}.", ""]
    for model in document["models"]:
        lines.append(f"{model['name']}: {size(model['bytes'])}, {size(model['active_bytes'])} read a token")
        table = [HEADINGS, *(table_row(said) for said in model["answers"])]
        widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS))]
        lines += [f"  {_line(row, widths)}" for row in table]
        for said in model["answers"]:
            if said["sensitivity"]:
                lines.append(f"  {said['machine']}: {said['why']}; {sensitivity_text(said['sensitivity'])}")
                break
        if not any(said["fits"] for said in model["answers"]):
            lines += [f"  {said['machine']}: {said['why']}" for said in model["answers"]]
        lines.append("")
    shown = [said for model in document["models"] for said in model["answers"] if said["fits"]]
    lines += dict.fromkeys(f"{said['machine']}: {remark}" for said in shown for remark in said["remarks"])
    return "\n".join(map(printable, lines)).rstrip()


def _line(row: list[str], widths: list[int]) -> str:
    first = row[0].ljust(widths[0])
    return "  ".join([first, *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]).rstrip()
