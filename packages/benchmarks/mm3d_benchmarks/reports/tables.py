"""From measured and published values to one table, with nothing yet said about how it is written down.

Rules, the same in every table:

* a measured cell is the mean over seeds, with the sample standard deviation when there are at least two;
* its delta is the mean over the seeds that the row and its baseline share of (row - baseline);
* the best value of a column is marked, measured and published apart, ties at the printed precision included;
* a published value never enters a mean, a delta or a comparison with a measured one;
* what is missing is named in the cell, and why in a footnote.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mm3d_benchmarks.planning.table_spec import Published, TableSpec
from mm3d_benchmarks.results.columns import COSTS, Column, column
from mm3d_benchmarks.results.inputs import Inputs, Measured

NOT_RUN = "not run"
NOT_APPLICABLE = "–"


@dataclass(frozen=True)
class Cell:
    """One measured quantity of one row.

    Attributes:
        mean, std, delta: None where they do not exist.
        seeds: how many values the mean is of; ``planned`` is how many there should be.
        state: empty when all is well, else the word the cell shows: ``not run``, ``missing``, ``NaN``, ...
        marks: letters of the footnotes that explain the state.
    """

    mean: float | None = None
    std: float | None = None
    delta: float | None = None
    seeds: int = 0
    planned: int = 0
    state: str = NOT_RUN
    best: bool = False
    marks: tuple[str, ...] = ()


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


def build_table(spec: TableSpec, inputs: Inputs, profile: str) -> Table:
    """Join what was measured with what was published.

    Args:
        profile: named in the caption, so that no smoke figure passes for a result.
    """
    notes = _Notes()
    columns = tuple(column(name) for name in spec.columns)
    published = {entry.row: entry for entry in spec.published}
    sources = tuple(dict.fromkeys(entry.source for entry in spec.published if entry.source))
    planned = max((len(m.values) + len(m.problems) for m in inputs.cells.values()), default=0)
    groups, problems, missing = [], [], []
    for group in spec.groups:
        rows = []
        for name in group.rows:
            row = _row(spec, inputs, name, published.get(name), sources, notes, planned)
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
    return _mark_best(
        Table(
            name=spec.name,
            title=spec.title,
            caption=_caption(spec, inputs, profile),
            heading=spec.heading,
            descriptions=spec.descriptions(),
            columns=columns,
            groups=tuple(groups),
            sources=sources,
            footnotes=tuple((letters(i), text) for i, text in enumerate(notes.sentences)),
            remarks=(*_remarks(spec, inputs), *unseen),
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
    return Row(
        name=name,
        label=spec.label(name),
        descriptions=tuple(spec.describe.get(name, {}).get(h, "") for h in spec.descriptions()),
        kind="run" if ours else ("quoted" if printed and printed.origin == "quoted" else "printed"),
        cells=cells,
        printed=values,
        cell=printed.cell if printed else "",
        origin=printed.origin if printed else "",
        source=sources.index(printed.source) if printed and printed.source else None,
        note=printed.note if printed else "",
        runs=inputs.runs.get(name, ()),
    )


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


def _caption(spec: TableSpec, inputs: Inputs, profile: str) -> str:
    """Title, profile, data source, and how to read the numbers."""
    where = inputs.data_source()
    names = ", ".join(inputs.datasets()) or "none recorded"
    if not inputs.found:
        data = "no run yet; only published values are shown"
    elif where == "official":
        data = f"data: official releases ({names})"
    elif where == "user":
        data = "data: user data (own scans and labels), so measured and published values must not be compared"
    elif where == "synthetic":
        data = (
            f"data: synthetic scenes in the format of {names}, not the official data sets, "
            "so measured and published values must not be compared"
        )
    elif where == "mixed":
        parts = ", ".join(f"{name} {kind}" for name, kind in inputs.datasets().items())
        data = f"data: {parts}; values on other than official data must not be compared with published ones"
    else:
        data = "data source not recorded, so measured and published values must not be compared"
    seeds = len(inputs.seeds)
    spread = (
        f"Mean ± sample standard deviation over {seeds} seeds."
        if seeds > 1
        else "A single seed, so without a deviation."
    )
    return f"{_sentence(spec.title)} Profile {profile}; {data}. {spread if inputs.found else ''}".strip()


def _remarks(spec: TableSpec, inputs: Inputs) -> tuple[str, ...]:
    """Sentences under the table: the sweep's own, the collector's (mixed provenance), and what costs depend on."""
    remarks = list(spec.footnotes)
    footnotes = inputs.provenance.get("footnotes") or []
    remarks += [str(note) for note in footnotes]
    if set(spec.columns) & set(COSTS) and inputs.provenance.get("devices"):
        devices = ", ".join(sorted({str(device) for device in inputs.provenance["devices"]}))
        remarks.append(f"Times and memory depend on the device; measured on: {devices}.")
    noted: dict[str, list[str]] = {}
    for entry in spec.published:
        if entry.note:
            noted.setdefault(entry.note, []).append(spec.label(entry.row))
    notes = [f"{', '.join(rows)}: {note}" for note, rows in noted.items()]
    return tuple(dict.fromkeys(_sentence(text) for text in [*remarks, *notes] if text))


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
        for name in _winners(theirs, col):
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


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text[-1] in ".!?" else text + "."
