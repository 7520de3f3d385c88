"""Figures 4, 5 and 9: data efficiency, probes, gap ablation, from the same tables that are printed.

Measured values and published values stand in panels of their own: on synthetic scenes they must not share an axis.
Whiskers are sample standard deviations over seeds, as in the tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mm3d_benchmarks.reports.headline import SHARE
from mm3d_benchmarks.reports.style import GRAY, MARKERS, SERIES, new_figure
from mm3d_benchmarks.reports.tables import NOT_APPLICABLE, NOT_RUN, Row, Table
from mm3d_benchmarks.results.columns import Column

_NUMBER = re.compile(r"(?P<x>\d+(?:\.\d+)?)")
Point = tuple[float, float, float | None]  # x, value, deviation


def data_efficiency(table: Table) -> Figure | None:
    """Figure 4: score over the share of labeled scenes, one curve per pre-training; rows read ``<method> / <x>%``."""
    parsed = [(match["series"], float(match["x"]), row) for row in table.rows if (match := SHARE.match(row.label))]
    if not parsed:
        return None
    names = list(dict.fromkeys(series for series, _, _ in parsed))
    columns = table.columns
    figure = new_figure(7.2, 2.9 * len(columns) + 0.5)
    axes = figure.subplots(len(columns), 2, squeeze=False)
    for line, col in enumerate(columns):
        for measured in (True, False):
            panel = axes[line][0 if measured else 1]
            some = False
            for number, name in enumerate(names):
                points = [_point(x, row, col, measured) for series, x, row in parsed if series == name]
                some |= _curve(panel, [p for p in points if p], number, name, measured)
            _finish(panel, col, measured, some)
            panel.set_xlabel("labeled scenes used for fine-tuning (%)")
            panel.set_xticks(sorted({x for _, x, _ in parsed}))
            panel.set_xlim(0, 106)
    _legend(figure, names, [n for n, _ in enumerate(names)])
    return figure


def probe_bars(table: Table) -> Figure | None:
    """Figure 5: a group of bars per task; rows read ``<method> / <task>``, or one group for the whole table."""
    parsed = [tuple(row.label.split(" / ", 1)) if " / " in row.label else (row.label, "") for row in table.rows]
    entries = [(method, task, row) for (method, task), row in zip(parsed, table.rows, strict=True)]
    methods = list(dict.fromkeys(method for method, _, _ in entries))
    pairs = [(task, col) for task in dict.fromkeys(task for _, task, _ in entries) for col in table.columns]
    groups = [(task, col) for task, col in pairs if any(t == task and _any(row, col) for _, t, row in entries)] or pairs
    if not groups:
        return None
    figure = new_figure(max(4.0, 2.3 * len(groups) + 1.2), 3.6)
    axes = figure.subplots(1, len(groups), squeeze=False)[0]
    for panel, (task, col) in zip(axes, groups, strict=True):
        for number, method in enumerate(methods):
            row = next((row for m, t, row in entries if (m, t) == (method, task)), None)
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
        panel.set_xticks([])
        panel.set_xlim(-0.6, len(methods) - 0.4)
        panel.margins(y=0.15)
        panel.set_title(f"{task} ({col.title})" if task else col.title)
        panel.set_ylabel(f"{col.title} (%)")
        panel.set_ylim(bottom=0)
    figure.suptitle("Measured, frozen backbone (the paper draws bars without printing numbers)", fontsize=9)
    _legend(figure, methods, list(range(len(methods))), bars=True)
    return figure


def gap_ablation(table: Table) -> Figure | None:
    """Figure 9: score over the gap; rows read ``gap 0.1``; a row that says ``random`` stands apart as a line."""
    random = [row for row in table.rows if "random" in row.label.lower()]
    fixed = [row for row in table.rows if row not in random]
    numbered = [(float(m["x"]), row) for row in fixed if (m := _NUMBER.search(row.label))]
    if not numbered:
        return None
    columns = table.columns[:1]
    figure = new_figure(7.2, 3.1)
    axes = figure.subplots(1, 2)
    for panel, measured in zip(axes, (True, False), strict=True):
        col = columns[0]
        points = [p for x, row in sorted(numbered, key=lambda e: e[0]) if (p := _point(x, row, col, measured))]
        some = _curve(panel, points, 0, "fixed gap", measured)
        for row in random:
            point = _point(0, row, col, measured)
            if point:
                some = True
                panel.axhline(point[1], color=SERIES[1], linestyle="--", label="random gap")
                if point[2]:
                    panel.axhspan(point[1] - point[2], point[1] + point[2], color=SERIES[1], alpha=0.15, linewidth=0)
        _finish(panel, col, measured, some)
        panel.set_xlabel("reconstruction gap η")
        panel.set_xticks(sorted({x for x, _ in numbered}))
        if some:
            panel.legend()
    return figure


CURVES: dict[str, Callable[[Table], Figure | None]] = {
    "figure_04": data_efficiency,
    "figure_05": probe_bars,
    "figure_09": gap_ablation,
}


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
