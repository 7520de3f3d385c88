"""From measured and published values to one table, with nothing yet said about how it is written down.

Rules, the same in every table:

* a measured cell is the mean over seeds, with the sample standard deviation when there are at least two;
* its delta is the mean over the seeds that the row and its baseline share of (row - baseline);
* the best value of a column is marked, measured and published apart, ties at the printed precision included;
* a published value never enters a mean, a delta or a comparison with a measured one;
* what is missing is named in the cell, and why in a footnote;
* scores of a column that all stay below ``SMALL`` percent are written with two decimals, and times and memory with as
  many as their smallest value needs: hours of a run of seconds are no zero;
* a segmentation that is no better than predicting one class says so in a footnote (:mod:`chance`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mm3d_benchmarks.planning.table_spec import Published, TableSpec
from mm3d_benchmarks.reports.captions import caption, number_of, remarks
from mm3d_benchmarks.results.columns import COSTS, Column, column
from mm3d_benchmarks.results.inputs import Inputs, Measured

NOT_RUN = "not run"
NOT_APPLICABLE = "–"
SMALL = 10.0  # percent; where nothing measured reaches it, one decimal would hide what differs


@dataclass(frozen=True)
class Cell:
    """One measured quantity of one row.

    Attributes:
        mean, std, delta: None where they do not exist.
        seeds: how many values the mean is of; ``planned`` is how many there should be.
        state: empty when all is well, else the word the cell shows: ``not run``, ``missing``, ``NaN``, ...
        marks: letters of the footnotes that explain the state.
        at_chance: no better than predicting one class everywhere; the footnote says what that scores.
    """

    mean: float | None = None
    std: float | None = None
    delta: float | None = None
    seeds: int = 0
    planned: int = 0
    state: str = NOT_RUN
    best: bool = False
    marks: tuple[str, ...] = ()
    at_chance: bool = False


@dataclass(frozen=True)
class Printed:
    """One published quantity: the value and the gain, as printed."""

    value: float | None = None
    delta: float | None = None
    best: bool = False


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        kind: ``run`` (runs of ours fill it), ``quoted`` (the paper quotes it) or ``printed`` (the paper's authors ran
            it and this suite does not).
        source: number of the row's source in ``Table.sources``, or None when nothing was published.
    """

    name: str
    label: str
    descriptions: tuple[str, ...]
    kind: str
    cells: Mapping[str, Cell]
    printed: Mapping[str, Printed]
    cell: str = ""
    origin: str = ""
    source: int | None = None
    note: str = ""
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Everything a writer needs, and ``problems``, which decide the exit status."""

    name: str
    title: str
    caption: str
    heading: str
    descriptions: tuple[str, ...]
    columns: tuple[Column, ...]
    groups: tuple[tuple[str, tuple[Row, ...]], ...]
    sources: tuple[str, ...]
    footnotes: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
    gain_only: bool = False
    problems: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def numbered(self) -> str:
        """``Table 7. ``, or ``Figure 4 in numbers. `` for what a figure draws; empty for tables of ours."""
        return number_of(self.name, "{kind} {number}. ", "{kind} {number} in numbers. ")

    def in_words(self, row: Row) -> str:
        """A row for somebody who does not see the table: ``Table 7, iv (Consistency: yes)``."""
        described = [f"{name}: {text}" for name, text in zip(self.descriptions, row.descriptions, strict=True) if text]
        more = f" ({', '.join(described)})" if described else ""
        return f"{number_of(self.name) or self.title}, {row.label}{more}"

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows, top to bottom."""
        return tuple(row for _, rows in self.groups for row in rows)

    @property
    def has_published(self) -> bool:
        """Whether the table compares with anything published."""
        return any(row.printed for row in self.rows)

    @property
    def has_delta(self) -> bool:
        """Whether any measured cell has a difference to show."""
        return any(cell.delta is not None for row in self.rows for cell in row.cells.values())


@dataclass
class _Notes:
    """Footnotes in order of first use; the same sentence gets the same letter."""

    sentences: list[str] = field(default_factory=list)

    def mark(self, sentence: str) -> str:
        if sentence not in self.sentences:
            self.sentences.append(sentence)
        return letters(self.sentences.index(sentence))


def letters(number: int) -> str:
    """0, 1, ..., 25, 26 as a, b, ..., z, aa."""
    text = ""
    number += 1
    while number:
        number, digit = divmod(number - 1, 26)
        text = chr(ord("a") + digit) + text
    return text


def build_table(
    spec: TableSpec, inputs: Inputs, profile: str, chance: Mapping[tuple[str, str], float] | None = None
) -> Table:
    """Join what was measured with what was published.

    Args:
        profile: named in the caption, so that no smoke figure passes for a result.
        chance: (row, column) to what predicting one class everywhere scores there, percent, as far as it is known.
    """
    notes = _Notes()
    columns = tuple(column(name) for name in spec.columns)
    published = {entry.row: entry for entry in spec.published}
    sources = tuple(dict.fromkeys(entry.source for entry in spec.published if entry.source and _prints(entry)))
    planned = max((len(m.values) + len(m.problems) for m in inputs.cells.values()), default=0)
    groups, problems, missing = [], [], []
    for group in spec.groups:
        rows = []
        for name in group.rows:
            row = _row(spec, inputs, name, published.get(name), sources, notes, planned)
            row = row if spec.gain_only else _beside_chance(row, chance or {}, notes)
            rows.append(row)
            found, absent = _trouble(row, inputs)
            problems += [f"{spec.name}: {text}" for text in found]
            missing += [f"{spec.name}: {text}" for text in absent]
        groups.append((group.title, tuple(rows)))
    unseen = []
    for name in spec.hidden:
        found, absent = _trouble(_row(spec, inputs, name, None, (), _Notes(), planned), inputs)
        problems += [f"{spec.name}: {text}" for text in found]
        missing += [f"{spec.name}: {text}" for text in absent]
        unseen += [f"Baseline without a line of its own, {text}." for text in (*found, *absent)]
    shown = [row for _, rows in groups for row in rows]
    columns = columns if spec.gain_only else tuple(_fine_enough(c, shown) for c in columns)
    return _mark_best(
        Table(
            name=spec.name,
            title=spec.title,
            caption=caption(spec, inputs, profile),
            heading=spec.heading,
            descriptions=spec.descriptions(),
            columns=columns,
            groups=tuple(groups),
            sources=sources,
            footnotes=tuple((letters(i), text) for i, text in enumerate(notes.sentences)),
            remarks=(*remarks(spec, inputs), *unseen),
            gain_only=spec.gain_only,
            problems=tuple(problems),
            missing=tuple(missing),
        )
    )


def _row(
    spec: TableSpec,
    inputs: Inputs,
    name: str,
    printed: Published | None,
    sources: Sequence[str],
    notes: _Notes,
    planned: int,
) -> Row:
    ours = name in spec.run_rows or any(row == name for row, _ in inputs.cells)
    cells = {}
    for column_name in spec.columns if ours else ():
        if not _applies(spec, inputs, name, column_name, printed):
            cells[column_name] = Cell(state=NOT_APPLICABLE)
        else:
            cells[column_name] = _cell(inputs, name, column_name, spec.baseline(name), notes, planned)
    values = {c: Printed(printed.values.get(c), printed.delta.get(c)) for c in spec.columns} if printed else {}
    says = printed is not None and _prints(printed)
    return Row(
        name=name,
        label=spec.label(name),
        descriptions=tuple(spec.describe.get(name, {}).get(h, "") for h in spec.descriptions()),
        kind="run" if ours else ("quoted" if printed and printed.origin == "quoted" else "printed"),
        cells=cells,
        printed=values,
        cell=printed.cell if printed else "",
        origin=printed.origin if printed else "",
        source=sources.index(printed.source) if printed and printed.source and says else None,
        note=printed.note if printed else "",
        runs=inputs.runs.get(name, ()),
    )


def _prints(entry: Published) -> bool:
    """Whether there is a published number at all: some rows only carry a note."""
    return any(value is not None for value in (*entry.values.values(), *entry.delta.values()))


def _fine_enough(c: Column, rows: Sequence[Row]) -> Column:
    """A score in percent gets a second decimal where all that was measured is small, a cost two digits that count."""
    means = [cell.mean for row in rows if (cell := row.cells.get(c.name)) and cell.mean is not None]
    if c.name in COSTS:
        least = min((mean for mean in means if mean > 0), default=1.0)
        return c.finer(max(0, 1 - math.floor(math.log10(least)) - c.decimals))
    small = bool(means) and max(means) < SMALL and c.unit == "%" and bool(c.better)
    return c.finer() if small else c


def _beside_chance(row: Row, chance: Mapping[tuple[str, str], float], notes: _Notes) -> Row:
    """The row, with a footnote at each cell that is no better than one class everywhere."""
    cells = dict(row.cells)
    for name, cell in row.cells.items():
        level = chance.get((row.name, name))
        if level is not None and cell.mean is not None and cell.mean <= level + 1e-9:
            told = (
                f"at chance: no better than predicting one class for every point ({column(name).heading} {level:.2f})"
            )
            cells[name] = replace(cell, at_chance=True, marks=(*cell.marks, notes.mark(told)))
    return replace(row, cells=cells)


def _applies(spec: TableSpec, inputs: Inputs, row: str, name: str, printed: Published | None) -> bool:
    """Whether the row can have a value in that column.

    A finished run that has other columns of the table, but not this one, measures something else (a detector has no
    mIoU), unless the paper prints a value there: then the value is missing.
    """
    if printed and (printed.values.get(name) is not None or printed.delta.get(name) is not None):
        return True
    problems = inputs.cell(row, name).problems.values()
    elsewhere = any(inputs.cell(row, other).values for other in spec.columns if other != name)
    return not (elsewhere and problems and set(problems) == {"no value"})


def _cell(inputs: Inputs, row: str, name: str, baseline: str | None, notes: _Notes, planned: int) -> Cell:
    found = inputs.cell(row, name)
    count = len(found.values) + len(found.problems)
    if not count:
        return Cell(planned=planned)
    marks = (notes.mark("; ".join(found.details)),) if found.details else ()
    if not found.values:
        words = sorted(set(found.problems.values()))
        return Cell(planned=count, state=" / ".join(words), marks=marks)
    values = list(found.values.values())
    delta, unpaired = _delta(found, inputs.cell(baseline, name)) if baseline and baseline != row else (None, "")
    if unpaired:
        marks = (*marks, notes.mark(unpaired))
    return Cell(
        mean=math.fsum(values) / len(values),
        std=statistics.stdev(values) if len(values) > 1 and not column(name).exact else None,
        delta=delta,
        seeds=len(values),
        planned=count,
        state="" if not found.problems else f"{len(values)} of {count} seeds",
        marks=marks,
    )


def _delta(row: Measured, baseline: Measured) -> tuple[float | None, str]:
    """Mean difference over shared seeds, and a sentence when the seeds are not the same."""
    shared = [seed for seed in row.values if seed in baseline.values]
    if not shared:
        return None, "no seed in common with the baseline: no difference is formed" if baseline.values else ""
    delta = math.fsum(row.values[s] - baseline.values[s] for s in shared) / len(shared)
    differs = len(shared) < max(len(row.values), len(baseline.values))
    return delta, f"difference over the seeds shared with the baseline: {', '.join(shared)}" if differs else ""


def _trouble(row: Row, inputs: Inputs) -> tuple[list[str], list[str]]:
    """(what is wrong, what is only not there yet), one sentence per cell."""
    wrong, absent = [], []
    for name, cell in row.cells.items():
        problems = set(inputs.cell(row.name, name).problems.values())
        if cell.state == NOT_APPLICABLE:
            continue
        if cell.state == NOT_RUN or problems == {"missing"}:
            absent.append(f"row {row.name}, {name}: {cell.state}")
        elif cell.state:
            wrong.append(f"row {row.name}, {name}: {', '.join(sorted(problems))}")
    return wrong, absent


def _mark_best(table: Table) -> Table:
    """The same table with the best cells of each column marked, where at least two can be compared."""
    rows = {row.name: row for row in table.rows}
    for col in table.columns:
        if not col.better:
            continue
        ours = {n: c.mean for n, r in rows.items() if (c := r.cells.get(col.name)) and c.mean is not None}
        theirs = {n: p.value for n, r in rows.items() if (p := r.printed.get(col.name)) and p.value is not None}
        for name in _winners(ours, col):
            cells = dict(rows[name].cells)
            cells[col.name] = replace(cells[col.name], best=True)
            rows[name] = replace(rows[name], cells=cells)
        for name in _winners(theirs, col.as_printed):
            printed = dict(rows[name].printed)
            printed[col.name] = replace(printed[col.name], best=True)
            rows[name] = replace(rows[name], printed=printed)
    return replace(table, groups=tuple((title, tuple(rows[r.name] for r in part)) for title, part in table.groups))


def _winners(values: Mapping[str, float], col: Column) -> list[str]:
    """Rows that share the best printed value; none when all are equal or only one is there."""
    texts = {name: col.number(value) for name, value in values.items()}
    if len(set(texts.values())) < 2:
        return []
    pick = max if col.better == "higher" else min
    best = pick(values, key=lambda name: values[name])
    return [name for name, text in texts.items() if text == texts[best]]
