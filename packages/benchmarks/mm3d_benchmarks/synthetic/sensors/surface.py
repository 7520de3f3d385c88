"""Candidate vertices of a scene (grid points on all faces of all solids), and which of them cameras see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mm3d_benchmarks.synthetic.rooms.placement import Room
from mm3d_benchmarks.synthetic.rooms.primitives import patches
from mm3d_benchmarks.synthetic.sensors.camera import Camera, Solids, render

BLOCK = 1.2  # metres: faces larger than this are cut into several over-segments


@dataclass(frozen=True)
class Surface:
    """Vertices before any sensor.

    Attributes:
        coord: (N, 3) float32 metres.
        normal: (N, 3) float32.
        local: (N, 3) float32, metres in the solid's own axes.
        solid: (N,) int32 row of the room's parts.
        patch: (N,) int64 over-segment.
        quads: (Q, 4) int32 neighboring vertices around a cell of a grid.
    """

    coord: np.ndarray
    normal: np.ndarray
    local: np.ndarray
    solid: np.ndarray
    patch: np.ndarray
    quads: np.ndarray

    def triangles(self, keep: np.ndarray) -> np.ndarray:
        """(F, 3) int32 triangles among the kept vertices, renumbered."""
        quads = self.quads[keep[self.quads].all(axis=1)]
        number = np.cumsum(keep, dtype=np.int32) - 1
        quads = number[quads]
        return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def sample_surface(room: Room, spacing: float) -> Surface:
    """Grids of about ``spacing`` metres over everything that can lie inside the room or just behind an open door."""
    coord, normal, local, solid, patch, quads = [], [], [], [], [], []
    count = blocks = 0
    reach = room.size[:2] / 2 + 1.3
    per_block = max(1, round(BLOCK / spacing))
    for number, part in enumerate(room.parts):
        for grid in patches(part, spacing):
            rows, columns = grid.coord.shape[:2]
            flat = grid.coord.reshape(-1, 3)
            if (
                (np.abs(flat[:, :2]) > reach).any(axis=1).all()
                or flat[:, 2].max() < -0.02
                or flat[:, 2].min() > room.size[2] + 0.02
            ):
                continue
            index = count + np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
            ahead = np.roll(index, -1, axis=0) if grid.closed else index[1:]
            here = index if grid.closed else index[:-1]
            quads.append(np.stack([here[:, :-1], ahead[:, :-1], ahead[:, 1:], here[:, 1:]], axis=-1).reshape(-1, 4))
            block = (np.arange(rows) // per_block)[:, None] * (columns // per_block + 1) + np.arange(
                columns
            ) // per_block
            coord.append(flat)
            normal.append(grid.normal.reshape(-1, 3))
            local.append(grid.local.reshape(-1, 3))
            solid.append(np.full(len(flat), number, np.int32))
            patch.append(blocks + block.ravel())
            count += len(flat)
            blocks += int(block.max()) + 1
    return Surface(
        np.concatenate(coord).astype(np.float32),
        np.concatenate(normal).astype(np.float32),
        np.concatenate(local).astype(np.float32),
        np.concatenate(solid),
        np.concatenate(patch).astype(np.int64),
        np.concatenate(quads),
    )


def count_views(
    surface: Surface, solids: Solids, cameras: list[Camera], near: float, reach: float, cosine: float
) -> tuple[np.ndarray, np.ndarray]:
    """How often each vertex is seen, and its least distance to a camera that sees it.

    Args:
        near: metres; nearer vertices are not measured.
        reach: metres; farther vertices are not measured.
        cosine: of the angle between ray and normal; flatter views are not measured.

    Returns:
        seen: (N,) int32.
        distance: (N,) float32 metres, infinite where never seen.
    """
    seen = np.zeros(len(surface.coord), np.int32)
    distance = np.full(len(surface.coord), np.inf, np.float32)
    blocks = _Blocks(surface)
    for camera in cameras:
        depth, which = render(solids, camera)
        depth = depth.round(4)  # to 0.1 mm, so that counts do not hang on the last bit
        rows = blocks.rows_in_view(camera, reach)
        u, v, z = camera.project(surface.coord[rows])
        height, width = camera.size
        inside = (z > near) & (z < reach) & (u > -0.5) & (u < width - 0.5) & (v > -0.5) & (v < height - 0.5)
        rows, u, v, z = rows[inside], u[inside], v[inside], z[inside]
        way = camera.position.astype(np.float32) - surface.coord[rows]
        length = np.sqrt((way * way).sum(axis=1))
        facing = (way * surface.normal[rows]).sum(axis=1) / length
        front = facing > cosine
        rows, length, facing, u, v, z = (a[front] for a in (rows, length, facing, u, v, z))
        at = (v.round().astype(int), u.round().astype(int))
        slack = 0.012 + z / np.float32(camera.k[0, 0]) / np.maximum(facing, 0.2)
        visible = z.round(4) <= depth[at] + np.where(which[at] == surface.solid[rows], 3 * slack, slack)
        rows, length = rows[visible], length[visible]
        seen[rows] += 1
        distance[rows] = np.minimum(distance[rows], length)
    return seen, distance


class _Blocks:
    """Bounding balls of the over-segments, so that a camera looks at the vertices before it only."""

    def __init__(self, surface: Surface) -> None:
        self.order = np.argsort(surface.patch, kind="stable")
        patch = surface.patch[self.order]
        self.start = np.flatnonzero(np.diff(patch, prepend=-1))
        self.count = np.diff(self.start, append=len(patch))
        coord = surface.coord[self.order].astype(np.float64)
        low, high = np.minimum.reduceat(coord, self.start), np.maximum.reduceat(coord, self.start)
        self.center, self.radius = (low + high) / 2, np.linalg.norm(high - low, axis=1) / 2

    def rows_in_view(self, camera: Camera, reach: float) -> np.ndarray:
        """Vertices of all blocks whose ball touches the view."""
        local = (self.center - camera.position) @ camera.axes.T
        seen = (local[:, 2] > -self.radius) & (local[:, 2] < reach + self.radius)
        for axis in (0, 1):
            half = camera.size[1 - axis] / 2 / camera.k[axis, axis]
            seen &= np.abs(local[:, axis]) < half * local[:, 2] + self.radius * np.hypot(1, half)
        start, count = self.start[seen], self.count[seen]
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        return self.order[np.repeat(start, count) + within]
