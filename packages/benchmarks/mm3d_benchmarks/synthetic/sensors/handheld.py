"""A hand-held scan in the manner of ScanNet: a tour of views, holes, warped and bumpy surfaces, its own raw frame."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from mm3d_benchmarks.synthetic.rooms.knobs import Knobs
from mm3d_benchmarks.synthetic.rooms.layout import KINDS
from mm3d_benchmarks.synthetic.rooms.placement import Room
from mm3d_benchmarks.synthetic.rooms.primitives import rotation
from mm3d_benchmarks.synthetic.sensors.appearance import Looks, random_light, record, smooth_noise
from mm3d_benchmarks.synthetic.sensors.camera import Camera, Solids, intrinsics, look
from mm3d_benchmarks.synthetic.sensors.scan import LabelledScan
from mm3d_benchmarks.synthetic.sensors.surface import Surface, count_views, sample_surface

IMAGE = (120, 160)
FIELD_OF_VIEW = 58.0  # degrees across, a depth camera's
GLASS_RETURNS, DARK_RETURNS = 0.6, 0.65
LONELY = (8, 1.75)  # a vertex whose 8th neighbor is this much farther than usual is dropped
DARK = 0.075  # reflectance below which rays get lost
PITCH = 21.8, 20.0  # degrees downward, mean and deviation; hand-held cameras look at things, not at walls
CLOSE = 12.0, 11.0  # in rooms of less than so many square metres one looks down by up to so many degrees more


def scan_room(
    room: Room, spacing: float, knobs: Knobs, tour: np.random.Generator, sensor: np.random.Generator
) -> LabelledScan:
    """Scan a room once.

    Args:
        spacing: metres between neighboring vertices.
        tour: stream of poses and light.
        sensor: stream of noise, dropout and labels.
    """
    surface = sample_surface(room, spacing)
    solids, looks = Solids.of(room.parts), Looks.of(room.parts)
    cameras = tour_of(room, knobs, tour)
    seen, _ = count_views(surface, solids, cameras, 0.3, float(tour.uniform(3.4, 4.7)), 0.07)
    paint = looks.paint(surface.local, surface.solid)
    keep = _returned(surface, seen, paint, looks.glass[surface.solid], sensor)
    coord, normal = surface.coord[keep], surface.normal[keep]
    light = random_light(tour, room.size)
    color = record(paint[keep], coord, normal, light, sensor, 0.22, 13.0)
    bent = coord + geometric_noise(coord, normal, knobs.noise * sensor.uniform(0.5, 1.5), sensor)
    owner = np.array([part.owner for part in room.parts])[surface.solid[keep]]
    unlabelled = sensor.random(len(room.objects)) < knobs.unlabelled
    unlabelled[[i for i, o in enumerate(room.objects) if o.label in ("wall", "floor", "ceiling")]] = False
    labels = [o.label for o in room.objects]
    labels, owner = merge_structure(labels, np.where(unlabelled[owner], -1, owner))
    raw, alignment = raw_frame(bent, sensor)
    return LabelledScan(
        raw.astype(np.float32),
        color,
        surface.patch[keep],
        owner,
        labels,
        surface.triangles(keep),
        alignment,
        KINDS[room.kind][3],
    )


def tour_of(room: Room, knobs: Knobs, random: np.random.Generator) -> list[Camera]:
    """Poses on an ellipse, looking outward or inward, around all or most of the room."""
    area = room.size[0] * room.size[1]
    count = round(float(np.clip(28 + 2.4 * area, 36, 100)) * knobs.tour)
    covered = random.uniform(0.8, 1.0) * 2 * np.pi
    start = random.uniform(0, 2 * np.pi)
    reach = room.size[:2] / 2 * random.uniform(0.3, 0.65)
    k = intrinsics(IMAGE, IMAGE[1] / 2 / np.tan(np.radians(FIELD_OF_VIEW / 2)))
    cameras = []
    mean = PITCH[0] + CLOSE[1] * max(0.0, 1 - area / CLOSE[0])
    for step in np.linspace(0, 1, count):
        angle = start + covered * step + random.normal(0, 0.1)
        place = reach * np.array([np.cos(angle), np.sin(angle)]) + random.normal(0, 0.15, 2)
        place = np.clip(place, -room.size[:2] / 2 + 0.35, room.size[:2] / 2 - 0.35)
        heading = angle + random.normal(0, 0.55) + (np.pi if random.random() < 0.45 else 0.0)
        position = np.array([*place, random.normal(1.5, 0.12)])
        pitch = np.radians(np.clip(random.normal(mean, PITCH[1]), -17, 65))
        cameras.append(Camera(position, look(position, heading, pitch, random.normal(0, 0.05)), k, IMAGE))
    return cameras


def geometric_noise(coord: np.ndarray, normal: np.ndarray, strength: float, random: np.random.Generator) -> np.ndarray:
    """(N, 3) displacement: a slow warp of the whole scan, bumps along the normal at two scales, white noise."""
    warp = np.stack([smooth_noise(coord, 2.0, random) for _ in range(3)], axis=1) * [0.018, 0.018, 0.007]
    bumps = 0.0092 * smooth_noise(coord, 0.33, random) + 0.0086 * smooth_noise(coord, 0.12, random, 14)
    white = random.normal(0, 0.0046, coord.shape)
    return strength * (warp + bumps[:, None] * normal + white)


def merge_structure(labels: list[str], owner: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Floors become one object and ceilings another, as annotators make them; walls stay apart."""
    target = np.arange(len(labels) + 1)  # the last entry serves owner -1
    for kind in ("floor", "ceiling"):
        rows = [i for i, label in enumerate(labels) if label == kind]
        target[rows] = rows[0] if rows else 0
    target[-1] = -1
    return labels, target[owner]


def raw_frame(coord: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The scan in a sensor's frame (any yaw, minimum corner at the origin), and the alignment that undoes it."""
    turn = rotation(random.uniform(-np.pi, np.pi))
    low = (coord @ turn).min(axis=0)
    alignment = np.eye(4)
    alignment[:3, :3], alignment[:3, 3] = turn, turn @ low
    alignment = alignment.round(6)
    return (coord - alignment[:3, 3]) @ np.linalg.inv(alignment[:3, :3]).T, alignment


def _returned(
    surface: Surface, seen: np.ndarray, paint: np.ndarray, glass: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """(N,) bool: measured often enough, and not lost on glass, dark stuff or in rarely seen regions."""
    chance = random.random(len(seen))
    dropout = 2 + 1.7 * np.maximum(0, smooth_noise(surface.coord, 0.9, random))
    keep = (seen >= 2) & (seen >= dropout)
    keep &= ~glass | (chance < GLASS_RETURNS)
    dark = (paint.mean(axis=1) < DARK) & (smooth_noise(surface.coord, 0.15, random) > 0.4)
    return _supported(surface.coord, keep & ~(dark & (chance > 1 - DARK_RETURNS)))


def _supported(coord: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """The kept vertices less the lonely ones, as meshing leaves out stray measurements."""
    rows = np.flatnonzero(keep)
    distance, _ = KDTree(coord[rows]).query(coord[rows], LONELY[0] + 1)
    typical = np.median(distance[:, -1])
    keep[rows[distance[:, -1] > LONELY[1] * typical]] = False
    return keep
