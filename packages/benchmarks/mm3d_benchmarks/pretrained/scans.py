"""A scan as a network is fed with it: from a file of any format that is read, or from arrays.

Row i of every result is point i of the file, or of the arrays. Rows that are no points (coordinates that are not
finite, missing returns, strays far away: ``datasets/scans/outliers.py``) are kept from the network; results hold NaN
or -1 there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from mm3d_benchmarks.datasets.color import choose_paint
from mm3d_benchmarks.datasets.placement import settle
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_benchmarks.datasets.scans.discover import OTHERS
from mm3d_benchmarks.datasets.scans.loaders import FORMATS
from mm3d_benchmarks.datasets.scans.options import ScanOptions
from mm3d_benchmarks.datasets.scans.scan import open_scan, unit
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.datasets.summary import ROOM, UNITS, metres
from mm3d_core.errors import UserError
from mm3d_core.features import FEATURES

NAME = "scan"  # of every scan, so that what is drawn at random by a scene's name depends on the points alone


class Reading(TypedDict, total=False):
    """What may be said about a scan that it does not say itself.

    ``columns``, ``up``, ``scale`` and ``color_range`` are those of ``mm3d prepare`` (docs/own_scans.md); of arrays
    ``columns`` means nothing. ``points``: how many points to sample from a mesh with faces; 0, the default, takes its
    vertices, so that row i is vertex i.
    """

    columns: str
    up: Any
    scale: float
    color_range: float
    points: int


@dataclass(frozen=True)
class Points:
    """The points that a network may see, and the rows that they are.

    Attributes:
        scene: (K) points, metres, z up, near the origin.
        rows: (K,) int64, the row of each.
        count: N, all rows.
        source: the file, or what the arrays are called in messages.
    """

    scene: Scene
    rows: np.ndarray
    count: int
    source: str

    def spread(self, values: np.ndarray, missing: float) -> np.ndarray:
        """(N, ...) values of all rows from those of the points (K, ...)."""
        if self.count == len(values):
            return values
        whole = np.full((self.count, *values.shape[1:]), missing, values.dtype)
        whole[self.rows] = values
        return whole


def read_points(
    scan: Path | str | Any, color: Any, normal: Any, inputs: Sequence[str], reading: Mapping[str, Any]
) -> Points:
    """A scan for a network that reads ``inputs``.

    Args:
        scan: a file (or a folder of arrays), or (N, 3) coordinates, NumPy or torch.
        color, normal: (N, 3), of coordinates given as an array.
        reading: see :class:`Reading`.

        The points of another call are taken as they are.

    Raises:
        UserError: missing, empty or damaged, in other units than the options say, or without what the network reads.
    """
    if isinstance(scan, Points):
        _check_inputs(scan, inputs)
        return scan
    unknown = sorted(set(reading) - set(Reading.__annotations__))
    if unknown:
        raise UserError(f"{unknown[0]}=: is no option of a scan; there are {', '.join(Reading.__annotations__)}")
    options = ScanOptions.of(**{"points": 0, **reading})
    if isinstance(scan, str | Path):
        if color is not None or normal is not None:
            raise UserError(f"{scan}: color and normal stand in the file; give them with coordinates as arrays only")
        found = _of_file(Path(scan), options)
    else:
        found = _of_arrays(scan, color, normal, options)
    _check_inputs(found, inputs)
    if "scale" not in reading:
        _check_units(found)
    return found


def _of_file(path: Path, options: ScanOptions) -> Points:
    if not path.exists():
        raise UserError(f"{path}: there is no such scan; correct the path")
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(f"{path}: is empty (0 bytes); export the scan again")
    if path.is_file() and path.suffix.lower() not in FORMATS:
        way = OTHERS.get(path.suffix.lower(), "convert it to .ply")
        raise UserError(f"{path}: is not read as a scan; {way} (read are {' '.join(FORMATS)})")
    try:
        reading = open_scan(path, options)
        scan = reading.scan(np.flatnonzero(reading.kept))
    except BrokenSceneError as error:
        raise UserError(_with_remedy(str(error))) from error
    except ValueError as error:
        raise UserError(_with_remedy(f"{path}: {error}")) from error
    coord, offset = settle(scan.coord)
    return Points(Scene(NAME, coord, scan.color, scan.normal, offset=offset), scan.rows, len(reading.kept), str(path))


def _with_remedy(message: str) -> str:
    return message if ";" in message else f"{message}; export the scan again"


def _of_arrays(coord: Any, color: Any, normal: Any, options: ScanOptions) -> Points:
    table = _array(coord, "coord")
    if not len(table):
        raise UserError("coord: is empty (0 points); give at least one")
    kept = np.isfinite(table[:, 0]) & np.isfinite(table[:, 1]) & np.isfinite(table[:, 2])
    if not kept.any():
        raise UserError("coord: no point with finite coordinates")
    rows = np.flatnonzero(kept)
    up = options.up
    if up != "z" or options.columns:
        raise UserError("up=, columns=: are for files; turn arrays so that z is up")
    placed, offset = settle(table[rows].astype(np.float64) * options.scale)
    paint = None
    if color is not None:
        table = _array(color, "color", len(kept))[rows]
        try:
            paint = choose_paint([table], options.color_range, "color")(table)
        except BrokenSceneError as error:
            raise UserError(str(error)) from error
    vectors = None
    if normal is not None:
        vectors = unit(_array(normal, "normal", len(kept))[rows].astype(np.float64)).astype(np.float32)
    return Points(Scene(NAME, placed, paint, vectors, offset=offset), rows, len(kept), "the arrays")


def _array(value: Any, name: str, rows: int | None = None) -> np.ndarray:
    """(N, 3) numbers of an array or a tensor."""
    table = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if table.ndim != 2 or table.shape[1] != 3 or table.dtype.kind not in "biuf":
        raise UserError(f"{name}: is an array of numbers (N, 3), not {table.dtype} {table.shape}")
    if rows is not None and len(table) != rows:
        raise UserError(f"{name}: has {len(table)} rows, coord has {rows}; give one for each point")
    return table


def _check_inputs(found: Points, inputs: Sequence[str]) -> None:
    for name in inputs:
        needed, says = FEATURES[name].needs, FEATURES[name].says
        if needed in ("color", "normal") and getattr(found.scene, needed) is None:
            raise UserError(
                f"{found.source}: has no {needed}, which this network reads ({name}: {says}); give "
                f"a scan with {needed} (own names of columns: columns=), or load an encoder that reads none"
            )


def _check_units(found: Points) -> None:
    """A scan of rooms that is a millimetre or kilometres long is in other units."""
    extent = np.ptp(found.scene.coord, axis=0)
    side = float(extent.max())
    if ROOM[0] <= side <= ROOM[1]:
        return
    unit_ = next((unit for unit in UNITS if ROOM[0] <= side * unit <= ROOM[1]), None)
    way = f"scale={unit_:g} makes it {metres(side * unit_)} m" if unit_ else "scale= says the metres of a unit"
    raise UserError(
        f"{found.source}: is {metres(side)} m long, which no scan of rooms is: {way}; scale=1 if it is in metres"
    )
