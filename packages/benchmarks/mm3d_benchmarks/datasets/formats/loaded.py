"""Arrays of a scene's files: what cannot be read is one error that names the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mm3d_benchmarks.datasets.formats.arrays import read_archive, read_array
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError, reading

NO_ARRAY = "damaged or not a plain array"


def load_array(path: Path) -> np.ndarray:
    """An ``.npy`` file, never a pickle.

    Raises:
        BrokenSceneError: naming the file.
    """
    with reading(path, NO_ARRAY):
        return read_array(path)


def load_archive(path: Path, kinds: str = "biuf", passed: list[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file, as :func:`read_archive` takes them. Raises as :func:`load_array`."""
    with reading(path, NO_ARRAY):
        return read_archive(path, kinds, passed)


def load_table(path: Path, columns: int) -> np.ndarray:
    """An ``.npy`` file as a table of at least ``columns`` columns and one row. Raises as :func:`load_array`."""
    table = load_array(path)
    if table.ndim != 2 or len(table) == 0 or table.shape[1] < columns:
        raise BrokenSceneError(f"{path}: shape {table.shape}, not (N, {columns}); export it again")
    if not np.isfinite(table).all():
        raise BrokenSceneError(f"{path}: holds NaN or infinite numbers; export it again")
    return table


def load_binary(path: Path, dtype: str, columns: int = 0) -> np.ndarray:
    """A headerless little-endian file as (N,) or (N, columns). Raises as :func:`load_array`."""
    with reading(path):
        rest = path.stat().st_size % np.dtype(dtype).itemsize
        values = np.fromfile(path, dtype)
    if rest:
        raise BrokenSceneError(f"{path}: {rest} bytes too many for {np.dtype(dtype)} numbers; export it again")
    if columns and (values.size == 0 or values.size % columns):
        raise BrokenSceneError(f"{path}: {values.size} numbers are no rows of {columns}; export it again")
    if columns and not np.isfinite(values).all():
        raise BrokenSceneError(f"{path}: holds NaN or infinite numbers; export it again")
    return values.reshape(-1, columns) if columns else values
