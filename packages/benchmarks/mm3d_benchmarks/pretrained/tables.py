"""A value for each row of a scan, in memory or in a ``.npy`` file that is written in one step."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from mm3d_benchmarks.pretrained.scans import Points
from mm3d_core.errors import UserError

PIECE = 2**16  # rows written at a time


class Table:
    """(N, C) float32 over the rows of a scan; rows that are no points hold NaN.

    Args:
        out: a ``.npy`` file, or None for memory.

    Raises:
        UserError: more than this machine's memory without a file, or a file that is none.
    """

    def __init__(self, points: Points, width: int, out: Path | str | None) -> None:
        self._points, self._shape = points, (points.count, width)
        self._out = None if out is None else Path(out)
        size = points.count * width * 4
        if self._out is None and size > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
            raise UserError(
                f"{points.source}: {points.count:,} x {width} features take {size / 2**30:.0f} GB, more than this "
                'machine has memory; write them to a file with out="features.npy", or take level="finest"'
            )
        if self._out is not None and self._out.suffix != ".npy":
            raise UserError(f"out={out}: features are written as NumPy arrays; give a name that ends in .npy")

    def filled(self, values: np.ndarray, cell: np.ndarray) -> np.ndarray:
        """The table of ``values[cell[k]]`` for point k; of a file, mapped from it."""
        if self._out is None:
            table = np.empty(self._shape, np.float32)
            self._fill(table, values, cell)
            return table
        try:
            self._out.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=f".{self._out.name}.", suffix=".npy", dir=self._out.parent)
            os.close(descriptor)
        except OSError as error:
            raise UserError(f"{self._out}: cannot be written ({error.strerror}); choose another folder") from error
        try:
            table = np.lib.format.open_memmap(name, "w+", np.float32, self._shape)
            self._fill(table, values, cell)
            table.flush()
            os.replace(name, self._out)
        except OSError as error:
            raise UserError(f"{self._out}: could not be written ({error.strerror}); nothing was changed") from error
        finally:
            Path(name).unlink(missing_ok=True)
        return np.load(self._out, mmap_mode="r", allow_pickle=False)

    def _fill(self, table: np.ndarray, values: np.ndarray, cell: np.ndarray) -> None:
        whole = len(self._points.rows) == self._points.count
        if not whole:
            table[:] = np.nan
        for start in range(0, len(cell), PIECE):
            at = slice(start, start + PIECE)
            table[at if whole else self._points.rows[at]] = values[cell[at]]
