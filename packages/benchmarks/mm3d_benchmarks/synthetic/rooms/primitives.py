"""The building blocks of synthetic scenes: boxes, cylinders and ellipsoids, placed by any affine map."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

KINDS = ("box", "cylinder", "ellipsoid")


@dataclass(frozen=True)
class Material:
    """How a surface looks and returns rays.

    Attributes:
        albedo: (r, g, b) in [0, 1].
        texture: name of a pattern of ``appearance``.
        second: (r, g, b) of the pattern's other color.
        scale: metres per repeat of the pattern.
        glass: whether the sensor often sees through it.
    """

    albedo: tuple[float, float, float] = (0.7, 0.7, 0.7)
    texture: str = "plain"
    second: tuple[float, float, float] = (0.4, 0.4, 0.4)
    scale: float = 0.3
    glass: bool = False


@dataclass(frozen=True)
class Primitive:
    """One solid: the image of the unit box, cylinder (along its third axis) or ball under ``center + axes @ local``.

    Attributes:
        kind: one of :data:`KINDS`.
        center: (3,) metres.
        axes: (3, 3), columns are the half extents along the local axes.
        owner: row of the scene's objects.
        material: look.
    """

    kind: str
    center: np.ndarray
    axes: np.ndarray
    owner: int = -1
    material: Material = field(default_factory=Material)

    def corners(self) -> np.ndarray:
        """(8, 3) corners of the bounding parallelepiped."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
        return self.center + signs @ self.axes.T


@dataclass(frozen=True)
class Patch:
    """A grid of points on one face of a primitive.

    Attributes:
        coord: (U, V, 3) metres.
        normal: (U, V, 3) unit outward normals.
        local: (U, V, 3) the points before placement, in metres along the primitive's own axes (for textures).
        closed: whether the grid's first direction returns to its start (the mantle of a cylinder).
    """

    coord: np.ndarray
    normal: np.ndarray
    local: np.ndarray
    closed: bool = False


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """(3, 3): roll about x, then pitch about y (positive tips +x down), then yaw about z, in radians."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return about_z @ about_y @ about_x


def solid(
    kind: str,
    center: tuple[float, float, float],
    size: tuple[float, float, float],
    material: Material,
    yaw: float = 0.0,
    pitch: float = 0.0,
    roll: float = 0.0,
) -> Primitive:
    """A solid of full ``size`` before it is turned (see :func:`rotation`) about its center."""
    axes = rotation(yaw, pitch, roll) * (np.asarray(size, float) / 2)
    return Primitive(kind, np.asarray(center, float), axes, material=material)


def moved(part: Primitive, yaw: float, shift: np.ndarray, owner: int) -> Primitive:
    """A part turned about the vertical through the origin, then shifted, and given to an object."""
    turn = rotation(yaw)
    return replace(part, center=turn @ part.center + shift, axes=turn @ part.axes, owner=owner)


def extent(parts: list[Primitive]) -> tuple[np.ndarray, np.ndarray]:
    """Low and high corner of the axis-aligned hull of solids (exact for every kind)."""
    low, high = [], []
    for part in parts:
        if part.kind == "box":
            reach = np.abs(part.axes).sum(axis=1)
        elif part.kind == "ellipsoid":
            reach = np.linalg.norm(part.axes, axis=1)
        else:
            reach = np.linalg.norm(part.axes[:, :2], axis=1) + np.abs(part.axes[:, 2])
        low.append(part.center - reach)
        high.append(part.center + reach)
    return np.min(low, axis=0), np.max(high, axis=0)


def patches(part: Primitive, spacing: float) -> list[Patch]:
    """Cell-centered grids of about ``spacing`` metres over the whole surface."""
    half = np.linalg.norm(part.axes, axis=0)
    if part.kind == "box":
        grids = [_box_face(axis, sign, half, spacing) for axis in range(3) for sign in (-1.0, 1.0)]
    elif part.kind == "cylinder":
        grids = [_mantle(half, spacing), *(_disc(sign, half, spacing) for sign in (-1.0, 1.0))]
    else:
        grids = [_ball_face(axis, sign, half, spacing) for axis in range(3) for sign in (-1.0, 1.0)]
    inverse = np.linalg.inv(part.axes)
    result = []
    for local, normal, closed in grids:
        world = normal @ inverse  # rows times inverse = inverse transpose times columns
        world /= np.linalg.norm(world, axis=-1, keepdims=True)
        result.append(Patch(part.center + local @ part.axes.T, world, local * half, closed))
    return result


def _centers(length: float, spacing: float) -> np.ndarray:
    """Cell centers in (-1, 1) for an edge of full ``length`` metres."""
    count = max(1, int(np.ceil(length / spacing - 1e-6)))
    return (np.arange(count) + 0.5) / count * 2 - 1


def _box_face(axis: int, sign: float, half: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray, bool]:
    first, second = [a for a in range(3) if a != axis]
    u, v = np.meshgrid(_centers(2 * half[first], spacing), _centers(2 * half[second], spacing), indexing="ij")
    local = np.zeros((*u.shape, 3))
    local[..., axis], local[..., first], local[..., second] = sign, u, v
    normal = np.zeros_like(local)
    normal[..., axis] = sign
    return local, normal, False


def _mantle(half: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray, bool]:
    around = max(6, int(np.ceil(np.pi * (half[0] + half[1]) / spacing)))
    angle, height = np.meshgrid(np.arange(around) * 2 * np.pi / around, _centers(2 * half[2], spacing), indexing="ij")
    local = np.stack([np.cos(angle), np.sin(angle), height], axis=-1)
    normal = local * [1, 1, 0]
    return local, normal, True


def _disc(sign: float, half: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray, bool]:
    """A square grid bent into a disc (Shirley and Chiu's map by concentric squares)."""
    u, v = np.meshgrid(_centers(2 * half[0], spacing * 1.1), _centers(2 * half[1], spacing * 1.1), indexing="ij")
    radius = np.maximum(np.abs(u), np.abs(v))
    length = np.hypot(u, v)
    scale = np.divide(radius, length, out=np.zeros_like(u), where=length > 0)
    local = np.stack([u * scale, v * scale, np.full_like(u, sign)], axis=-1)
    normal = np.zeros_like(local)
    normal[..., 2] = sign
    return local, normal, False


def _ball_face(axis: int, sign: float, half: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray, bool]:
    """One of six faces of a cube blown up to the ball."""
    first, second = [a for a in range(3) if a != axis]
    u, v = np.meshgrid(
        np.tan(_centers(1.6 * half[first], spacing) * np.pi / 4),
        np.tan(_centers(1.6 * half[second], spacing) * np.pi / 4),
        indexing="ij",
    )
    local = np.zeros((*u.shape, 3))
    local[..., axis], local[..., first], local[..., second] = sign, u, v
    local /= np.linalg.norm(local, axis=-1, keepdims=True)
    return local, local.copy(), False
