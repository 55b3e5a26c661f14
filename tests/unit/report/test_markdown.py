# SPDX-License-Identifier: MIT
"""Text of machines in Markdown stays text, read by a real parser."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from plugins.module_utils.report.markdown import block, code, escape, table

PARSER = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
# fmt: off
WORDS = st.sampled_from([
    "<script>", "</b>", "<!--", "`", "``", "*", "_", "[a](b)", "![i](j)", "#", "-", "1.", "+", ">", "|", "~~", "\\",
    "---", "===", "&lt;", "&", "http://example.com", "www.example.com", "a", "9124", " ", "\n", "\x1b[31m", "\u202e",
])
# fmt: on
TEXTS = st.lists(WORDS, max_size=12).map("".join)


def spoken(markdown: str) -> tuple[set[str], str]:
    """The kinds of tokens, and the text that a reader sees."""
    tokens = PARSER.parse(markdown)
    parts = [child for token in tokens for child in [token, *(token.children or [])]]
    kinds = {part.type for part in parts} - {"inline", "text", "paragraph_open", "paragraph_close"}
    return kinds, "".join(
        part.content for part in parts if part.type in {"text", "code_inline", "fence", "text_special"}
    )


@settings(max_examples=60)
@given(TEXTS)
def test_whatever_is_escaped_is_one_paragraph_of_plain_text(text: str) -> None:
    kinds, seen = spoken(f"before {escape(text)} after")
    assert kinds == set()
    assert seen.split() == f"before {text} after".replace("\x1b", " ").replace("\u202e", " ").split()


@settings(max_examples=60)
@given(TEXTS)
def test_nothing_at_the_begin_of_a_line_becomes_a_list_a_title_or_a_rule(text: str) -> None:
    assert spoken(escape(text))[0] == set()
    assert spoken(f"before\n{escape(text)}")[0] <= {"softbreak"}


@settings(max_examples=60)
@given(TEXTS)
def test_code_shows_what_it_was_given(text: str) -> None:
    assert spoken(f"x {code(text)}")[0] <= {"code_inline"}
    assert spoken("\n".join(block(text.split("\n"))))[0] == {"fence"}


@settings(max_examples=60)
@given(st.lists(TEXTS, min_size=2, max_size=2))
def test_a_table_keeps_its_columns(cells: list[str]) -> None:
    tokens = PARSER.parse("\n".join(table(["a", "b"], [cells])))
    assert [token.type for token in tokens].count("td_open") == 2


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("EPYC-9124 at 3.4 GHz, 50 % (a+b)", "EPYC-9124 at 3.4 GHz, 50 % (a+b)"),
        ("<b>", "&lt;b&gt;"),
        ("https://example.com", "https&#58;//example.com"),
        ("@team #12", "&#64;team \\#12"),
    ],
)
def test_ordinary_text_stays_readable(text: str, escaped: str) -> None:
    assert escape(text) == escaped
