"""One line for each comparison of the paper: what was measured, its interval, and the paper's difference as a mark.

A difference is drawn in the direction of the paper's order: to the right of 0 it has the paper's sign. The bar is the
95 % interval over seeds, the thin line the one over scenes. Measured and published differences are of other data where
the runs are of synthetic scenes: then only sign and resolution can be compared, as the caption of each table says.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mm3d_benchmarks.reports.style import GRAY, MARKERS, SERIES, new_figure
from mm3d_benchmarks.reports.verdicts.resolution import HOLDS, REVERSED, UNRESOLVED, Verdict
from mm3d_benchmarks.reports.verdicts.statistics import Interval
from mm3d_benchmarks.results.columns import column

COLORS = {HOLDS: SERIES[2], REVERSED: SERIES[1], UNRESOLVED: GRAY}
SHAPES = {HOLDS: MARKERS[0], REVERSED: MARKERS[3], UNRESOLVED: MARKERS[1]}
LINE = 0.15  # inches a comparison
MOST = 240  # lines; the paper's tables hold 180 comparisons
LIMIT = 12.0  # points; wider intervals run out of the picture with an arrow, so that small ones can be read


def comparisons(verdicts: Sequence[Verdict]) -> Figure | None:
    """A forest plot over all tables, in two halves beside each other; None when nothing has an interval."""
    shown = [verdict for verdict in verdicts if verdict.over_seeds is not None]
    if not shown:
        return None
    drawn = shown[:MOST]
    half = (len(drawn) + 1) // 2
    parts = [drawn[:half], drawn[half:]] if len(drawn) > 40 else [drawn]
    figure = new_figure(7.6 * len(parts), max(2.2, LINE * len(parts[0]) + 1.4))
    axes = figure.subplots(1, len(parts), squeeze=False)[0]
    for panel, part in zip(axes, parts, strict=True):
        _panel(panel, part)
    counts = {word: sum(v.verdict == word for v in shown) for word in COLORS}
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    rest = f" (the first {MOST} are drawn)" if len(shown) > MOST else ""
    figure.suptitle(f"{len(shown)} comparisons of the paper: {told}{rest}", fontsize=10)
    _legend(figure)
    return figure


def _panel(axes: Axes, part: Sequence[Verdict]) -> None:
    """Lines from top to bottom; artists are made by kind, since one for each comparison takes seconds."""
    ends = [abs(end) for v in part if v.over_seeds for end in (v.over_seeds.low, v.over_seeds.high, v.published)]
    reach = min(LIMIT, max(ends) * 1.08)
    for word, color in COLORS.items():
        lines = [line for line, verdict in enumerate(part) if verdict.verdict == word]
        spans = [_turned(part[line].over_seeds, part[line].published) for line in lines]
        axes.hlines(lines, [low for low, _ in spans], [high for _, high in spans], color=color, linewidth=2.2)
        means = [_sign(part[line]) * part[line].mean for line in lines]
        axes.plot(means, lines, linestyle="", marker=SHAPES[word], color=color, markersize=4)
        for side, marker in ((-1, "<"), (1, ">")):  # where an interval leaves the picture, an arrow says so
            out = [line for line, span in zip(lines, spans, strict=True) if max(side * span[0], side * span[1]) > reach]
            axes.plot([side * reach * 0.985] * len(out), out, linestyle="", marker=marker, color=color)
        scenes = [line for line in lines if part[line].over_scenes is not None]
        spans = [_turned(part[line].over_scenes, part[line].published) for line in scenes]
        below = [line + 0.3 for line in scenes]
        axes.hlines(below, [low for low, _ in spans], [high for _, high in spans], color=color, linewidth=0.8)
    axes.plot([abs(v.published) for v in part], range(len(part)), linestyle="", marker="|", color="black", markersize=8)
    starts = [line for line, v in enumerate(part) if line == 0 or v.table != part[line - 1].table]
    axes.hlines([line - 0.5 for line in starts], -reach, reach, color="#CCCCCC", linewidth=0.6)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_yticks(range(len(part)), [_label(verdict) for verdict in part], fontsize=6)
    axes.set_ylim(len(part) - 0.5, -0.5)
    axes.set_xlim(-reach, reach)
    axes.set_xlabel("difference in the direction of the paper's order, points")
    axes.grid(axis="x", color="#EEEEEE", linewidth=0.6)


def _sign(verdict: Verdict) -> float:
    return 1.0 if verdict.published > 0 else -1.0


def _turned(interval: Interval | None, published: float) -> tuple[float, float]:
    """The interval's ends in the direction of the paper's order."""
    assert interval is not None
    return (interval.low, interval.high) if published > 0 else (-interval.high, -interval.low)


def _label(verdict: Verdict) -> str:
    first, second = (verdict.first, verdict.second) if verdict.published > 0 else (verdict.second, verdict.first)
    where = " ".join(verdict.table.split("_")[:2]).replace("table 0", "table ").capitalize()
    return f"{where}, {column(verdict.column).heading}: {first} over {second}"


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=COLORS[word], marker=SHAPES[word], label=word) for word in COLORS]
    handles.append(
        Line2D([], [], color="black", marker="|", linestyle="", markersize=9, label="the paper's difference")
    )
    handles.append(Line2D([], [], color=GRAY, linewidth=0.8, label="interval over scenes"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
