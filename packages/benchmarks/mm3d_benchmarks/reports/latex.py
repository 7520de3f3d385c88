r"""A table as LaTeX: booktabs rules, siunitx columns, everything escaped, plain `article` compatible.

Preamble needed: ``\usepackage{booktabs,siunitx,graphicx}``. Measured and published values stand in blocks of their own,
side by side; a table with more than ``PANEL`` quantities is set as two panels, one above the other, and
anything wider than the page is scaled to ``\linewidth``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mm3d_benchmarks.reports.tables import Cell, Printed, Row, Table
from mm3d_benchmarks.reports.text import legend
from mm3d_benchmarks.results.columns import Column

PANEL = 3  # quantities side by side with their published values; beyond, two panels
STACK = 8  # quantities in one panel; beyond, deviations stand below the means
FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"  # scale down, never up

_SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
    "✓": r"\ensuremath{\surd}",
    "†": r"\ensuremath{\dagger}",
    "‡": r"\ensuremath{\ddagger}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "→": r"\ensuremath{\to}",
    "≥": r"\ensuremath{\geq}",
    "≤": r"\ensuremath{\leq}",
    "η": r"\ensuremath{\eta}",
    "θ": r"\ensuremath{\theta}",
    "τ": r"\ensuremath{\tau}",
    "’": "'",
    "‘": "`",
    "\n": " ",
}
_SUBSCRIPT = re.compile(r"\bL_(CSD|PC|[A-Z]{2,4})\b")  # the paper's losses, written L_CSD in plain text


def escape(text: str) -> str:
    """The text with no character left that LaTeX would read as a command; unknown ones print as their code point."""
    pieces, end = [], 0
    for found in _SUBSCRIPT.finditer(text):
        pieces += [_escape(text[end : found.start()]), rf"$L_{{\mathrm{{{found[1]}}}}}$"]
        end = found.end()
    return "".join([*pieces, _escape(text[end:])])


def to_latex(table: Table) -> str:
    """One ``table`` environment with caption, label and notes."""
    if not table.has_published:
        blocks = [_Block(table, True, False)]
    elif len(table.columns) > PANEL:
        blocks = [_Block(table, True, False), _Block(table, False, True)]
    else:
        blocks = [_Block(table, True, True)]
    lines = [
        "% needs \\usepackage{booktabs,siunitx,graphicx}",
        r"\begin{table}[htbp]",
        r"\centering\small",
        r"\sisetup{detect-weight=true}",
        r"\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{escape(table.caption)}}}\smallskip",
        rf"\label{{tab:{re.sub('[^A-Za-z0-9-]', '-', table.name)}}}",
    ]
    for block in blocks:
        lines += [FIT, *block.lines(), r"}\par\smallskip"]
    return "\n".join([*lines, *_notes(table), r"\end{table}", ""])


def all_tables(names: Sequence[str]) -> str:
    """A document that inputs every table of the folder; compiles by itself."""
    lines = [
        r"\documentclass[10pt]{article}",
        r"\usepackage[utf8]{inputenc}",
        r"\usepackage[margin=2cm]{geometry}",
        r"\usepackage{booktabs,siunitx,graphicx}",
        r"\begin{document}",
        *(rf"\input{{{name}.tex}}" + "\n" + r"\clearpage" for name in names),
        r"\end{document}",
        "",
    ]
    return "\n".join(lines)


class _Block:
    """One tabular: row labels, then the measured or the published columns, or both."""

    def __init__(self, table: Table, measured: bool, published: bool) -> None:
        self.table, self.measured, self.published = table, measured, published
        cells = [cell for row in table.rows for cell in row.cells.values() if cell.mean is not None]
        printed = [p for row in table.rows for p in row.printed.values() if p.value is not None]
        self.stacked = measured and not published and len(table.columns) > STACK
        self.spreads = not table.gain_only and not self.stacked and any(cell.std is not None for cell in cells)
        noted = any(cell.marks or cell.state for cell in cells)
        self.behind = not self.stacked and ((table.has_delta and not table.gain_only) or noted)
        self.printed_gains = not table.gain_only and any(p.delta is not None for p in printed)

    @property
    def measured_span(self) -> int:
        """Tabular columns of one measured quantity: mean, deviation, then difference and marks."""
        return 1 + self.spreads + self.behind

    @property
    def printed_span(self) -> int:
        """Tabular columns of one published quantity: value, then gain."""
        return 1 + self.printed_gains

    def lines(self) -> list[str]:
        """The tabular environment."""
        table = self.table
        text = 1 + len(table.descriptions)
        lines = [rf"\begin{{tabular}}{{{self._columns()}}}", r"\toprule", *self._header(text), r"\midrule"]
        groups = [(t, rows if self.published else [r for r in rows if r.kind == "run"]) for t, rows in table.groups]
        for number, (title, rows) in enumerate((t, rows) for t, rows in groups if rows):
            if number:
                lines.append(r"\midrule")
            if title:
                lines.append(rf"\multicolumn{{{text}}}{{l}}{{\itshape {escape(title)}}} \\")
            for row in rows:
                lines.append(" & ".join(self._row(row)) + r" \\")
                lines += self._below(row) if self.stacked else []
        return [*lines, r"\bottomrule", r"\end{tabular}"]

    def _below(self, row: Row) -> list[str]:
        """The line under a row of a very wide table: deviations and footnotes; differences are left to the CSV."""
        pieces = [""] * (1 + len(self.table.descriptions))
        for c in self.table.columns:
            cell = row.cells.get(c.name, Cell())
            spread = "" if cell.std is None else rf"$\pm${c.number(cell.std)}"
            marks = "".join(rf"\textsuperscript{{{mark}}}" for mark in cell.marks) if cell.mean is not None else ""
            pieces.append(rf"{{\scriptsize {spread}{marks}}}" if spread or marks else "")
        return [" & ".join(pieces) + r" \\"] if any(pieces) else []

    def _columns(self) -> str:
        close = r"@{\,}l"
        spec = "l" * (1 + len(self.table.descriptions))
        if self.measured:
            spec += "".join(self._format(c, True) + close * (self.measured_span - 1) for c in self.table.columns)
        if self.published:
            spec += "".join(self._format(c, False) + close * (self.printed_span - 1) for c in self.table.columns) + "l"
        return spec

    def _format(self, c: Column, measured: bool) -> str:
        """An S column as wide as its widest number."""
        c = c if measured else c.as_printed
        if self.table.gain_only:
            return f"S[table-format=+2.{c.decimals}]"
        rows = self.table.rows
        shown = [cell.mean for r in rows if (cell := r.cells.get(c.name))]
        if not measured:
            shown = [p.value for r in rows if (p := r.printed.get(c.name))]
        values = [v for v in shown if v is not None]
        digits = max((len(str(int(abs(v)))) for v in values), default=2)
        return f"S[table-format={'-' if any(v < 0 for v in values) else ''}{digits}.{c.decimals}]"

    def _header(self, text: int) -> list[str]:
        names = [escape(h) for h in (self.table.heading, *self.table.descriptions)]
        over, rules, at = [""] * text, [], text + 1
        for shown, word, span in (
            (self.measured, "Measured here", self.measured_span),
            (self.published, "Published", self.printed_span),
        ):
            if not shown:
                continue
            total = span * len(self.table.columns)
            over.append(rf"\multicolumn{{{total}}}{{c}}{{{word}}}")
            rules.append(rf"\cmidrule(lr){{{at}-{at + total - 1}}}")
            names += [rf"\multicolumn{{{span}}}{{c}}{{{escape(c.title)}}}" for c in self.table.columns]
            at += total
        if self.published:
            over.append("")
            names.append("Source")
        return [" & ".join(over) + r" \\", "".join(rules), " & ".join(names) + r" \\"]

    def _row(self, row: Row) -> list[str]:
        sign = {"quoted": r"\textsuperscript{$\dagger$}", "printed": r"\textsuperscript{$\ddagger$}"}.get(row.kind, "")
        cells = [escape(row.label) + sign, *(escape(text) for text in row.descriptions)]
        for c in self.table.columns if self.measured else ():
            cells += self._measured_cell(row.cells.get(c.name), c)
        for c in self.table.columns if self.published else ():
            cells += self._printed_cell(row.printed.get(c.name, Printed()), c)
        if self.published:
            quoted = r"\textsuperscript{$\dagger$}" if row.origin == "quoted" else ""
            cells.append("" if row.source is None else f"S{row.source + 1}{quoted}")
        return cells

    def _measured_cell(self, cell: Cell | None, c: Column) -> list[str]:
        marks = "".join(rf"\textsuperscript{{{mark}}}" for mark in (cell.marks if cell else ()))
        gain = self.table.gain_only
        shown = None if cell is None else (cell.delta if gain else cell.mean)
        if cell is None or shown is None:
            text = r"\textendash{}" if cell is None else escape(cell.state or "no baseline")
            return [rf"\multicolumn{{{self.measured_span}}}{{c}}{{{text}{marks}}}"]
        best = cell.best and not gain
        pieces = [(r"\bfseries " if best else "") + (c.gain(shown) if gain else c.number(shown))]
        if self.spreads:
            spread = "" if cell.std is None else rf"$\pm$\,{c.number(cell.std)}"
            pieces.append(rf"\textbf{{{spread}}}" if best and spread else spread)
        if self.behind:
            text = _gain(c, cell.delta) if not gain else ""
            pieces.append(text + (f" [{escape(cell.state)}]" if cell.state else "") + marks)
        return pieces

    def _printed_cell(self, printed: Printed, c: Column) -> list[str]:
        gain, c = self.table.gain_only, c.as_printed
        shown = printed.delta if gain else printed.value
        if shown is None:
            text = r"\textendash{}" if gain or printed.delta is None else _gain(c, printed.delta)
            return [rf"\multicolumn{{{self.printed_span}}}{{c}}{{{text}}}"]
        number = (r"\bfseries " if printed.best and not gain else "") + (c.gain(shown) if gain else c.number(shown))
        return [number, _gain(c, printed.delta)] if self.printed_gains else [number]


def _gain(c: Column, value: float | None) -> str:
    """``(+1.5)`` with a true minus sign, or nothing."""
    return "" if value is None else "(" + c.gain(value).replace("-", "$-$").replace("+", "$+$") + ")"


def _notes(table: Table) -> list[str]:
    notes = [escape(legend(table))]
    notes += [rf"\textsuperscript{{{mark}}} {escape(text)}" for mark, text in table.footnotes]
    notes += [f"S{i + 1}: {escape(source)}." for i, source in enumerate(table.sources)]
    notes += [escape(remark) for remark in table.remarks]
    return [r"\begin{minipage}{\linewidth}\footnotesize", *(note + r"\par" for note in notes), r"\end{minipage}"]


def _escape(text: str) -> str:
    return "".join(_SIGNS.get(sign, sign if sign.isascii() and sign.isprintable() else _foreign(sign)) for sign in text)


def _foreign(sign: str) -> str:
    """Latin letters pass as UTF-8; what a plain article cannot print stands as its code point."""
    return sign if "\u00c0" <= sign <= "\u017f" else f"[U+{ord(sign):04X}]"
