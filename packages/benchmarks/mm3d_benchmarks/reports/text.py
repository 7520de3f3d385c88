"""A table as CSV (for programs: full precision, one column per fact) and as Markdown (for people)."""

from __future__ import annotations

import csv
import io

from mm3d_benchmarks.reports.tables import NOT_RUN, Cell, Printed, Row, Table
from mm3d_benchmarks.results.columns import Column

DASH = "–"
LEGEND = (
    "† quoted by the paper from another publication. ‡ run by the paper's authors, not part of this suite. "
    "– not printed, or not measured by this kind of run. "
)
READING = "Bold: best of the column, measured and published apart. In brackets: difference from the baseline row."


def cell_text(cell: Cell | None, column: Column, gain_only: bool = False) -> str:
    """A measured cell in words: ``71.9 ± 0.2 (+1.5)``, ``missing``, ``not run``, ..., without bold and marks."""
    if cell is None:
        return DASH
    if cell.mean is None:
        return cell.state
    if gain_only:
        return column.gain(cell.delta) if cell.delta is not None else "no baseline"
    text = column.number(cell.mean)
    if cell.std is not None:
        text += f" ± {column.number(cell.std)}"
    if cell.delta is not None:
        text += f" ({column.gain(cell.delta)})"
    return text + (f" [{cell.state}]" if cell.state else "")


def printed_text(printed: Printed | None, column: Column, gain_only: bool = False) -> str:
    """A published cell in words: ``71.9 (+1.5)``, ``+1.5``, or a dash where the paper prints no number."""
    if printed is None or (printed.value is None and printed.delta is None):
        return DASH
    column = column.as_printed
    if gain_only or printed.value is None:
        return column.gain(printed.delta) if printed.delta is not None else DASH
    gain = f" ({column.gain(printed.delta)})" if printed.delta is not None else ""
    return column.number(printed.value) + gain


def row_label(row: Row) -> str:
    """The label with its dagger where the row is not a run of ours."""
    return row.label + {"quoted": " †", "printed": " ‡"}.get(row.kind, "")


def to_csv(table: Table) -> str:
    """One line per row; means, deviations and differences with six decimals, empty where there is none."""
    header = ["group", "row", "label", *table.descriptions, "kind"]
    for c in table.columns:
        header += [f"{c.name} mean", f"{c.name} std", f"{c.name} delta", f"{c.name} seeds", f"{c.name} state"]
    for c in table.columns:
        header += [f"{c.name} published", f"{c.name} published delta"]
    header += ["published origin", "published source", "published cell", "runs", "note"]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    for title, rows in table.groups:
        for row in rows:
            line = [title, row.name, row.label, *row.descriptions, row.kind]
            for c in table.columns:
                cell = row.cells.get(c.name, Cell(state=""))
                state = cell.state or ("done" if cell.mean is not None else "")
                line += [_six(cell.mean), _six(cell.std), _six(cell.delta), str(cell.seeds), state]
            for c in table.columns:
                printed = row.printed.get(c.name, Printed())
                line += [_plain(printed.value), _plain(printed.delta)]
            source = "" if row.source is None else table.sources[row.source]
            writer.writerow([*line, row.origin, source, row.cell, " ".join(row.runs), row.note])
    return stream.getvalue()


def to_markdown(table: Table) -> str:
    """A GitHub table, then the legend, the footnotes, the sources and the remarks."""
    header = [table.heading, *table.descriptions, *(c.title for c in table.columns)]
    rule = [":--"] * (1 + len(table.descriptions)) + ["--:"] * len(table.columns)
    if table.has_published:
        header += [*(f"{c.title}, published" for c in table.columns), "source"]
        rule += ["--:"] * len(table.columns) + [":--"]
    lines = [_line([escape_markdown(text) for text in header]), _line(rule)]
    for title, rows in table.groups:
        if title:
            lines.append(_line([f"*{escape_markdown(title)}*", *[""] * (len(header) - 1)]))
        lines += [_line(_markdown_row(table, row)) for row in rows]
    notes = [escape_markdown(legend(table))]
    notes += [f"<sup>{mark}</sup> {escape_markdown(text)}" for mark, text in table.footnotes]
    notes += [f"S{i + 1}: {escape_markdown(source)}" for i, source in enumerate(table.sources)]
    notes += [escape_markdown(remark) for remark in table.remarks]
    return (
        f"**{escape_markdown(table.numbered + table.caption)}**\n\n"
        + "\n".join(lines)
        + "\n\n"
        + "  \n".join(notes)
        + "\n"
    )


def to_plain(table: Table) -> str:
    """The table for a terminal: columns aligned, the best with a star, footnotes below."""
    lines = [[table.heading, *table.descriptions, *(c.title for c in table.columns)]]
    lines[0] += [f"{c.title}, published" for c in table.columns] if table.has_published else []
    for title, rows in table.groups:
        lines += [[f"-- {title}"]] if title else []
        for row in rows:
            line = [row_label(row), *row.descriptions]
            for c in table.columns:
                cell = row.cells.get(c.name)
                star = "*" if cell and cell.best and not table.gain_only else ""
                marks = "".join(f" [{mark}]" for mark in (cell.marks if cell else ()))
                line.append(cell_text(cell, c, table.gain_only) + star + marks)
            if table.has_published:
                line += [printed_text(row.printed.get(c.name), c, table.gain_only) for c in table.columns]
            lines.append(line)
    whole = [line for line in lines if len(line) > 1]
    widths = [max(len(line[i]) for line in whole) for i in range(len(lines[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)).rstrip() for line in lines]
    notes = [f"[{mark}] {note}" for mark, note in table.footnotes]
    return "\n".join([table.numbered + table.caption, "", *text, "", *notes, *table.remarks]).rstrip() + "\n"


def _markdown_row(table: Table, row: Row) -> list[str]:
    gain = table.gain_only
    cells = [escape_markdown(row_label(row)), *(escape_markdown(d) for d in row.descriptions)]
    for c in table.columns:
        cell = row.cells.get(c.name)
        text = _bold(escape_markdown(cell_text(cell, c, gain)), bool(cell and cell.best and not gain))
        cells.append(text + "".join(f"<sup>{mark}</sup>" for mark in (cell.marks if cell else ())))
    if not table.has_published:
        return cells
    for c in table.columns:
        printed = row.printed.get(c.name)
        cells.append(_bold(printed_text(printed, c, gain), bool(printed and printed.best and not gain)))
    return [*cells, source_text(row)]


def source_text(row: Row) -> str:
    """``S1``, with a dagger where the paper quotes the value."""
    return "" if row.source is None else f"S{row.source + 1}" + (" †" if row.origin == "quoted" else "")


def legend(table: Table) -> str:
    """How to read the signs; names cells never run only where there are some."""
    never = any(cell.state == NOT_RUN for row in table.rows for cell in row.cells.values())
    signs = LEGEND if table.has_published else ""
    return signs + READING + (f" {NOT_RUN}: no run of this cell exists in this store." if never else "")


def _six(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}".replace("-0.000000", "0.000000")


def _plain(value: float | None) -> str:
    return "" if value is None else repr(value)


def _bold(text: str, best: bool) -> str:
    return f"**{text}**" if best else text


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def escape_markdown(text: str) -> str:
    """Characters that Markdown or its HTML would read as markup."""
    for sign in ("\\", "`", "*", "_", "|", "[", "]", "#", "~"):
        text = text.replace(sign, "\\" + sign)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(sign if sign.isprintable() else " " for sign in text)  # line ends of every kind would end the row
