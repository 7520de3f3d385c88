"""A tripod scan in the manner of S3DIS: a few stations that see all around them, ceilings too, with little noise."""

from __future__ import annotations

import numpy as np

from mm3d_benchmarks.synthetic.rooms.knobs import Knobs
from mm3d_benchmarks.synthetic.rooms.layout import KINDS
from mm3d_benchmarks.synthetic.rooms.placement import Room
from mm3d_benchmarks.synthetic.sensors.appearance import Looks, random_light, record, smooth_noise
from mm3d_benchmarks.synthetic.sensors.camera import Camera, Solids, intrinsics
from mm3d_benchmarks.synthetic.sensors.handheld import merge_structure
from mm3d_benchmarks.synthetic.sensors.scan import LabelledScan
from mm3d_benchmarks.synthetic.sensors.surface import count_views, sample_surface

FACE = 192  # pixels of a cube face
FULL_DENSITY = 2.5  # metres; farther points thin out with the square of the distance
CUBE = [
    np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]]),
    np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]]),
    np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]),
    np.array([[-1, 0, 0], [0, 0, -1], [0, -1, 0]]),
    np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    np.array([[0, -1, 0], [-1, 0, 0], [0, 0, -1]]),
]


def scan_room(
    room: Room, spacing: float, knobs: Knobs, tour: np.random.Generator, sensor: np.random.Generator
) -> LabelledScan:
    """Scan a room from one station per 9 square metres (1 to 6).

    Args:
        spacing: metres between neighboring points near a station.
        tour: stream of stations and light.
        sensor: stream of noise and dropout.
    """
    surface = sample_surface(room, spacing)
    solids, looks = Solids.of(room.parts), Looks.of(room.parts)
    seen, distance = count_views(surface, solids, _stations(room, tour), 0.1, 20.0, 0.04)
    share = np.minimum(1, (FULL_DENSITY / np.maximum(distance, 0.1)) ** 2)
    keep = (seen > 0) & (sensor.random(len(seen)) < share)
    keep &= ~looks.glass[surface.solid] | (sensor.random(len(seen)) < 0.75)
    coord, normal = surface.coord[keep], surface.normal[keep]
    light = random_light(tour, room.size, gain=1.15)
    paint = looks.paint(surface.local[keep], surface.solid[keep])
    color = record(paint, coord, normal, light, sensor, 0.12, 7.0)
    white = sensor.normal(0, 0.003, coord.shape) + sensor.uniform(-spacing / 2, spacing / 2, coord.shape) * (
        1 - np.abs(normal)
    )
    noise = knobs.noise * (white + 0.002 * smooth_noise(coord, 1.5, sensor)[:, None] * normal)
    owner = np.array([part.owner for part in room.parts])[surface.solid[keep]]
    labels, owner = merge_structure([o.label for o in room.objects], owner)
    return LabelledScan(
        (coord + noise).astype(np.float32), color, surface.patch[keep], owner, labels,
        np.zeros((0, 3), np.int32), np.eye(4), KINDS[room.kind][3],
    )  # fmt: skip


def _stations(room: Room, random: np.random.Generator) -> list[Camera]:
    """Six cube faces per station, stations spread over the room."""
    count = int(np.clip(np.ceil(room.size[0] * room.size[1] / 9), 1, 6))
    k = intrinsics((FACE, FACE), FACE / 2)
    cameras = []
    along = int(np.argmax(room.size[:2]))
    for station in range(count):
        place = random.normal(0, 0.12, 2) * room.size[:2]
        place[along] = ((station + 0.5) / count - 0.5) * room.size[along] * 0.85 + random.normal(0, 0.2)
        place = np.clip(place, -room.size[:2] / 2 + 0.4, room.size[:2] / 2 - 0.4)
        position = np.array([*place, 1.5])
        cameras += [Camera(position, axes.astype(float), k, (FACE, FACE)) for axes in CUBE]
    return cameras
