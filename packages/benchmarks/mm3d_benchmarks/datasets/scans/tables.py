"""Bare tables: what their columns are is what the user says, or what the values leave no doubt about.

A wrong guess would train on normals or intensities as colors, so only two layouts are guessed: three columns are
coordinates, six are coordinates and colors where the last three cannot be normals.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_benchmarks.datasets.scans.columns import COLOR, COORD, Columns, named

SAMPLE = 20_000  # rows that a guess looks at
WIDEST = 64  # columns of a table of points
UNIT = 0.02  # how far the length of stored normals is from 1
ROUNDED = 0.02  # steps of 255: what is farther from whole is no byte
BRIGHT = 48  # of 255: each channel reaches it somewhere in any colored scan
ASK = "say what its columns are, for example "


def of_table(table: np.ndarray, wanted: Sequence[str], path: Path) -> Columns:
    """Columns of a (N, width) table.

    Args:
        wanted: names of the columns from left to right, ``_`` for one to skip; empty: guess.

    Raises:
        BrokenSceneError: the names do not fit the table, or it could be several things.
    """
    if not wanted:
        return _guessed(table, path)
    width = len(wanted)
    if table.ndim == 1 and table.size % width == 0 and path.suffix.lower() == ".bin":
        table = table.reshape(-1, width)
    if table.ndim != 2 or table.shape[1] != width:
        raise BrokenSceneError(
            f"{path}: shape {table.shape} does not fit the {width} columns {' '.join(wanted)!r}; correct columns="
        )
    columns = named({name: table[:, i] for i, name in enumerate(wanted) if name != "_"})
    if columns.has(COLOR) and are_normals(np.stack([_sample(columns.values[c]) for c in COLOR], axis=1)):
        raise BrokenSceneError(
            f"{path}: the columns r g b hold directions of length 1, so normals and no colors; "
            f"write columns='{' '.join({'r': 'nx', 'g': 'ny', 'b': 'nz'}.get(name, name) for name in wanted)}'"
        )
    return columns


def are_normals(values: np.ndarray) -> bool:
    """Whether (N, 3) numbers are directions: of length 1 (or 0, where unknown), and not all whole and positive."""
    values = values[np.isfinite(values).all(axis=1)].astype(np.float64)
    length = np.linalg.norm(values, axis=1)
    known = length > UNIT
    if not known.any() or float((np.abs(length[known] - 1) < UNIT).mean()) < 0.99:
        return False
    return bool((values < 0).any() or (values != np.floor(values)).any())


def _guessed(table: np.ndarray, path: Path) -> Columns:
    if table.ndim != 2:
        raise BrokenSceneError(
            f"{path}: a bare list of {table.size:,} numbers; {ASK}columns='x y z _' or 'x y z r g b'"
        )
    width = table.shape[1]
    if width < 3 or width > WIDEST:
        raise BrokenSceneError(
            f"{path}: a table of {len(table):,} rows and {width:,} columns; it needs a row for each point and its "
            f"x y z in columns{', so the other way round' if len(table) in (3, 6) else ''}"
        )
    if width == 3:
        return Columns({name: table[:, i] for i, name in enumerate(COORD)}, remarks=["three columns taken as x y z"])
    if width == 6 and _are_colors(table[:, 3:]):
        names = (*COORD, *COLOR)
        return Columns(
            {name: table[:, i] for i, name in enumerate(names)}, remarks=["six columns taken as x y z r g b"]
        )
    raise BrokenSceneError(f"{path}: a bare table of {width} columns; {ASK}columns='{suggestion(table)}'")


def _are_colors(values: np.ndarray) -> bool:
    """Whether three columns can only be colors: whole numbers from 0 to 255, or 255ths of 1, all three far up.

    Intensities with the number of a return, a ring or a class are whole numbers too, but small ones.
    """
    sample = _sample(values).astype(np.float64)
    if not len(sample) or not np.isfinite(sample).all() or sample.min() < 0 or sample.max() > 255:
        return False
    if set(np.unique(sample)) <= {0, 1}:
        return False  # level normals, marks or a palette
    if float(sample.max()) <= 1:
        sample = sample * 255
    if float(np.abs(sample - np.round(sample)).max()) > ROUNDED:
        return False
    return bool((np.quantile(sample, 0.995, axis=0) >= BRIGHT).all()) and not are_normals(values)


def suggestion(table: np.ndarray) -> str:
    """Names for a table of this width; what lies behind the coordinates is skipped where it is not clear."""
    width = table.shape[1]
    rest = ["_"] * max(0, width - 3)
    if width >= 6:
        triples = [(at, _sample(table[:, at : at + 3])) for at in range(3, width - 2)]
        for at, values in triples:
            if are_normals(values) or (values.size and values.min() >= 0 and set(np.unique(values)) <= {0, 1}):
                rest[at - 3 : at] = ["nx", "ny", "nz"]
                break
        for at, values in triples:
            if rest[at - 3 : at] == ["_"] * 3 and _are_colors(values):
                rest[at - 3 : at] = list(COLOR)
                break
    return " ".join([*COORD, *rest][:width])


def _sample(values: np.ndarray) -> np.ndarray:
    return values[:: max(1, len(values) // SAMPLE)]
