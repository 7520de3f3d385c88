"""The table of a sweep file: what it shows, how rows are compared, and what the paper printed.

    title, columns, over                      as in every sweep
    baseline   a row, or {row: its baseline}; deltas are differences from it
    axis       dotted prefixes of the keys in which a row may differ from its baseline
    published  [{cell, row, <column>: value, delta: {<column>: value}, origin: run | quoted, source, note}]

and, all optional, the layout of the printed table:

    heading    title of the column of row labels (default "Method")
    labels     {row: the label as printed}
    describe   {row: {heading: text}}: further text columns, such as Table 8's mask strategy
    groups     [{title, rows, baseline}]: rules between blocks of rows; a group's baseline wins over the table's
    hidden     rows that only serve as a baseline
    oracles    rows pre-trained with labels: where one does not beat its baseline, a remark says what that means
    show       "gain": only the differences from the baseline, as in Table 1
    footnotes  sentences printed under the table

Rows stand in the order of ``groups``, then of ``rows`` (a list of labels), then of ``published``, then of the runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mm3d_core.errors import UserError

_KEYS = {
    "title", "columns", "over", "baseline", "axis", "published", "heading", "labels", "describe", "groups", "rows",
    "hidden", "oracles", "show", "footnotes",
}  # fmt: skip
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
    axis: tuple[str, ...] = ()
    baselines: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    describe: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    oracles: tuple[str, ...] = ()
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


def parse_table(path: Path, table: Mapping[str, Any], run_rows: Sequence[str]) -> TableSpec:
    """The section ``table`` of a sweep file.

    Args:
        path: the file, for messages.
        run_rows: labels of the rows that runs fill.

    Raises:
        UserError: an unknown field or one of the wrong kind, an entry for an unknown column, a cell listed twice, a row
            that nothing fills, or a baseline against which fairness cannot be checked.
    """
    unknown = sorted(set(map(str, table)) - _KEYS)
    if unknown:
        raise UserError(f"{path}: table.{unknown[0]}: there is no such field; known: {', '.join(sorted(_KEYS))}")
    try:
        spec = _spec(path, table, tuple(dict.fromkeys(run_rows)))
        _check_rows(path, table, spec)
    except (AttributeError, TypeError, KeyError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: not in the shape that docs/add_a_table.md describes ({error!r})") from error
    return spec


def _spec(path: Path, table: Mapping[str, Any], run_rows: tuple[str, ...]) -> TableSpec:
    axis = table.get("axis") or []
    for name in ("columns", "rows", "hidden", "oracles", "groups", "published", "footnotes"):
        if not isinstance(table.get(name) or [], list):
            raise UserError(f"{path}: table.{name} is a list")
    if not isinstance(axis, str | list):
        raise UserError(f"{path}: table.axis is a list of dotted names")
    columns = _texts(table, "columns")
    published = tuple(_published(path, entry, columns) for entry in table.get("published") or [])
    cells = [p.cell for p in published if p.cell]
    twice = sorted({c for c in cells if cells.count(c) > 1})
    if twice:
        raise UserError(f"{path}: published cells listed twice: {', '.join(twice)}; keep one entry each")
    hidden = _texts(table, "hidden")
    groups = _groups(path, table, [*_texts(table, "rows"), *(p.row for p in published), *run_rows], hidden)
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
        axis=tuple([axis] if isinstance(axis, str) else map(str, axis)),
        baselines=_baselines(table, [*rows, *hidden]),
        labels={str(k): str(v) for k, v in (table.get("labels") or {}).items()},
        describe={str(k): {str(h): _text(t) for h, t in v.items()} for k, v in (table.get("describe") or {}).items()},
        hidden=hidden,
        oracles=_texts(table, "oracles"),
        gain_only=table.get("show") == "gain",
        footnotes=_texts(table, "footnotes"),
    )


def _check_rows(path: Path, table: Mapping[str, Any], spec: TableSpec) -> None:
    """Every row that the layout mentions is filled or published, and every measured difference can be held fair."""
    filled = {*spec.run_rows, *(entry.row for entry in spec.published)}
    mentioned = [("groups", row) for group in table.get("groups") or [] for row in group.get("rows") or []]
    mentioned += [
        (part, row) for part in ("rows", "labels", "describe", "hidden", "oracles") for row in table.get(part) or ()
    ]
    mentioned += [("baseline", row) for pair in spec.baselines.items() for row in pair]
    for part, row in mentioned:
        if str(row) not in filled:
            raise UserError(
                f"{path}: table.{part} names row {row!r}, which no run fills and nobody published; "
                "add it to runs.each or table.published, or correct its label"
            )
    for row, base in spec.baselines.items():
        if row in spec.run_rows and base not in spec.run_rows:
            raise UserError(
                f"{path}: row {row!r} is compared with {base!r}, which no run fills: published values are never "
                "mixed with measured ones; add it to runs.each, or choose another baseline"
            )
        if row in spec.run_rows and not spec.axis:
            raise UserError(
                f"{path}: row {row!r} is compared with {base!r}, but nothing says in what they may differ; "
                "name it in table.axis, for example axis: pretrain"
            )


def _texts(table: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(str(value) for value in table.get(name) or [])


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
    """Row to its baseline: the table's, or the group's, which wins; each is a row, or {row: its baseline}."""
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
