"""A table, and any CSV, as HTML: sortable, measured beside published, every name escaped."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable, Collection, Mapping, Sequence

from mm3d_benchmarks.reports.page.contents import table_id
from mm3d_benchmarks.reports.tables import Cell, Printed, Row, Table
from mm3d_benchmarks.reports.text import cell_text, legend, printed_text, row_label, source_text
from mm3d_benchmarks.results.columns import Column

LINKS = 3  # runs that a row links to; the cards say which rows rest on them


def table_html(table: Table, cards: Collection[str] = (), files: Collection[str] | None = None) -> str:
    """A ``<figure>`` with caption, table, footnotes and sources; rows link to the cards of their runs.

    Args:
        cards: keys of the runs that have a card; a run without one is named and not linked.
        files: names of the files beside the page; those of the table are linked where they are there (None: all).
    """
    text = 1 + len(table.descriptions)
    count = len(table.columns)
    head = [_th(table.heading), *(_th(d) for d in table.descriptions)]
    head += [_th(c.title, "number") for c in table.columns]
    over = f'<td colspan="{text}"></td><th scope="colgroup" colspan="{count}">measured here</th>'
    width = text + count + 1
    if table.has_published:
        head += [*(_th(c.title, "number published") for c in table.columns), _th("source")]
        over += f'<th scope="colgroup" colspan="{count}" class="published">published</th><td></td>'
        width += count + 1
    body = []
    for number, (title, rows) in enumerate(table.groups):
        rule = ' class="rule"' if number else ""
        if title:
            body.append(f'<tr class="group"><th colspan="{width}">{html.escape(title)}</th></tr>')
        for place, row in enumerate(rows):
            body.append(f"<tr{rule if not place else ''}>{_row(table, row, cards)}</tr>")
    notes = [legend(table), *(f"{mark}: {note}" for mark, note in table.footnotes)]
    notes += [f"S{i + 1}: {source}" for i, source in enumerate(table.sources)] + list(table.remarks)
    ends = [end for end in ("csv", "md", "tex") if files is None or f"{table.name}.{end}" in files]
    links = " ".join(f'<a href="{html.escape(table.name)}.{end}">{end}</a>' for end in ends)
    return (
        f'<figure class="table" id="{html.escape(table_id(table.name))}"><figcaption>{_caption(table)}'
        f' <span class="files">{links}</span></figcaption>'
        f'<div class="wide"><table class="sortable"><thead><tr class="over">{over}<td></td></tr>'
        f"<tr>{''.join(head)}{_th('runs')}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
        f'<details class="notes"><summary>notes</summary><p>{"<br>".join(html.escape(n) for n in notes)}</p></details>'
        "</figure>"
    )


def csv_html(name: str, title: str, text: str, folds: Callable[[Mapping[str, str]], bool], folded: str) -> str:
    """A sortable table of a CSV text; lines that say little are one click away.

    Args:
        name: the element's id.
        folds: whether a line, heading to value, is folded away.
        folded: what the folded lines are, such as ``unresolved``.
    """
    head, *lines = list(csv.reader(io.StringIO(text))) or [[]]
    caption = f"<figcaption><b>{html.escape(title)}</b></figcaption>"
    opening = f'<figure class="table" id="{html.escape(name)}">{caption}'
    if not lines:
        return f"{opening}<p>Nothing measured yet.</p></figure>"
    away = [line for line in lines if folds(dict(zip(head, line, strict=False)))]
    shown = [line for line in lines if line not in away]
    parts = [_csv_table(head, shown) if shown else f"<p>All {len(away)} are {html.escape(folded)}.</p>"]
    if away:
        named = f"{len(away)} {html.escape(folded)}" if shown else "show them"
        parts.append(f"<details><summary>{named}</summary>{_csv_table(head, away)}</details>")
    return f"{opening}{''.join(parts)}</figure>"


def _csv_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    cells = "".join(_th(name) for name in head)
    body = "".join(f"<tr>{''.join(_plain(value) for value in line)}</tr>" for line in lines)
    return (
        f'<div class="wide"><table class="sortable"><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _caption(table: Table) -> str:
    """The caption with its number and first sentence, the title, in bold."""
    title = table.title.strip()
    rest = table.caption.removeprefix(title)
    return f"<b>{html.escape(table.numbered + title)}</b>{html.escape(rest)}"


def _row(table: Table, row: Row, cards: Collection[str]) -> str:
    cells = [f'<th scope="row">{html.escape(row_label(row))}</th>']
    cells += [f"<td>{html.escape(d)}</td>" for d in row.descriptions]
    cells += [_measured(row.cells.get(c.name), c, table.gain_only) for c in table.columns]
    if table.has_published:
        cells += [_published(row.printed.get(c.name), c, table.gain_only) for c in table.columns]
        title = html.escape(" ".join([row.cell, row.note]).strip())
        cells.append(f'<td title="{title}">{html.escape(source_text(row))}</td>')
    links = " ".join(
        f'<a href="#run-{html.escape(key)}">{html.escape(key[:6])}</a>' if key in cards else html.escape(key[:6])
        for key in row.runs[:LINKS]
    )
    more = f" and {len(row.runs) - LINKS}" if len(row.runs) > LINKS else ""
    cells.append(f'<td class="runs">{links}{more}</td>')
    return "".join(cells)


def _measured(cell: Cell | None, c: Column, gain: bool) -> str:
    shown = None if cell is None else (cell.delta if gain else cell.mean)
    value = "" if shown is None else f' data-value="{shown:.6f}"'
    style = "number" + (" best" if cell and cell.best and not gain else "") + (" absent" if shown is None else "")
    style += " chance" if cell and cell.at_chance else ""
    marks = "".join(f"<sup>{mark}</sup>" for mark in (cell.marks if cell else ()))
    return f'<td class="{style}"{value}>{html.escape(cell_text(cell, c, gain))}{marks}</td>'


def _published(printed: Printed | None, c: Column, gain: bool) -> str:
    shown = None if printed is None else (printed.delta if gain else printed.value)
    value = "" if shown is None else f' data-value="{shown:.6f}"'
    style = "number published" + (" best" if printed and printed.best and not gain else "")
    return f'<td class="{style}"{value}>{html.escape(printed_text(printed, c, gain))}</td>'


def _plain(value: str) -> str:
    try:
        return f'<td class="number" data-value="{float(value)}">{html.escape(value)}</td>'
    except ValueError:
        return f"<td>{html.escape(value)}</td>"


def _th(text: str, style: str = "") -> str:
    return f'<th scope="col" class="{style}"><button type="button">{html.escape(text)}</button></th>'
