"""Rooms and cameras: things stay inside and apart, depth is exact, sensors add what they say."""

from __future__ import annotations

import numpy as np
import pytest

from mm3d_benchmarks.datasets.readers.sunrgbd_frame import points_of_frame
from mm3d_benchmarks.synthetic.generate import make_room
from mm3d_benchmarks.synthetic.rooms.knobs import Knobs
from mm3d_benchmarks.synthetic.rooms.layout import KINDS
from mm3d_benchmarks.synthetic.rooms.placement import Room
from mm3d_benchmarks.synthetic.rooms.primitives import Material, extent, patches, rotation, solid
from mm3d_benchmarks.synthetic.rooms.shell import Style
from mm3d_benchmarks.synthetic.sensors.camera import Camera, Solids, intrinsics, look, render
from mm3d_benchmarks.synthetic.sensors.handheld import raw_frame
from mm3d_benchmarks.synthetic.sensors.singleframe import shoot
from tools.calibration.acceptance import scan

SHELL = ("wall", "floor", "ceiling", "door", "doorframe", "window", "beam")


def room(kind: str, place: int = 0) -> Room:
    return make_room("scannet", 0, place, 0, kind, Style(), Knobs())[0]


def camera() -> Camera:
    size = (60, 80)
    return Camera(np.array([0.0, 0, 1.0]), look(np.zeros(3), 0.0, 0.0), intrinsics(size, 70.0), size)


@pytest.mark.parametrize(
    ("kind", "near"),
    [("box", 1.5), ("cylinder", 1.5), ("ellipsoid", 1.5)],
)
def test_depth_of_a_solid_ahead_is_exact(kind: str, near: float) -> None:
    target = solid(kind, (2.0, 0, 1.0), (1, 1, 1), Material())
    depth, which = render(Solids.of([target]), camera())
    middle = depth[29:31, 39:41]
    assert middle.mean() == pytest.approx(near, abs=0.01)
    assert which[30, 40] == 0
    assert which[0, 0] == -1
    assert np.isinf(depth[0, 0])


def test_the_nearest_solid_is_seen_whatever_the_order() -> None:
    ahead, behind = (solid("box", (x, 0, 1.0), (0.2, 3, 3), Material()) for x in (2.0, 3.0))
    for order in ([ahead, behind], [behind, ahead]):
        depth, which = render(Solids.of(order), camera())
        assert depth[30, 40] == pytest.approx(1.9, abs=1e-5)
        assert order[which[30, 40]] is ahead


def test_a_turned_camera_looks_where_it_should() -> None:
    axes = look(np.zeros(3), np.pi / 2, np.radians(30))
    np.testing.assert_allclose(axes[2], [0, np.cos(np.radians(30)), -0.5], atol=1e-12)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["box", "cylinder", "ellipsoid"])
def test_patches_lie_on_the_surface_with_normals_outward(kind: str) -> None:
    part = solid(kind, (1, 2, 3), (0.5, 1.0, 2.0), Material(), yaw=0.4, pitch=0.2)
    low, high = extent([part])
    for grid in patches(part, 0.07):
        unit = (grid.coord - part.center) @ np.linalg.inv(part.axes).T
        on = {"box": np.abs(unit).max(axis=-1), "ellipsoid": np.linalg.norm(unit, axis=-1)}
        if kind in on:
            np.testing.assert_allclose(on[kind], 1, atol=1e-9)
        assert ((grid.coord - part.center) * grid.normal).sum(axis=-1).min() > 0
        np.testing.assert_allclose(np.linalg.norm(grid.normal, axis=-1), 1)
        assert (grid.coord >= low - 1e-9).all()
        assert (grid.coord <= high + 1e-9).all()


@pytest.mark.parametrize("kind", list(KINDS))
def test_furniture_stays_inside_the_room_and_off_the_ground(kind: str) -> None:
    for place in range(3):
        place_room = room(kind, place)
        half = place_room.size[:2] / 2
        for number, thing in enumerate(place_room.objects):
            if thing.label in SHELL:
                continue
            low, high = extent([p for p in place_room.parts if p.owner == number])
            assert (high[:2] < half + 0.03).all(), (thing.label, high, half)
            assert (low[:2] > -half - 0.03).all(), (thing.label, low, half)
            assert low[2] > -0.03, thing.label


def test_big_furniture_does_not_overlap() -> None:
    big = (
        "bed",
        "couch",
        "bookshelf",
        "cabinet",
        "wardrobe",
        "desk",
        "dresser",
        "bathtub",
        "refrigerator",
        "file cabinet",
    )
    pairs = 0
    for kind in KINDS:
        place = room(kind, 1)
        boxes = [
            extent([p for p in place.parts if p.owner == n]) for n, o in enumerate(place.objects) if o.label in big
        ]
        for i, (low, high) in enumerate(boxes):
            for other_low, other_high in boxes[i + 1 :]:
                overlap = np.clip(np.minimum(high, other_high) - np.maximum(low, other_low), 0, None)
                smaller = min(np.prod((high - low)[:2]), np.prod((other_high - other_low)[:2]))
                pairs += 1
                assert overlap[2] == 0 or np.prod(overlap[:2]) < 0.15 * smaller
    assert pairs > 20


def test_the_raw_frame_starts_at_the_origin_and_the_alignment_undoes_it() -> None:
    coord = np.random.default_rng(0).uniform(-3, 3, (500, 3))
    raw, alignment = raw_frame(coord, np.random.default_rng(1))
    np.testing.assert_allclose(raw @ alignment[:3, :3].T + alignment[:3, 3], coord, atol=1e-5)
    assert np.abs(raw.min(axis=0)).max() < 1e-4
    np.testing.assert_allclose(alignment[:3, :3] @ alignment[:3, :3].T, np.eye(3), atol=1e-5)


def test_the_aligned_floor_is_at_zero_and_boxes_lie_in_the_generators_boxes() -> None:
    place = room("office", 0)
    scene = scan("office", 0, 0, spacing=0.08)
    assert scene.segment is not None
    assert scene.instance is not None
    floor = scene.coord[scene.segment == 1]
    assert abs(float(np.median(floor[:, 2]))) < 0.05
    checked = 0
    for number in np.unique(scene.instance[scene.instance >= 0]):
        thing = place.objects[number]
        if thing.label in ("wall", "floor", "ceiling"):
            continue
        low, high = extent([p for p in place.parts if p.owner == number])
        points = scene.coord[scene.instance == number]
        assert (points.min(axis=0) > low - 0.12).all(), thing.label
        assert (points.max(axis=0) < high + 0.12).all(), thing.label
        checked += 1
    assert checked > 8


def test_a_frames_depth_lies_on_the_primitives_within_its_noise() -> None:
    place, (tour, sensor) = make_room("sunrgbd", 0, 1, 0, "living", Style(), Knobs())
    frame = shoot(place, Knobs(), tour, sensor)
    seen = frame.depth > 0
    assert 0.6 < seen.mean() < 0.98
    error = np.abs(frame.depth - frame.clean)[seen]
    deviation = 0.0015 + 0.0035 * frame.clean[seen] ** 1.5
    assert (error < 3 * deviation).mean() > 0.98
    coord, _ = points_of_frame(frame.depth, frame.image, frame.k, frame.rtilt)
    assert -1.9 < np.percentile(coord[:, 2], 1) < -0.3  # upright, the floor lies below
    np.testing.assert_allclose(frame.rtilt @ frame.rtilt.T, np.eye(3), atol=1e-9)


def test_rotations_compose_roll_pitch_yaw() -> None:
    np.testing.assert_allclose(rotation(np.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(rotation(0, np.pi / 2) @ [1, 0, 0], [0, 0, -1], atol=1e-12)
    np.testing.assert_allclose(rotation(0, 0, np.pi / 2) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
