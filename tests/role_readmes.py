# SPDX-License-Identifier: MIT
"""roles/*/README.md, made from meta/argument_specs.yml and meta/example.yml; bin/docs writes them anew."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).resolve().parents[1]
ROLES = sorted(path.name for path in (REPO / "roles").iterdir() if path.is_dir())
# A description that begins so tells which facts later roles find.
HANDS_ON = "Hands on "


def specification(role: str) -> dict[str, Any]:
    """The entry points of a role, by name."""
    document = yaml.safe_load((REPO / "roles" / role / "meta/argument_specs.yml").read_text())
    specs: dict[str, Any] = document["argument_specs"]
    return specs


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def markdown(text: str) -> str:
    """Ansible's markup as Markdown: every name as code, a return value with the plugin that returns it."""
    text = re.sub(r"RV\(llamatower\.tower\.(\w+)#\w+:([^)]+)\)", r"`\2` of `llamatower.tower.\1`", text)
    text = re.sub(r"\b(?:RV|[CEMOPV])\(([^)#]+)(?:#\w+)?\)", r"`\1`", text)
    return " ".join(text.split())


def rows(options: dict[str, Any], prefix: str = "") -> list[str]:
    """A line of the table for each variable and each of its keys."""
    lines = []
    for name, option in options.items():
        kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        meaning = " ".join(map(markdown, listed(option["description"])))
        if "choices" in option:
            meaning += f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}."
        value = option.get("default")
        shown = value if isinstance(value, str) else json.dumps(value)
        default = "required" if option.get("required") else f"`{shown}`"
        lines.append("| " + " | ".join([f"`{prefix}{name}`", kind, default, meaning.replace("|", "\\|")]) + " |")
        lines += rows(option.get("options", {}), f"{prefix}{name}{'[]' if 'elements' in option else ''}.")
    return lines


def readme(role: str) -> str:
    """The page of a role."""
    specs = specification(role)
    main = specs["main"]
    said = listed(main["description"])
    handed = [text for text in said if text.startswith(HANDS_ON)]
    example = (REPO / "roles" / role / "meta/example.yml").read_text().split("\n", 1)[1].strip()
    parts = [
        "<!-- Written by bin/docs from meta/argument_specs.yml and meta/example.yml: change those. -->",
        f"# llamatower.tower.{role}",
        f"{markdown(main['short_description'])}.",
        *(markdown(text) for text in said if text not in handed),
        f"```yaml\n{example}\n```",
    ]
    if handed:
        parts += ["## What it hands on", "\n".join(f"- {markdown(text.removeprefix(HANDS_ON))}" for text in handed)]
    table = ["| Name | Type | Default | Meaning |", "|---|---|---|---|", *rows(main["options"])]
    parts += ["## Variables", "\n".join(table)]
    for name, entry in specs.items():
        if name != "main":
            reads = ", ".join(f"`{variable}`" for variable in entry.get("options") or {}) or "no variable"
            parts += [f"## Entry point `{name}`", f"{markdown(entry['short_description'])} (`tasks_from: {name}`)."]
            parts += [*map(markdown, listed(entry["description"])), f"It reads {reads}."]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    for each in ROLES:
        (REPO / "roles" / each / "README.md").write_text(readme(each))
