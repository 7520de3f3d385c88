"""Which figure is drawn from what, and the drawing of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from mm3d_benchmarks.reports.artefacts import Artefact
from mm3d_benchmarks.reports.figures_comparisons import comparisons
from mm3d_benchmarks.reports.figures_curves import CURVES
from mm3d_benchmarks.reports.figures_scenes import PICTURES
from mm3d_benchmarks.reports.style import RC, new_figure, save
from mm3d_benchmarks.reports.tables import Table
from mm3d_benchmarks.reports.verdicts.resolution import Verdict

TITLES = {
    "figure_02": "Heat map of the local statistic (Figure 2 of the paper)",
    "figure_04": "Data-efficient object detection (Figure 4)",
    "figure_05": "Linear probes (Figure 5)",
    "figure_06": "Qualitative segmentation (Figure 6)",
    "figure_07": "Masks guided by different statistics (Figure 7)",
    "figure_08": "Masked input, target and reconstruction (Figure 8)",
    "figure_09": "Ablation of the reconstruction gap (Figure 9)",
}


COMPARISONS = "comparisons_with_the_paper"  # the file's name
FALLBACKS = ("figure_02_statistic", "figure_06_segmentation", "figure_07_masks", "figure_08_reconstruction")


def draw(name: str, table: Table | None, artefacts: Sequence[Artefact]) -> Figure | None:
    """The figure whose name begins ``figure_NN``; None when there is nothing to draw, or the name is no figure's.

    Args:
        table: for the figures that are curves or bars.
        artefacts: for the figures that show scans.
    """
    kind = name[:9]
    with matplotlib.rc_context(RC):
        if kind in CURVES and table is not None:
            return CURVES[kind](table)
        if kind in PICTURES:
            return PICTURES[kind](artefacts)
    return None


def write_figure(name: str, table: Table | None, artefacts: Sequence[Artefact], folder: Path) -> list[Path]:
    """Draw and save one figure as PDF and PNG; returns the files, none when there is nothing to draw.

    Then what was drawn before stays, and where nothing was, the figure says so: the pipeline expects its files.
    """
    return _save(draw(name, table, artefacts), folder, name, TITLES[name[:9]])


def _save(figure: Figure | None, folder: Path, name: str, title: str) -> list[Path]:
    if figure is not None:
        return save(figure, folder, name)
    if not (folder / f"{name}.pdf").exists() or not (folder / f"{name}.png").exists():
        note = new_figure(7.2, 1.2)
        note.text(0.5, 0.5, f"{title}:\nnothing to draw yet, no run left what it shows", ha="center", va="center")
        save(note, folder, name)
    return []


def write_comparisons(verdicts: Sequence[Verdict], folder: Path) -> list[Path]:
    """The figure over all comparisons of the paper, as PDF and PNG; a note where no comparison has an interval."""
    with matplotlib.rc_context(RC):
        figure = comparisons(verdicts)
    return _save(figure, folder, COMPARISONS, "All comparisons of the paper, with intervals")


def is_figure(name: str) -> bool:
    """Whether the name begins with the number of a figure that is drawn here."""
    return name[:9] in TITLES


def is_picture(name: str) -> bool:
    """Whether the figure needs artefacts of runs."""
    return name[:9] in PICTURES


def run_labels(table: Table) -> Mapping[str, str]:
    """Run key to row label, in the order of the table; the first row that a run fills names it."""
    labels: dict[str, str] = {}
    for row in table.rows:
        for key in row.runs:
            labels.setdefault(key, row.label)
    return labels
