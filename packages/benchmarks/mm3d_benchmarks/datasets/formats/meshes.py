"""Meshes (OBJ, GLB, glTF, STL, OFF, PLY with faces) as points, read by trimesh: samples by area, or their vertices."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.color import choose_paint
from mm3d_benchmarks.datasets.digits import coarse_remark
from mm3d_benchmarks.datasets.formats.companions import BesideMesh
from mm3d_benchmarks.datasets.formats.libraries import broken, library
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError

MOST_POINTS = 20_000_000  # sampled from a mesh
# A vertex of an OBJ with the colors that MeshLab and others append to it.
COLORED = re.compile(rb"(?m)^([ \t]*v(?:[ \t]+\S+){3}[ \t]+)(\S+)[ \t]+(\S+)[ \t]+(\S+)[ \t]*\r?$")


def read_mesh(path: Path, points: int) -> tuple[dict[str, np.ndarray], list[str]]:
    """Columns of a mesh: ``points`` points sampled by area, or its vertices where it has no faces or ``points`` is 0.

    Colors come from the vertices, the faces, the texture, or the material's one color; each time the same sample.

    Returns:
        columns, and what was done in words.
    """
    trimesh = library("trimesh", path)
    remarks: list[str] = []
    beside = BesideMesh(path)
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".obj":
            data = _unit_colors(data, path, remarks)
        scene = trimesh.load_scene(io.BytesIO(data), file_type=path.suffix[1:].lower(), resolver=beside, process=False)
        pieces = [piece for piece in scene.dump() if hasattr(piece, "vertices") and len(piece.vertices)]
        if not pieces:
            raise BrokenSceneError(f"{path}: the mesh has no vertices")
        values, done = _points(trimesh, pieces, min(points, MOST_POINTS), bool(beside.lost))
    except BrokenSceneError:
        raise
    except Exception as error:  # trimesh raises errors of many kinds on damaged bytes
        raise broken(path, path.suffix[1:].upper(), error) from error
    if beside.lost:
        remarks.append(f"named by the mesh, but not there or damaged: {', '.join(sorted(set(beside.lost)))[:200]}")
    vertices = np.concatenate([np.asarray(piece.vertices, np.float64) for piece in pieces])
    return values, [*done, *remarks, *coarse_remark(list(vertices.T))]


def _points(
    trimesh: Any, pieces: list[Any], wanted: int, textures_lost: bool
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The columns, and what was done."""
    meshes = [piece for piece in pieces if len(getattr(piece, "faces", ())) and piece.area > 0]
    coords: list[np.ndarray] = []
    colors: list[np.ndarray | None] = []
    normals: list[np.ndarray] = []
    if not meshes or not wanted:
        for piece in pieces:
            coords.append(np.asarray(piece.vertices, np.float64))
            colors.append(_vertex_colors(trimesh, piece, textures_lost))
        done = f"the {sum(map(len, coords)):,} vertices of the mesh taken as points"
    else:
        area = np.array([float(mesh.area) for mesh in meshes])
        counts = np.maximum(1, np.round(wanted * area / area.sum())).astype(int)
        for number, (mesh, count) in enumerate(zip(meshes, counts, strict=True)):
            coord, faces = trimesh.sample.sample_surface(mesh, int(count), seed=number)[:2]
            coords.append(np.asarray(coord, np.float64))
            normals.append(np.asarray(mesh.face_normals)[faces])
            colors.append(_sample_colors(trimesh, mesh, coords[-1], faces, textures_lost))
        done = (
            f"{sum(map(len, coords)):,} points sampled from {sum(len(m.faces) for m in meshes):,} faces by area "
            "(points=)"
        )
    values = dict(zip("xyz", np.concatenate(coords).T, strict=True))
    if normals:
        values |= dict(zip(("nx", "ny", "nz"), np.concatenate(normals).T, strict=True))
    known = [color for color in colors if color is not None]
    if len(known) == len(colors):
        values |= dict(zip("rgb", np.concatenate(known).T, strict=True))
    elif known:
        return values, [done, f"colors left out: {len(colors) - len(known)} of {len(colors)} parts have none"]
    return values, [done]


def _sample_colors(
    trimesh: Any, mesh: Any, coord: np.ndarray, faces: np.ndarray, textures_lost: bool
) -> np.ndarray | None:
    """(n, 3) uint8 at points on faces: of the faces, between their corners, of the texture; None without colors."""
    visual = mesh.visual
    if visual.kind == "face":
        return np.asarray(visual.face_colors)[faces, :3]
    weights = _barycentric(np.asarray(mesh.triangles)[faces], coord)
    image = getattr(getattr(visual, "material", None), "image", None)
    if visual.kind == "texture" and image is not None and visual.uv is not None:
        uv = (np.asarray(visual.uv)[np.asarray(mesh.faces)[faces]] * weights[:, :, None]).sum(axis=1)
        return np.asarray(trimesh.visual.color.uv_to_interpolated_color(uv, image))[:, :3]
    corners = _vertex_colors(trimesh, mesh, textures_lost)
    if corners is None:
        return None
    mixed = (corners[np.asarray(mesh.faces)[faces]] * weights[:, :, None]).sum(axis=1)
    return mixed.round().clip(0, 255).astype(np.uint8)


def _barycentric(triangle: np.ndarray, point: np.ndarray) -> np.ndarray:
    """(n, 3) weights of the corners (n, 3, 3) at points inside."""
    edges = triangle[:, 1:] - triangle[:, :1]
    gram = np.einsum("nik,njk->nij", edges, edges) + 1e-18 * np.eye(2)
    right = np.einsum("nik,nk->ni", edges, point - triangle[:, 0])
    weights = np.linalg.solve(gram, right[:, :, None])[:, :, 0]
    return np.concatenate([1 - weights.sum(axis=1, keepdims=True), weights], axis=1).clip(0, 1)


def _vertex_colors(trimesh: Any, piece: Any, textures_lost: bool) -> np.ndarray | None:
    """(n, 3) uint8, or None where the file gives none."""
    visual, count = getattr(piece, "visual", None), len(piece.vertices)
    if visual is not None and visual.kind == "texture":
        material = visual.material
        image = getattr(material, "image", None)
        if image is not None and visual.uv is not None:
            return np.asarray(trimesh.visual.color.uv_to_interpolated_color(visual.uv, image))[:, :3]
        plain = None if textures_lost else _plain_color(material)
        return None if plain is None else np.tile(plain, (count, 1))
    own = getattr(piece, "colors", None)  # of a cloud
    if own is None and visual is not None and visual.kind == "vertex":
        own = visual.vertex_colors
    found = np.asarray([] if own is None else own)
    return found[:, :3] if found.ndim == 2 and len(found) == count and found.shape[1] >= 3 else None


def _plain_color(material: Any) -> np.ndarray | None:
    """(3,) uint8 of a material without a picture; None where the file gives it no color."""
    given = getattr(material, "baseColorFactor", None)
    if given is None:
        given = (getattr(material, "kwargs", None) or {}).get("kd")
    color = np.asarray(material.main_color if given is not None else [])
    return color[:3].astype(np.uint8) if color.shape in ((3,), (4,)) else None


def _unit_colors(data: bytes, path: Path, remarks: list[str]) -> bytes:
    """An OBJ whose colors are 0..1, as trimesh takes them: some programs write 0..255."""
    try:
        colors = np.array([found.group(2, 3, 4) for found in COLORED.finditer(data)], np.float64)
    except ValueError:
        return data
    if not len(colors) or not np.isfinite(colors).any() or np.nanquantile(colors, 0.995) <= 1:
        return data
    paint = choose_paint([colors], None, path)
    remarks.append(paint.remark)
    written = iter(paint(colors) / 255)
    return COLORED.sub(lambda found: found[1] + b"%.5f %.5f %.5f" % tuple(next(written)), data)
