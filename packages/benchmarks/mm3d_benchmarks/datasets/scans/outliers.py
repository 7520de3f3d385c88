"""Rows of a scan that are no points of it: missing returns, and strays farther away than any room reaches."""

from __future__ import annotations

import numpy as np

from mm3d_benchmarks.datasets.scans.columns import COORD, Columns

PIECE = 2**20  # rows looked at at a time
SAMPLE = 200_000  # rows that the size of a scan is told from
STRAY = 0.002  # share of rows that may be strays
FAR = 30.0  # times the size of the rest, from its middle
NO_DATA = (-9999.0, -99999.0, -32768.0, float(np.finfo(np.float32).min))  # what maps and grids write for no value
APART = 100.0  # of the file's units, or the size of the rest: how far from it such a number means no value
MANY = 0.001  # share of rows at exactly 0 0 0 from which on they are missing returns


def kept_rows(columns: Columns) -> tuple[np.ndarray, list[str]]:
    """(N,) bool of the rows that are points, and what was dropped, in words."""
    count, remarks = len(columns), []
    pieces = [slice(start, min(start + PIECE, count)) for start in range(0, count, PIECE)]
    kept = np.concatenate([np.isfinite(columns.rows(COORD, rows)).all(axis=1) for rows in pieces])
    dropped = count - int(kept.sum())
    if dropped:
        remarks.append(f"{dropped} rows without finite coordinates dropped")
    if not kept.any():
        return kept, remarks
    empty = _without_value(columns, kept, pieces)
    if empty.any():
        kept &= ~empty
        remarks.append(f"{int(empty.sum())} rows with -9999 or the like in place of a coordinate dropped")
    zero = np.concatenate([(columns.rows(COORD, rows) == 0).all(axis=1) for rows in pieces]) & kept
    if MANY * count < zero.sum() < kept.sum() and zero.sum() > 1:
        kept &= ~zero
        remarks.append(f"{int(zero.sum())} rows at exactly 0 0 0 (missing returns) dropped")
    low, high = _reach(columns.rows(COORD, np.flatnonzero(kept)[:: max(1, int(kept.sum()) // SAMPLE)]))
    stray = np.concatenate(
        [((part := columns.rows(COORD, rows)) < low).any(axis=1) | (part > high).any(axis=1) for rows in pieces]
    )
    stray &= kept
    if 0 < stray.sum() <= max(STRAY * count, 1) and stray.sum() < kept.sum():
        kept &= ~stray
        remarks.append(
            f"{int(stray.sum())} stray rows dropped, more than {FAR:g} times the size of the rest away from it"
        )
    return kept, remarks


def _reach(sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(3,) lower and upper bounds of what can belong to a scan."""
    share = max(STRAY, min(0.05, 1 / max(len(sample) - 1, 1)))  # of a handful of rows one may be a stray
    low, middle, high = np.quantile(sample, [share, 0.5, 1 - share], axis=0, method="nearest")
    size = float((high - low).max())
    if not size > 0:
        return np.full(3, -np.inf), np.full(3, np.inf)
    return middle - FAR * size, middle + FAR * size


def _without_value(columns: Columns, kept: np.ndarray, pieces: list[slice]) -> np.ndarray:
    """(N,) bool of the kept rows with a coordinate that is one of ``NO_DATA``, far from where all others are."""
    empty = np.zeros(len(columns), bool)
    for axis, name in enumerate(COORD):
        column = columns.values[name]
        for value in NO_DATA:
            found = np.concatenate([np.asarray(column[rows] == value) for rows in pieces]) & kept
            if not found.any() or found.sum() == kept.sum():
                continue
            rest = columns.rows(COORD, np.flatnonzero(kept & ~found & ~empty))[:, axis]
            if len(rest) and max(rest.min() - value, value - rest.max()) > max(APART, float(np.ptp(rest))):
                empty |= found
    return empty
