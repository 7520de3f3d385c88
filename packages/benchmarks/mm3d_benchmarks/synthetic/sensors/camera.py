"""Exact depth images of primitives: each one is intersected with the rays inside its projected bounding rectangle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mm3d_benchmarks.synthetic.rooms.primitives import Primitive

NEAR = 0.05  # metres; corners nearer than this (or behind) make a solid's rectangle the whole image


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: x right, y down, z forward.

    Attributes:
        position: (3,) metres.
        axes: (3, 3), rows are the camera's axes in the world.
        k: (3, 3) intrinsics for pixels that count from 0.
        size: (height, width) pixels.
    """

    position: np.ndarray
    axes: np.ndarray
    k: np.ndarray
    size: tuple[int, int]

    def rays(self) -> np.ndarray:
        """(H, W, 3) float32 world directions with depth 1."""
        v, u = np.mgrid[0 : self.size[0], 0 : self.size[1]]
        local = np.stack(
            [(u - self.k[0, 2]) / self.k[0, 0], (v - self.k[1, 2]) / self.k[1, 1], np.ones(u.shape)], axis=-1
        )
        return (local @ self.axes).astype(np.float32)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Column, row (from 0, not rounded) and depth of world points (N, 3)."""
        local = (points - self.position.astype(points.dtype)) @ self.axes.T.astype(points.dtype)
        z = local[:, 2]
        safe = np.where(np.abs(z) < 1e-6, np.float32(1e-6), z)
        u = local[:, 0] / safe * self.k[0, 0].astype(points.dtype) + self.k[0, 2].astype(points.dtype)
        v = local[:, 1] / safe * self.k[1, 1].astype(points.dtype) + self.k[1, 2].astype(points.dtype)
        return u, v, z


@dataclass(frozen=True)
class Solids:
    """Primitives as arrays.

    Attributes:
        parts: the primitives.
        center: (S, 3).
        inverse: (S, 3, 3), world to local.
        corners: (S, 8, 3).
    """

    parts: list[Primitive]
    center: np.ndarray
    inverse: np.ndarray
    corners: np.ndarray

    @classmethod
    def of(cls, parts: list[Primitive]) -> Solids:
        """Collect primitives."""
        axes = np.stack([part.axes for part in parts])
        corners = np.stack([part.corners() for part in parts])
        return cls(parts, np.stack([part.center for part in parts]), np.linalg.inv(axes), corners)


def look(position: np.ndarray, yaw: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    """(3, 3) camera axes: heading ``yaw`` from +x, ``pitch`` downward, ``roll`` clockwise, radians."""
    del position
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    return np.stack([c * right + s * down, c * down - s * right, forward])


def intrinsics(size: tuple[int, int], focal: float) -> np.ndarray:
    """(3, 3) with the principal point in the middle of the pixels, which count from 0."""
    height, width = size
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])


def render(solids: Solids, camera: Camera, rays: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Depth and the solid seen at every pixel.

    Returns:
        depth: (H, W) float32 metres along the optical axis, infinite where nothing is hit.
        which: (H, W) int32 row of ``solids``, -1 = nothing.
    """
    rays = camera.rays() if rays is None else rays
    height, width = camera.size
    depth = np.full((height, width), np.inf, np.float32)
    which = np.full((height, width), -1, np.int32)
    u, v, z = camera.project(solids.corners.reshape(-1, 3))
    u, v, z = u.reshape(-1, 8), v.reshape(-1, 8), z.reshape(-1, 8)
    near = (z < NEAR).any(axis=1)
    left = np.where(near, 0, np.floor(u.min(axis=1))).clip(0, width).astype(int)
    right = np.where(near, width, np.ceil(u.max(axis=1)) + 1).clip(0, width).astype(int)
    top = np.where(near, 0, np.floor(v.min(axis=1))).clip(0, height).astype(int)
    bottom = np.where(near, height, np.ceil(v.max(axis=1)) + 1).clip(0, height).astype(int)
    seen = (z.max(axis=1) > NEAR) & (left < right) & (top < bottom)
    start = np.einsum("sij,sj->si", solids.inverse, camera.position - solids.center).astype(np.float32)
    inverse = solids.inverse.astype(np.float32)
    for s in np.flatnonzero(seen)[np.argsort(z.min(axis=1)[seen])]:
        window = (slice(top[s], bottom[s]), slice(left[s], right[s]))
        if depth[window].max() < z[s].min():  # everything there is nearer
            continue
        hit = _hit(solids.parts[s].kind, start[s], rays[window] @ inverse[s].T)
        closer = hit < depth[window]
        depth[window][closer] = hit[closer]
        which[window][closer] = s
    return depth, which


def _hit(kind: str, start: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Depth at which rays enter a unit solid (infinite: they miss). A camera inside a solid sees through it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind == "box":
            low, high = _slab(start, direction, 3)
        elif kind == "cylinder":
            low, high = _slab(start[2:], direction[..., 2:], 1)
            low, high = _round(start[:2], direction[..., :2], low, high)
        else:
            low, high = _round(start, direction, np.float32(-np.inf), np.float32(np.inf))
    return np.where((low <= high) & (low > NEAR), low, np.float32(np.inf))


def _slab(start: np.ndarray, direction: np.ndarray, axes: int) -> tuple[np.ndarray, np.ndarray]:
    """Where rays are within [-1, 1] along each axis."""
    low = high = np.empty(0)
    for axis in range(axes):
        inverse = np.float32(1.0) / direction[..., axis]
        middle, half = -start[axis] * inverse, np.abs(inverse)
        enter, leave = middle - half, middle + half
        low = enter if axis == 0 else np.maximum(low, enter, out=low)
        high = leave if axis == 0 else np.minimum(high, leave, out=high)
    return low, high


def _round(start: np.ndarray, direction: np.ndarray, low: Any, high: Any) -> tuple[np.ndarray, np.ndarray]:
    """Where rays are within the unit circle or ball of the given coordinates, and within [low, high]."""
    a = np.einsum("...i,...i->...", direction, direction)
    b = direction @ start
    root = b * b - a * (start @ start - np.float32(1.0))
    size = np.sqrt(np.maximum(root, np.float32(0.0)))
    low = np.where(root < 0, np.float32(np.inf), np.maximum(low, (-b - size) / a))
    return low, np.minimum(high, (-b + size) / a)
