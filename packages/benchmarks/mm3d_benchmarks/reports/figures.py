"""Which figure is drawn from what, and the drawing of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from mm3d_benchmarks.planning.figure_spec import FigureSpec
from mm3d_benchmarks.reports.artefacts import Artefact
from mm3d_benchmarks.reports.figures_comparisons import comparisons
from mm3d_benchmarks.reports.figures_curves import bars, curves
from mm3d_benchmarks.reports.figures_scenes import PICTURES
from mm3d_benchmarks.reports.style import RC, new_figure, save
from mm3d_benchmarks.reports.tables import Table
from mm3d_benchmarks.reports.verdicts.resolution import ONE_SEED, Verdict
from mm3d_benchmarks.results.inputs import Places

COMPARISONS = "comparisons_with_the_paper"  # the file's name
NOTHING = "nothing to draw yet, no run left what it shows"


def draw(spec: FigureSpec, table: Table, places: Places, artefacts: Sequence[Artefact]) -> Figure | None:
    """The figure of a sweep; None when there is nothing to draw.

    Args:
        places: where each row stands, for curves and bars.
        artefacts: for the figures that show scans.
    """
    with matplotlib.rc_context(RC):
        if spec.is_picture:
            return PICTURES[spec.kind](artefacts)
        return curves(spec, table, places) if spec.kind == "curve" else bars(table, places)


def write_figure(
    spec: FigureSpec, table: Table, places: Places, artefacts: Sequence[Artefact], folder: Path
) -> list[Path]:
    """Draw and save one figure as PDF and PNG; returns the files, none when there is nothing to draw.

    Then what was drawn before stays, and where nothing was, the figure says so: the pipeline expects its files.
    """
    return _save(draw(spec, table, places, artefacts), folder, table.name, spec.title or table.title)


def _save(figure: Figure | None, folder: Path, name: str, title: str, why: str = NOTHING) -> list[Path]:
    if figure is not None:
        return save(figure, folder, name)
    if not (folder / f"{name}.pdf").exists() or not (folder / f"{name}.png").exists():
        note = new_figure(7.2, 1.2)
        note.text(0.5, 0.5, f"{title}:\n{why}", ha="center", va="center")
        save(note, folder, name)
    return []


def write_comparisons(verdicts: Sequence[Verdict], folder: Path) -> list[Path]:
    """The figure over all comparisons of the paper, as PDF and PNG; a note where no comparison has an interval."""
    with matplotlib.rc_context(RC):
        figure = comparisons(verdicts)
    return _save(
        figure, folder, COMPARISONS, "All comparisons of the paper, with intervals", ONE_SEED if verdicts else NOTHING
    )


def run_labels(table: Table) -> Mapping[str, str]:
    """Run key to row label, in the order of the table; the first row that a run fills names it."""
    labels: dict[str, str] = {}
    for row in table.rows:
        for key in row.runs:
            labels.setdefault(key, row.label)
    return labels
