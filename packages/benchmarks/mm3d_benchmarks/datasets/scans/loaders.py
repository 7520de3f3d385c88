"""Which module reads which format, and what every format's bytes become: columns under known names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mm3d_benchmarks.datasets.formats.delimited import looks_like_table, read_delimited
from mm3d_benchmarks.datasets.formats.libraries import read_e57, read_las
from mm3d_benchmarks.datasets.formats.loaded import NO_ARRAY, load_archive, load_array, load_binary
from mm3d_benchmarks.datasets.formats.meshes import read_mesh
from mm3d_benchmarks.datasets.formats.pcd import read_pcd, unpack_color
from mm3d_benchmarks.datasets.formats.placeholder import what_it_is
from mm3d_benchmarks.datasets.formats.ply import read_vertices
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_benchmarks.datasets.scans.columns import COLOR, COORD, INSTANCES, LABELS, NORMAL, Columns, named, plain_name
from mm3d_benchmarks.datasets.scans.options import ScanOptions
from mm3d_benchmarks.datasets.scans.tables import ASK, of_table, suggestion
from mm3d_benchmarks.datasets.visible import glob_visible

# Names of arrays in archives and folders, by what they are; other projects' among them.
ARRAYS = {
    "coord": ("coord", "coords", "coordinates", "points", "point", "xyz", "pos", "position", "positions",
              "vertices", "verts", "locs", "pc", "pcd", "pointcloud"),
    "color": ("color", "colors", "colour", "colours", "rgb", "rgbs", "vertexcolor", "vertexcolors"),
    "normal": ("normal", "normals", "vertexnormal", "vertexnormals"),
}  # fmt: skip
PTS = ("x", "y", "z", "_", "r", "g", "b")  # Leica's: the fourth is the intensity
HEAD = 4096  # bytes of a file that tell whether it has a texture
TEXTURED = (
    "no vertex colors, only a texture: bake it into the vertices (in MeshLab: Transfer Color, Texture to Vertex), "
    "or export .obj or .glb with the texture"
)
Loader = Callable[[Path, ScanOptions], Columns]


def load_columns(path: Path, options: ScanOptions) -> Columns:
    """The columns of a scan file, or of a folder of arrays.

    Raises:
        BrokenSceneError: it cannot be read, or is not what its name says.
    """
    if path.is_dir():
        return _folder(path)
    loader = FORMATS.get(path.suffix.lower())
    if loader is None:
        raise BrokenSceneError(f"{path}: of no format that is read here ({' '.join(FORMATS)}); convert it to .ply")
    try:
        return loader(path, options)
    except BrokenSceneError as error:
        instead = what_it_is(path)
        raise BrokenSceneError(f"{path}: is {instead}") if instead else error from error


def _ply(path: Path, options: ScanOptions) -> Columns:
    if options.faces and options.points:
        return _mesh(path, options)
    table, remarks = read_vertices(path)
    columns = named(_unpacked({name: table[name] for name in table.dtype.names or ()}))
    columns.remarks += remarks
    if not columns.has(COLOR):
        with open(path, "rb") as stream:
            head = stream.read(HEAD)
        if b"TextureFile" in head or b"texcoord" in head:
            columns.remarks.append(TEXTURED)
    return columns


def _pcd(path: Path, _: ScanOptions) -> Columns:
    table = read_pcd(path)
    return named(_unpacked({name: table[name] for name in table.dtype.names or ()}))


def _unpacked(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns with PCL's packed colors, a number for all three, taken apart."""
    packed = next((values.pop(name) for name in list(values) if name.casefold() in ("rgb", "rgba")), None)
    return values if packed is None else values | dict(zip(COLOR, unpack_color(packed).T, strict=True))


def _npy(path: Path, options: ScanOptions) -> Columns:
    beside = {*ARRAYS["color"], *ARRAYS["normal"], *LABELS, *INSTANCES}
    if not options.columns and plain_name(path.stem) in beside:
        raise BrokenSceneError(
            f"{path}: by its name not the coordinates of a scan, and no coord.npy lies beside it; fetch that, or "
            "rename the file if it does hold coordinates"
        )
    return of_table(load_array(path), options.columns, path)


def _bin(path: Path, options: ScanOptions) -> Columns:
    return of_table(load_binary(path, "<f4"), options.columns, path)


def _npz(path: Path, options: ScanOptions) -> Columns:
    passed: list[str] = []
    arrays = load_archive(path, "biufU", passed)
    read = {name for names in ARRAYS.values() for name in names} | {*LABELS, *INSTANCES}
    if wrong := [name for name in passed if plain_name(name) in read or not arrays]:
        raise BrokenSceneError(f"{path}: {NO_ARRAY} ({wrong[0]} holds no plain numbers); export it again")
    return _of_arrays(arrays, options, path, passed)


def _folder(path: Path) -> Columns:
    """A folder as Pointcept has them: ``coord.npy`` and, beside it, ``color.npy normal.npy segment.npy ...``."""
    arrays = {file.stem: load_array(file) for file in glob_visible(path, "*.npy")}
    return _of_arrays(arrays, ScanOptions(), path)


def _of_arrays(arrays: dict[str, np.ndarray], options: ScanOptions, path: Path, others: Sequence[str] = ()) -> Columns:
    """Arrays by the names that projects give them, or one table that ``columns`` describes."""
    arrays = {name: value[0] if value.ndim > 2 and len(value) == 1 else value for name, value in arrays.items()}
    found = {what: _first(arrays, names) for what, names in ARRAYS.items()}
    coord = found["coord"]
    apart = named({name: value for name, value in arrays.items() if value.ndim == 1})
    if coord is None and apart.has(COORD) and len({len(value) for value in apart.values.values()}) == 1:
        return apart
    if coord is None and len(arrays) == 1:
        return of_table(next(iter(arrays.values())), options.columns, path)
    if coord is None:
        raise BrokenSceneError(
            f"{path}: no array of coordinates ({' '.join(ARRAYS['coord'][:7])}); it has {', '.join(arrays)[:300]}"
        )
    if arrays[coord].ndim == 2 and arrays[coord].shape[1] > 3 and found["color"] is None:
        columns = of_table(arrays[coord], options.columns, path)
    else:
        columns = Columns({})
        for key, names in (("coord", COORD), ("color", COLOR), ("normal", NORMAL)):
            name = found[key]
            if name is not None:
                value = _as_colors(arrays[name], columns.remarks) if key == "color" else arrays[name]
                shape, expected = value.shape, (*arrays[coord].shape[:1], 3)
                if key == "coord" and len(shape) == 2 and shape[0] == 3 < shape[1]:
                    raise BrokenSceneError(
                        f"{path}: {name} has shape {shape}; a row for each point is read: save {name}.T"
                    )
                if shape != expected or len(shape) != 2:
                    raise BrokenSceneError(f"{path}: {name} has shape {arrays[name].shape}, not {expected}")
                columns.values |= dict(zip(names, value.T, strict=True))
    used = {coord, found["color"], found["normal"]}
    count, passed = len(arrays[coord]), list(others)
    for name, value in arrays.items():
        if name in used:
            continue
        flat = value.reshape(-1) if value.ndim == 2 and value.shape[1] == 1 else value
        if flat.shape == (count,):
            columns.values[name] = flat
        elif plain_name(name) in (*LABELS, *INSTANCES):
            raise BrokenSceneError(f"{path}: {name} has shape {value.shape}, not ({count},)")
        else:
            passed.append(name)
    if passed:
        columns.remarks.append(f"arrays passed over: {', '.join(passed)[:200]}")
    return columns


def _as_colors(value: np.ndarray, remarks: list[str]) -> np.ndarray:
    """(N, 3) of colors with an opacity, (N, 4), or of gray values, (N,) or (N, 1); others as they are."""
    if value.ndim == 2 and value.shape[1] == 4:
        remarks.append("the fourth number of each color, its opacity, passed over")
        return value[:, :3]
    if value.ndim == 1 or (value.ndim == 2 and value.shape[1] == 1):
        remarks.append("one number for each color: gray")
        return np.repeat(value.reshape(-1, 1), 3, axis=1)
    return value


def _first(arrays: dict[str, np.ndarray], names: tuple[str, ...]) -> str | None:
    plain = {plain_name(name): name for name in reversed(arrays)}
    return next((plain[name] for name in names if name in plain), None)


def _text(path: Path, options: ScanOptions) -> Columns:
    columns, table = read_delimited(path)
    if table is None and not options.columns:
        known = named(columns)
        if not known.has(COORD):
            numbers = np.column_stack([_numbers(column) for column in columns.values()])
            raise BrokenSceneError(
                f"{path}: its heading names no x y z ({', '.join(columns)[:200]}); {ASK}columns='{suggestion(numbers)}'"
            )
        return known
    if table is None:
        table = np.column_stack([_numbers(column) for column in columns.values()])
    habit = PTS if path.suffix.lower() == ".pts" and table.shape[1] == len(PTS) else ()
    return of_table(table, options.columns or habit, path)


def _numbers(column: np.ndarray) -> np.ndarray:
    """A column's numbers; NaN for one that holds words."""
    return column.astype(np.float64) if column.dtype.kind in "biuf" else np.full(len(column), np.nan)


def _las(path: Path, _: ScanOptions) -> Columns:
    return named(read_las(path))


def _e57(path: Path, _: ScanOptions) -> Columns:
    return named(read_e57(path))


def _mesh(path: Path, options: ScanOptions) -> Columns:
    values, remarks = read_mesh(path, options.points)
    columns = named(values)
    columns.remarks += remarks
    return columns


FORMATS: dict[str, Loader] = {
    ".ply": _ply, ".pcd": _pcd, ".npy": _npy, ".npz": _npz, ".bin": _bin,
    ".xyz": _text, ".txt": _text, ".csv": _text, ".pts": _text, ".asc": _text, ".las": _las, ".laz": _las, ".e57": _e57,
    ".obj": _mesh, ".glb": _mesh, ".gltf": _mesh, ".stl": _mesh, ".off": _mesh,
}  # fmt: skip
MORE_FORMATS = {suffix: looks_like_table for suffix, loader in FORMATS.items() if loader is _text}  # may be no scans
