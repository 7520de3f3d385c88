"""This project's own documents, from Markdown to HTML of the page: without markup of their own, links and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

LOWEST = 6  # heading level of HTML


def to_html(text: str, top: int = 3) -> str:
    """HTML of a document; its title (of level 1) is dropped, the other headings begin at level ``top``."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    reader.add_render_rule("link_open", _nothing)  # links keep their words: the page opens no other
    reader.add_render_rule("link_close", _nothing)
    reader.add_render_rule("table_open", lambda *_: '<div class="wide"><table>')
    reader.add_render_rule("table_close", lambda *_: "</table></div>")
    tokens = _without_titles(reader.parse(text))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(top + int(token.tag[1]) - 2, LOWEST)}"
    return reader.renderer.render(tokens, reader.options, {}).strip()


def _without_titles(tokens: Sequence[Token]) -> list[Token]:
    kept, inside = [], False
    for token in tokens:
        title = token.tag == "h1" and token.type in ("heading_open", "heading_close")
        inside = token.type == "heading_open" if title else inside
        if not title and not inside:
            kept.append(token)
    return kept


def _nothing(*_: Any) -> str:
    return ""
