"""A single RGB-D frame in the manner of SUN RGB-D: holes, sensor noise, gravity tilt, amodal oriented boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation

from mm3d_benchmarks.datasets.readers.sunrgbd import CLASSES
from mm3d_benchmarks.datasets.readers.sunrgbd_frame import AXIS_SWAP
from mm3d_benchmarks.synthetic.rooms.knobs import Knobs
from mm3d_benchmarks.synthetic.rooms.labels import sunrgbd_name
from mm3d_benchmarks.synthetic.rooms.layout import KINDS
from mm3d_benchmarks.synthetic.rooms.placement import Room
from mm3d_benchmarks.synthetic.sensors.appearance import Looks, random_light, record, smooth_noise
from mm3d_benchmarks.synthetic.sensors.camera import Camera, Solids, look, render

SIZE = (265, 365)  # half of a Kinect v2 frame of the release
FOCAL = 529.5 / 730  # of the width
PREVIEW = 6  # candidate views are judged on an image this many times smaller
MIN_SHARE = 0.0012  # of the pixels, for an object to be annotated
UNBOXED = ("wall", "floor", "ceiling", "doorframe")


@dataclass(frozen=True)
class FrameBox:
    """One annotated object, in the frame's upright coordinates.

    Attributes:
        name: SUN RGB-D's class name.
        centroid: (3,) metres.
        half: (3,) half sizes along the rows of ``basis``: across, along the front, up.
        basis: (3, 3) unit rows.
        orientation: (3,) unit, where the front looks.
        rectangle: (4,) x y w h in pixels.
    """

    name: str
    centroid: np.ndarray
    half: np.ndarray
    basis: np.ndarray
    orientation: np.ndarray
    rectangle: np.ndarray


@dataclass(frozen=True)
class LabelledFrame:
    """What the sensor saw.

    Attributes:
        depth: (H, W) float64 metres, 0 = no return.
        clean: (H, W) float64 metres without noise and holes, 0 = nothing hit.
        image: (H, W, 3) uint8.
        k: (3, 3) intrinsics for pixels that count from 1.
        rtilt: (3, 3) gravity rotation.
        boxes: annotated objects.
        sensor: ``kv1`` or ``kv2``.
        scene_type: one word.
    """

    depth: np.ndarray
    clean: np.ndarray
    image: np.ndarray
    k: np.ndarray
    rtilt: np.ndarray
    boxes: list[FrameBox]
    sensor: str
    scene_type: str

    @property
    def extrinsics(self) -> np.ndarray:
        """(3, 3) the rotation of the extrinsics file."""
        return AXIS_SWAP.T @ self.rtilt @ AXIS_SWAP


def shoot(room: Room, knobs: Knobs, tour: np.random.Generator, sensor: np.random.Generator) -> LabelledFrame:
    """Choose a view with much in it and record it.

    Args:
        tour: stream of views and light.
        sensor: stream of noise and holes.
    """
    solids, looks = Solids.of(room.parts), Looks.of(room.parts)
    owner = np.array([part.owner for part in room.parts])
    views = [_view(room, tour) for _ in range(int(tour.integers(6, 11)))]
    scores = [_score(room, solids, owner, _camera(*view, SIZE[1] // PREVIEW)) for view in views]
    position, heading, pitch, roll = views[int(np.argmax(scores))]
    camera = _camera(position, heading, pitch, roll, SIZE[1])
    depth, which = render(solids, camera)
    depth = np.where(which < 0, 0, depth).astype(np.float64)
    image, paint, facing = _photograph(room, solids, looks, camera, depth, which, tour, sensor)
    kind = "kv2" if sensor.random() < 0.5 else "kv1"
    noisy = _measure(depth, which, paint, facing, looks.glass[which], kind, knobs.noise, sensor)
    upright = np.array([[np.sin(heading), -np.cos(heading), 0], [np.cos(heading), np.sin(heading), 0], [0, 0, 1.0]])
    rtilt = upright @ camera.axes.T @ AXIS_SWAP.T
    boxes = _annotate(room, owner, which, noisy, upright, position, heading)
    k = camera.k + np.array([[0, 0, 1.0], [0, 0, 1.0], [0, 0, 0]])  # the release counts pixels from 1
    return LabelledFrame(
        noisy, depth, image, k, rtilt, boxes, kind, KINDS[room.kind][3].split()[0].split("/")[0].lower()
    )


def _view(room: Room, random: np.random.Generator) -> tuple[np.ndarray, float, float, float]:
    """Position, heading, pitch and roll of a candidate."""
    half = room.size[:2] / 2
    place = random.uniform(-1, 1, 2) * np.maximum(half - 0.35, 0.1)
    aim = random.uniform(-0.5, 0.5, 2) * half
    heading = float(np.arctan2(*(aim - place)[::-1])) + random.normal(0, 0.2)
    position = np.array([*place, np.clip(random.normal(1.25, 0.2), 0.8, 1.8)])
    pitch, roll = np.radians(random.normal(12, 7)), np.radians(random.normal(0, 3))
    return position, heading, pitch, roll


def _camera(position: np.ndarray, heading: float, pitch: float, roll: float, width: int) -> Camera:
    size = (round(SIZE[0] * width / SIZE[1]), width)
    focal = FOCAL * width
    k = np.array([[focal, 0, width / 2 - 1], [0, focal, size[0] / 2 - 1], [0, 0, 1.0]])
    return Camera(position, look(position, heading, pitch, roll), k, size)


def _score(room: Room, solids: Solids, owner: np.ndarray, camera: Camera) -> float:
    """Number of objects in sight, those of the ten classes counted thrice; a wall before the lens counts against."""
    depth, which = render(solids, camera)
    seen, pixels = np.unique(owner[which[which >= 0]], return_counts=True)
    large = [room.objects[o].label for o, n in zip(seen, pixels, strict=True) if n > 2 * MIN_SHARE * which.size]
    count = sum(3.0 if sunrgbd_name(label) in CLASSES else 0.6 for label in large if label not in UNBOXED)
    return count - 8.0 * float((depth < 0.6).mean())


def _photograph(
    room: Room, solids: Solids, looks: Looks, camera: Camera, depth: np.ndarray, which: np.ndarray,
    tour: np.random.Generator, sensor: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Image (H, W, 3) uint8, mean reflectance (H, W) and cosine of incidence (H, W)."""
    rows = np.flatnonzero(which.ravel() >= 0)
    rays = camera.rays().reshape(-1, 3)[rows].astype(np.float64)
    points = camera.position + rays * depth.ravel()[rows, None]
    solid = which.ravel()[rows]
    unit = np.einsum("nij,nj->ni", solids.inverse[solid], points - solids.center[solid])
    normal = _normals(solids, unit, solid)
    length = np.stack([np.linalg.norm(part.axes, axis=0) for part in room.parts])
    paint = looks.paint(unit * length[solid], solid)
    light = random_light(tour, room.size, gain=1.05)
    image = np.full((which.size, 3), 20, np.uint8)
    image[rows] = record(paint, points, normal, light, sensor, 0.1, 5.0)
    reflectance, facing = np.ones(which.size), np.ones(which.size)
    reflectance[rows] = paint.mean(axis=1)
    facing[rows] = np.abs((normal * rays).sum(axis=1)) / np.linalg.norm(rays, axis=1)
    return image.reshape(*which.shape, 3), reflectance.reshape(which.shape), facing.reshape(which.shape)


def _normals(solids: Solids, unit: np.ndarray, solid: np.ndarray) -> np.ndarray:
    """(N, 3) world normals of points given in their solid's unit frame."""
    kinds = np.array([part.kind for part in solids.parts])[solid]
    local = unit.copy()
    axis = np.abs(unit).argmax(axis=1)
    face = np.zeros_like(unit)
    face[np.arange(len(unit)), axis] = np.sign(unit[np.arange(len(unit)), axis])
    cap = np.abs(unit[:, 2]) > 0.999
    local[kinds == "box"] = face[kinds == "box"]
    local[(kinds == "cylinder") & ~cap, 2] = 0
    local[(kinds == "cylinder") & cap, :2] = 0
    world = np.einsum("nji,nj->ni", solids.inverse[solid], local)
    return world / np.maximum(np.linalg.norm(world, axis=1, keepdims=True), 1e-9)


def _measure(
    depth: np.ndarray, which: np.ndarray, paint: np.ndarray, facing: np.ndarray, glass: np.ndarray,
    kind: str, strength: float, random: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Depth with noise, and holes: at edges, on dark and glass things, at flat angles, in far blotches, beyond 8 m."""
    pixel = np.stack(np.meshgrid(np.arange(depth.shape[0]), np.arange(depth.shape[1]), indexing="ij"), axis=-1).reshape(
        -1, 2
    )
    at = np.column_stack([pixel, np.zeros(len(pixel))])
    wave = smooth_noise(at, 14, random).reshape(depth.shape)
    noise = (0.75 * random.normal(size=depth.shape) + 0.65 * wave) * depth_deviation(depth, kind) * strength
    noisy = depth + noise
    chance, blotch = random.random(depth.shape), smooth_noise(at, 40, random).reshape(depth.shape)
    edge = np.zeros(depth.shape, bool)
    for axis in (0, 1):
        jump = np.abs(np.diff(depth, axis=axis)) > 0.06 + 0.03 * np.minimum(
            depth.take(range(depth.shape[axis] - 1), axis), 4
        )
        edge |= np.pad(jump, [(0, 1) if a == axis else (0, 0) for a in (0, 1)])
    lost = np.asarray(binary_dilation(edge, iterations=1), bool) & (chance < 0.8)
    lost |= glass & (which >= 0) & ((chance < 0.5) | (blotch > 0.3))
    lost |= (paint < 0.08) & ((chance < 0.35) | (blotch > 0.6))
    lost |= (facing < 0.2) & (chance < 0.6)
    lost |= (depth > 4.2) & (blotch > 2.2 - 0.35 * depth)
    lost |= (depth > 8) | (depth < 0.45) | (which < 0) | (blotch > 2.4)
    return np.where(lost, 0.0, noisy.round(3))


def depth_deviation(depth: np.ndarray, kind: str) -> np.ndarray:
    """Deviation of a sensor's depth, metres: fitted to the roughness of two real frames, from 1.5 to 6 m."""
    if kind == "kv2":
        return 0.0022 + 0.0018 * depth
    return 0.0009 + 0.0026 * depth + 0.0002 * depth**2


def _annotate(
    room: Room, owner: np.ndarray, which: np.ndarray, depth: np.ndarray,
    upright: np.ndarray, position: np.ndarray, heading: float,
) -> list[FrameBox]:  # fmt: skip
    """Amodal boxes of all objects that show enough pixels."""
    boxes = []
    seen = np.where((which >= 0) & (depth > 0), owner[which], -1)
    for number in np.unique(seen[seen >= 0]):
        thing = room.objects[number]
        rows, columns = np.nonzero(seen == number)
        if thing.label in UNBOXED or len(rows) < max(60, MIN_SHARE * which.size):
            continue
        turn = thing.yaw + np.pi / 2 - heading  # upright: the camera's heading becomes +y
        front = np.array([np.cos(turn), np.sin(turn), 0.0])
        across = np.array([-front[1], front[0], 0.0])
        rectangle = np.array([columns.min() + 1, rows.min() + 1, np.ptp(columns) + 1, np.ptp(rows) + 1], float)
        boxes.append(
            FrameBox(
                sunrgbd_name(thing.label),
                upright @ (thing.center - position),
                np.array([thing.size[1], thing.size[0], thing.size[2]]) / 2,
                np.stack([across, -front, [0.0, 0, 1]]),
                front,
                rectangle,
            )
        )
    return boxes
