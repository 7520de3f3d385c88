"""A user's own scans: a folder of ``.ply .pcd .npy .npz .bin`` files, one scene each, no labels needed.

``.ply``, ``.pcd`` and ``.npz`` name their values. ``.npy`` and ``.bin`` are bare tables, so ``columns`` must say what
they hold, for example ``"x y z r g b"`` (mmdetection3d's ScanNet points) or ``"x y z _"`` (a column to skip).
``.bin`` is little-endian float32.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.datasets.formats.pcd import read_pcd, unpack_color
from mm3d_benchmarks.datasets.formats.ply import read_ply
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError, ReadScene
from mm3d_benchmarks.datasets.readers.processed.base import load_archive, load_array, load_binary
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_core.errors import UserError

SUFFIXES = (".ply", ".pcd", ".npy", ".npz", ".bin")
ALIASES = {"red": "r", "green": "g", "blue": "b", "normal_x": "nx", "normal_y": "ny", "normal_z": "nz"}
KNOWN = ("x", "y", "z", "r", "g", "b", "nx", "ny", "nz", "_")
UPRIGHT = {"z": (0, 1, 2), "y": (0, 2, 1), "x": (2, 1, 0)}
FLIP = {"z": np.ones(3), "y": np.array([1.0, -1.0, 1.0]), "x": np.array([-1.0, 1.0, 1.0])}
PIECE = 2**20  # rows that are converted at a time


def facts() -> DatasetFacts:
    """Unlabelled scans: no classes."""
    return DatasetFacts(name="folder")


class FolderReader:
    """Reads a folder of scans (searched to any depth), or one file.

    Args:
        raw: the folder or file.
        columns: what the columns of ``.npy`` and ``.bin`` tables are, separated by blanks or commas; "_" is skipped.
        up: which axis points up in the files (``z``, ``y`` or ``x``); the prepared scene has z up.
        scale: metres per unit of the files (0.001 for millimetres).
        color_range: 255 or 1; None decides per file by its largest value.
        validation: every n-th scene goes to ``val`` too (0: none).

    Raises:
        UserError: no scan in the folder, or an option is not one of the above.
    """

    def __init__(
        self,
        raw: Path,
        columns: str = "",
        up: str = "z",
        scale: float = 1.0,
        color_range: float | None = None,
        validation: int = 0,
    ) -> None:
        self.raw = Path(raw)
        self.facts = facts()
        self.columns = columns.replace(",", " ").split()
        self.options: dict[str, Any] = {
            "columns": " ".join(self.columns),
            "up": up,
            "scale": scale,
            "color_range": color_range,
        }
        self.validation = validation
        unknown = [c for c in self.columns if c not in KNOWN]
        if unknown or (self.columns and not {"x", "y", "z"} <= set(self.columns)):
            raise UserError(f"columns={columns!r}: need x, y and z, and besides only {' '.join(KNOWN[3:])}")
        if up not in UPRIGHT or color_range not in (None, 1, 255) or not scale > 0:
            raise UserError(
                f"up={up}, color_range={color_range}, scale={scale}: "
                "up is x, y or z, color_range 1 or 255, scale positive"
            )
        self.files = self._list()

    def splits(self) -> dict[str, list[str]]:
        """All scans are ``train``; ``val`` is every n-th of them if asked for."""
        names = list(self.files)
        return {"train": names, "val": names[:: self.validation] if self.validation else []}

    def source_files(self, name: str) -> list[Path]:
        """The scan's file."""
        return [self.files[name]]

    def read(self, name: str) -> ReadScene:
        """One scan; rows with NaN coordinates (sensors' missing returns) are dropped and counted."""
        path = self.files[name]
        values = self._values(path)
        strange = next((n for n, v in values.items() if v.ndim != 1 or v.dtype.kind not in "biuf" or not len(v)), None)
        if strange is not None:
            raise BrokenSceneError(f"{path}: column {strange} is no column of numbers; export it again")
        missing = [axis for axis in "xyz" if axis not in values]
        if missing:
            raise BrokenSceneError(f"{path}: no column {missing[0]!r}; it has {', '.join(values)}")
        count = len(values["x"])
        finite = np.concatenate([np.isfinite(_columns(values, "xyz", rows)).all(axis=1) for rows in _pieces(count)])
        if not finite.any():
            raise BrokenSceneError(f"{path}: no point with finite coordinates")
        order, flip = list(UPRIGHT[self.options["up"]]), FLIP[self.options["up"]]
        paint = _paint(values, self.options["color_range"], path)
        coord = np.empty((int(finite.sum()), 3), np.float32)
        color = np.empty_like(coord, np.uint8) if paint else None
        normal = np.empty_like(coord) if {"nx", "ny", "nz"} <= set(values) else None
        end = 0
        for rows in _pieces(count):  # in double precision; a whole scan would take several times its size
            kept = finite[rows]
            start, end = end, end + int(kept.sum())
            with np.errstate(over="ignore"):  # told as an infinite coordinate
                coord[start:end] = _columns(values, "xyz", rows)[kept][:, order] * self.options["scale"] * flip
            if color is not None and paint is not None:
                color[start:end] = paint(_columns(values, "rgb", rows)[kept])
            if normal is not None:
                normal[start:end] = _unit(_columns(values, ("nx", "ny", "nz"), rows)[kept])[:, order] * flip
        dropped = count - len(coord)
        remarks = [f"{dropped} rows without finite coordinates dropped"] if dropped else []
        return ReadScene(Scene(name, coord, color, normal), remarks)

    def _list(self) -> dict[str, Path]:
        if self.raw.is_file():
            paths = [self.raw]
        else:
            paths = sorted(p for p in self.raw.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not paths:
            raise UserError(f"{self.raw}: no scan in it; put {' '.join(SUFFIXES)} files there")
        base = self.raw.parent if self.raw.is_file() else self.raw
        files: dict[str, Path] = {}
        for path in paths:
            stem = str(path.relative_to(base))[: -len(path.suffix)]
            name = re.sub(r"[^A-Za-z0-9_.-]+|^\.+", "_", stem)
            if name in files:
                name = f"{name}_{path.suffix[1:]}"
            if name in files:
                raise UserError(f"{path}: becomes the scene {name}, as {files[name]} does; rename one of them")
            files[name] = path
        return files

    def _values(self, path: Path) -> dict[str, np.ndarray]:
        """Column name -> (N,) values."""
        suffix = path.suffix.lower()
        if suffix in (".ply", ".pcd"):
            table = read_ply(path)[0] if suffix == ".ply" else read_pcd(path)
            values = {ALIASES.get(name, name): table[name] for name in table.dtype.names or ()}
            packed = values.pop("rgb", values.pop("rgba", None))
            if suffix == ".pcd" and packed is not None:
                values.update(zip("rgb", unpack_color(packed).T, strict=True))
            return values
        if suffix == ".npz":
            return self._archive(path)
        return self._table(path, load_binary(path, "<f4") if suffix == ".bin" else load_array(path))

    def _archive(self, path: Path) -> dict[str, np.ndarray]:
        """``coord``/``color``/``normal`` arrays, or one table (VoteNet's ``pc``) that ``columns`` describes."""
        arrays = load_archive(path)
        if "coord" not in arrays:
            if len(arrays) != 1:
                raise BrokenSceneError(f"{path}: neither an array coord nor a single table; it has {', '.join(arrays)}")
            return self._table(path, next(iter(arrays.values())))
        values: dict[str, np.ndarray] = {}
        for key, names in (("coord", "x y z"), ("color", "r g b"), ("normal", "nx ny nz")):
            if key in arrays:
                shape, expected = arrays[key].shape, (*arrays["coord"].shape[:1], 3)
                if shape != expected or len(shape) != 2:
                    raise BrokenSceneError(f"{path}: {key} has shape {shape}, not {expected}")
                values.update(zip(names.split(), arrays[key].T, strict=True))
        return values

    def _table(self, path: Path, table: np.ndarray) -> dict[str, np.ndarray]:
        width = len(self.columns)
        if not width:
            raise UserError(f"{path}: a bare table; say what its columns are, for example columns='x y z r g b'")
        if table.ndim == 1 and table.size % width == 0 and path.suffix.lower() == ".bin":
            table = table.reshape(-1, width)
        if table.ndim != 2 or table.shape[1] != width:
            raise BrokenSceneError(
                f"{path}: shape {table.shape} does not fit the {width} columns "
                f"{' '.join(self.columns)!r}; correct columns"
            )
        return {name: table[:, i] for i, name in enumerate(self.columns) if name != "_"}


def _pieces(count: int) -> Iterator[slice]:
    """Slices that cover ``count`` rows."""
    for start in range(0, count, PIECE):
        yield slice(start, min(start + PIECE, count))


def _columns(values: Mapping[str, np.ndarray], names: Iterable[str], rows: slice) -> np.ndarray:
    """(n, 3) float64 of some rows of three columns."""
    return np.stack([values[name][rows] for name in names], axis=1).astype(np.float64)


def _paint(
    values: Mapping[str, np.ndarray], color_range: float | None, path: Path
) -> Callable[[np.ndarray], np.ndarray] | None:
    """What makes uint8 colors of integers 0..255, or of floats 0..255, [0, 1] or [-1, 1]; None without colors."""
    if not {"r", "g", "b"} <= set(values):
        return None
    columns = [values[name] for name in "rgb"]
    if all(column.dtype == np.uint8 for column in columns):
        return lambda part: part.astype(np.uint8)
    low = min(float(np.fmin.reduce(column)) for column in columns)  # NaN counts as 0 below
    high = max(float(np.fmax.reduce(column)) for column in columns)
    centered = color_range is None and low < 0
    if centered:
        low, high = (low + 1) / 2, (high + 1) / 2
    factor = 255 / (color_range or (255 if high > 1 else 1))
    if low * factor < -0.5 or high * factor > 255.5:
        raise BrokenSceneError(
            f"{path}: colors from {low * factor:.3g} to {high * factor:.3g} are outside 0..255; "
            "set color_range or columns"
        )

    def paint(part: np.ndarray) -> np.ndarray:
        part = np.nan_to_num(part)
        return (((part + 1) / 2 if centered else part) * factor).round().clip(0, 255).astype(np.uint8)

    return paint


def _unit(normal: np.ndarray) -> np.ndarray:
    """(n, 3) of unit length; rows that are not finite become zero."""
    normal = np.where(np.isfinite(normal).all(axis=1, keepdims=True), normal, 0.0)
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    return np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
