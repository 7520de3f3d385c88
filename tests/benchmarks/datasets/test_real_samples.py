"""Real samples, read with the code that reads whole releases. The numbers are those stated beside the samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.readers.folder import FolderReader
from mm3d_benchmarks.datasets.readers.s3dis import CLASSES as S3DIS_CLASSES
from mm3d_benchmarks.datasets.readers.s3dis import DETECTION_CLASSES as S3DIS_DETECTION
from mm3d_benchmarks.datasets.readers.scannet import DETECTION_CLASSES, nyu40_to_train
from mm3d_benchmarks.datasets.readers.sunrgbd import CLASSES as SUN_CLASSES
from mm3d_benchmarks.datasets.readers.sunrgbd_frame import decode_depth, read_color, read_depth
from mm3d_benchmarks.datasets.scene import Scene
from tools.calibration.acceptance import FRAME_BANDS
from tools.calibration.statistics import depth_noise, scan_statistics


def info(path: Path) -> dict:
    return json.loads(path.read_text())["data_list"][0]


def demo_scan(samples: Path) -> Scene:
    return FolderReader(samples / "mmdetection3d/demo/data/scannet", columns="x y z r g b").read("scene0000_00").scene


@pytest.fixture(scope="module")
def scan(real_samples: Path) -> tuple[Scene, np.ndarray, np.ndarray, np.ndarray]:
    """The demo scan, its aligned points, its boxes (27, 6) and their classes."""
    scene = demo_scan(real_samples)
    entry = info(real_samples / "mmdetection3d/tests/data/scannet/scannet_infos.json")
    matrix = np.array(entry["axis_align_matrix"])
    aligned = scene.coord @ matrix[:3, :3].T + matrix[:3, 3]
    boxes = np.array([b["bbox_3d"] for b in entry["instances"]])
    return scene, aligned, boxes, np.array([b["bbox_label_3d"] for b in entry["instances"]])


def test_the_scannet_scan_is_read_whole(scan: tuple[Scene, np.ndarray, np.ndarray, np.ndarray]) -> None:
    scene = scan[0]
    assert scene.num_points == 40_684
    assert scene.color is not None
    np.testing.assert_allclose(scene.color.mean(axis=0), [121, 112, 95], atol=1)


def test_the_alignment_centers_the_room_and_puts_the_floor_at_zero(
    scan: tuple[Scene, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    aligned = scan[1]
    np.testing.assert_allclose(aligned.min(axis=0), [-3.64, -3.61, -0.065], atol=0.006)
    np.testing.assert_allclose(aligned.max(axis=0), [3.40, 3.64, 2.96], atol=0.006)


def test_the_boxes_are_27_of_the_stated_classes(scan: tuple[Scene, np.ndarray, np.ndarray, np.ndarray]) -> None:
    names = [DETECTION_CLASSES[c] for c in scan[3]]
    stated = {"cabinet": 7, "table": 3, "door": 3, "garbagebin": 3, "window": 2, "curtain": 2}
    singles = ("counter", "desk", "sink", "sofa", "refrigerator", "toilet", "bed")
    assert len(names) == 27
    assert {n: names.count(n) for n in set(names)} == {**stated, **dict.fromkeys(singles, 1)}


@pytest.mark.parametrize(("name", "count"), [("sofa", 3452), ("bed", 1860), ("toilet", 290), ("desk", 1770)])
def test_boxes_hold_the_stated_points(
    scan: tuple[Scene, np.ndarray, np.ndarray, np.ndarray], name: str, count: int
) -> None:
    _, aligned, boxes, classes = scan
    box = boxes[classes == DETECTION_CLASSES.index(name)][0]
    assert (np.abs(aligned - box[:3]) <= box[3:6] / 2 + 0.001).all(axis=1).sum() == count
    if name == "sofa":
        np.testing.assert_allclose(box[3:6], [2.82, 2.32, 0.92], atol=0.006)


def test_the_scannet_scan_prepares_as_a_folder_of_ones_own(real_samples: Path, tmp_path: Path) -> None:
    folder = real_samples / "mmdetection3d/demo/data/scannet"
    data = prepare_dataset("folder", folder, tmp_path, options={"columns": "x y z r g b"}, quiet=True)
    assert data.manifest["points"]["train"] == 40_684
    np.testing.assert_array_equal(data.load("scene0000_00").coord, demo_scan(real_samples).coord)


def test_the_scannet_stub_has_the_stated_labels(real_samples: Path) -> None:
    folder = real_samples / "mmdetection3d/tests/data/scannet"
    points = np.fromfile(folder / "points/scene0000_00.bin", "<f4").reshape(-1, 6)
    semantic = np.fromfile(folder / "semantic_mask/scene0000_00.bin", np.int64)
    instance = np.fromfile(folder / "instance_mask/scene0000_00.bin", np.int64)
    assert len(points) == len(semantic) == len(instance) == 100
    np.testing.assert_allclose([points[:, 0].min(), points[:, 0].max()], [-3.5, 3.4], atol=0.06)
    stated = [0, 1, 2, 3, 4, 6, 7, 8, 14, 15, 16, 18, 22, 24, 25, 33, 38, 40]
    assert np.unique(semantic).tolist() == stated
    assert set(np.unique(nyu40_to_train()[semantic])) == {-1, 0, 1, 2, 3, 5, 6, 7, 12, 13, 14, 16}
    assert instance.min() == 0


def test_the_statistics_of_the_real_scan_are_those_that_synthetic_scans_are_held_against(
    scan: tuple[Scene, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    real = Scene("real", scan[1].astype(np.float32), scan[0].color)
    value = scan_statistics(real, half=False)
    stated = {
        "nearest": 35.7, "sigma p25": 7.5, "sigma p50": 14.0, "sigma p90": 26.5, "any seen": 0.89, "floor seen": 0.60,
        "mean red": 121, "mean green": 112, "mean blue": 95, "std red": 60, "std green": 57, "std blue": 56,
        "saturation": 0.30, "red-blue correlation": 0.82, "color difference": 21.5, "spread p10/p50": 0.73,
        "spread p90/p50": 1.35, "spread p99/p50": 1.70, "contrast p10/p50": 0.36, "contrast p90/p50": 2.27,
    }  # fmt: skip
    for name, number in stated.items():
        assert value[name] == pytest.approx(number, rel=0.22 if name.startswith("sigma") else 0.05), name
    for band, share in enumerate((0.16, 0.21, 0.24, 0.17, 0.11, 0.07, 0.05)):
        assert value[f"band {band}"] == pytest.approx(share, abs=0.03)


def test_frame_17_projects_into_its_image_without_any_error(real_samples: Path) -> None:
    folder = real_samples / "mmdetection3d/demo/data/sunrgbd"
    points = np.fromfile(folder / "000017.bin", "<f4").reshape(-1, 6).astype(np.float64)
    assert len(points) == 50_000
    image = read_color(folder / "000017.jpg") / 255
    matrix = np.array(info(folder / "sunrgbd_000017_infos.json")["images"]["CAM0"]["depth2img"])
    q = points[:, :3] @ matrix.T
    u, v = q[:, 0] / q[:, 2], q[:, 1] / q[:, 2]
    from_one = image[v.round().astype(int) - 1, u.round().astype(int) - 1]
    assert np.abs(from_one - points[:, 3:]).mean() < 2e-8
    inside = (u.round() < image.shape[1]) & (v.round() < image.shape[0])
    from_zero = image[v[inside].round().astype(int), u[inside].round().astype(int)]
    assert np.abs(from_zero - points[inside, 3:]).mean() == pytest.approx(0.025, abs=0.003)


def test_frame_17_has_the_stated_floor_range_and_boxes(real_samples: Path) -> None:
    folder = real_samples / "mmdetection3d/demo/data/sunrgbd"
    points = np.fromfile(folder / "000017.bin", "<f4").reshape(-1, 6)
    assert np.percentile(points[:, 2], 1) == pytest.approx(-1.240, abs=0.001)
    near, far = np.percentile(np.linalg.norm(points[:, :3], axis=1), [1, 99])
    np.testing.assert_allclose([near, far], [1.78, 5.56], atol=0.02)
    boxes = info(folder / "sunrgbd_000017_infos.json")["instances"]
    assert sorted(SUN_CLASSES[b["bbox_label_3d"]] for b in boxes) == ["bed", "night_stand"]


def test_the_sun_stub_has_its_three_boxes(real_samples: Path) -> None:
    folder = real_samples / "mmdetection3d/tests/data/sunrgbd"
    assert len(np.fromfile(folder / "points/000001.bin", "<f4").reshape(-1, 6)) == 100
    names = sorted(SUN_CLASSES[b["bbox_label_3d"]] for b in info(folder / "sunrgbd_infos.json")["instances"])
    assert names == ["bed", "dresser", "night_stand"]


def test_the_sun3d_depth_frame_decodes_as_stated(real_samples: Path) -> None:
    path = real_samples / "open3d/SUN_depth.png"
    depth = read_depth(path)
    assert depth.shape == (480, 640)
    assert (depth == 0).sum() == 56_012
    assert (depth == 0).mean() == pytest.approx(0.1823, abs=1e-4)
    assert (depth > 8.191).sum() == 7_149
    with Image.open(path) as image:
        np.testing.assert_array_equal(depth, decode_depth(np.asarray(image)))
    assert read_color(real_samples / "open3d/SUN_color.jpg").shape == (480, 640, 3)


def test_the_s3dis_stub_has_the_order_of_the_arrays(real_samples: Path) -> None:
    folder = real_samples / "mmdetection3d/tests/data/s3dis"
    points = np.fromfile(folder / "points/Area_1_office_2.bin", "<f4").reshape(-1, 6)
    semantic = np.fromfile(folder / "semantic_mask/Area_1_office_2.bin", np.int64)
    instance = np.fromfile(folder / "instance_mask/Area_1_office_2.bin", np.int64)
    assert len(points) == len(semantic) == len(instance) == 100
    assert 0 <= semantic.min() <= semantic.max() < len(S3DIS_CLASSES)
    assert instance.min() >= 1
    boxes = info(folder / "s3dis_infos.json")["instances"]
    assert len(boxes) == 9
    inside = 0
    for box in boxes:  # what lies inside a box is mostly of the box's class: this fixes the class order
        low, high = (
            np.array(box["bbox_3d"][:3]) - np.array(box["bbox_3d"][3:6]) / 2,
            np.array(box["bbox_3d"][:3]) + np.array(box["bbox_3d"][3:6]) / 2,
        )
        rows = ((points[:, :3] >= low - 0.01) & (points[:, :3] <= high + 0.01)).all(axis=1)
        inside += (semantic[rows] == S3DIS_CLASSES.index(S3DIS_DETECTION[box["bbox_label_3d"]])).sum()
    assert inside > 5


def test_the_bands_of_synthetic_noise_lie_around_the_real_frames(real_samples: Path) -> None:
    frame = np.fromfile(real_samples / "mmdetection3d/demo/data/sunrgbd/000017.bin", "<f4").reshape(-1, 6)[:, :3]
    depth = read_depth(real_samples / "open3d/SUN_depth.png")
    v, u = np.mgrid[1 : depth.shape[0] + 1, 1 : depth.shape[1] + 1]
    seen = (depth > 0) & (depth < 8.1)
    x, y = ((axis - half) * depth / 525.0 for axis, half in ((u, 320), (v, 240)))  # the sensor's nominal focal length
    measured = [depth_noise(frame.astype(float)), depth_noise(np.stack([x[seen], depth[seen], -y[seen]], axis=1))]
    for name, (real, low, high) in FRAME_BANDS.items():
        if name.startswith("noise"):
            values = [m[name] for m in measured]
            assert real == pytest.approx(np.mean(values), rel=0.1)
            assert low == pytest.approx(0.6 * min(values), rel=0.1)
            assert high == pytest.approx(1.6 * max(values), rel=0.1)
