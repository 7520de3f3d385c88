"""Formats that well-kept libraries read: LAS and LAZ (laspy), E57 (pye57); meshes (trimesh): ``meshes.py``.

The libraries are the extra ``formats``; a message names it where one is missing. Whatever they raise on damaged bytes
becomes one error that names the file.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.formats.las_header import check_las_header
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_core.errors import UserError

INSTALL = "pip install 'mm3dscene[formats]'"


def read_las(path: Path) -> dict[str, np.ndarray]:
    """Columns of a LAS or LAZ file: coordinates in double, colors of 16 bits, classification."""
    laspy = library("laspy", path)
    try:
        check_las_header(path)
        las = laspy.read(path)
        names = set(las.point_format.dimension_names)
        values = {axis: np.asarray(getattr(las, axis), np.float64) for axis in "xyz"}
        values |= {name: np.asarray(las[name]) for name in ("red", "green", "blue") if name in names}
        extra = [name for name in las.point_format.extra_dimension_names if np.ndim(las[name]) == 1]
        values |= {name: np.asarray(las[name]) for name in (*extra, "classification", "intensity") if name in names}
    except Exception as error:  # laspy and its decoders raise errors of many kinds on damaged bytes
        raise broken(path, "LAS", error) from error
    if all(name in values for name in ("red", "green", "blue")) and not any(
        values[c].any() for c in ("red", "green", "blue")
    ):
        values = {name: value for name, value in values.items() if name not in ("red", "green", "blue")}
    return values


def read_e57(path: Path) -> dict[str, np.ndarray]:
    """Columns of all scans of an E57 file, each moved by its pose into the common frame."""
    pye57 = library("pye57", path)
    parts: list[dict[str, np.ndarray]] = []
    try:
        file = pye57.E57(str(path))
        for number in range(file.scan_count):
            scan = file.read_scan(number, ignore_missing_fields=True, colors=True, intensity=False, transform=True)
            parts.append({name: np.asarray(value) for name, value in scan.items()})
        file.close()
    except Exception as error:  # pye57 raises errors of its C++ library
        raise broken(path, "E57", error) from error
    if not parts:
        raise BrokenSceneError(f"{path}: the E57 file holds no scan")
    names = {"cartesianX": "x", "cartesianY": "y", "cartesianZ": "z", "colorRed": "red", "colorGreen": "green",
             "colorBlue": "blue"}  # fmt: skip
    shared = [name for name in names if all(name in part for part in parts)]
    return {names[name]: np.concatenate([part[name] for part in parts]) for name in shared}


def library(name: str, path: Path) -> Any:
    """A library of the extra ``formats``. Raises UserError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(f"{path}: {path.suffix} is read by {name}, which is not installed; {INSTALL}") from error


def broken(path: Path, what: str, error: Exception) -> BrokenSceneError:
    """The error for a file that a library did not take."""
    text = " ".join(str(error).split())[:160] or type(error).__name__
    return BrokenSceneError(f"{path}: damaged {what} ({text}); export it again, as .ply for example")
