"""A profile's headline numbers in one small file, for ``dvc metrics diff``, and one curve for ``dvc plots``.

    metrics/<profile>.json   table -> row -> its first measured column, the mean over seeds
    metrics/<profile>.csv    share of labeled scenes -> score, a column for each pre-training (Figure 4)

They lie outside of ``results/``, small enough for git: committed with ``dvc.lock``, they let two commits be compared.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path

from mm3d_benchmarks.reports.tables import Row, Table
from mm3d_benchmarks.results.columns import COSTS, Column
from mm3d_benchmarks.results.inputs import Places
from mm3d_core.files.atomic import write_text_if_changed


def write_headlines(tables: Iterable[Table], curve: tuple[Table, Places] | None, metrics: Path, profile: str) -> None:
    """Write both files; those whose bytes would not change are left alone.

    Args:
        curve: the table that is drawn over the share of labeled scenes, and where its rows stand.
    """
    numbers = {table.name: found for table in tables if (found := headline(table))}
    write_text_if_changed(metrics / f"{profile}.json", json.dumps(numbers, sort_keys=True, indent=1) + "\n")
    write_text_if_changed(metrics / f"{profile}.csv", curve_csv(*curve) if curve else "share\n")


def headline(table: Table) -> dict[str, float]:
    """Row -> mean of the first column that is no cost of a machine, as precise as it is printed and two digits more."""
    column = next((column for column in table.columns if column.name not in COSTS), None)
    if column is None:
        return {}
    means = {row.name: _mean(row, column) for row in table.rows}
    return {name: round(mean, column.decimals + 2) for name, mean in means.items() if mean is not None}


def curve_csv(table: Table, places: Places) -> str:
    """One line a share, one column a series, from the first column of scores; empty cells where there is none."""
    rows = [(*places[row.name], row) for row in table.rows if row.name in places]
    names = list(dict.fromkeys(series for _, series, _ in rows))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["share", *names])
    for share in sorted({x for x, _, _ in rows if isinstance(x, int | float)}):
        means = {series: _mean(row, table.columns[0]) for x, series, row in rows if x == share}
        writer.writerow([f"{share:g}", *("" if (v := means.get(n)) is None else f"{v:.4f}" for n in names)])
    return buffer.getvalue()


def _mean(row: Row, column: Column) -> float | None:
    cell = row.cells.get(column.name)
    return None if cell is None else cell.mean
