"""The little Markdown that this project's own documents use, as HTML: headings, paragraphs, lists, pipe tables, code.

Everything is escaped first, so a document cannot bring markup of its own.
"""

from __future__ import annotations

import html
import re

_RULE = re.compile(r"^\|[\s:|-]+\|$")
_INLINE = (
    (re.compile(r"`([^`]+)`"), r"<code>\1</code>"),
    (re.compile(r"\*\*([^*]+)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])"), r"<em>\1</em>"),
    (re.compile(r"\[([^\]]+)\]\([^)\s]+\)"), r"\1"),
)


def to_html(text: str, top: int = 3) -> str:
    """HTML of a document; its first heading is dropped, the others begin at level ``top``."""
    out: list[str] = []
    block: list[str] = []
    fence: list[str] | None = None
    for line in [*text.splitlines(), ""]:
        if line.startswith("```"):
            if fence is None:
                _flush(block, out)
                fence = []
            else:
                out.append("<pre>" + html.escape("\n".join(fence)) + "</pre>")
                fence = None
        elif fence is not None:
            fence.append(line)
        elif heading := re.match(r"^(#+) (.*)", line):
            _flush(block, out)
            if len(heading[1]) > 1:
                level = min(top + len(heading[1]) - 2, 6)
                out.append(f"<h{level}>{inline(heading[2])}</h{level}>")
        elif line.strip():
            block.append(line)
        else:
            _flush(block, out)
    return "\n".join(out)


def inline(text: str) -> str:
    """One line: escaped, with code, strong and emphasis; links keep their words only."""
    text = html.escape(text, quote=False)
    for pattern, by in _INLINE:
        text = pattern.sub(by, text)
    return text


def _flush(block: list[str], out: list[str]) -> None:
    if not block:
        return
    if all(line.lstrip().startswith("|") for line in block):
        out.append(_table(block))
    elif re.match(r"^\s*([*-]|\d+\.) ", block[0]):
        kind = "ol" if block[0].lstrip()[0].isdigit() else "ul"
        items = re.split(r"(?m)^\s*(?:[*-]|\d+\.) ", "\n".join(block))[1:]
        out.append(f"<{kind}>" + "".join(f"<li>{inline(' '.join(i.split()))}</li>" for i in items) + f"</{kind}>")
    else:
        out.append(f"<p>{inline(' '.join(line.strip() for line in block))}</p>")
    block.clear()


def _table(lines: list[str]) -> str:
    rows = [_cells(line) for line in lines if not _RULE.match(line.strip())]
    head = "".join(f"<th>{inline(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{inline(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
