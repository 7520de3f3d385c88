"""Formats that well-kept libraries read: LAS and LAZ (laspy), E57 (pye57), meshes (trimesh).

The libraries are the extra ``formats``; a message names it where one is missing. Whatever they raise on damaged bytes
becomes one error that names the file.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_core.errors import UserError

INSTALL = "pip install 'mm3dscene[formats]'"
MOST_POINTS = 20_000_000  # sampled from a mesh


def read_las(path: Path) -> dict[str, np.ndarray]:
    """Columns of a LAS or LAZ file: coordinates in double, colors of 16 bits, classification."""
    laspy = _library("laspy", path)
    try:
        las = laspy.read(path)
        names = set(las.point_format.dimension_names)
        values = {axis: np.asarray(getattr(las, axis), np.float64) for axis in "xyz"}
        values |= {name: np.asarray(las[name]) for name in ("red", "green", "blue") if name in names}
        extra = [name for name in las.point_format.extra_dimension_names if np.ndim(las[name]) == 1]
        values |= {name: np.asarray(las[name]) for name in (*extra, "classification", "intensity") if name in names}
    except Exception as error:  # laspy and its decoders raise errors of many kinds on damaged bytes
        raise _broken(path, "LAS", error) from error
    if all(name in values for name in ("red", "green", "blue")) and not any(
        values[c].any() for c in ("red", "green", "blue")
    ):
        values = {name: value for name, value in values.items() if name not in ("red", "green", "blue")}
    return values


def read_e57(path: Path) -> dict[str, np.ndarray]:
    """Columns of all scans of an E57 file, each moved by its pose into the common frame."""
    pye57 = _library("pye57", path)
    parts: list[dict[str, np.ndarray]] = []
    try:
        file = pye57.E57(str(path))
        for number in range(file.scan_count):
            scan = file.read_scan(number, ignore_missing_fields=True, colors=True, intensity=False, transform=True)
            parts.append({name: np.asarray(value) for name, value in scan.items()})
        file.close()
    except Exception as error:  # pye57 raises errors of its C++ library
        raise _broken(path, "E57", error) from error
    if not parts:
        raise BrokenSceneError(f"{path}: the E57 file holds no scan")
    names = {"cartesianX": "x", "cartesianY": "y", "cartesianZ": "z", "colorRed": "red", "colorGreen": "green",
             "colorBlue": "blue"}  # fmt: skip
    shared = [name for name in names if all(name in part for part in parts)]
    return {names[name]: np.concatenate([part[name] for part in parts]) for name in shared}


def read_mesh(path: Path, points: int) -> tuple[dict[str, np.ndarray], list[str]]:
    """Columns of a mesh: ``points`` points sampled by area, or its vertices where it has no faces or ``points`` is 0.

    Colors come from the vertices, the faces or the texture; the sample is the same each time.

    Returns:
        columns, and what was done in words.
    """
    trimesh = _library("trimesh", path)
    try:
        scene = trimesh.load_scene(path, process=False)
        pieces = [piece for piece in scene.dump() if hasattr(piece, "vertices") and len(piece.vertices)]
    except Exception as error:  # trimesh raises errors of many kinds on damaged bytes
        raise _broken(path, path.suffix[1:].upper(), error) from error
    if not pieces:
        raise BrokenSceneError(f"{path}: the mesh has no vertices")
    meshes = [piece for piece in pieces if len(getattr(piece, "faces", ())) and piece.area > 0]
    wanted = min(points, MOST_POINTS)
    if not meshes or not wanted:
        coord = np.concatenate([np.asarray(piece.vertices, np.float64) for piece in pieces])
        colors = [_vertex_colors(piece) for piece in pieces]
        return _columns(coord, None, colors), [f"the {len(coord):,} vertices of the mesh taken as points"]
    area = np.array([float(mesh.area) for mesh in meshes])
    counts = np.maximum(1, np.round(wanted * area / area.sum())).astype(int)
    coords, normals, colors = [], [], []
    for number, (mesh, count) in enumerate(zip(meshes, counts, strict=True)):
        textured = (
            getattr(getattr(mesh.visual, "material", None), "name", None) is not None and mesh.visual.kind == "texture"
        )
        try:
            sample = trimesh.sample.sample_surface(mesh, int(count), sample_color=textured, seed=number)
        except Exception as error:
            raise _broken(path, path.suffix[1:].upper(), error) from error
        coords.append(np.asarray(sample[0], np.float64))
        normals.append(np.asarray(mesh.face_normals)[sample[1]])
        colors.append(np.asarray(sample[2])[:, :3] if textured else _face_colors(mesh, sample[0], sample[1]))
    remark = (
        f"{sum(map(len, coords)):,} points sampled from {sum(len(m.faces) for m in meshes):,} faces by area (points=)"
    )
    return _columns(np.concatenate(coords), np.concatenate(normals), colors), [remark]


def _face_colors(mesh: Any, coord: np.ndarray, faces: np.ndarray) -> np.ndarray | None:
    """(n, 3) uint8 between the colors of each face's corners, or the face's own; None without colors."""
    if mesh.visual.kind == "face":
        return np.asarray(mesh.visual.face_colors)[faces, :3]
    corners = _vertex_colors(mesh)
    if corners is None:
        return None
    triangle = np.asarray(mesh.triangles)[faces]
    weights = _barycentric(triangle, coord)
    return (
        (corners[np.asarray(mesh.faces)[faces]] * weights[:, :, None]).sum(axis=1).round().clip(0, 255).astype(np.uint8)
    )


def _barycentric(triangle: np.ndarray, point: np.ndarray) -> np.ndarray:
    """(n, 3) weights of the corners (n, 3, 3) at points inside."""
    edges = triangle[:, 1:] - triangle[:, :1]
    gram = np.einsum("nik,njk->nij", edges, edges) + 1e-18 * np.eye(2)
    right = np.einsum("nik,nk->ni", edges, point - triangle[:, 0])
    weights = np.linalg.solve(gram, right[:, :, None])[:, :, 0]
    return np.concatenate([1 - weights.sum(axis=1, keepdims=True), weights], axis=1).clip(0, 1)


def _vertex_colors(piece: Any) -> np.ndarray | None:
    """(n, 3) uint8, or None where the file gives none."""
    own = getattr(piece, "colors", None)
    if own is not None and len(own) == len(piece.vertices):
        return np.asarray(own)[:, :3]
    visual = getattr(piece, "visual", None)
    if visual is None or visual.kind != "vertex":
        return None
    return np.asarray(visual.vertex_colors)[:, :3]


def _columns(coord: np.ndarray, normal: np.ndarray | None, colors: list[np.ndarray | None]) -> dict[str, np.ndarray]:
    values = dict(zip("xyz", coord.T, strict=True))
    if normal is not None:
        values |= dict(zip(("nx", "ny", "nz"), normal.T, strict=True))
    if all(color is not None for color in colors):
        values |= dict(zip("rgb", np.concatenate([c for c in colors if c is not None]).T, strict=True))
    return values


def _library(name: str, path: Path) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(f"{path}: {path.suffix} is read by {name}, which is not installed; {INSTALL}") from error


def _broken(path: Path, what: str, error: Exception) -> BrokenSceneError:
    text = " ".join(str(error).split())[:160] or type(error).__name__
    return BrokenSceneError(f"{path}: damaged {what} ({text}); export it again, as .ply for example")
