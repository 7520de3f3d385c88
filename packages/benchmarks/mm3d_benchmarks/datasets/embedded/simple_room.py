"""A small box room with box furniture, seen from everywhere: the smallest thing that has every class."""

from __future__ import annotations

import numpy as np

from mm3d_benchmarks.datasets.embedded.primitives import Material, Primitive, box, patches
from mm3d_benchmarks.datasets.embedded.scan import LabelledScan

# label -> parts as (center relative to the footprint's center on the floor, full size), metres
FURNITURE: dict[str, list[tuple[tuple[float, float, float], tuple[float, float, float]]]] = {
    "bed": [((0, 0, 0.25), (2.0, 1.5, 0.5)), ((-0.95, 0, 0.5), (0.08, 1.5, 1.0)), ((-0.7, 0, 0.56), (0.4, 1.1, 0.12))],
    "office chair": [
        ((0, 0, 0.45), (0.45, 0.45, 0.06)),
        ((-0.2, 0, 0.72), (0.06, 0.42, 0.5)),
        ((0, 0, 0.22), (0.08, 0.08, 0.42)),
    ],
    "couch": [
        ((0, 0, 0.22), (0.85, 1.9, 0.42)),
        ((-0.35, 0, 0.6), (0.2, 1.9, 0.45)),
        ((0, 0.9, 0.4), (0.85, 0.15, 0.6)),
    ],
    "table": [
        ((0, 0, 0.72), (0.8, 1.4, 0.05)),
        *[((x, y, 0.35), (0.06, 0.06, 0.7)) for x in (-0.35, 0.35) for y in (-0.6, 0.6)],
    ],
    "desk": [((0, 0, 0.73), (0.7, 1.4, 0.04)), ((0, 0.6, 0.36), (0.6, 0.1, 0.7)), ((0, -0.6, 0.36), (0.6, 0.1, 0.7))],
    "kitchen cabinet": [((0, 0, 0.43), (0.6, 1.1, 0.86))],
    "bookshelf": [
        ((0, 0, 1.0), (0.03, 1.0, 2.0)),
        *[((0.15, 0, z), (0.3, 1.0, 0.04)) for z in (0.05, 0.5, 0.95, 1.4, 1.95)],
    ],
    "kitchen counter": [((0, 0, 0.9), (0.65, 1.8, 0.06)), ((0, 0, 0.43), (0.5, 1.7, 0.86))],
    "refrigerator": [((0, 0, 0.85), (0.65, 0.65, 1.7))],
    "toilet": [((0, 0, 0.2), (0.5, 0.36, 0.4)), ((-0.25, 0, 0.55), (0.18, 0.4, 0.4))],
    "sink": [((0, 0, 0.8), (0.45, 0.5, 0.16)), ((0, 0, 0.36), (0.14, 0.14, 0.72))],
    "bathtub": [((0, 0, 0.25), (0.75, 1.6, 0.5))],
    "curtain": [((0, 0, 1.2), (0.1, 1.2, 2.2))],
    "shower curtain": [((0, 0, 1.1), (0.08, 1.0, 1.8))],
    "trash can": [((0, 0, 0.2), (0.3, 0.3, 0.4))],
    "beam": [((0, 0, 2.4), (0.3, 2.4, 0.25))],
    "column": [((0, 0, 1.3), (0.35, 0.35, 2.6))],
}
ON_WALLS = {
    "door": (0.9, 2.0, 1.0),
    "window": (1.3, 1.2, 1.5),
    "picture": (0.6, 0.5, 1.5),
    "whiteboard": (1.6, 1.1, 1.5),
}
HEIGHT = 2.6


def simple_scan(rng: np.random.Generator, spacing: float, ceiling: bool, kinds: list[str], moved: bool) -> LabelledScan:
    """Sample a room that holds ``kinds`` of :data:`FURNITURE` on a grid of places, and something on each wall.

    Args:
        moved: turn and shift the scan, and write the inverse as its alignment (a hand-held sensor).
    """
    columns = int(np.ceil(np.sqrt(len(kinds))))
    width, depth = (2.3 * columns + rng.uniform(0.2, 0.8, 2)).tolist()
    labels, solids = _shell(rng, width, depth, ceiling)
    for place, kind in enumerate(rng.permutation(kinds).tolist()):
        x, y = (np.array(divmod(place, columns)) + 0.5) * 2.3 - np.array([width, depth]) / 2 + rng.uniform(0.0, 0.2, 2)
        albedo = tuple(rng.uniform(0.15, 0.9, 3).tolist())
        yaw = float(rng.choice([0, 1, 2, 3]) * np.pi / 2)
        turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        for center, size in FURNITURE[kind]:
            cx, cy = turn @ center[:2] + [x, y]
            solids.append(box((cx, cy, center[2]), size, yaw, owner=len(labels), material=Material(albedo)))
        labels.append(kind)
    return _sample(rng, labels, solids, spacing, moved)


def _shell(rng: np.random.Generator, width: float, depth: float, ceiling: bool) -> tuple[list[str], list[Primitive]]:
    """Floor, walls, perhaps a ceiling, and one thing on each wall."""
    wall = Material(tuple(rng.uniform(0.6, 0.9, 3).tolist()))
    labels = ["floor", "wall", "wall", "wall", "wall"]
    solids = [
        box((0, 0, -0.05), (width, depth, 0.1), owner=0, material=Material(tuple(rng.uniform(0.3, 0.6, 3).tolist())))
    ]
    for side in range(4):
        yaw = side * np.pi / 2
        distance, length = (width / 2, depth) if side % 2 == 0 else (depth / 2, width)
        out = np.array([np.cos(yaw), np.sin(yaw)])
        x, y = out * (distance + 0.05)
        solids.append(box((x, y, HEIGHT / 2), (0.1, length, HEIGHT), yaw, owner=1 + side, material=wall))
        kind = list(ON_WALLS)[side]
        wide, high, z = ON_WALLS[kind]
        x, y = out * (distance - 0.01) + np.array([-out[1], out[0]]) * rng.uniform(-0.3, 0.3)
        material = Material(tuple(rng.uniform(0.2, 0.9, 3).tolist()))
        solids.append(box((x, y, z), (0.04, wide, high), yaw, owner=len(labels), material=material))
        labels.append(kind)
    if ceiling:
        solids.append(
            box((0, 0, HEIGHT + 0.05), (width, depth, 0.1), owner=len(labels), material=Material((0.9, 0.9, 0.9)))
        )
        labels.append("ceiling")
    return labels, solids


def _sample(
    rng: np.random.Generator, labels: list[str], solids: list[Primitive], spacing: float, moved: bool
) -> LabelledScan:
    """Grid points on every face that looks into the room, with noise, colors and triangles."""
    coord, color, patch, owner, faces, count, number = [], [], [], [], [], 0, 0
    for solid in solids:
        for grid in patches(solid, spacing):
            outward = (grid.normal[0, 0, :2] * solid.center[:2]).sum() > 0 and labels[solid.owner] == "wall"
            if outward or (grid.normal[0, 0, 2] < -0.5 and labels[solid.owner] not in ("ceiling", "table", "desk")):
                continue
            rows, columns = grid.coord.shape[:2]
            index = count + np.arange(rows * columns).reshape(rows, columns)
            a, b, c, d = index[:-1, :-1].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel(), index[:-1, 1:].ravel()
            faces += [np.stack([a, b, c], 1), np.stack([a, c, d], 1)]
            points = grid.coord.reshape(-1, 3) + rng.normal(0, 0.006, (rows * columns, 3))
            light = 0.75 + 0.25 * grid.normal[0, 0] @ [0.3, 0.2, 0.93]
            shade = np.asarray(solid.material.albedo) * light + rng.normal(0, 0.05, (rows * columns, 3))
            coord.append(points)
            color.append((shade * 255).clip(0, 255).astype(np.uint8))
            patch.append(np.full(rows * columns, number))
            owner.append(np.full(rows * columns, solid.owner))
            count += rows * columns
            number += 1
    aligned = np.concatenate(coord)
    alignment = np.eye(4)
    if moved:
        angle = rng.uniform(-np.pi, np.pi)
        alignment[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        raw = aligned @ alignment[:3, :3]
        low = raw.min(axis=0)
        alignment[:3, 3] = alignment[:3, :3] @ low
        alignment = alignment.round(6)
        aligned = raw - low
    return LabelledScan(
        aligned.astype(np.float32),
        np.concatenate(color),
        np.concatenate(patch),
        np.concatenate(owner),
        labels,
        np.concatenate(faces).astype(np.int32),
        alignment,
        "Office",
    )
