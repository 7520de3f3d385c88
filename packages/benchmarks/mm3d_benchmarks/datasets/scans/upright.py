"""Turning scans upright: which axis of the file points up, a matrix of the user's, or the floor found in the points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mm3d_core.errors import UserError

# Rows of the rotation that makes the named axis +z; right-handed, and the nearest to doing nothing.
AXES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "z": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "-z": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "y": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "-y": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "x": ((0, 0, -1), (0, 1, 0), (1, 0, 0)),
    "-x": ((0, 0, 1), (0, 1, 0), (-1, 0, 0)),
}
AUTO = "auto"
SAMPLE = 20_000  # points that the floor is sought in
TRIALS = 400  # planes tried
THICK = 0.005  # half thickness of a plane, as a share of the scan's size
LEVEL = 0.97  # cosine of the angle within which planes count as parallel


@dataclass(frozen=True)
class Turn:
    """From the file's frame to z up.

    Attributes:
        linear: (3, 3) rotation, of a matrix perhaps with a scale.
        shift: (3,) added after it, in the file's units.
        remark: what was found and how sure it is; empty where the user said it.
    """

    linear: np.ndarray
    shift: np.ndarray
    remark: str = ""


def parse_up(up: str | float) -> str | np.ndarray:
    """``z -z y -y x -x``, ``auto``, or a (4, 4) matrix of 16 numbers, row by row.

    Raises:
        UserError: none of these, or a matrix that does more than turn, scale evenly and shift.
    """
    text = str(up).strip().lower().removeprefix("+")
    if text in AXES or text == AUTO:
        return text
    words = text.replace(",", " ").replace("[", " ").replace("]", " ").replace(";", " ").split()
    try:
        matrix = np.array([float(word) for word in words])
    except ValueError:
        matrix = np.zeros(0)
    if matrix.size != 16:
        raise UserError(f"up={up}: is one of {', '.join(AXES)}, auto, or the 16 numbers of a 4 x 4 matrix")
    matrix = matrix.reshape(4, 4)
    turn = matrix[:3, :3]
    scale = np.cbrt(np.linalg.det(turn)) if np.isfinite(matrix).all() else 0.0
    if (
        not scale > 0
        or np.abs(turn @ turn.T / scale**2 - np.eye(3)).max() > 0.01
        or np.abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-6
    ):
        raise UserError(f"up={up}: the matrix must turn, scale evenly and shift only, its last row 0 0 0 1")
    return matrix


def turn_of(up: str | np.ndarray, coord: np.ndarray) -> Turn:
    """The turn that was asked for; ``auto`` looks at (N, 3) points."""
    if isinstance(up, np.ndarray):
        return Turn(up[:3, :3], up[:3, 3])
    if up == AUTO:
        return find_floor(coord)
    return Turn(np.array(AXES[up], np.float64), np.zeros(3))


def find_floor(coord: np.ndarray) -> Turn:
    """Turn the floor down: the direction in which most of the scan lies in parallel planes, most of them low.

    A room has more surface parallel to its floor (floor, ceiling, table tops, seats) than to any one wall, and more
    things near its floor than near its ceiling. The remark gives the share of the points in such planes, the next
    best direction's, and how clearly the low side was told from the high one.
    """
    random = np.random.default_rng(0)
    points = coord[np.isfinite(coord).all(axis=1)].astype(np.float64)
    points = _evened(points[random.permutation(len(points))[: 4 * SAMPLE]])[:SAMPLE]
    if len(points) < 50:
        return Turn(np.eye(3), np.zeros(3), f"up=auto: {len(points)} points are too few to find a floor; left as it is")
    points = points - np.median(points, axis=0)
    size = float(np.quantile(np.linalg.norm(points, axis=1), 0.95)) or 1.0
    directions, shares = _plane_directions(points, THICK * 2 * size, random)
    best = directions[0]
    other = next((share for way, share in zip(directions, shares, strict=True) if abs(way @ best) < LEVEL), 0.0)
    up, side = _low_side(points @ best, THICK * 4 * size)
    best = best * up
    sure = (
        "sure"
        if shares[0] > 1.3 * other and side > 0.1
        else "not sure: check with mm3d view, and set up= if it is wrong"
    )
    axis = max(AXES, key=lambda name: float(np.array(AXES[name][2]) @ best))
    angle = float(np.degrees(np.arccos(min(1.0, float(np.array(AXES[axis][2]) @ best)))))
    remark = (
        f"up=auto: {axis} is up, tilted by {angle:.1f} degrees ({100 * shares[0]:.0f} % of the points in level planes, "
        f"{100 * other:.0f} % in the next direction; {sure})"
    )
    return Turn(_rotation_to(best, np.array(AXES[axis], np.float64)), np.zeros(3), remark)


def _evened(points: np.ndarray) -> np.ndarray:
    """One point of each cell of a grid of 100 cells: scanners see what is near them more densely."""
    if not len(points):
        return points
    size = float(np.ptp(np.quantile(points, [0.01, 0.99], axis=0), axis=0).max()) or 1.0
    return points[np.sort(np.unique(np.floor(points / size * 100), axis=0, return_index=True)[1])]


def _plane_directions(
    points: np.ndarray, thick: float, random: np.random.Generator
) -> tuple[list[np.ndarray], list[float]]:
    """Normals of planes through three near points, best first, and the share of points in planes of that direction."""
    from scipy.spatial import KDTree

    centers = random.permutation(len(points))[:TRIALS]
    near = KDTree(points).query(points[centers], k=min(24, len(points)))[1]
    spread = points[near] - points[near].mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(spread.transpose(0, 2, 1) @ spread)
    normals = vectors[values[:, 0] < 0.05 * values[:, 1] + 1e-12, :, 0]
    if not len(normals):
        normals = np.eye(3)
    clusters: list[np.ndarray] = []
    for normal in normals:
        alike = normals @ normal
        members = normals[np.abs(alike) > LEVEL] * np.sign(alike[np.abs(alike) > LEVEL])[:, None]
        if all(abs(normal @ known) < LEVEL for known in clusters):
            mean = members.mean(axis=0)
            clusters.append(mean / np.linalg.norm(mean))
    scores = [_in_planes(points @ way, thick) for way in clusters]
    order = sorted(range(len(clusters)), key=lambda i: -scores[i])
    return [clusters[i] for i in order], [scores[i] for i in order]


def _in_planes(height: np.ndarray, thick: float) -> float:
    """Share of points in layers that hold many times what an even spread would put there."""
    bins = max(8, int(np.ptp(np.quantile(height, [0.005, 0.995])) / thick) + 1)
    counts, _ = np.histogram(height, bins=bins, range=tuple(np.quantile(height, [0.005, 0.995])))
    full = counts > 3 * len(height) / bins
    return float(counts[full].sum() / len(height))


def _low_side(height: np.ndarray, thick: float) -> tuple[int, float]:
    """Whether low is down (+1) or up (-1): nothing lies below a floor, furniture stands on it; and how clear it is."""
    low, high = np.quantile(height, [0.005, 0.995])
    inner = height[(height > low + thick) & (height < high - thick)]
    floor = float((height < low + thick).mean())
    ceiling = float((height > high - thick).mean())
    middle = float(np.clip((np.median(inner) - low) / max(high - low, 1e-9), 0, 1)) if len(inner) else 0.5
    lean = (floor - ceiling) / max(floor + ceiling, 1e-9) + (1 - 2 * middle)
    return (1 if lean >= 0 else -1), abs(lean)


def _rotation_to(up: np.ndarray, base: np.ndarray) -> np.ndarray:
    """The rotation that takes ``up`` to +z and stays nearest to ``base``, whose last row is nearly ``up``."""
    start = base[2]
    axis, cosine = np.cross(start, up), float(start @ up)
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    tilt = np.eye(3) + skew + skew @ skew / (1 + cosine)  # takes start to up
    return base @ tilt.T
