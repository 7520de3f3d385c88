"""SUN RGB-D without MATLAB: points, calibration and boxes come back as they were written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_benchmarks.datasets.readers.sunrgbd import CLASSES, SunRgbdReader, boxes_of_frame
from mm3d_benchmarks.datasets.readers.sunrgbd_frame import (
    AXIS_SWAP,
    decode_depth,
    encode_depth,
    points_of_frame,
    project,
    read_color,
    read_depth,
)
from mm3d_benchmarks.datasets.readers.sunrgbd_meta import Frame, read_frames, read_split, release_path
from mm3d_core.errors import UserError


@pytest.fixture
def raw(raw_sunrgbd: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(raw_sunrgbd, tmp_path / "raw"))


def written(raw: Path) -> list[dict]:
    """What the generator meant to write, frame by frame."""
    return [json.loads(p.read_text()) for p in sorted((raw / "synthetic_frames").glob("*.json"))]


def test_depth_is_millimetres_rotated_by_three_bits() -> None:
    assert decode_depth(np.array([0, 8000, 65535 & ~7], np.uint16)).tolist() == pytest.approx([0, 1.0, 8.191])
    metres = np.array([[0.0, 0.5, 3.217, 8.5, 65.0]])
    np.testing.assert_allclose(decode_depth(encode_depth(metres)), metres, atol=1e-5)


def test_pixels_count_from_one_and_columns_come_first() -> None:
    depth = np.zeros((2, 3), np.float32)
    depth[1, 0], depth[0, 2] = 2.0, 9.5
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    k = np.array([[100, 0, 2], [0, 50, 1], [0, 0, 1.0]])
    coord, color = points_of_frame(depth, image, k, np.eye(3))
    np.testing.assert_allclose(coord, [[(1 - 2) * 2 / 100, 2, -(2 - 1) * 2 / 50], [(3 - 2) * 8 / 100, 8, 0]], atol=1e-6)
    np.testing.assert_array_equal(color, [image[1, 0], image[0, 2]])


def test_points_project_back_to_their_pixels() -> None:
    tilt = AXIS_SWAP @ np.array([[1, 0, 0], [0, 0.96, -0.28], [0, 0.28, 0.96]]) @ AXIS_SWAP.T
    k = np.array([[500, 0, 30], [0, 500, 20], [0, 0, 1.0]])
    depth = np.linspace(1, 4, 40 * 60).reshape(40, 60).astype(np.float32)
    coord, _ = points_of_frame(depth, np.zeros((40, 60, 3), np.uint8), k, tilt)
    pixel, z = project(coord.astype(np.float64), k, tilt)
    column, row = np.divmod(np.arange(40 * 60), 40)
    np.testing.assert_allclose(pixel, np.stack([column + 1, row + 1], axis=1), atol=1e-3)
    np.testing.assert_allclose(z, depth.T.ravel(), atol=1e-5)


def test_calibration_and_v2_boxes_agree_with_what_was_written(raw_sunrgbd: Path) -> None:
    frames = read_frames(raw_sunrgbd, "v2", truncate=True)
    for frame, meant in zip(frames, written(raw_sunrgbd), strict=True):
        np.testing.assert_allclose(frame.k, meant["k"], atol=1e-5)
        np.testing.assert_allclose(frame.rtilt, meant["rtilt"], atol=1e-5)
        assert [box[0] for box in frame.boxes] == [box["name"] for box in meant["boxes"]]
        for (_, centroid, coeffs, orientation), box in zip(frame.boxes, meant["boxes"], strict=True):
            np.testing.assert_allclose(centroid, box["centroid"], atol=1e-5)
            np.testing.assert_allclose(coeffs, box["half"], atol=1e-5)
            np.testing.assert_allclose(orientation, box["orientation"], atol=1e-5)
    assert sum(len(frame.boxes) for frame in frames) > 10


def test_prepared_points_are_pixels_of_the_frame(raw_sunrgbd: Path) -> None:
    reader = SunRgbdReader(raw_sunrgbd, points=0)
    name, frame = next(iter(reader.frames.items()))
    scene = reader.read(name).scene
    depth, image = read_depth(raw_sunrgbd / frame.depth), read_color(raw_sunrgbd / frame.color)
    assert scene.num_points == (depth > 0).sum()
    pixel, z = project(scene.coord.astype(np.float64), frame.k, frame.rtilt)
    column, row = (pixel.round().astype(int) - 1).T
    np.testing.assert_allclose(z, depth[row, column], atol=1e-5)
    np.testing.assert_array_equal(scene.color, image[row, column])
    assert scene.segment is None


def test_kept_points_are_a_fixed_draw_of_fifty_thousand(raw_sunrgbd: Path) -> None:
    first, again = (SunRgbdReader(raw_sunrgbd).read("000001").scene for _ in range(2))
    assert first.num_points == 50_000
    np.testing.assert_array_equal(first.coord, again.coord)


def test_the_heading_convention_is_votenets() -> None:
    box = (
        "bed",
        np.array([1.047307, 4.168696, -0.246859]),
        np.array([0.943792, 1.151035, 0.984807]),
        np.array([-0.124529, -0.992216, 0]),
    )
    boxes, _ = boxes_of_frame(Frame("", "", np.eye(3), np.eye(3), [box]))
    np.testing.assert_allclose(boxes, [[1.0473, 4.1687, -0.2469, 2.3021, 1.8876, 1.9696, 1.6957, 0]], atol=2e-4)


def test_boxes_hold_the_points_of_their_objects(raw_sunrgbd: Path) -> None:
    inside = []
    reader = SunRgbdReader(raw_sunrgbd, boxes="v2", points=0)
    for name in reader.frames:
        scene = reader.read(name).scene
        assert scene.boxes is not None
        for cx, cy, cz, length, width, height, heading, _ in scene.boxes.astype(float):
            offset = scene.coord - [cx, cy, cz]
            c, s = np.cos(heading), np.sin(heading)
            along, across = c * offset[:, 0] - s * offset[:, 1], s * offset[:, 0] + c * offset[:, 1]
            inside.append(
                (
                    (abs(along) < length / 2 + 0.03)
                    & (abs(across) < width / 2 + 0.03)
                    & (abs(offset[:, 2]) < height / 2 + 0.03)
                ).sum()
            )
    assert len(inside) > 5
    assert min(inside) >= 30  # an annotated object shows at least 60 pixels, some of them lost to the sensor


def test_v1_takes_absolute_sizes_and_differs_from_v2(raw_sunrgbd: Path) -> None:
    one, two = (SunRgbdReader(raw_sunrgbd, boxes=version).read("000001").scene.boxes for version in ("v1", "v2"))
    assert one is not None
    assert two is not None
    assert one.shape == two.shape
    assert (one[:, 3:6] > 0).all()
    assert 1e-4 < np.abs(one[:, :6] - two[:, :6]).max() < 0.5


def test_a_box_without_volume_is_left_out_and_reported() -> None:
    flat = ("chair", np.zeros(3), np.array([0.5, 0, 0.5]), np.array([1.0, 0, 0]))
    boxes, remarks = boxes_of_frame(Frame("", "", np.eye(3), np.eye(3), [flat]))
    assert boxes.shape == (0, 8)
    assert remarks == ["a chair box without volume is left out"]


def test_the_published_truncation_ends_at_the_first_mismatch(raw: Path) -> None:
    file = raw / "SUNRGBDMeta2DBB_v2.mat"
    number = max(range(5), key=lambda i: len(written(raw)[i]["boxes"]))
    table = loadmat(file)["SUNRGBDMeta2DBB"]
    table["groundtruth2DBB"][0, number]["classname"][0, 1] = "nonsense"
    savemat(file, {"SUNRGBDMeta2DBB": table})
    whole = read_frames(raw, "v2", truncate=False)[number].boxes
    assert len(read_frames(raw, "v2", truncate=True)[number].boxes) == 1 < len(whole)


def test_the_split_is_the_official_one_whatever_the_prefix_and_slashes(raw_sunrgbd: Path) -> None:
    train, test = read_split(raw_sunrgbd)
    assert (len(train), len(test)) == (3, 2)
    splits = SunRgbdReader(raw_sunrgbd).splits()
    assert splits["train"] == sorted(splits["train"])
    assert sorted([*splits["train"], *splits["val"]]) == [f"{n:06d}" for n in range(1, 6)]
    assert release_path("/data1/SUNRGBD/kv2/a//depth/b.png/") == "SUNRGBD/kv2/a/depth/b.png"


def test_classes_and_bins_are_votenets() -> None:
    assert CLASSES.index("night_stand") == 7
    assert len(CLASSES) == 10


def test_a_frame_without_any_return_is_broken(raw: Path) -> None:
    reader = SunRgbdReader(raw)
    file = raw / reader.frames["000001"].depth
    with Image.open(file) as image:
        Image.fromarray(np.zeros(image.size[::-1], np.uint16)).save(file)
    with pytest.raises(BrokenSceneError, match=r"frame000001\.png: no pixel has a return"):
        reader.read("000001")


@pytest.mark.parametrize("which", ["depth", "color"])
def test_truncated_and_missing_images_are_named(raw: Path, which: str) -> None:
    reader = SunRgbdReader(raw)
    file = raw / getattr(reader.frames["000001"], which)
    file.write_bytes(file.read_bytes()[:900])
    with pytest.raises(BrokenSceneError, match=file.name):
        reader.read("000001")
    file.unlink()
    with pytest.raises(BrokenSceneError, match=f"{file.name}: not found"):
        reader.read("000001")


def test_images_of_different_sizes_are_refused(raw: Path) -> None:
    reader = SunRgbdReader(raw)
    file = raw / reader.frames["000001"].color
    Image.new("RGB", (10, 10)).save(file)
    with pytest.raises(BrokenSceneError, match="is not the depth's"):
        reader.read("000001")


@pytest.mark.parametrize(
    "name",
    [
        "SUNRGBDMeta3DBB_v2.mat",
        "SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat",
        "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat",
    ],
)
def test_truncated_and_missing_metadata_is_named(raw: Path, name: str) -> None:
    file = raw / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UserError, match=file.name):
        SunRgbdReader(raw).splits()
    file.unlink()
    with pytest.raises(UserError, match=f"{file.name}: not found"):
        SunRgbdReader(raw).splits()


def test_a_folder_without_the_release_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"SUNRGBD\.zip"):
        SunRgbdReader(tmp_path)
    (tmp_path / "SUNRGBD").mkdir()
    with pytest.raises(UserError, match="v1 or v2"):
        SunRgbdReader(tmp_path, boxes="v3")


def test_paths_with_backslashes_are_paths_of_the_release() -> None:
    assert release_path("D:\\data\\SUNRGBD\\kv1\\a\\depth\\b.png") == "SUNRGBD/kv1/a/depth/b.png"
    with pytest.raises(ValueError, match="leads out"):
        release_path("SUNRGBD\\..\\..\\secret")
