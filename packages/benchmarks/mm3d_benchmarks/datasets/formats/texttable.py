"""Rows of numbers in text, read in one pass, and put into typed columns only if they fit."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def read_rows(lines: Iterable[bytes], count: int, width: int) -> np.ndarray:
    """(count, width) float64 from the first ``count`` lines that are not empty.

    Raises:
        ValueError: fewer lines, another number of values in one of them, or something that is not a number.
    """
    if count == 0:
        return np.zeros((0, width))
    rows = np.loadtxt(lines, comments=None, ndmin=2, max_rows=count)
    if rows.shape != (count, width):
        raise ValueError(f"{rows.shape[0]} rows of {rows.shape[1]} numbers, not {count} of {width}")
    return rows


def typed(values: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """``values`` as ``dtype``.

    Raises:
        ValueError: integers out of range, or numbers that are no integers.
    """
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if not ((values >= limits.min) & (values <= limits.max) & (values == np.floor(values))).all():
            raise ValueError(f"{name} holds numbers that are not {dtype}")
    return values.astype(dtype)
