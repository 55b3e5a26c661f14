# SPDX-License-Identifier: MIT
"""The plan of a purchase for a terminal: the answer and its reason, then one table; the rest is on the page."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Optional

from ..forecast.document import Answer, Choice, PlanDocument, PlannedModel
from ..forecast.prices import is_old
from ..forecast.recommend import READING, answer_of, rows
from ..forecast.roofline import sensitivity_text
from ..text import WIDTH, clean, duration, number, printable, rate, size, whole

MOST_ROWS = 15
# A prompt of 8k tokens: some twelve pages.
PROMPT = 8192
LIMITS = {
    "channels": "channels",
    "ccd-links": "dies",
    "socket-links": "sockets",
    "measured": "measured",
    "arithmetic": "cores",
    "gpu-memory": "GPU",
    "disk": "disk",
}
OLD = "*"


def money(usd: Optional[float]) -> str:
    return "-" if usd is None else f"${whole(usd)}" if usd >= 100 or usd == round(usd) else f"${usd:.2f}"


def cost_text(said: Answer) -> str:
    """The cost, with a plus sign where the whole is more."""
    return money(said["cost_usd"]) + ("+" if said["cost_least"] and said["cost_usd"] is not None else "")


def date_text(said: Answer, today: str) -> str:
    """The day of the oldest price, to the month; marked where that is more than a year ago."""
    date = said["cost_date"] if said["cost_usd"] is not None else None
    return f"{date[:7]}{OLD if is_old(date, today) else ''}" if date else "-"


def named(said: Answer) -> str:
    """The machine, with how many GPUs."""
    return said["machine"] + (f" x{said['count']}" if said["count"] > 1 else "")


def prompt_speed(said: Answer) -> Optional[float]:
    """Tokens of a prompt that are read a second, in the middle of the range."""
    found = said["prefill_tokens_per_second"]
    return sum(found) / 2 if found else None


def limit_text(said: Answer) -> str:
    """What limits the speed, in a word, or the code of what forbids it."""
    return LIMITS.get(said["limited_by"] or "", said["limited_by"] or "-") if said["fits"] else said["reason"] or "-"


Column = tuple[str, Callable[[Answer, PlanDocument], str]]
# Headings and cells behind the name of the machine, or of the model.
COLUMNS: list[Column] = [
    ("fits", lambda said, _document: {True: "yes", False: "no" if said["reason"] == "memory" else "?"}[said["fits"]]),
    ("tokens/s", lambda said, _document: number(_expected(said))),
    ("prompt", lambda said, _document: number(prompt_speed(said), 2)),
    ("8k in", lambda said, _document: duration(PROMPT / each) if (each := prompt_speed(said)) else "-"),
    ("cost", lambda said, _document: cost_text(said)),
    ("priced", lambda said, document: date_text(said, document["date"])),
    ("W", lambda said, _document: whole(said["watts"])),
    ("limit", lambda said, _document: limit_text(said)),
]


def _expected(said: Answer) -> Optional[float]:
    return said["tokens_per_second"]["expected"] if said["tokens_per_second"] else None


def options_text(document: PlanDocument) -> str:
    """What the forecast is of."""
    options, memory = document["options"], document["memory"]
    context = f"{options['context']:,} tokens of context or as many as the model was made for"
    users = "One user" if options["users"] == 1 else f"{options['users']} users at once"
    said = (
        f"{users}, {context}, a KV cache in {options['kv_type']}, the NUMA policy {options['policy']}, and "
        f"${options['price_kwh']:g} a kWh."
    )
    if memory:
        said += f" Memory is ${memory['usd_per_gb']:.2f} a GB in all machines, a price of {memory['date']}."
    return said


def slots_text(document: PlanDocument, model: PlannedModel) -> str:
    """What several users need; nothing of one."""
    users = document["options"]["users"]
    if users == 1:
        return ""
    return (
        f"{users} users are {users} slots, each with that context: they take {size(model['beside_bytes'])} beside the "
        f"weights, and one {size(model['beside_one_bytes'])}. Whether a machine fits counts all of them; tokens/s are "
        "of one answer alone, since what several at once get is not forecast."
    )


def _reason(choice: Choice, of: int, document: PlanDocument, model: PlannedModel, said: Answer) -> str:
    budget = document["options"]["budget"]
    limit = f" for at most {money(budget)}" if budget is not None else ""
    each = f"{money(said['cost_per_token_s'])} for a token a second" if said["cost_per_token_s"] else ""
    weights = (model["parameters"] or 0) / (said["cost_usd"] or 1)
    reading = f"at least as fast as one reads ({READING:g} tokens/s)"
    pairs = "models" if len(model["answers"]) == 1 else "pairs of model and machine"
    return {
        "only": f"No other machine here holds it{limit}.",
        "cheapest-token": f"Of {of} that hold it and whose whole price is known, none costs less for its speed: "
        f"{each}.",
        "fastest": f"It is the fastest of {of} that {'fit' if document['models'][1:] else 'hold it'}{limit}.",
        "largest": f"It is the largest model that is decoded{limit} {reading}; {of} {pairs} are.",
        "most-weights": f"It is the most for a dollar, {whole(weights / 1e6)} million weights, of {of} {pairs} "
        f"that decode {reading}.",
        "over-budget": f"It is the cheapest of {of} that fit.",
        "unpriced": f"Its price is not known, nor is that of any other that fits: the {money(budget)} decided nothing.",
        "nothing-fits": f"It is the nearest, and lacks {size(said['missing_bytes'] or 0)}.",
    }[choice]


def recommendation_text(document: PlanDocument) -> list[str]:
    """The answer, its reason, and what is to be known of it: a sentence or two each."""
    chosen, found = document["recommendation"], answer_of(document)
    if chosen is None or found is None:
        return ["There is nothing to compare."]
    model, said = found
    speed = said["tokens_per_second"]
    reason = _reason(chosen["choice"], chosen["of"], document, model, said)
    if not speed:
        return [f"Nothing here holds {model['name']}. {named(said)}: {reason}", f"{said['why']}.", *_smaller(model)]
    price = f", {cost_text(said)}" if said["cost_usd"] is not None else ""
    lines = [
        _over(document) if chosen["choice"] == "over-budget" else "",
        f"{named(said)} for {model['name']}: {rate(speed['expected'], unit='tokens/s')} ({number(speed['low'])} to "
        f"{number(speed['high'])}){price}. {reason}",
        f"It is {said['title']}. What limits it: {said['why']}.",
        slots_text(document, model),
    ]
    if said["sensitivity"]:
        lines.append(f"What would help: {sensitivity_text(said['sensitivity'])}.")
    if chosen["choice"] == "over-budget":
        lines += _smaller(model)
    return [*lines, million_text(document, said), *_dates(document, said), *said["remarks"]]


def _over(document: PlanDocument) -> str:
    what = document["models"][0]["name"] if len(document["models"]) == 1 else "any of the models"
    return f"Nothing whose price is known holds {what} for {money(document['options']['budget'])}."


def _smaller(model: PlannedModel) -> list[str]:
    """A type with fewer bits, where the model has many."""
    bits = 8 * model["bytes"] / model["parameters"] if model["parameters"] else 0
    name = model["name"].partition(":")[0]
    return [f'Smaller is -e plan_model="{name}:Q4_K_M", at a cost in quality.'] if bits > 5.45 else []


def million_text(document: PlanDocument, said: Answer) -> str:
    """What a million tokens cost; nothing where the watts are not known."""
    energy, whole_cost = said["energy_usd_per_million_tokens"], said["usd_per_million_tokens"]
    if energy is None:
        return ""
    years = f"{document['options']['years']:g} years of decoding day and night"
    machine = f"; {money(whole_cost)} with the machine over {years}" if whole_cost is not None else ""
    return f"A million tokens: {money(energy)} of energy{machine}."


def _dates(document: PlanDocument, said: Answer) -> list[str]:
    if said["cost_usd"] is None or not is_old(said["cost_date"], document["date"]):
        return []
    return [f"Its oldest price is of {said['cost_date']}, more than a year ago: ask for one of today before you buy."]


def of_one_machine(answers: list[Answer]) -> bool:
    """Whether a table is of several models on one machine, and so names the models."""
    return len({said["machine"] for said in answers}) == 1 and len(answers) > 1


def _table(document: PlanDocument, answers: list[Answer]) -> list[str]:
    """Lines of at most :data:`WIDTH`: the first column has what the others leave."""
    by_model = of_one_machine(answers)
    cells = [[heading for heading, _cell in COLUMNS]]
    cells += [[cell(said, document) for _heading, cell in COLUMNS] for said in answers]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    names = ["model" if by_model else "machine", *(said["model"] if by_model else named(said) for said in answers)]
    room = max(8, min(max(map(len, names)), WIDTH - sum(widths) - len(widths)))
    shown = [name if len(name) <= room else f"{name[: room - 1]}…" for name in names]
    lines = []
    for name, row in zip(shown, cells):
        *middle, last = [cell.rjust(width) for cell, width in zip(row, widths)]
        lines.append(" ".join([name.ljust(room), *middle, last.strip()])[:WIDTH].rstrip())
    return lines


def weights_text(model: PlannedModel) -> str:
    """How large a model is."""
    return f"{size(model['bytes'])}, of which a token reads {size(model['active_bytes'])}"


def _heading(document: PlanDocument, said: Answer, by_model: bool) -> str:
    if by_model:
        return f"{said['machine']}: {said['title']}"
    model = next(model for model in document["models"] if model["name"] == said["model"])
    return f"{model['name']}: {weights_text(model)}"


def plan_text(document: PlanDocument) -> str:
    """What is recommended and why; a table of at most :data:`MOST_ROWS` rows; and what holds for all of them."""
    answers = rows(document)
    shown = answers[:MOST_ROWS]
    paragraphs: list[list[str]] = [[text for text in recommendation_text(document) if text]]
    if shown:
        paragraphs.append([_heading(document, shown[0], of_one_machine(answers))])
    lines: list[str] = []
    for paragraph in paragraphs:
        for text in paragraph:
            lines += textwrap.wrap(clean(text), WIDTH)
        lines.append("")
    if shown:
        lines[-1:] = [*_table(document, shown), ""]
    notes = [f"{len(answers) - len(shown)} more are on the page."] if len(answers) > len(shown) else []
    if any(is_old(said["cost_date"], document["date"]) and said["cost_usd"] is not None for said in answers):
        notes.append(f"{OLD} A price more than a year old is in it, and the order may be another today.")
    if any(said["cost_least"] and said["cost_usd"] is not None for said in shown):
        notes.append("+ The whole costs more than what is known.")
    for text in [*notes, options_text(document)]:
        lines += textwrap.wrap(clean(text), WIDTH)
    return "\n".join(map(printable, lines)).rstrip()
