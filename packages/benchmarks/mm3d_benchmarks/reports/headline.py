"""A profile's headline numbers in one small file, for ``dvc metrics diff``, and one curve for ``dvc plots``.

    metrics/<profile>.json   table -> row -> its first measured column, the mean over seeds
    metrics/<profile>.csv    share of labeled scenes -> score, a column for each pre-training (Figure 4)

They lie outside of ``results/``, small enough for git: committed with ``dvc.lock``, they let two commits be compared.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path

from mm3d_benchmarks.reports.tables import Row, Table
from mm3d_benchmarks.results.columns import COSTS, Column
from mm3d_core.files.atomic import write_text_if_changed

CURVE = "figure_04"
SHARE = re.compile(r"^(?P<series>.*?)[\s/,]+(?P<x>[\d.]+)\s*%$")  # ``MM-3DScene / 10%``


def write_headlines(tables: Iterable[Table], metrics: Path, profile: str) -> None:
    """Write both files; those whose bytes would not change are left alone."""
    tables = list(tables)
    numbers = {table.name: found for table in tables if (found := headline(table))}
    write_text_if_changed(metrics / f"{profile}.json", json.dumps(numbers, sort_keys=True, indent=1) + "\n")
    curve = next((table for table in tables if table.name.startswith(CURVE)), None)
    write_text_if_changed(metrics / f"{profile}.csv", curve_csv(curve))


def headline(table: Table) -> dict[str, float]:
    """Row -> mean of the first column that is no cost of a machine, as precise as it is printed and two digits more."""
    column = next((column for column in table.columns if column.name not in COSTS), None)
    if column is None:
        return {}
    means = {row.name: _mean(row, column) for row in table.rows}
    return {name: round(mean, column.decimals + 2) for name, mean in means.items() if mean is not None}


def curve_csv(table: Table | None) -> str:
    """Rows named ``<method> / <share>%`` as one line a share, one column a method; empty cells where there is none."""
    rows = [(m["series"], float(m["x"]), row) for row in (table.rows if table else ()) if (m := SHARE.match(row.label))]
    names = list(dict.fromkeys(series for series, _, _ in rows))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["share", *names])
    for share in sorted({x for _, x, _ in rows}):
        assert table is not None
        means = {series: _mean(row, table.columns[0]) for series, x, row in rows if x == share}
        writer.writerow([f"{share:g}", *("" if (v := means.get(n)) is None else f"{v:.4f}" for n in names)])
    return buffer.getvalue()


def _mean(row: Row, column: Column) -> float | None:
    cell = row.cells.get(column.name)
    return None if cell is None else cell.mean
