"""The part of a sweep file that describes a table: what it shows, and what the paper printed.

A report reads ``sweeps/<name>.yaml`` and uses, of ``runs``, only the row labels of ``each``. Of ``table`` it reads

    title, columns, over, axis                as in every sweep
    baseline   a row, or {row: its baseline}; deltas are differences from it
    published  [{cell, row, <column>: value, delta: {<column>: value}, origin: run | quoted, source, note}]

and, all optional, the layout of the printed table:

    heading    title of the column of row labels (default "Method")
    labels     {row: the label as printed}
    describe   {row: {heading: text}}: further text columns, such as Table 8's mask strategy
    groups     [{title, rows, baseline}]: rules between blocks of rows; a group's baseline wins over the table's
    hidden     rows that only serve as a baseline
    show       "gain": only the differences from the baseline, as in Table 1
    footnotes  sentences printed under the table

Rows stand in the order of ``groups``, then of ``rows`` (a list of labels), then of ``published``, then of ``each``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mm3d_core.errors import UserError
from mm3d_core.files.untrusted import parse_yaml

_ENTRY_KEYS = {"cell", "row", "delta", "origin", "source", "note", "seeds"}


@dataclass(frozen=True)
class Published:
    """What a paper printed for one row.

    Attributes:
        cell: identifier of the printed row, such as ``T7-01``.
        values: column to value; None where the paper drew or omitted the number.
        delta: column to the bracketed gain, as printed.
        origin: ``run`` (by the paper's authors) or ``quoted`` (by them, from another publication).
        source: where the numbers can be looked up.
    """

    cell: str
    row: str
    values: Mapping[str, float | None]
    delta: Mapping[str, float | None]
    origin: str
    source: str
    note: str


@dataclass(frozen=True)
class Group:
    """Rows between two rules."""

    title: str
    rows: tuple[str, ...]


@dataclass(frozen=True)
class TableSpec:
    """A table's layout and its published values; see the module's text for the meaning of each field."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    run_rows: tuple[str, ...]
    groups: tuple[Group, ...]
    published: tuple[Published, ...]
    heading: str = "Method"
    baselines: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    describe: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    gain_only: bool = False
    footnotes: tuple[str, ...] = ()

    def label(self, row: str) -> str:
        """The row's label as printed."""
        return self.labels.get(row, row)

    def baseline(self, row: str) -> str | None:
        """The row that this row's deltas refer to, if any."""
        return self.baselines.get(row)

    def descriptions(self) -> tuple[str, ...]:
        """Headings of the further text columns, in order of first mention."""
        return tuple(dict.fromkeys(heading for row in self.rows for heading in self.describe.get(row, {})))


def load_specs(sweeps: Path) -> list[TableSpec]:
    """The specs of all sweep files that have a table, by name.

    Raises:
        UserError: the folder is missing, or a file is not a sweep.
    """
    if not sweeps.is_dir():
        raise UserError(f"{sweeps}: no such folder; pass the folder that holds the sweep files")
    specs = [load_spec(path) for path in sorted(sweeps.glob("*.yaml"))]
    return [spec for spec in specs if spec is not None]


def load_spec(path: Path) -> TableSpec | None:
    """The spec in one sweep file; None for a sweep without a ``table``.

    Raises:
        UserError: not YAML, a field of the wrong kind, an entry for an unknown column, or a cell listed twice.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", path.stem):
        raise UserError(f"{path}: becomes a table's name; name it with letters, digits, '_', '-' and '.' only")
    try:
        text = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({error}); correct the file") from error
    if not isinstance(text, dict):
        raise UserError(f"{path}: a sweep is a mapping with 'runs' and 'table'")
    table = text.get("table")
    if table is None:
        return None
    try:
        return _spec(path, text.get("runs") or {}, table)
    except (AttributeError, TypeError, KeyError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: 'table' is not as described in reports/sweepfile.py: {error!r}") from error


def _spec(path: Path, runs: Mapping[str, Any], table: Mapping[str, Any]) -> TableSpec:
    columns = tuple(str(c) for c in table.get("columns") or [])
    published = tuple(_published(path, entry, columns) for entry in table.get("published") or [])
    cells = [p.cell for p in published if p.cell]
    twice = sorted({c for c in cells if cells.count(c) > 1})
    if twice:
        raise UserError(f"{path}: published cells listed twice: {', '.join(twice)}; keep one entry each")
    hidden = tuple(str(r) for r in table.get("hidden") or [])
    run_rows = tuple(dict.fromkeys(_run_rows(runs)))
    known = [*(p.row for p in published), *run_rows]
    listed = [str(row) for row in table.get("rows") or [] if str(row) in known]
    groups = _groups(path, table, [*listed, *known], hidden)
    rows = tuple(row for group in groups for row in group.rows)
    return TableSpec(
        name=path.stem,
        title=str(table.get("title", path.stem)).strip(),
        columns=columns,
        rows=rows,
        run_rows=run_rows,
        groups=groups,
        published=published,
        heading=str(table.get("heading", "Method")),
        baselines=_baselines(table, rows),
        labels={str(k): str(v) for k, v in (table.get("labels") or {}).items()},
        describe={str(k): {str(h): _text(t) for h, t in v.items()} for k, v in (table.get("describe") or {}).items()},
        hidden=hidden,
        gain_only=table.get("show") == "gain",
        footnotes=tuple(str(f) for f in table.get("footnotes") or []),
    )


def _run_rows(runs: Mapping[str, Any]) -> Iterable[str]:
    """The labels of the rows that runs fill."""
    crossed = (runs.get("cross") or {}).get("row", [])
    return [*(str(e["row"]) for e in runs.get("each") or [] if "row" in e), *(str(r) for r in crossed)]


def _published(path: Path, entry: Mapping[str, Any], columns: tuple[str, ...]) -> Published:
    values = {str(k): _number(v) for k, v in entry.items() if k not in _ENTRY_KEYS}
    delta = {str(k): _number(v) for k, v in (entry.get("delta") or {}).items()}
    unknown = sorted((set(values) | set(delta)) - set(columns))
    if unknown:
        raise UserError(
            f"{path}: published entry {entry.get('cell')} names {', '.join(unknown)}; columns are {columns}"
        )
    origin = str(entry.get("origin", "run"))
    if origin not in ("run", "quoted"):
        raise UserError(f"{path}: origin of {entry.get('cell')} is {origin!r}; write run or quoted")
    source, note = str(entry.get("source", "")), str(entry.get("note") or "")
    return Published(str(entry.get("cell", "")), str(entry["row"]), values, delta, origin, source, note)


def _groups(path: Path, table: Mapping[str, Any], rows: Iterable[str], hidden: tuple[str, ...]) -> tuple[Group, ...]:
    """The listed groups, then one group of all rows not listed."""
    groups, seen = [], set(hidden)
    for group in table.get("groups") or []:
        names = tuple(str(r) for r in group["rows"])
        repeated = sorted(seen.intersection(names) - set(hidden))
        if repeated:
            raise UserError(f"{path}: rows in two groups: {', '.join(repeated)}; list each row once")
        seen.update(names)
        groups.append(Group(str(group.get("title") or ""), names))
    rest = tuple(dict.fromkeys(row for row in rows if row not in seen))
    return (*groups, Group("", rest)) if rest else tuple(groups)


def _baselines(table: Mapping[str, Any], rows: Iterable[str]) -> dict[str, str]:
    """Row to its baseline: the table's, or the group's, which wins. A baseline has none itself."""
    found: dict[str, str] = {}
    for given, names in [
        (table.get("baseline"), rows),
        *((group["baseline"], group["rows"]) for group in table.get("groups") or [] if "baseline" in group),
    ]:
        own = given if isinstance(given, Mapping) else dict.fromkeys(map(str, names), given)
        found |= {str(row): str(base) for row, base in own.items() if base is not None}
    return {row: base for row, base in found.items() if row != base}


def _number(value: Any) -> float | None:
    number = None if value is None else float(value)
    if number is not None and not math.isfinite(number):
        raise ValueError(f"{value!r} was never printed")
    return number


def _text(value: Any) -> str:
    """YAML's yes and no as the marks that the paper prints."""
    return {True: "✓", False: "×", None: "-"}.get(value, str(value)) if isinstance(value, bool | None) else str(value)
