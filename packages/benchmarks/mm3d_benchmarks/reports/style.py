"""One look for all figures: colours that people with color-blindness can tell apart, and files without dates.

Lines and bars: the eight colors of Okabe and Ito (2008) with markers of their own, so that no curve is told by color
alone. Labels: the discrete rainbow of Tol (technical note SRON/EPS/TN/09-002), 23 steps. Statistic: viridis.
"""

import io
import textwrap
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mm3d_core.atomic import atomic_write

SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
RAINBOW = (
    "#E8ECFB", "#D9CCE3", "#CAACCB", "#BA8DB4", "#AA6F9E", "#994F88", "#882E72", "#1965B0", "#437DBF", "#6195CF",
    "#7BAFDE", "#4EB265", "#90C987", "#CAE0AB", "#F7F056", "#F7CB45", "#F4A736", "#EE8026", "#E65518", "#DC050C",
    "#A5170E", "#72190E", "#42150A",
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
    """One color per class, neighbors far apart in lightness where the number of classes allows."""
    if classes <= len(SERIES):
        return list(SERIES[:classes])
    steps = np.linspace(1, len(RAINBOW) - 1, min(classes, len(RAINBOW) - 1)).round().astype(int)
    colors = [RAINBOW[i] for i in steps]
    half = (len(colors) + 1) // 2
    mixed = [c for pair in zip(colors[:half], [*colors[half:], ""], strict=False) for c in pair if c]
    return [mixed[i % len(mixed)] for i in range(classes)]


def plain(axes: Axes, title: str = "") -> None:
    """A picture's axes: no ticks, no frame, equal scale; a long title is broken, not cut."""
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_title(textwrap.fill(title, TITLE))
