# SPDX-License-Identifier: MIT
"""Every sentence that a run can end with has an entry in docs/troubleshooting.md, and every entry has its sentence.

An entry quotes a part of the sentence that is always the same. What is filled in is ``…`` in a sentence here, and
stands for anything in a quoted part.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).resolve().parents[2]
PAGE = REPO / "docs/troubleshooting.md"

# Functions whose every string is a part of a sentence, and variables that hold one until it is said.
GIVES = re.compile(r"problem|refusal|suggestion|shortfall|killed|digest|^(wait_before|check_start|watch)$")
HOLDS = re.compile(r"problem|sentence|broken")
# What has fewer letters or words is a name, a value, or a part of another sentence.
LETTERS, WORDS = 20, 4


def text(node: ast.AST) -> str | None:
    """The text of a string, with ``…`` for what is filled in; None where the node is none."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mod)):
        left, right = text(node.left), text(node.right)
        return None if left is None and right is None else f"{left or '…'}{right or '…'}"
    return None


def strings(node: ast.AST) -> Iterator[str]:
    """All strings below a node, except those within another string."""
    found = text(node)
    if found is not None:
        yield found
        return
    for child in ast.iter_child_nodes(node):
        yield from strings(child)


def of_python(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("Error", "_error")):
            for argument in node.args[:1]:
                yield from strings(argument)
        elif isinstance(node, ast.keyword) and node.arg == "msg":
            yield from strings(node.value)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "msg":
                    yield from strings(value)
        elif isinstance(node, ast.Call) and re.fullmatch(
            rf"fail|\w*({HOLDS.pattern})\w*\.append", ast.unparse(node.func)
        ):
            yield from strings(node)
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(HOLDS.search(ast.unparse(target)) for target in targets):
                yield from strings(node.value)
        elif isinstance(node, ast.Return) and node.value is not None:
            yield from (said for said in strings(node.value) if said.endswith("."))
        elif isinstance(node, ast.FunctionDef) and GIVES.search(node.name):
            for statement in node.body[bool(ast.get_docstring(node)) :]:
                yield from strings(statement)


def of_tasks(node: Any) -> Iterator[str]:
    """What `fail` and `assert` say, also where a variable of the task has the words."""
    for task in node or []:
        for key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
            yield from of_tasks(task.get(key))
        said = (task.get("ansible.builtin.fail") or {}).get("msg") or (task.get("ansible.builtin.assert") or {}).get(
            "fail_msg"
        )
        for value in [said, *(task.get("vars") or {}).values()] if said else []:
            yield re.sub(r"\{\{.*?\}\}", "…", str(value), flags=re.DOTALL)
            yield from re.findall(r'"([^"]+)"', str(value))


@functools.cache
def sentences() -> dict[str, str]:
    """Each sentence, and the file that says it."""
    found: dict[str, str] = {}
    # What reports advise and explain ends nothing.
    python = sorted(
        path
        for path in (REPO / "plugins").rglob("*.py")
        if path.parent.name != "report" and path.name not in {"thread_figures.py", "verdict.py"}
    )
    tasks = sorted([*(REPO / "roles").glob("*/tasks/*.yml"), *(REPO / "playbooks").rglob("*.yml")])
    for path in [*python, *tasks]:
        for said in of_python(path) if path.suffix == ".py" else of_tasks(yaml.safe_load(path.read_text())):
            said = " ".join(said.split())
            whole = re.match(r"[A-Z…`]", said) or said.endswith(".") or ": " in said
            if whole and len(said.replace("…", "")) >= LETTERS and len(said.split()) >= WORDS:
                found.setdefault(said, str(path.relative_to(REPO)))
    return found


def quoted() -> list[str]:
    """The quoted parts of sentences: what the first column of the page's tables has in backticks."""
    rows = [line.split(" | ")[0] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return [part for row in rows for part in re.findall(r"`([^`]+)`", row)]


def says(sentence: str, part: str) -> bool:
    return re.search(".*".join(re.escape(piece) for piece in part.split("…")), sentence) is not None


def test_every_sentence_has_an_entry() -> None:
    parts = quoted()
    missing = [f"{path}: {said}" for said, path in sentences().items() if not any(says(said, part) for part in parts)]
    assert missing == [], "docs/troubleshooting.md has no entry that quotes a part of these"


def test_every_entry_quotes_a_sentence_that_is_said() -> None:
    said = list(sentences())
    assert [part for part in quoted() if not any(says(sentence, part) for sentence in said)] == []


def test_a_sentence_is_found_wherever_it_is_said(tmp_path: Path) -> None:
    python = tmp_path / "x.py"
    python.write_text(
        'def stop(module, name):\n    module.fail_json(msg=f"{name} is not there: " "put it there.")\n'
        'def size_problem(big):\n    """Not this one, which only explains."""\n'
        '    return "It is too large: take a smaller one." if big else None\n'
        'def read():\n    raise ValueError("The file is not whole: copy it again.") from None\n'
        'def told():\n    return {"failed": True, "msg": "The job was killed: run it again."}\n'
    )
    tasks = yaml.safe_load(
        "- block:\n  - ansible.builtin.fail: {msg: '{{ __why }}'}\n"
        '    vars: {__why: "{{ [\'No BMC of \' ~ name, \\"No account: set one of them.\\"] }}"}\n'
        "- ansible.builtin.assert: {that: false, fail_msg: 'The tower {{ name }} is off: start it.'}\n"
    )
    assert set(of_python(python)) == {
        "… is not there: put it there.",
        "It is too large: take a smaller one.",
        "The file is not whole: copy it again.",
        "The job was killed: run it again.",
    }
    assert {"No account: set one of them.", "The tower … is off: start it."} <= set(of_tasks(tasks))
