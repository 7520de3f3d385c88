"""One look for all figures: colors that people with color-blindness can tell apart, and files without dates.

Lines and bars: the eight colors of Okabe and Ito (2008) with markers of their own, so that no curve is told by color
alone. Labels: up to eight classes the same; beyond, these mixed with the muted and pale sets of Tol (technical note
SRON/EPS/TN/09-002): no twenty colors are all safe, so every picture has a legend. Statistic: viridis.
"""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mm3d_core.files.atomic import atomic_write

SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
CLASSES = (
    "#BBCCEE", "#DDCC77", "#44AA99", "#D55E00", "#0072B2", "#CC79A7", "#000000", "#E69F00", "#882255", "#56B4E9",
    "#117733", "#F0E442", "#332288", "#661100", "#AA4499", "#999933", "#009E73", "#CC6677", "#6699CC", "#EE99AA",
)  # fmt: skip
UNLABELED = "#BBBBBB"
TITLE = 34  # characters of a line over a picture
GRAY = "#9A9A9A"
RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "savefig.dpi": 160,
    "text.parse_math": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, size in inches, laid out so that nothing is clipped."""
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        return figure


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write ``name.pdf`` and ``name.png``; bytes depend on the picture alone, and an unchanged file is left alone."""
    written = []
    for ending, metadata in (
        ("pdf", {"CreationDate": None, "ModDate": None, "Creator": "mm3d", "Producer": "mm3d"}),
        ("png", {"Software": "mm3d"}),
    ):
        stream = io.BytesIO()
        with matplotlib.rc_context(RC):
            figure.savefig(stream, format=ending, metadata=metadata, dpi=RC["savefig.dpi"])
        path = folder / f"{name}.{ending}"
        if not path.exists() or path.read_bytes() != stream.getvalue():
            with atomic_write(path) as target:
                target.write(stream.getvalue())
        written.append(path)
    return written


def label_colors(classes: int) -> list[str]:
    """One color per class. Pale ones come first: both label orders begin with the large surfaces of a room."""
    palette = SERIES if classes <= len(SERIES) else CLASSES
    return [palette[i % len(palette)] for i in range(classes)]


def plain(axes: Axes, title: str = "") -> None:
    """A picture's axes: no ticks, no frame, equal scale; a long title is broken, not cut."""
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_title(textwrap.fill(title, TITLE))
