"""From the numbers that files hold to colors 0..255: what range they are in is told by their type and by most of them.

A single value out of range (a rounding error, an overexposed point, a sensor's mark) decides nothing: it is clipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mm3d_benchmarks.datasets.readers.base import BrokenSceneError

SAMPLE = 300_000  # rows that the range is told from
MOST = 0.995  # share of the values that must lie in the range
CLIPPED = 0.05  # more than this share beyond the assumed range: it is another range
OVEREXPOSED = 8.0  # fractions up to here are 0..1 with highlights; of 0..255 nearly all would be black
FRACTIONS = 0.5  # share of values between 0 and 1 from which on the range is 0..1, whatever the others mark
DIM = 8  # times brighter than nearly all values is white: its number is doubtful
PIECE = 2**20  # rows converted at a time


@dataclass(frozen=True)
class Paint:
    """How numbers become colors.

    Attributes:
        low: the number of black.
        high: the number of white.
        remark: what was assumed or clipped, in words; empty for plain bytes.
    """

    low: float
    high: float
    remark: str = ""

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """uint8 of numbers of any shape; what is beyond the range is clipped, NaN is black."""
        if values.dtype == np.uint8 and (self.low, self.high) == (0, 255):
            return values
        if values.dtype == np.int8:
            values = values.view(np.uint8)
        values = np.nan_to_num(values.astype(np.float64), nan=self.low, posinf=self.high, neginf=self.low)
        scaled = (values - self.low) * (255 / (self.high - self.low))
        return scaled.round().clip(0, 255).astype(np.uint8)


def choose_paint(columns: Sequence[np.ndarray], color_range: float | None, where: Path | str) -> Paint:
    """Tell the range of colors.

    Args:
        columns: one or three arrays of numbers, rows first.
        color_range: the number of white, where it is known.
        where: the file, for messages.

    Raises:
        BrokenSceneError: in no known range.
    """
    kinds = {column.dtype for column in columns}
    name = "/".join(sorted(str(np.dtype(kind.newbyteorder("="))) for kind in kinds))
    if color_range is None and kinds <= {np.dtype(np.uint8), np.dtype(np.int8)} and not _are_switches(columns):
        return Paint(0, 255, "" if kinds == {np.dtype(np.uint8)} else f"colors taken as bytes ({name})")
    if color_range is not None:
        return _counted(columns, 0, float(color_range), name, given=True)
    sample = np.concatenate([_sampled(column).ravel() for column in columns]).astype(np.float64)
    sample = sample[np.isfinite(sample)]
    paint = _counted(columns, *_range(sample, all(kind.kind in "iub" for kind in kinds)), name)
    if paint.high == 65535 and (most := float(np.quantile(sample, MOST))) * DIM < paint.high:
        likely = 2 ** int(np.ceil(np.log2(most + 1))) - 1
        paint = replace(paint, remark=f"{paint.remark}; all are dark: color_range={likely} if that is white")
    beyond = (sample < paint.low - _slack(paint)) | (sample > paint.high + _slack(paint))
    if beyond.sum() > CLIPPED * len(sample):
        raise BrokenSceneError(
            f"{where}: colors from {sample.min():.3g} to {sample.max():.3g} are in no known range "
            "(0..1, -1..1, 0..255, 0..65535); say what white is with color_range=, "
            "or which columns are colors with columns="
        )
    return paint


def bytes_of_color(color: np.ndarray, path: Path, remarks: list[str] | None = None) -> np.ndarray:
    """(N, 3) uint8 of a processed form's colors; what was assumed is added to ``remarks``.

    Raises:
        BrokenSceneError: no colors, or in no known range.
    """
    if color.size == 0 or (color.dtype.kind == "f" and not np.isfinite(color).any()):
        raise BrokenSceneError(f"{path}: colors that are missing, NaN or infinite")
    paint = choose_paint([color], None, path)
    if remarks is not None and paint.remark:
        remarks.append(paint.remark)
    return np.concatenate([paint(color[start : start + PIECE]) for start in range(0, len(color), PIECE)])


def _are_switches(columns: Sequence[np.ndarray]) -> bool:
    """Whether bytes are 0 and 1 alone: full colors that are on or off."""
    bright = max((int(_sampled(column).view(np.uint8).max()) for column in columns if column.size), default=0)
    return bright == 1 and all(bool((column.view(np.uint8) <= 1).all()) for column in columns)


def _range(sample: np.ndarray, integers: bool) -> tuple[float, float]:
    """(black, white) that most of the values fit; zeros, the usual mark of points without color, have no say."""
    values = sample[sample != 0]
    if not len(values):
        return 0, 255
    if float(sample.max()) <= 1 and float(sample.min()) >= 0:
        return 0, 1
    low, dark, high = np.quantile(values, [1 - MOST, 0.02, MOST])
    whole = bool((values == np.floor(values)).all())
    if not integers and dark < -0.1 and low >= -1.05 and high <= 1.05:
        return -1, 1
    if not integers and float(((values > 0) & (values < 1)).mean()) > FRACTIONS:
        return 0, 1
    if not integers and high <= (1.05 if whole else OVEREXPOSED):
        return 0, 1
    return (0, 255) if high <= 260 else (0, 65535)


def _counted(columns: Sequence[np.ndarray], low: float, high: float, name: str, given: bool = False) -> Paint:
    """A range with its remark: how many values are beyond it, and what was assumed."""
    paint, clipped, missing = Paint(low, high), 0, 0
    for part in _parts(columns):
        if part.dtype.kind == "f":
            missing += int(np.isnan(part).sum())
        clipped += int(((part < low - _slack(paint)) | (part > high + _slack(paint))).sum())
    remark = "" if given else f"colors taken as {low:g}..{high:g} ({name})"
    notes = [f"{clipped} values beyond clipped"] * bool(clipped) + [f"{missing} NaN made black"] * bool(missing)
    if notes:
        remark = f"{remark or f'colors of 0..{high:g}'}, {', '.join(notes)}"
    return Paint(low, high, remark)


def _slack(paint: Paint) -> float:
    """Rounding of half a step of 255 is no fault."""
    return (paint.high - paint.low) / 510


def _sampled(column: np.ndarray) -> np.ndarray:
    return column[:: max(1, len(column) // SAMPLE)]


def _parts(columns: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    for column in columns:
        for start in range(0, len(column), PIECE):
            yield column[start : start + PIECE]
