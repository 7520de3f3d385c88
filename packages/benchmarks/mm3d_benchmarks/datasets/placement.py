"""Where a prepared scan lies in the frame of its file: coordinates far from the origin do not fit into float32.

Float32 has 24 binary digits: at the 5,655,000 m of a UTM northing its steps are 0.5 m. So a scan that is far out is
moved to an origin of its own, in double precision, and the offset is kept with the scene.
"""

from __future__ import annotations

import numpy as np

FAR = 1000.0  # metres from the origin; float32 has steps of 0.06 mm there
STEP = 1e-3  # metres; coarser steps of float32 are worth a remark

Offset = tuple[float, float, float]
NO_OFFSET: Offset = (0.0, 0.0, 0.0)


def settle(coord: np.ndarray) -> tuple[np.ndarray, Offset]:
    """(N, 3) float32 near an origin, and the offset (metres) that gives ``coord`` back when it is added in double.

    The offset is zero for a scan within ``FAR`` of the origin, else the whole metres below its minimum corner.
    """
    if not len(coord) or float(np.abs(coord).max()) <= FAR:
        return coord.astype(np.float32), NO_OFFSET
    return moved(coord, np.floor(coord.min(axis=0).astype(np.float64)))


def at_minimum(coord: np.ndarray) -> tuple[np.ndarray, Offset]:
    """The same with the minimum corner as origin, wherever the scan lies."""
    return moved(coord, coord.min(axis=0).astype(np.float64))


def moved(coord: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, Offset]:
    """(N, 3) float32 less an offset, which is subtracted in double precision."""
    x, y, z = (float(v) for v in offset)
    return (coord.astype(np.float64, copy=False) - offset).astype(np.float32), (x, y, z)


def coarse_steps(columns: list[np.ndarray], scale: float = 1.0) -> float:
    """Metres between neighboring numbers where float32 coordinates are largest; 0 where that is below ``STEP``."""
    if any(column.dtype.kind != "f" or column.dtype.itemsize != 4 for column in columns):
        return 0.0
    largest = max((float(np.nanmax(np.abs(column))) for column in columns if len(column)), default=0.0)
    step = float(np.spacing(np.float32(largest))) * scale if np.isfinite(largest) else 0.0
    return step if step >= STEP else 0.0
