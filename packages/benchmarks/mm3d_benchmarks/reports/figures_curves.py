"""Curves and bars of scores, as in Figures 4, 5 and 9, from the same tables that are printed.

Measured values and published values stand in panels of their own: on synthetic scenes they must not share an axis.
Whiskers are sample standard deviations over seeds, as in the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mm3d_benchmarks.planning.figure_spec import FigureSpec
from mm3d_benchmarks.reports.style import GRAY, MARKERS, SERIES, new_figure
from mm3d_benchmarks.reports.tables import NOT_APPLICABLE, NOT_RUN, Row, Table
from mm3d_benchmarks.results.columns import Column
from mm3d_benchmarks.results.inputs import Places

Point = tuple[float, float, float | None]  # x, value, deviation


def curves(spec: FigureSpec, table: Table, places: Places) -> Figure | None:
    """Score over ``x``, one curve for each series; rows whose x is no number are level lines (Figures 4 and 9)."""
    placed = [(*places[row.name], row) for row in table.rows if row.name in places]
    points = [(series, float(x), row) for x, series, row in placed if _is_number(x)]
    levels = [(series, row) for x, series, row in placed if not _is_number(x)]
    if not points:
        return None
    names = list(dict.fromkeys([*(series for series, _, _ in points), *(series for series, _ in levels)]))
    figure = new_figure(7.2, 2.9 * len(table.columns) + 0.5)
    axes = figure.subplots(len(table.columns), 2, squeeze=False)
    for line, col in zip(axes, table.columns, strict=True):
        for panel, measured in zip(line, (True, False), strict=True):
            some = False
            for number, name in enumerate(names):
                found = [_point(x, row, col, measured) for series, x, row in points if series == name]
                some |= _curve(panel, [p for p in found if p], number, name, measured)
                for series, row in levels:
                    some |= series == name and _level(panel, _point(0, row, col, measured), number)
            _finish(panel, col, measured, some)
            panel.set_xlabel(spec.label)
            panel.set_xticks(sorted({x for _, x, _ in points}))
    _legend(figure, names, list(range(len(names))))
    return figure


def bars(table: Table, places: Places) -> Figure | None:
    """A panel for each value of ``x`` and column, with one bar for each series (Figure 5)."""
    entries = [(series, str(x), row) for row in table.rows for x, series in [places.get(row.name, (None, ""))] if x]
    methods = list(dict.fromkeys(method for method, _, _ in entries))
    pairs = [(task, col) for task in dict.fromkeys(task for _, task, _ in entries) for col in table.columns]
    groups = [(task, col) for task, col in pairs if any(t == task and _any(row, col) for _, t, row in entries)] or pairs
    if not groups:
        return None
    figure = new_figure(max(4.0, 2.3 * len(groups) + 1.2), 3.6)
    axes = figure.subplots(1, len(groups), squeeze=False)[0]
    for panel, (task, col) in zip(axes, groups, strict=True):
        for number, method in enumerate(methods):
            _bar(panel, next((row for m, t, row in entries if (m, t) == (method, task)), None), col, number)
        panel.set_xticks([])
        panel.set_xlim(-0.6, len(methods) - 0.4)
        panel.margins(y=0.15)
        panel.set_title(f"{task}\n({col.title})")
        panel.set_ylabel(f"{col.title} (%)")
        panel.set_ylim(bottom=0)
    figure.suptitle("Measured; dotted: published, where a number is printed", fontsize=9)
    _legend(figure, methods, list(range(len(methods))), bars=True)
    return figure


def _bar(panel: Axes, row: Row | None, col: Column, number: int) -> None:
    """One bar, or the word for why there is none; a dotted line where a number was published."""
    cell = row.cells.get(col.name) if row else None
    if cell and cell.mean is not None:
        panel.bar(number, cell.mean, 0.75, color=SERIES[number % len(SERIES)], yerr=cell.std, capsize=3)
        panel.text(number, cell.mean + (cell.std or 0), col.number(cell.mean), ha="center", va="bottom", size=8)
    else:
        word = cell.state if cell else ("not run" if row else "")
        panel.text(number, 0, word, ha="center", va="bottom", rotation=90, size=8, color=GRAY)
    printed = row.printed.get(col.name) if row else None
    if printed and printed.value is not None:
        panel.plot([number - 0.4, number + 0.4], [printed.value] * 2, color="black", linestyle=":")


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool)


def _level(panel: Axes, point: Point | None, number: int) -> bool:
    """Draw a row without a place as a line from side to side; returns whether there was anything to draw."""
    if point is None:
        return False
    _, value, deviation = point
    color = SERIES[number % len(SERIES)]
    panel.axhline(value, color=color, linestyle="--")
    if deviation:
        panel.axhspan(value - deviation, value + deviation, color=color, alpha=0.15, linewidth=0)
    return True


def _point(x: float, row: Row, col: Column, measured: bool) -> Point | None:
    if measured:
        cell = row.cells.get(col.name)
        return None if cell is None or cell.mean is None else (x, cell.mean, cell.std)
    printed = row.printed.get(col.name)
    return None if printed is None or printed.value is None else (x, printed.value, None)


def _any(row: Row, col: Column) -> bool:
    """Whether the row has anything in that column, a failure included."""
    cell, printed = row.cells.get(col.name), row.printed.get(col.name)
    return bool(cell and cell.state not in (NOT_RUN, NOT_APPLICABLE)) or bool(printed and printed.value is not None)


def _curve(axes: Axes, points: Sequence[Point], number: int, name: str, measured: bool) -> bool:
    """Draw one curve; returns whether there was anything to draw."""
    if not points:
        return False
    points = sorted(points)
    errors = [p[2] or 0.0 for p in points] if measured and any(p[2] for p in points) else None
    axes.errorbar(
        [p[0] for p in points],
        [p[1] for p in points],
        yerr=errors,
        label=name,
        color=SERIES[number % len(SERIES)],
        marker=MARKERS[number % len(MARKERS)],
        markerfacecolor=None if measured else "white",
        linestyle="-" if measured else ":",
        capsize=3,
    )
    return True


def _finish(axes: Axes, col: Column, measured: bool, some: bool) -> None:
    axes.set_title("Measured here" if measured else "Published (numbers printed in text or tables)")
    axes.set_ylabel(f"{col.title} (%)" if col.unit == "%" else col.title)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.margins(y=0.15)
    if not some:
        word = "not run" if measured else "no number printed"
        axes.text(0.5, 0.5, word, transform=axes.transAxes, ha="center", color=GRAY)
        axes.set_yticks([])


def _legend(figure: Figure, names: Sequence[str], numbers: Sequence[int], bars: bool = False) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Patch(color=SERIES[n % len(SERIES)], label=name)
        if bars
        else Line2D([], [], color=SERIES[n % len(SERIES)], marker=MARKERS[n % len(MARKERS)], label=name)
        for n, name in zip(numbers, names, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)))
