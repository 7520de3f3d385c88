"""One scan file of any format: ``read_scan`` gives coordinates, colors, normals and labels, and what was assumed.

A format's module gives :class:`~mm3d_benchmarks.datasets.scans.columns.Columns`; what the numbers mean (units, upright,
range of colors, rows that are no points) is the same for all formats and stands here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mm3d_benchmarks.datasets.color import Paint, choose_paint
from mm3d_benchmarks.datasets.digits import SAID, coarse_remark
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_benchmarks.datasets.scans.columns import COLOR, COORD, INSTANCES, LABELS, NORMAL, Columns
from mm3d_benchmarks.datasets.scans.loaders import load_columns
from mm3d_benchmarks.datasets.scans.options import ScanOptions
from mm3d_benchmarks.datasets.scans.outliers import kept_rows
from mm3d_benchmarks.datasets.scans.upright import AUTO, Turn, parse_up, turn_of

PIECE = 2**20  # rows that are converted at a time


@dataclass(frozen=True)
class Scan:
    """What a scan file holds, z up, in metres, where the file has it: not yet moved to an origin of its own.

    Attributes:
        coord: (N, 3) float64 metres.
        color: (N, 3) uint8 or None.
        normal: (N, 3) float32, unit length, zero where unknown, or None.
        segment: (N,) labels as the file has them, numbers or text, or None.
        instance: (N,) objects as the file has them, or None.
        rows: (N,) int64 rows of the file that these points are.
        linear: (3, 3) and
        shift: (3,) float64: ``coord = linear @ file + shift`` for a point of the file.
        remarks: what was assumed, repaired or dropped.
    """

    coord: np.ndarray
    color: np.ndarray | None
    normal: np.ndarray | None
    segment: np.ndarray | None
    instance: np.ndarray | None
    rows: np.ndarray
    linear: np.ndarray
    shift: np.ndarray
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Reading:
    """A file's columns, and what was decided about them from all of its rows."""

    columns: Columns
    kept: np.ndarray
    paint: Paint | None
    has_normal: bool
    segment: str | None
    instance: str | None
    turn: Turn
    scale: float
    remarks: list[str]

    def coord(self, rows: slice | np.ndarray) -> np.ndarray:
        """(n, 3) float64 metres of some rows."""
        return (self.columns.rows(COORD, rows) @ self.turn.linear.T + self.turn.shift) * self.scale

    def scan(self, rows: np.ndarray) -> Scan:
        """Some rows (ascending) of the file."""
        coord = np.empty((len(rows), 3))
        color = np.empty((len(rows), 3), np.uint8) if self.paint else None
        normal = np.empty((len(rows), 3), np.float32) if self.has_normal else None
        turn = self.turn.linear / np.cbrt(np.linalg.det(self.turn.linear))
        for start in range(0, len(rows), PIECE):
            part, at = rows[start : start + PIECE], slice(start, start + PIECE)
            coord[at] = self.coord(part)
            if color is not None and self.paint is not None:
                color[at] = self.paint(np.stack([self.columns.values[c][part] for c in COLOR], axis=1))
            if normal is not None:
                normal[at] = unit(self.columns.rows(NORMAL, part)) @ turn.T
        labels = [None if name is None else self.columns.values[name][rows] for name in (self.segment, self.instance)]
        linear, shift = self.turn.linear * self.scale, self.turn.shift * self.scale
        return Scan(coord, color, normal, labels[0], labels[1], rows, linear, shift, list(self.remarks))


def read_scan(path: Path, options: ScanOptions | None = None) -> Scan:
    """Read one scan file.

    Args:
        path: a file of a format in :data:`~mm3d_benchmarks.datasets.scans.loaders.FORMATS`, or a folder of arrays
            (``coord.npy``, ``color.npy``, ...).

    Raises:
        BrokenSceneError: missing, damaged, or not what its name or the options say.
        UserError: a library for the format is missing.
    """
    reading = open_scan(path, options)
    return reading.scan(np.flatnonzero(reading.kept))


def open_scan(path: Path, options: ScanOptions | None = None) -> Reading:
    """Load a file's columns and decide what they mean. Raises as :func:`read_scan`."""
    options = options or ScanOptions()
    columns = load_columns(path, options)
    values, remarks = columns.values, list(columns.remarks)
    for axis in COORD:
        if axis not in values:
            raise BrokenSceneError(f"{path}: no column {axis!r}; it has {', '.join(map(str, values))[:300]}")
    needed = [*COORD, *(COLOR if columns.has(COLOR) else ()), *(NORMAL if columns.has(NORMAL) else ())]
    for name in needed:
        value = values[name]
        if not value.size:
            raise BrokenSceneError(f"{path}: holds no point; export it again")
        if value.ndim != 1 or value.dtype.kind not in "biuf":
            raise BrokenSceneError(f"{path}: column {name} is no column of numbers; export it again")
    kept, dropped = kept_rows(columns)
    if not kept.any():
        raise BrokenSceneError(f"{path}: no point with finite coordinates")
    remarks += dropped
    paint = None
    if columns.has(COLOR):
        paint = choose_paint([values[c] for c in COLOR], options.color_range or columns.color_range, path)
        remarks += [paint.remark] if paint.remark else []
    has_normal = columns.has(NORMAL)
    if has_normal and not any(np.nan_to_num(values[name]).any() for name in NORMAL):
        has_normal = False
        remarks.append("normals are all zero, or no numbers: passed over")
    if not any(remark.startswith(SAID) for remark in remarks):
        remarks += coarse_remark([values[axis][kept] for axis in COORD], options.scale)
    turn = _turn(columns, kept, options)
    remarks += [turn.remark] if turn.remark else []
    segment, instance = (
        _label_column(columns, wanted, habits, key, path)
        for wanted, habits, key in ((options.segment, LABELS, "segment"), (options.instance, INSTANCES, "instance"))
    )
    if paint is None:
        unused = [name for name in values if name.strip() and name not in (*COORD, *NORMAL, segment, instance)]
        remarks += [f"no colors; columns passed over: {', '.join(unused)[:200]}"] if unused else []
    return Reading(columns, kept, paint, has_normal, segment, instance, turn, options.scale, remarks)


def unit(normal: np.ndarray) -> np.ndarray:
    """(n, 3) of unit length; rows that are not finite become zero."""
    normal = np.where(np.isfinite(normal).all(axis=1, keepdims=True), normal, 0.0)
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    return np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)


def _turn(columns: Columns, kept: np.ndarray, options: ScanOptions) -> Turn:
    up = parse_up(options.up)
    if isinstance(up, str) and up == AUTO:
        rows = np.flatnonzero(kept)
        return turn_of(up, columns.rows(COORD, rows[:: max(1, len(rows) // 200_000)]))
    return turn_of(up, np.zeros((0, 3)))


def _label_column(columns: Columns, wanted: str, habits: tuple[str, ...], key: str, path: Path) -> str | None:
    name = columns.find(wanted, habits)
    if name is None and wanted:
        raise BrokenSceneError(
            f"{path}: no column {wanted!r} for {key}=; it has {', '.join(map(str, columns.values))[:300]}"
        )
    if name is not None and (columns.values[name].ndim != 1 or columns.values[name].dtype.kind not in "biufUOT"):
        if wanted:
            raise BrokenSceneError(f"{path}: column {name} is no column of labels; choose another with {key}=")
        return None
    return name
