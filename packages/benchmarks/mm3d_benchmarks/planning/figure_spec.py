"""The figure of a sweep file: what is drawn from its runs.

kind     curve        score over a quantity: one panel for each column of the table, one curve for each series
         bars         a panel for each value of x and each column, one bar for each series
         statistic, segmentation, masks, reconstruction    pictures that the runs left (Figures 2, 6, 7 and 8)
title    what stands beneath it on the page
x        for curve and bars: the dotted key, or keys, of the runs' configuration to read the place from. In a curve,
         a row whose value is no number (or null) becomes a level line
label    of the axis of x (default: its key)
series   the key that tells series apart; a group, such as pretrain, stands for the name of what was chosen. Without it
         all numbers are one series, `numbers`, and every other value of x is one
names    {value: how a series is called}; `none` is the value of a row without the key
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mm3d_core.errors import UserError

PLOTS, PICTURES = ("curve", "bars"), ("statistic", "segmentation", "masks", "reconstruction")
_KEYS = {"kind", "title", "x", "label", "series", "names"}


@dataclass(frozen=True)
class FigureSpec:
    """What to draw; see the module's text for the meaning of each field."""

    kind: str
    title: str = ""
    x: tuple[str, ...] = ()
    label: str = ""
    series: str = ""
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_picture(self) -> bool:
        """Whether it needs what runs left to draw."""
        return self.kind in PICTURES


def parse_figure(path: Path, figure: Mapping[str, Any]) -> FigureSpec:
    """The section ``figure`` of a sweep file.

    Raises:
        UserError: an unknown kind or field, or a plot without ``x``.
    """
    unknown = sorted(set(map(str, figure)) - _KEYS)
    if unknown:
        raise UserError(f"{path}: figure.{unknown[0]}: there is no such field; known: {', '.join(sorted(_KEYS))}")
    kind, x, names = figure.get("kind"), figure.get("x") or [], figure.get("names") or {}
    if kind not in (*PLOTS, *PICTURES):
        raise UserError(f"{path}: figure.kind={kind}; choose one of {', '.join((*PLOTS, *PICTURES))}")
    if not isinstance(x, str | list) or not isinstance(names, dict):
        raise UserError(f"{path}: figure.x is a dotted key or a list of them, figure.names a mapping")
    keys = tuple([x] if isinstance(x, str) else map(str, x))
    if kind in PLOTS and (not keys or (kind == "curve" and len(keys) > 1)):
        raise UserError(f"{path}: a {kind} needs figure.x, a key of the runs' configuration such as protocol.scenes")
    return FigureSpec(
        kind, str(figure.get("title") or ""), keys, str(figure.get("label") or ", ".join(keys)),
        str(figure.get("series") or ""), {str(k): str(v) for k, v in names.items()},
    )  # fmt: skip
